//! Who may do what with the data of a task, of a job, and with a project's preview.
//!
//! What was allowed is remembered, because frames are asked for by the hundred and a look into the database costs more
//! than a frame. It is forgotten as soon as this replica has taken in any news at all; news that another replica has
//! taken in forget it after [`REMEMBERED`], which is less than what news need from service to service. Who is asking is
//! no part of it: each request's credential is checked anew, so a session that has ended ends here as everywhere.

use std::time::Duration;

use contracts::TenantId;
use moka::future::Cache;
use policy::{LimitInput, Ownership, Privilege, Relation, Resource};
use service_kit::{Caller, Kit, Refusal};

use crate::projections::known_jobs::{self, KnownJob};
use crate::projections::known_projects;
use crate::projections::known_tasks::{self, KnownTask};

/// How long a right is remembered without news.
const REMEMBERED: Duration = Duration::from_millis(100);

/// Who, what, and for what.
type Question = (TenantId, i64, Option<Privilege>, Resource, i64, &'static str);

/// What was allowed a moment ago, each with the [`news`] that it rests on.
struct Allowed {
    tasks: Cache<Question, (u64, KnownTask)>,
    jobs: Cache<Question, (u64, KnownJob, KnownTask)>,
}

/// How often this replica has taken in news: about tasks and jobs, or about roles.
fn news(kit: &Kit) -> u64 {
    *kit.store.wake().follow_taken().borrow()
}

impl Default for Allowed {
    fn default() -> Self {
        Self {
            tasks: Cache::builder().max_capacity(20_000).time_to_live(REMEMBERED).build(),
            jobs: Cache::builder().max_capacity(20_000).time_to_live(REMEMBERED).build(),
        }
    }
}

fn question(caller: &Caller, resource: Resource, id: i64, scope: &'static str) -> Question {
    (caller.tenant(), caller.user_id(), caller.principal.privilege, resource, id, scope)
}

/// A task that the caller may do this with.
///
/// # Errors
/// 404 for none of the caller's tenant, 403 when it is not allowed, 503 when that cannot be known yet.
pub async fn task(kit: &Kit, caller: &Caller, id: i64, scope: &'static str) -> Result<KnownTask, Refusal> {
    let allowed = kit.shared::<Allowed>();
    let question = question(caller, Resource::Tasks, id, scope);
    // Before anything is read: what comes while it is read may or may not be in it.
    let news = news(kit);
    if let Some((_, task)) = allowed.tasks.get(&question).await.filter(|(then, _)| *then == news) {
        return Ok(task);
    }
    let task = known_task(kit, caller.tenant(), id).await?;
    let ownership = relations(
        caller.user_id(),
        [
            (Relation::Owner, task.owner_id),
            (Relation::Assignee, task.assignee_id),
            (Relation::ProjectOwner, task.project_owner_id),
            (Relation::ProjectAssignee, task.project_assignee_id),
        ],
    );
    permit(kit, caller, Resource::Tasks, scope, task.organization_id, ownership).await?;
    allowed.tasks.insert(question, (news, task.clone())).await;
    Ok(task)
}

/// A job that the caller may do this with, and its task.
///
/// # Errors
/// As [`task`].
pub async fn job(
    kit: &Kit,
    caller: &Caller,
    id: i64,
    scope: &'static str,
) -> Result<(KnownJob, KnownTask), Refusal> {
    let allowed = kit.shared::<Allowed>();
    let question = question(caller, Resource::Jobs, id, scope);
    let news = news(kit);
    if let Some((_, job, task)) = allowed.jobs.get(&question).await.filter(|(then, ..)| *then == news) {
        return Ok((job, task));
    }
    let find = async |tx: &mut event_store::Tx| known_jobs::find(tx, id).await;
    let job = kit.find_late(caller.tenant(), ("projects", "job", id), find).await?;
    let job = job.ok_or_else(Refusal::not_found)?;
    let task = known_task(kit, caller.tenant(), job.task_id).await?;
    let ownership = relations(
        caller.user_id(),
        [
            (Relation::Assignee, job.assignee_id),
            (Relation::TaskOwner, task.owner_id),
            (Relation::TaskAssignee, task.assignee_id),
            (Relation::ProjectOwner, task.project_owner_id),
            (Relation::ProjectAssignee, task.project_assignee_id),
        ],
    );
    permit(kit, caller, Resource::Jobs, scope, task.organization_id, ownership).await?;
    allowed.jobs.insert(question, (news, job.clone(), task.clone())).await;
    Ok((job, task))
}

/// Lets the caller see a project, or refuses.
///
/// # Errors
/// As [`task`].
pub async fn project(kit: &Kit, caller: &Caller, id: i64) -> Result<(), Refusal> {
    let find = async |tx: &mut event_store::Tx| known_projects::find(tx, id).await;
    let project = kit.find_late(caller.tenant(), ("projects", "project", id), find).await?;
    let project = project.ok_or_else(Refusal::not_found)?;
    let ownership = relations(
        caller.user_id(),
        [(Relation::Owner, project.owner_id), (Relation::Assignee, project.assignee_id)],
    );
    permit(kit, caller, Resource::Projects, "view", project.organization_id, ownership).await
}

/// A task with all that permissions rest on.
async fn known_task(kit: &Kit, tenant: TenantId, id: i64) -> Result<KnownTask, Refusal> {
    let find = async |tx: &mut event_store::Tx| known_tasks::find(tx, id).await;
    let task = kit.find_late(tenant, ("projects", "task", id), find).await?;
    let task = task.ok_or_else(Refusal::not_found)?;
    let Some(project_id) = task.project_id.filter(|_| !task.complete) else { return Ok(task) };
    kit.await_stream(tenant, "projects", "project", project_id).await?;
    let task = kit.find_late(tenant, ("projects", "task", id), find).await?;
    task.ok_or_else(Refusal::not_found)
}

fn relations<const N: usize>(user_id: i64, people: [(Relation, Option<i64>); N]) -> Ownership {
    people
        .into_iter()
        .fold(Ownership::NONE, |set, (relation, person)| set.with(relation, person == Some(user_id)))
}

async fn permit(
    kit: &Kit,
    caller: &Caller,
    resource: Resource,
    scope: &str,
    organization_id: Option<i64>,
    ownership: Ownership,
) -> Result<(), Refusal> {
    let (table, subject) = (policy::table(resource), caller.subject());
    kit.permit(caller, organization_id, |context| {
        table.decide(scope, &subject, context, ownership, &LimitInput::NONE)
    })
    .await
}
