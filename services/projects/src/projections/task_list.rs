//! Reading tasks: one, or a page of those that the caller may see.

use chrono::{DateTime, Utc};
use contracts::projects::{AttachedData, Task as Fact};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use policy::{Ownership, Predicate, Relation};
use service_kit::cvat::task::TaskDetails;
use service_kit::list::{Field, Kind, ListFields, ListQuery, Window};
use service_kit::organization::{Columns, push_predicate};
use service_kit::{Caller, Refusal};

use crate::domain::job::STATUSES;

/// The dimensions, modes and media types that CVAT knows.
pub const DIMENSIONS: &[&str] = &["1d", "2d", "3d"];
pub const MODES: &[&str] = &["annotation", "interpolation"];
pub const MEDIA_TYPES: &[&str] = &["image", "point_cloud", "audio"];

/// What clients filter, search and sort by (CVAT 2.72).
pub const FIELDS: ListFields = ListFields::new(
    "t.id",
    &[
        Field::new("assignee", "a.username", Kind::Text).searchable(),
        Field::new("dimension", "t.dimension", Kind::Choice(DIMENSIONS)),
        Field::new("id", "t.id", Kind::Integer).without_simple(),
        Field::new("media_type", "('image'::text)", Kind::Choice(MEDIA_TYPES)),
        Field::new("mode", "t.mode", Kind::Choice(MODES)),
        Field::new("name", "t.name", Kind::Text).searchable(),
        Field::new("owner", "o.username", Kind::Text).searchable(),
        Field::new("project_id", "t.project_id", Kind::Integer),
        Field::new("project_name", "p.name", Kind::Text).searchable(),
        Field::new("status", "t.status", Kind::Choice(STATUSES)),
        Field::new("subset", "t.subset", Kind::Text).searchable(),
        Field::new("tracker_link", "t.bug_tracker", Kind::Text).searchable(),
        Field::new("updated_date", "GREATEST(t.updated_date, tj.touched_date)", Kind::Timestamp)
            .without_simple(),
        Field::new("validation_mode", "(NULL::text)", Kind::Text),
    ],
);

const COLUMNS: Columns = Columns {
    owner: Some("t.owner_id"),
    assignee: Some("t.assignee_id"),
    project_owner: Some("p.owner_id"),
    project_assignee: Some("p.assignee_id"),
    ..Columns::of("t.organization_id")
};

const READ: &str = "SELECT t.id, t.name, t.project_id, t.owner_id, t.assignee_id, t.assignee_updated_date, \
    t.bug_tracker, t.subset, t.status, t.organization_id, t.labels::text AS labels, t.segment_size, t.overlap, \
    t.size, t.created_date, GREATEST(t.updated_date, tj.touched_date) AS updated_date, t.chunk_size, \
    t.image_quality, t.mode, t.dimension, p.name AS project_name, p.owner_id AS project_owner_id, \
    p.assignee_id AS project_assignee_id, COALESCE(tj.jobs, 0) AS jobs, \
    COALESCE(tj.completed, 0) AS completed, COALESCE(tj.in_validation, 0) AS in_validation";

const FROM: &str = " FROM tasks t ";

const JOINED: &str = "LEFT JOIN projects p ON p.tenant_id = t.tenant_id AND p.id = t.project_id \
    LEFT JOIN task_jobs tj ON tj.tenant_id = t.tenant_id AND tj.task_id = t.id \
    LEFT JOIN directory_users o ON o.tenant_id = t.tenant_id AND o.id = t.owner_id \
    LEFT JOIN directory_users a ON a.tenant_id = t.tenant_id AND a.id = t.assignee_id \
    WHERE t.tenant_id = es_tenant()";

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    project_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    owner_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    assignee_id: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    assignee_updated_date: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    bug_tracker: String,
    #[diesel(sql_type = Text)]
    subset: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    organization_id: Option<i64>,
    #[diesel(sql_type = Text)]
    labels: String,
    #[diesel(sql_type = BigInt)]
    segment_size: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    overlap: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    size: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    created_date: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_date: DateTime<Utc>,
    #[diesel(sql_type = Nullable<BigInt>)]
    chunk_size: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    image_quality: Option<i64>,
    #[diesel(sql_type = Text)]
    mode: String,
    #[diesel(sql_type = Text)]
    dimension: String,
    #[diesel(sql_type = Nullable<Text>)]
    project_name: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    project_owner_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    project_assignee_id: Option<i64>,
    #[diesel(sql_type = BigInt)]
    jobs: i64,
    #[diesel(sql_type = BigInt)]
    completed: i64,
    #[diesel(sql_type = BigInt)]
    in_validation: i64,
}

