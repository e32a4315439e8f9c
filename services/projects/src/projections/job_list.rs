//! Reading jobs: one, or a page of those that the caller may see.

use chrono::{DateTime, Utc};
use contracts::projects::Job as Fact;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use policy::{Ownership, Predicate, Relation};
use service_kit::cvat::job::JobDetails;
use service_kit::list::{Field, Kind, ListFields, ListQuery, Window};
use service_kit::organization::{Columns, push_predicate};
use service_kit::{Caller, Refusal};

use super::task_list::{DIMENSIONS, MEDIA_TYPES, MODES};
use crate::domain::job::{STAGES, STATES};

/// The types of jobs that CVAT knows; only `annotation` is made here.
const TYPES: &[&str] = &["annotation", "ground_truth", "consensus_replica", "replica"];

/// What clients filter, search and sort by (CVAT 2.72).
pub const FIELDS: ListFields = ListFields::new(
    "j.id",
    &[
        Field::new("assignee", "a.username", Kind::Text).searchable(),
        Field::new("dimension", "t.dimension", Kind::Choice(DIMENSIONS)),
        Field::new("id", "j.id", Kind::Integer).without_simple(),
        Field::new("media_type", "('image'::text)", Kind::Choice(MEDIA_TYPES)),
        Field::new("mode", "t.mode", Kind::Choice(MODES)),
        Field::new("parent_job_id", "(NULL::bigint)", Kind::Integer),
        Field::new("project_id", "j.project_id", Kind::Integer),
        Field::new("project_name", "p.name", Kind::Text).searchable(),
        Field::new("stage", "j.stage", Kind::Choice(STAGES)),
        Field::new("state", "j.state", Kind::Choice(STATES)),
        Field::new("task_id", "j.task_id", Kind::Integer),
        Field::new("task_name", "t.name", Kind::Text).searchable(),
        Field::new("type", "j.type", Kind::Choice(TYPES)),
        Field::new("updated_date", "j.updated_date", Kind::Timestamp).without_simple(),
    ],
);

const COLUMNS: Columns = Columns {
    assignee: Some("j.assignee_id"),
    task_owner: Some("t.owner_id"),
    task_assignee: Some("t.assignee_id"),
    project_owner: Some("p.owner_id"),
    project_assignee: Some("p.assignee_id"),
    ..Columns::of("j.organization_id")
};

const READ: &str = "SELECT j.id, j.task_id, j.project_id, j.organization_id, j.assignee_id, \
    j.assignee_updated_date, j.stage, j.state, j.status, j.type AS job_type, j.start_frame, j.stop_frame, \
    j.created_date, j.updated_date, t.name AS task_name, t.owner_id AS task_owner_id, \
    t.assignee_id AS task_assignee_id, t.bug_tracker, t.chunk_size, t.mode, p.name AS project_name, \
    p.owner_id AS project_owner_id, p.assignee_id AS project_assignee_id";

const FROM: &str = " FROM jobs j ";

const JOINED: &str = "LEFT JOIN tasks t ON t.tenant_id = j.tenant_id AND t.id = j.task_id \
    LEFT JOIN projects p ON p.tenant_id = j.tenant_id AND p.id = j.project_id \
    LEFT JOIN directory_users a ON a.tenant_id = j.tenant_id AND a.id = j.assignee_id \
    WHERE j.tenant_id = es_tenant()";

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    task_id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    project_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    organization_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    assignee_id: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    assignee_updated_date: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    stage: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Text)]
    job_type: String,
    #[diesel(sql_type = BigInt)]
    start_frame: i64,
    #[diesel(sql_type = BigInt)]
    stop_frame: i64,
    #[diesel(sql_type = Timestamptz)]
    created_date: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_date: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    task_name: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    task_owner_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    task_assignee_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    bug_tracker: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    chunk_size: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    mode: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    project_name: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    project_owner_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    project_assignee_id: Option<i64>,
}

/// A job with what its readers see besides.
#[derive(Clone, Debug)]
pub struct JobView {
    pub fact: Fact,
    pub details: JobDetails,
    task_owner_id: Option<i64>,
    task_assignee_id: Option<i64>,
    project_owner_id: Option<i64>,
    project_assignee_id: Option<i64>,
}

