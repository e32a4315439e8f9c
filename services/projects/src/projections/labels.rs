//! `labels`: one row a label.

use contracts::projects::Label;
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, StoreError, Tx};
use policy::Predicate;
use service_kit::list::{Field, Kind, ListFields, ListQuery, Order, Window};
use service_kit::organization::{Columns, push_predicate};
use service_kit::{Caller, Refusal};

use crate::domain::project::{Project, ProjectEvent};

/// What clients filter, search and sort by (CVAT 2.72).
pub const FIELDS: ListFields = ListFields::new(
    "l.id",
    &[
        Field::new("color", "l.color", Kind::Text),
        Field::new("id", "l.id", Kind::Integer).without_simple(),
        Field::new("name", "l.name", Kind::Text).searchable(),
        Field::new("type", "l.type", Kind::Text),
        Field::new("project_id", "l.project_id", Kind::Integer).without_filter().without_sort(),
        // No label has one of these yet, so whoever asks for one must not be shown them all.
        Field::new("task_id", "NULL::bigint", Kind::Integer).without_filter().without_sort(),
        Field::new("job_id", "NULL::bigint", Kind::Integer).without_filter().without_sort(),
        Field::new("parent_id", "NULL::bigint", Kind::Integer).without_filter().without_sort(),
    ],
)
.ordered_by(&[Order::ascending("l.id")]);

const COLUMNS: Columns = Columns {
    organization: "p.organization_id",
    owner: Some("p.owner_id"),
    assignee: Some("p.assignee_id"),
    project_owner: None,
};

/// A label with its project.
pub struct ProjectLabel {
    pub project_id: i64,
    pub label: Label,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    project_id: i64,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    color: String,
    #[diesel(sql_type = Text)]
    label_type: String,
    #[diesel(sql_type = Text)]
    attributes: String,
}

impl Row {
    fn label(self) -> Result<ProjectLabel, StoreError> {
        let attributes = serde_json::from_str(&self.attributes)?;
        let Self { id, project_id, name, color, label_type, .. } = self;
        Ok(ProjectLabel { project_id, label: Label { id, name, color, label_type, attributes } })
    }
}

/// Keeps the table: a project's rows are replaced when its labels change.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Project>) -> Applied<'a> {
    Box::pin(async move {
        let labels: &[Label] = match (change.event, &change.after.current) {
            (ProjectEvent::Created(_) | ProjectEvent::Updated { labels: Some(_), .. }, Some(project)) => {
                &project.labels
            }
            (ProjectEvent::Deleted, _) => &[],
            (
                ProjectEvent::Created(_)
                | ProjectEvent::Updated { .. }
                | ProjectEvent::LeftOrganization { .. },
                _,
            ) => return Ok(()),
        };
        if change.version > 1 {
            Sql::fixed("DELETE FROM labels WHERE tenant_id = es_tenant() AND project_id = $1")
                .bind::<BigInt>(change.id)
                .execute(&mut **tx)
                .await?;
        }
        for label in labels {
            insert(tx, change.id, label).await?;
        }
        Ok(())
    })
}

async fn insert(tx: &mut Tx, project_id: i64, label: &Label) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO labels (tenant_id, id, project_id, name, color, type, attributes) \
         VALUES (es_tenant(), $1, $2, $3, $4, $5, $6::text::json)",
    )
    .bind::<BigInt>(label.id)
    .bind::<BigInt>(project_id)
    .bind::<Text>(label.name.clone())
    .bind::<Text>(label.color.clone())
    .bind::<Text>(label.label_type.clone())
    .bind::<Text>(serde_json::to_string(&label.attributes)?)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A label of this tenant.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<ProjectLabel>, StoreError> {
    let rows: Vec<Row> = Sql::fixed(
        "SELECT id, project_id, name, color, type AS label_type, attributes::text AS attributes \
         FROM labels WHERE tenant_id = es_tenant() AND id = $1",
    )
    .bind::<BigInt>(id)
    .load(&mut **tx)
    .await?;
    rows.into_iter().next().map(Row::label).transpose()
}

/// A page of the labels of projects that the caller may see.
///
/// # Errors
/// 404 for a page that is not there.
pub async fn list(
    tx: &mut Tx,
    caller: &Caller,
    visible: &Predicate,
    query: &ListQuery,
) -> Result<(Vec<ProjectLabel>, Window), Refusal> {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let conditions = |sql: &mut Sql| {
        sql.push(
            " FROM labels l JOIN projects p ON p.tenant_id = l.tenant_id AND p.id = l.project_id \
             WHERE l.tenant_id = es_tenant()",
        );
        push_predicate(sql, visible, &COLUMNS, caller.user_id());
        query.push_where(sql);
    };
    let mut count = Sql::composed("SELECT count(*) AS count");
    conditions(&mut count);
    let Count { count } = count.get_result(&mut **tx).await?;
    let window = query.window(count)?;
    let mut rows = Sql::composed(
        "SELECT l.id, l.project_id, l.name, l.color, l.type AS label_type, l.attributes::text AS attributes",
    );
    conditions(&mut rows);
    query.push_order_and_page(&mut rows, &window);
    let rows: Vec<Row> = rows.load(&mut **tx).await?;
    let labels = rows.into_iter().map(Row::label).collect::<Result<_, _>>()?;
    Ok((labels, window))
}
