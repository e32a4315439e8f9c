//! `webhooks`: one row a webhook, for lists, permissions and the selection of subscribers.

use chrono::{DateTime, Utc};
use contracts::Envelope;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, StoreError, Tx};
use policy::Predicate;
use service_kit::list::{Field, Kind, ListFields, ListQuery, Window};
use service_kit::organization::{Columns, push_predicate};
use service_kit::{Caller, Refusal};

use crate::domain::webhook::{Hook, Webhook, WebhookEvent};

const TYPES: &[&str] = &["organization", "project"];

/// What clients filter, search and sort by (CVAT 2.72).
pub const FIELDS: ListFields = ListFields::new(
    "w.id",
    &[
        Field::new("description", "w.description", Kind::Text).searchable().without_simple(),
        Field::new("id", "w.id", Kind::Integer).without_simple(),
        Field::new("owner", "o.username", Kind::Text).searchable(),
        Field::new("project_id", "w.project_id", Kind::Integer),
        Field::new("target_url", "w.target_url", Kind::Text).searchable(),
        Field::new("type", "w.type", Kind::Choice(TYPES)),
        Field::new("updated_date", "w.updated_date", Kind::Timestamp).without_simple(),
    ],
);

/// A project webhook is where its project is now; the column is where the webhook was made. That of an
/// organization that is no more is its owner's own; by the column it still hears what is left to hear.
macro_rules! place {
    () => {
        "(CASE WHEN p.id IS NULL THEN g.id ELSE p.organization_id END)"
    };
}

/// Where permissions look.
const COLUMNS: Columns =
    Columns { owner: Some("w.owner_id"), project_owner: Some("p.owner_id"), ..Columns::of(place!()) };

macro_rules! select {
    () => {
        concat!(
            "SELECT w.id, w.type AS webhook_type, w.target_url, w.description, w.events, w.sealed_secret, w.is_active, ",
            "w.enable_ssl, w.owner_id, w.project_id, ",
            place!(),
            " AS organization_id, p.owner_id AS project_owner_id, w.created_date, w.updated_date, ",
            "last.status_code AS last_status, last.updated_date AS last_delivery_date"
        )
    };
}

macro_rules! from {
    () => {
        " FROM webhooks w \
         LEFT JOIN directory_users o ON o.tenant_id = w.tenant_id AND o.id = w.owner_id \
         LEFT JOIN known_projects p ON p.tenant_id = w.tenant_id AND p.id = w.project_id \
         LEFT JOIN directory_organizations g ON g.tenant_id = w.tenant_id AND g.id = w.organization_id AND NOT g.ended \
         LEFT JOIN LATERAL (SELECT d.status_code, d.updated_date FROM deliveries d \
            WHERE d.tenant_id = w.tenant_id AND d.webhook_id = w.id \
            ORDER BY d.updated_date DESC, d.id DESC LIMIT 1) last ON true \
         WHERE w.tenant_id = es_tenant()"
    };
}

/// A webhook as it is read.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct Row {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = Text)]
    pub webhook_type: String,
    #[diesel(sql_type = Text)]
    pub target_url: String,
    #[diesel(sql_type = Text)]
    pub description: String,
    #[diesel(sql_type = Array<Text>)]
    pub events: Vec<String>,
    #[diesel(sql_type = Text)]
    pub sealed_secret: String,
    #[diesel(sql_type = Bool)]
    pub is_active: bool,
    #[diesel(sql_type = Bool)]
    pub enable_ssl: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub owner_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub project_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub organization_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub project_owner_id: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    pub created_date: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub updated_date: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub last_status: Option<i32>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_delivery_date: Option<DateTime<Utc>>,
}

/// Keeps the table.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Webhook>) -> Applied<'a> {
    Box::pin(async move {
        match (change.event, &change.after.current) {
            (WebhookEvent::Deleted, _) => delete(tx, change.id).await,
            (WebhookEvent::Created(_) | WebhookEvent::Updated { .. }, Some(hook)) => put(tx, hook).await,
            (WebhookEvent::Created(_) | WebhookEvent::Updated { .. }, None) => Ok(()),
        }
    })
}

