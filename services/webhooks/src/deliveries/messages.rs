//! `messages`: one event for one webhook, from the event's arrival until it is delivered or given up.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx, Unit};
use uuid::Uuid;

/// The job that delivers a message; its subject is the message's id.
pub const DELIVER: &str = "deliver";

/// A message before it is stored.
pub struct NewMessage {
    pub webhook_id: i64,
    /// CVAT's name, such as `create:project`.
    pub event: String,
    pub event_id: Uuid,
    pub sequence: Option<i64>,
    pub body: String,
    /// Comma-separated.
    pub changed_fields: String,
    pub redelivery: bool,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// The receiver, or the rule for targets, does not want it; trying again makes no sense.
    Refused,
    /// All attempts failed.
    Exhausted,
    /// Its webhook was deleted or switched off before.
    Skipped,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Exhausted => "exhausted",
            Self::Skipped => "skipped",
        }
    }
}

/// A message with what an attempt needs of its webhook.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct Due {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = BigInt)]
    pub webhook_id: i64,
    #[diesel(sql_type = Text)]
    pub event: String,
    #[diesel(sql_type = SqlUuid)]
    pub event_id: Uuid,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub sequence: Option<i64>,
    #[diesel(sql_type = Text)]
    pub body: String,
    #[diesel(sql_type = Bool)]
    pub redelivery: bool,
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    #[diesel(sql_type = Bool)]
    pub ended: bool,
    /// Absent when the webhook was deleted.
    #[diesel(sql_type = Nullable<Text>)]
    pub target_url: Option<String>,
    #[diesel(sql_type = Text)]
    pub sealed_secret: String,
    #[diesel(sql_type = Bool)]
    pub is_active: bool,
    #[diesel(sql_type = Bool)]
    pub enable_ssl: bool,
}

/// Stores a message; `None` when this webhook has this event already.
pub async fn insert(unit: &mut Unit, message: NewMessage) -> Result<Option<i64>, StoreError> {
    let id = unit.new_ids_of("message", 1).await?[0];
    let now = unit.store().clock().now();
    let inserted = Sql::fixed(
        "INSERT INTO messages (tenant_id, id, webhook_id, event, event_id, sequence, body, changed_fields, \
         redelivery, created_at) VALUES (es_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
    )
    .bind::<BigInt>(id)
    .bind::<BigInt>(message.webhook_id)
    .bind::<Text>(message.event)
    .bind::<SqlUuid>(message.event_id)
    .bind::<Nullable<BigInt>>(message.sequence)
    .bind::<Text>(message.body)
    .bind::<Text>(message.changed_fields)
    .bind::<Bool>(message.redelivery)
    .bind::<Timestamptz>(now)
    .execute(&mut **unit.tx())
    .await?;
    Ok((inserted == 1).then_some(id))
}

/// Stores a message and queues its first attempt.
pub async fn queue(unit: &mut Unit, message: NewMessage) -> Result<(), StoreError> {
    if let Some(id) = insert(unit, message).await? {
        let now: DateTime<Utc> = unit.store().clock().now();
        unit.enqueue(DELIVER, id, now).await?;
    }
    Ok(())
}

/// A message and its webhook.
pub async fn due(tx: &mut Tx, id: i64) -> Result<Option<Due>, StoreError> {
    let rows: Vec<Due> = Sql::fixed(
        "SELECT m.id, m.webhook_id, m.event, m.event_id, m.sequence, m.body, m.redelivery, m.attempts, \
         m.outcome IS NOT NULL AS ended, w.target_url, COALESCE(w.sealed_secret, '') AS sealed_secret, \
         COALESCE(w.is_active, false) AS is_active, COALESCE(w.enable_ssl, true) AS enable_ssl \
         FROM messages m LEFT JOIN webhooks w ON w.tenant_id = m.tenant_id AND w.id = m.webhook_id \
         WHERE m.tenant_id = es_tenant() AND m.id = $1",
    )
    .bind::<BigInt>(id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next())
}

/// Notes that attempt number `attempt` is over. Returns whether it was this caller's to note: a claim that
/// expired may have let another worker make the same attempt.
pub async fn advance(
    tx: &mut Tx,
    id: i64,
    attempt: i32,
    outcome: Option<Outcome>,
) -> Result<bool, StoreError> {
    let changed = Sql::fixed(
        "UPDATE messages SET attempts = $2, outcome = $3 \
         WHERE tenant_id = es_tenant() AND id = $1 AND attempts = $2 - 1 AND outcome IS NULL",
    )
    .bind::<BigInt>(id)
    .bind::<Integer>(attempt)
    .bind::<Nullable<Text>>(outcome.map(Outcome::as_str))
    .execute(&mut **tx)
    .await?;
    Ok(changed == 1)
}

/// Ends a message without an attempt.
pub async fn skip(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    Sql::fixed(
        "UPDATE messages SET outcome = $2 WHERE tenant_id = es_tenant() AND id = $1 AND outcome IS NULL",
    )
    .bind::<BigInt>(id)
    .bind::<Text>(Outcome::Skipped.as_str())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
