//! `labels`: one row a label of a project. Reading also looks at `task_labels`.

use contracts::projects::Label;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, StoreError, Tx};
use policy::Predicate;
use service_kit::list::{Field, Kind, ListFields, ListQuery, Order, Window};
use service_kit::organization::{Columns, push_predicate};
use service_kit::{Caller, Refusal};

use crate::domain::project::{Project, ProjectEvent};

/// What clients filter, search and sort by (CVAT 2.72). No label has a parent as long as there are no skeletons.
pub const FIELDS: ListFields = ListFields::new(
    "l.id",
    &[
        Field::new("color", "l.color", Kind::Text),
        Field::new("id", "l.id", Kind::Integer).without_simple(),
        Field::new("name", "l.name", Kind::Text).searchable(),
        Field::new("parent", "(NULL::text)", Kind::Text).searchable(),
        Field::new("parent_id", "(NULL::bigint)", Kind::Integer),
        Field::new("type", "l.type", Kind::Text),
    ],
)
.ordered_by(&[Order::ascending("l.id")]);

const OF_PROJECTS: Columns = Columns {
    owner: Some("p.owner_id"),
    assignee: Some("p.assignee_id"),
    ..Columns::of("p.organization_id")
};

/// A task with labels of its own has no project.
const OF_TASKS: Columns = Columns {
    owner: Some("t.owner_id"),
    assignee: Some("t.assignee_id"),
    ..Columns::of("t.organization_id")
};

const COLUMNS: &str = "id, project_id, NULL::bigint AS task_id, name, color, type, attributes FROM labels";
const TASK_COLUMNS: &str =
    "id, NULL::bigint AS project_id, task_id, name, color, type, attributes FROM task_labels";

/// What a label belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    Project(i64),
    Task(i64),
}

/// A label with what it belongs to.
pub struct HeldLabel {
    pub holder: Holder,
    pub label: Label,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    project_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    task_id: Option<i64>,
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
    fn label(self) -> Result<HeldLabel, StoreError> {
        let holder = match (self.project_id, self.task_id) {
            (Some(id), _) => Holder::Project(id),
            (None, Some(id)) => Holder::Task(id),
            (None, None) => return Err(StoreError::Corrupt(format!("nothing has the label {}", self.id))),
        };
        let attributes = serde_json::from_str(&self.attributes)?;
        let Self { id, name, color, label_type, .. } = self;
        Ok(HeldLabel { holder, label: Label { id, name, color, label_type, attributes } })
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
                | ProjectEvent::LeftOrganization { .. }
                | ProjectEvent::Followed { .. },
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
            insert(tx, Holder::Project(change.id), label).await?;
        }
        Ok(())
    })
}

/// Inserts a label into the table of its holder.
pub async fn insert(tx: &mut Tx, holder: Holder, label: &Label) -> Result<(), StoreError> {
    let (statement, holder_id) = match holder {
        Holder::Project(id) => (
            "INSERT INTO labels (tenant_id, id, project_id, name, color, type, attributes) \
             VALUES (es_tenant(), $1, $2, $3, $4, $5, $6::text::json)",
            id,
        ),
        Holder::Task(id) => (
            "INSERT INTO task_labels (tenant_id, id, task_id, name, color, type, attributes) \
             VALUES (es_tenant(), $1, $2, $3, $4, $5, $6::text::json)",
            id,
        ),
    };
    Sql::fixed(statement)
        .bind::<BigInt>(label.id)
        .bind::<BigInt>(holder_id)
        .bind::<Text>(label.name.clone())
        .bind::<Text>(label.color.clone())
        .bind::<Text>(label.label_type.clone())
        .bind::<Text>(serde_json::to_string(&label.attributes)?)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A label of this tenant.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<HeldLabel>, StoreError> {
    let rows: Vec<Row> = Sql::templated(format!(
        "SELECT id, project_id, task_id, name, color, type AS label_type, attributes::text AS attributes FROM (\
         SELECT {COLUMNS} WHERE tenant_id = es_tenant() AND id = $1 UNION ALL \
         SELECT {TASK_COLUMNS} WHERE tenant_id = es_tenant() AND id = $1) l"
    ))
    .bind::<BigInt>(id)
    .load(&mut **tx)
    .await?;
    rows.into_iter().next().map(Row::label).transpose()
}

/// Which labels a list shows.
pub enum Shown<'a> {
    /// Those of one project or task, which the caller may see.
    Of(Holder),
    /// Those of every project and task that the caller may see.
    Visible { projects: &'a Predicate, tasks: &'a Predicate },
}

impl Shown<'_> {
    fn push(&self, sql: &mut Sql, caller: &Caller) {
        match self {
            Self::Of(Holder::Project(id)) => {
                sql.push(&format!(" FROM (SELECT {COLUMNS} WHERE tenant_id = es_tenant() AND project_id = "));
                sql.push_i64(*id).push(") l WHERE TRUE");
            }
            Self::Of(Holder::Task(id)) => {
                sql.push(&format!(
                    " FROM (SELECT {TASK_COLUMNS} WHERE tenant_id = es_tenant() AND task_id = "
                ));
                sql.push_i64(*id).push(") l WHERE TRUE");
            }
            Self::Visible { projects, tasks } => {
                sql.push(&format!(" FROM (SELECT {COLUMNS} WHERE tenant_id = es_tenant() UNION ALL "));
                sql.push(&format!("SELECT {TASK_COLUMNS} WHERE tenant_id = es_tenant()) l "));
                sql.push("LEFT JOIN projects p ON p.tenant_id = es_tenant() AND p.id = l.project_id ");
                sql.push("LEFT JOIN tasks t ON t.tenant_id = es_tenant() AND t.id = l.task_id ");
                sql.push("WHERE ((p.id IS NOT NULL");
                push_predicate(sql, projects, &OF_PROJECTS, caller.user_id());
                sql.push(") OR (t.id IS NOT NULL");
                push_predicate(sql, tasks, &OF_TASKS, caller.user_id());
                sql.push("))");
            }
        }
    }
}

/// A page of labels.
///
/// # Errors
/// 404 for a page that is not there.
pub async fn list(
    tx: &mut Tx,
    caller: &Caller,
    shown: &Shown<'_>,
    query: &ListQuery,
) -> Result<(Vec<HeldLabel>, Window), Refusal> {
    #[derive(diesel::QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let mut count = Sql::composed("SELECT count(*) AS count");
    shown.push(&mut count, caller);
    query.push_where(&mut count);
    let Count { count } = count.get_result(&mut **tx).await?;
    let window = query.window(count)?;
    let mut rows = Sql::composed(
        "SELECT l.id, l.project_id, l.task_id, l.name, l.color, l.type AS label_type, \
         l.attributes::text AS attributes",
    );
    shown.push(&mut rows, caller);
    query.push_where(&mut rows);
    query.push_order_and_page(&mut rows, &window);
    let rows: Vec<Row> = rows.load(&mut **tx).await?;
    let labels = rows.into_iter().map(Row::label).collect::<Result<_, _>>()?;
    Ok((labels, window))
}
