//! `projects`: one row a project.

use chrono::{DateTime, Utc};
use contracts::projects::Project as Fact;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, StoreError, Tx};
use policy::Predicate;
use service_kit::list::{Field, Kind, ListFields, ListQuery, Window};
use service_kit::organization::{Columns, push_predicate};
use service_kit::{Caller, Refusal};

use crate::domain::project::{Project, ProjectEvent};

const STATUSES: &[&str] = &["annotation", "validation", "completed"];

/// What clients filter, search and sort by (CVAT 2.72).
pub const FIELDS: ListFields = ListFields::new(
    "p.id",
    &[
        Field::new("assignee", "a.username", Kind::Text).searchable(),
        Field::new("id", "p.id", Kind::Integer).without_simple(),
        Field::new("name", "p.name", Kind::Text).searchable(),
        Field::new("owner", "o.username", Kind::Text).searchable(),
        Field::new("status", "p.status", Kind::Choice(STATUSES)),
        Field::new("updated_date", "GREATEST(p.updated_date, pj.touched_date)", Kind::Timestamp)
            .without_simple(),
    ],
);

/// Where permissions look.
const COLUMNS: Columns = Columns {
    owner: Some("p.owner_id"),
    assignee: Some("p.assignee_id"),
    ..Columns::of("p.organization_id")
};

const FROM: &str = " FROM projects p \
    LEFT JOIN project_jobs pj ON pj.tenant_id = p.tenant_id AND pj.project_id = p.id \
    LEFT JOIN directory_users o ON o.tenant_id = p.tenant_id AND o.id = p.owner_id \
    LEFT JOIN directory_users a ON a.tenant_id = p.tenant_id AND a.id = p.assignee_id \
    WHERE p.tenant_id = es_tenant()";

const COLUMNS_READ: &str = "SELECT p.id, p.name, p.owner_id, p.assignee_id, p.assignee_updated_date, \
    p.bug_tracker, p.status, p.organization_id, p.labels::text AS labels, p.created_date, \
    GREATEST(p.updated_date, pj.touched_date) AS updated_date";

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    owner_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    assignee_id: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    assignee_updated_date: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    bug_tracker: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    organization_id: Option<i64>,
    #[diesel(sql_type = Text)]
    labels: String,
    #[diesel(sql_type = Timestamptz)]
    created_date: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    updated_date: DateTime<Utc>,
}

impl Row {
    fn fact(self) -> Result<Fact, StoreError> {
        Ok(Fact {
            id: self.id,
            name: self.name,
            owner_id: self.owner_id,
            assignee_id: self.assignee_id,
            assignee_updated_date: self.assignee_updated_date,
            bug_tracker: self.bug_tracker,
            status: self.status,
            organization_id: self.organization_id,
            labels: serde_json::from_str(&self.labels)?,
            created_date: self.created_date,
            updated_date: self.updated_date,
        })
    }
}

/// Keeps the table.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Project>) -> Applied<'a> {
    Box::pin(async move {
        match (change.event, &change.after.current) {
            (ProjectEvent::Deleted, _) => delete(tx, change.id).await,
            (
                ProjectEvent::Created(_)
                | ProjectEvent::Updated { .. }
                | ProjectEvent::LeftOrganization { .. }
                | ProjectEvent::Followed { .. },
                Some(project),
            ) => put(tx, project).await,
            (_, None) => Ok(()),
        }
    })
}

async fn delete(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM projects WHERE tenant_id = es_tenant() AND id = $1")
        .bind::<BigInt>(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn put(tx: &mut Tx, project: &Fact) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO projects (tenant_id, id, name, owner_id, assignee_id, assignee_updated_date, bug_tracker, \
         status, organization_id, labels, created_date, updated_date) \
         VALUES (es_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9::text::json, $10, $11) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name, owner_id = excluded.owner_id, \
         assignee_id = excluded.assignee_id, assignee_updated_date = excluded.assignee_updated_date, \
         bug_tracker = excluded.bug_tracker, status = excluded.status, \
         organization_id = excluded.organization_id, labels = excluded.labels, \
         updated_date = excluded.updated_date",
    )
    .bind::<BigInt>(project.id)
    .bind::<Text>(project.name.clone())
    .bind::<Nullable<BigInt>>(project.owner_id)
    .bind::<Nullable<BigInt>>(project.assignee_id)
    .bind::<Nullable<Timestamptz>>(project.assignee_updated_date)
    .bind::<Text>(project.bug_tracker.clone())
    .bind::<Text>(project.status.clone())
    .bind::<Nullable<BigInt>>(project.organization_id)
    .bind::<Text>(serde_json::to_string(&project.labels)?)
    .bind::<Timestamptz>(project.created_date)
    .bind::<Timestamptz>(project.updated_date)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A project of this tenant.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<Fact>, StoreError> {
    let rows: Vec<Row> = Sql::templated(format!("{COLUMNS_READ}{FROM} AND p.id = $1"))
        .bind::<BigInt>(id)
        .load(&mut **tx)
        .await?;
    rows.into_iter().next().map(Row::fact).transpose()
}

/// The projects of an organization, by id.
pub async fn ids_of_organization(tx: &mut Tx, organization_id: i64) -> Result<Vec<i64>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let rows: Vec<Id> = Sql::fixed(
        "SELECT id FROM projects WHERE tenant_id = es_tenant() AND organization_id = $1 ORDER BY id",
    )
    .bind::<BigInt>(organization_id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// A page of the projects that the caller may see.
///
/// # Errors
/// 404 for a page that is not there.
pub async fn list(
    tx: &mut Tx,
    caller: &Caller,
    visible: &Predicate,
    query: &ListQuery,
) -> Result<(Vec<Fact>, Window), Refusal> {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let conditions = |sql: &mut Sql| {
        sql.push(FROM);
        push_predicate(sql, visible, &COLUMNS, caller.user_id());
        query.push_where(sql);
    };
    let mut count = Sql::composed("SELECT count(*) AS count");
    conditions(&mut count);
    let Count { count } = count.get_result(&mut **tx).await?;
    let window = query.window(count)?;
    let mut rows = Sql::composed(COLUMNS_READ);
    conditions(&mut rows);
    query.push_order_and_page(&mut rows, &window);
    let rows: Vec<Row> = rows.load(&mut **tx).await?;
    let facts = rows.into_iter().map(Row::fact).collect::<Result<_, _>>()?;
    Ok((facts, window))
}
