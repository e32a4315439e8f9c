//! `deliveries`: one row an attempt, which is what CVAT calls a delivery.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx, Unit};
use service_kit::Refusal;
use service_kit::list::{Field, Kind, ListFields, ListQuery, Order, Window};
use uuid::Uuid;

/// What clients filter and sort by; newest first.
pub const FIELDS: ListFields = ListFields::new(
    "d.id",
    &[
        Field::new("id", "d.id", Kind::Integer).without_simple(),
        Field::new("event", "m.event", Kind::Text),
        Field::new("status_code", "d.status_code", Kind::Integer),
        Field::new("redelivery", "m.redelivery", Kind::Boolean),
        Field::new("created_date", "d.created_date", Kind::Timestamp).without_simple(),
        Field::new("updated_date", "d.updated_date", Kind::Timestamp).without_simple(),
    ],
)
.ordered_by(&[Order::descending("d.updated_date")]);

macro_rules! select {
    () => {
        "SELECT d.id, d.webhook_id, m.event, m.event_id, m.sequence, d.status_code, \
         m.redelivery, d.attempt, d.request_duration, d.created_date, d.updated_date, m.changed_fields, \
         m.body AS request, d.response"
    };
}

macro_rules! from {
    () => {
        " FROM deliveries d JOIN messages m ON m.tenant_id = d.tenant_id AND m.id = d.message_id \
         WHERE d.tenant_id = es_tenant() AND d.webhook_id = "
    };
}

/// An attempt as it is read.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct Row {
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
    #[diesel(sql_type = Integer)]
    pub status_code: i32,
    #[diesel(sql_type = Bool)]
    pub redelivery: bool,
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    #[diesel(sql_type = BigInt)]
    pub request_duration: i64,
    #[diesel(sql_type = Timestamptz)]
    pub created_date: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub updated_date: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub changed_fields: String,
    #[diesel(sql_type = Text)]
    pub request: String,
    #[diesel(sql_type = Text)]
    pub response: String,
}

/// An attempt that was made.
pub struct Attempt {
    pub message_id: i64,
    pub webhook_id: i64,
    pub attempt: i32,
    pub status: u16,
    pub response: String,
    pub began: DateTime<Utc>,
    pub ended: DateTime<Utc>,
}

/// Records an attempt; returns the delivery's id.
pub async fn record(unit: &mut Unit, attempt: &Attempt) -> Result<i64, StoreError> {
    let id = unit.new_ids_of("delivery", 1).await?[0];
    Sql::fixed(
        "INSERT INTO deliveries (tenant_id, id, message_id, webhook_id, attempt, status_code, request_duration, \
         response, created_date, updated_date) VALUES (es_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind::<BigInt>(id)
    .bind::<BigInt>(attempt.message_id)
    .bind::<BigInt>(attempt.webhook_id)
    .bind::<Integer>(attempt.attempt)
    .bind::<Integer>(i32::from(attempt.status))
    .bind::<BigInt>((attempt.ended - attempt.began).num_milliseconds())
    .bind::<Text>(attempt.response.clone())
    .bind::<Timestamptz>(attempt.began)
    .bind::<Timestamptz>(attempt.ended)
    .execute(&mut **unit.tx())
    .await?;
    Ok(id)
}

/// One delivery of a webhook.
pub async fn find(tx: &mut Tx, webhook_id: i64, id: i64) -> Result<Option<Row>, StoreError> {
    let rows: Vec<Row> = Sql::fixed(concat!(select!(), from!(), "$1 AND d.id = $2"))
        .bind::<BigInt>(webhook_id)
        .bind::<BigInt>(id)
        .load(&mut **tx)
        .await?;
    Ok(rows.into_iter().next())
}

/// A page of a webhook's deliveries.
///
/// # Errors
/// 404 for a page that is not there.
pub async fn list(tx: &mut Tx, webhook_id: i64, query: &ListQuery) -> Result<(Vec<Row>, Window), Refusal> {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let conditions = |sql: &mut Sql| {
        sql.push(from!()).push_i64(webhook_id);
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