/// A task with what its readers see besides.
#[derive(Clone, Debug)]
pub struct TaskView {
    pub fact: Fact,
    pub details: TaskDetails,
    project_owner_id: Option<i64>,
    project_assignee_id: Option<i64>,
}

impl TaskView {
    /// The caller's relations to it.
    pub fn ownership(&self, user_id: i64) -> Ownership {
        let is = |id: Option<i64>| id == Some(user_id);
        Ownership::NONE
            .with(Relation::Owner, is(self.fact.owner_id))
            .with(Relation::Assignee, is(self.fact.assignee_id))
            .with(Relation::ProjectOwner, is(self.project_owner_id))
            .with(Relation::ProjectAssignee, is(self.project_assignee_id))
    }
}

impl Row {
    fn view(self) -> Result<TaskView, StoreError> {
        let (mode, dimension) = (self.mode, self.dimension);
        let data = self.chunk_size.zip(self.image_quality).map(|(chunk_size, image_quality)| AttachedData {
            chunk_size,
            image_quality,
            mode,
            dimension,
        });
        Ok(TaskView {
            fact: Fact {
                id: self.id,
                name: self.name,
                project_id: self.project_id,
                owner_id: self.owner_id,
                assignee_id: self.assignee_id,
                assignee_updated_date: self.assignee_updated_date,
                bug_tracker: self.bug_tracker,
                subset: self.subset,
                status: self.status,
                organization_id: self.organization_id,
                labels: serde_json::from_str(&self.labels)?,
                segment_size: self.segment_size,
                overlap: self.overlap,
                size: self.size,
                data,
                created_date: self.created_date,
                updated_date: self.updated_date,
            },
            details: TaskDetails {
                project_name: self.project_name,
                jobs: self.jobs,
                completed: Some(self.completed),
                validation: Some(self.in_validation),
            },
            project_owner_id: self.project_owner_id,
            project_assignee_id: self.project_assignee_id,
        })
    }
}

/// A task of this tenant.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<TaskView>, StoreError> {
    Ok(find_all(tx, &[id]).await?.pop())
}

/// The tasks of these ids, in the same order.
async fn find_all(tx: &mut Tx, ids: &[i64]) -> Result<Vec<TaskView>, StoreError> {
    let rows: Vec<Row> = Sql::templated(format!(
        "{READ} FROM unnest($1) WITH ORDINALITY AS w (id, n) JOIN tasks t ON t.id = w.id {JOINED} ORDER BY w.n"
    ))
    .bind::<Array<BigInt>>(ids.to_vec())
    .load(&mut **tx)
    .await?;
    rows.into_iter().map(Row::view).collect()
}

/// Narrows a list to what the caller is related to. The permission's own condition says that already, but in a
/// way that PostgreSQL could only test task by task; this one it answers from indexes. As an array, because it takes
/// the member of a large project for somebody who sees all tasks, and would read them all.
fn push_related(sql: &mut Sql, user_id: i64) {
    sql.push(" AND t.id = ANY (ARRAY(SELECT id FROM tasks WHERE tenant_id = es_tenant() AND owner_id = ");
    sql.push_i64(user_id);
    sql.push(" UNION ALL SELECT id FROM tasks WHERE tenant_id = es_tenant() AND assignee_id = ");
    sql.push_i64(user_id);
    sql.push(
        " UNION ALL SELECT s.id FROM projects q JOIN tasks s ON s.tenant_id = q.tenant_id AND s.project_id = q.id \
         WHERE q.tenant_id = es_tenant() AND (q.owner_id = ",
    );
    sql.push_i64(user_id).push(" OR q.assignee_id = ");
    sql.push_i64(user_id).push(")))");
}

/// A page of the tasks that the caller may see.
///
/// # Errors
/// 404 for a page that is not there.
pub async fn list(
    tx: &mut Tx,
    caller: &Caller,
    visible: &Predicate,
    query: &ListQuery,
) -> Result<(Vec<TaskView>, Window), Refusal> {
    let conditions = |sql: &mut Sql| {
        sql.push(FROM).push(JOINED);
        if visible.needs_relation() {
            push_related(sql, caller.user_id());
        }
        push_predicate(sql, visible, &COLUMNS, caller.user_id());
        query.push_where(sql);
    };
    let (ids, window) = query.page_ids(tx, "t.id", conditions).await?;
    Ok((find_all(tx, &ids).await?, window))
}