impl JobView {
    /// The caller's relations to it.
    pub fn ownership(&self, user_id: i64) -> Ownership {
        let is = |id: Option<i64>| id == Some(user_id);
        Ownership::NONE
            .with(Relation::Assignee, is(self.fact.assignee_id))
            .with(Relation::TaskOwner, is(self.task_owner_id))
            .with(Relation::TaskAssignee, is(self.task_assignee_id))
            .with(Relation::ProjectOwner, is(self.project_owner_id))
            .with(Relation::ProjectAssignee, is(self.project_assignee_id))
    }
}

impl From<Row> for JobView {
    fn from(row: Row) -> Self {
        Self {
            fact: Fact {
                id: row.id,
                task_id: row.task_id,
                project_id: row.project_id,
                organization_id: row.organization_id,
                assignee_id: row.assignee_id,
                assignee_updated_date: row.assignee_updated_date,
                stage: row.stage,
                state: row.state,
                status: row.status,
                job_type: row.job_type,
                start_frame: row.start_frame,
                stop_frame: row.stop_frame,
                created_date: row.created_date,
                updated_date: row.updated_date,
            },
            details: JobDetails {
                task_name: row.task_name,
                project_name: row.project_name,
                bug_tracker: row.bug_tracker,
                chunk_size: row.chunk_size,
                mode: row.mode.unwrap_or_default(),
            },
            task_owner_id: row.task_owner_id,
            task_assignee_id: row.task_assignee_id,
            project_owner_id: row.project_owner_id,
            project_assignee_id: row.project_assignee_id,
        }
    }
}

/// A job of this tenant.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<JobView>, StoreError> {
    Ok(find_all(tx, &[id]).await?.pop())
}

/// The jobs of these ids, in the same order; see the same in `task_list.rs`.
async fn find_all(tx: &mut Tx, ids: &[i64]) -> Result<Vec<JobView>, StoreError> {
    let rows: Vec<Row> = Sql::templated(format!(
        "{READ} FROM unnest($1) WITH ORDINALITY AS w (id, n) JOIN jobs j ON j.id = w.id {JOINED} ORDER BY w.n"
    ))
    .bind::<Array<BigInt>>(ids.to_vec())
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(JobView::from).collect())
}

/// Narrows a list to what the caller is related to; see the same in `task_list.rs`.
fn push_related(sql: &mut Sql, user_id: i64) {
    sql.push(" AND j.id = ANY (ARRAY(SELECT id FROM jobs WHERE tenant_id = es_tenant() AND assignee_id = ");
    sql.push_i64(user_id);
    sql.push(
        " UNION ALL SELECT s.id FROM tasks q JOIN jobs s ON s.tenant_id = q.tenant_id AND s.task_id = q.id \
         WHERE q.tenant_id = es_tenant() AND (q.owner_id = ",
    );
    sql.push_i64(user_id).push(" OR q.assignee_id = ");
    sql.push_i64(user_id);
    sql.push(
        ") UNION ALL SELECT s.id FROM projects q JOIN jobs s ON s.tenant_id = q.tenant_id AND s.project_id = q.id \
         WHERE q.tenant_id = es_tenant() AND (q.owner_id = ",
    );
    sql.push_i64(user_id).push(" OR q.assignee_id = ");
    sql.push_i64(user_id).push(")))");
}

/// A page of the jobs that the caller may see.
///
/// # Errors
/// 404 for a page that is not there.
pub async fn list(
    tx: &mut Tx,
    caller: &Caller,
    visible: &Predicate,
    query: &ListQuery,
) -> Result<(Vec<JobView>, Window), Refusal> {
    let conditions = |sql: &mut Sql| {
        sql.push(FROM).push(JOINED);
        if visible.needs_relation() {
            push_related(sql, caller.user_id());
        }
        push_predicate(sql, visible, &COLUMNS, caller.user_id());
        query.push_where(sql);
    };
    let (ids, window) = query.page_ids(tx, "j.id", conditions).await?;
    Ok((find_all(tx, &ids).await?, window))
}