async fn delete(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM webhooks WHERE tenant_id = es_tenant() AND id = $1")
        .bind::<BigInt>(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn put(tx: &mut Tx, hook: &Hook) -> Result<(), StoreError> {
    let settings = &hook.settings;
    Sql::fixed(
        "INSERT INTO webhooks (tenant_id, id, type, target_url, description, events, sealed_secret, is_active, \
         enable_ssl, owner_id, project_id, organization_id, starts, created_date, updated_date) \
         VALUES (es_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::json, $13, $14) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET target_url = excluded.target_url, \
         description = excluded.description, events = excluded.events, sealed_secret = excluded.sealed_secret, \
         is_active = excluded.is_active, enable_ssl = excluded.enable_ssl, \
         updated_date = excluded.updated_date",
    )
    .bind::<BigInt>(hook.id)
    .bind::<Text>(hook.webhook_type.as_str())
    .bind::<Text>(settings.target_url.clone())
    .bind::<Text>(settings.description.clone())
    .bind::<Array<Text>>(settings.events.clone())
    .bind::<Text>(settings.sealed_secret.clone())
    .bind::<Bool>(settings.is_active)
    .bind::<Bool>(settings.enable_ssl)
    .bind::<Nullable<BigInt>>(hook.owner_id)
    .bind::<Nullable<BigInt>>(hook.project_id)
    .bind::<Nullable<BigInt>>(hook.organization_id)
    .bind::<Text>(serde_json::to_string(&hook.starts)?)
    .bind::<Timestamptz>(hook.created_date)
    .bind::<Timestamptz>(hook.updated_date)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A webhook of this tenant.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<Row>, StoreError> {
    let rows: Vec<Row> =
        Sql::fixed(concat!(select!(), from!(), " AND w.id = $1")).bind::<BigInt>(id).load(&mut **tx).await?;
    Ok(rows.into_iter().next())
}

/// A page of the webhooks that the caller may see.
///
/// # Errors
/// 404 for a page that is not there.
pub async fn list(
    tx: &mut Tx,
    caller: &Caller,
    visible: &Predicate,
    query: &ListQuery,
) -> Result<(Vec<Row>, Window), Refusal> {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let conditions = |sql: &mut Sql| {
        sql.push(from!());
        push_predicate(sql, visible, &COLUMNS, caller.user_id());
        query.push_where(sql);
    };
    let mut count = Sql::composed("SELECT count(*) AS count");
    conditions(&mut count);
    let Count { count } = count.get_result(&mut **tx).await?;
    let window = query.window(count)?;
    let mut rows = Sql::composed(select!());
    conditions(&mut rows);
    query.push_order_and_page(&mut rows, &window);
    Ok((rows.load(&mut **tx).await?, window))
}

/// The active webhooks that asked for `event`: those of the organization and those of the project.
///
/// A webhook hears of what came after it, by the position that the producer's log had then; where that is
/// not known, by the clock.
pub async fn subscribers(
    tx: &mut Tx,
    envelope: &Envelope,
    event: &str,
    organization_id: Option<i64>,
    project_id: Option<i64>,
) -> Result<Vec<i64>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let rows: Vec<Id> = Sql::fixed(
        "SELECT id FROM webhooks WHERE tenant_id = es_tenant() AND is_active AND $1 = ANY(events) \
         AND ((type = 'organization' AND organization_id = $2) OR (type = 'project' AND project_id = $3)) \
         AND COALESCE((starts->>$4)::bigint < $5, created_date <= $6) ORDER BY id",
    )
    .bind::<Text>(event.to_owned())
    .bind::<Nullable<BigInt>>(organization_id)
    .bind::<Nullable<BigInt>>(project_id)
    .bind::<Text>(envelope.service().to_owned())
    .bind::<BigInt>(envelope.position)
    .bind::<Timestamptz>(envelope.time)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
