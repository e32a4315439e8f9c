//! `requests`: what runs in the background, one row a request.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{BigInt, Double, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, StoreError, Tx};
use policy::Predicate;
use service_kit::list::{Field, Kind, ListFields, ListQuery, Window};
use service_kit::organization::{Columns, push_predicate};
use service_kit::{Caller, Refusal};

use crate::domain::request::{Request, Submitted};

const STATUSES: &[&str] = &["queued", "started", "failed", "finished"];

/// How long what is over can be asked for.
pub const KEPT: TimeDelta = TimeDelta::days(7);

/// What clients filter and sort by (CVAT 2.72).
pub const FIELDS: ListFields = ListFields::new(
    "r.id",
    &[
        Field::new("action", "r.action", Kind::Text),
        Field::new("created_date", "r.created_date", Kind::Timestamp).without_simple().without_filter(),
        Field::new("format", "(NULL::text)", Kind::Text).without_sort(),
        Field::new("job_id", "(NULL::bigint)", Kind::Integer).without_sort(),
        Field::new("org", "g.slug", Kind::Text).without_sort().without_simple(),
        Field::new("org_id", "t.organization_id", Kind::Integer).without_sort().without_simple(),
        Field::new("project_id", "r.project_id", Kind::Integer).without_sort(),
        Field::new("status", "r.status", Kind::Choice(STATUSES)),
        Field::new("subresource", "(NULL::text)", Kind::Text).without_sort(),
        Field::new("target", "r.target", Kind::Text).without_sort(),
        Field::new("task_id", "r.task_id", Kind::Integer).without_sort(),
    ],
);

const COLUMNS: Columns = Columns { owner: Some("r.owner_id"), ..Columns::of("t.organization_id") };

const READ: &str = "SELECT r.id, r.request_id, r.status, r.message, r.progress, r.action, r.target, \
    r.project_id, r.task_id, t.organization_id, r.owner_id, r.created_date, r.started_date, r.finished_date";

const FROM: &str = " FROM requests r \
    LEFT JOIN tasks t ON t.tenant_id = r.tenant_id AND t.id = r.task_id \
    LEFT JOIN directory_organizations g ON g.tenant_id = t.tenant_id AND g.id = t.organization_id \
    WHERE r.tenant_id = es_tenant() AND (r.finished_date IS NULL OR r.finished_date > ";

/// A request as it is read.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct RequestRow {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = Text)]
    pub request_id: String,
    #[diesel(sql_type = Text)]
    pub status: String,
    #[diesel(sql_type = Text)]
    pub message: String,
    #[diesel(sql_type = Nullable<Double>)]
    pub progress: Option<f64>,
    #[diesel(sql_type = Text)]
    pub action: String,
    #[diesel(sql_type = Text)]
    pub target: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub project_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub task_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub organization_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub owner_id: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    pub created_date: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub started_date: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub finished_date: Option<DateTime<Utc>>,
}

/// Keeps the table.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Request>) -> Applied<'a> {
    Box::pin(async move {
        match &change.after.submitted {
            Some(submitted) if change.version == 1 => insert(tx, change.id, submitted).await,
            _ => update(tx, change.id, change.after).await,
        }
    })
}

async fn insert(tx: &mut Tx, id: i64, submitted: &Submitted) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO requests (tenant_id, id, request_id, status, message, action, target, project_id, task_id, \
         owner_id, created_date) VALUES (es_tenant(), $1, $2, 'queued', '', $3, $4, $5, $6, $7, $8)",
    )
    .bind::<BigInt>(id)
    .bind::<Text>(submitted.request_id.clone())
    .bind::<Text>(submitted.action.clone())
    .bind::<Text>(submitted.target.clone())
    .bind::<Nullable<BigInt>>(submitted.project_id)
    .bind::<Nullable<BigInt>>(submitted.task_id)
    .bind::<Nullable<BigInt>>(submitted.owner_id)
    .bind::<Timestamptz>(submitted.at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn update(tx: &mut Tx, id: i64, request: &Request) -> Result<(), StoreError> {
    Sql::fixed(
        "UPDATE requests SET status = $2, message = $3, progress = $4, started_date = $5, finished_date = $6 \
         WHERE tenant_id = es_tenant() AND id = $1",
    )
    .bind::<BigInt>(id)
    .bind::<Text>(request.status.as_str())
    .bind::<Text>(request.message.clone())
    .bind::<Nullable<Double>>(request.progress)
    .bind::<Nullable<Timestamptz>>(request.started_at)
    .bind::<Nullable<Timestamptz>>(request.finished_at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A request of this tenant, by what its client polls; not one that is over for too long.
pub async fn find(
    tx: &mut Tx,
    request_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<RequestRow>, StoreError> {
    let rows: Vec<RequestRow> = Sql::templated(format!("{READ}{FROM}$1) AND r.request_id = $2"))
        .bind::<Timestamptz>(now - KEPT)
        .bind::<Text>(request_id.to_owned())
        .load(&mut **tx)
        .await?;
    Ok(rows.into_iter().next())
}

#[derive(diesel::QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// The stream of a request.
pub async fn stream_of(tx: &mut Tx, request_id: &str) -> Result<Option<i64>, StoreError> {
    let rows: Vec<Id> =
        Sql::fixed("SELECT id FROM requests WHERE tenant_id = es_tenant() AND request_id = $1")
            .bind::<Text>(request_id.to_owned())
            .load(&mut **tx)
            .await?;
    Ok(rows.into_iter().next().map(|row| row.id))
}

/// The streams of a task's requests that are not over.
pub async fn running_of_task(tx: &mut Tx, task_id: i64) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<Id> = Sql::fixed(
        "SELECT id FROM requests WHERE tenant_id = es_tenant() AND task_id = $1 AND finished_date IS NULL \
         ORDER BY id",
    )
    .bind::<BigInt>(task_id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// A page of the requests that the caller may see.
///
/// # Errors
/// 404 for a page that is not there.
pub async fn list(
    tx: &mut Tx,
    caller: &Caller,
    visible: &Predicate,
    query: &ListQuery,
    now: DateTime<Utc>,
) -> Result<(Vec<RequestRow>, Window), Refusal> {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let conditions = |sql: &mut Sql| {
        sql.push(FROM).push_bind::<Timestamptz>(now - KEPT).push(")");
        push_predicate(sql, visible, &COLUMNS, caller.user_id());
        query.push_where(sql);
    };
    let mut count = Sql::composed("SELECT count(*) AS count");
    conditions(&mut count);
    let Count { count } = count.get_result(&mut **tx).await?;
    let window = query.window(count)?;
    let mut rows = Sql::composed(READ);
    conditions(&mut rows);
    query.push_order_and_page(&mut rows, &window);
    Ok((rows.load(&mut **tx).await?, window))
}
