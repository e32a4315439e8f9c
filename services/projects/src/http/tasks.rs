//! `/api/tasks`.

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use contracts::projects::{Project as ProjectFact, Task as Fact};
use event_store::{Tx, Unit};
use policy::{LimitInput, Ownership, Relation, Resource};
use serde::Deserialize;
use service_kit::auth::url_of;
use service_kit::body::FieldErrors;
use service_kit::cvat::task::TaskRead;
use service_kit::list::{ListQuery, Page, Place};
use service_kit::organization::{Scope, permit};
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Selection, Write, directory};
use utoipa::ToSchema;

use super::annotation_writes;
use super::fields::{self, StorageWrite, check_user, present, unknown};
use super::label_writes::{self, LabelWrite};
use crate::cascade;
use crate::domain::project::Project;
use crate::domain::task::{CreateTask, Task, TaskCommand, UpdateTask};
use crate::projections::labels::Holder;
use crate::projections::task_list::{self, TaskView};
use crate::projections::{annotation_jobs, projects};

/// The greatest number that CVAT has a column for.
const NUMBER_MAX: i64 = 2_147_483_647;

/// A new task: in a project, or with labels of its own.
#[derive(Deserialize, ToSchema)]
pub struct TaskWrite {
    name: String,
    project_id: Option<i64>,
    owner_id: Option<i64>,
    assignee_id: Option<i64>,
    #[serde(default)]
    bug_tracker: String,
    /// Frames that neighbouring jobs share.
    overlap: Option<i64>,
    /// Frames of a job; 0 for one job over all of them.
    #[serde(default)]
    segment_size: i64,
    #[serde(default)]
    labels: Vec<LabelWrite>,
    #[serde(default)]
    subset: String,
    /// Only `local` storage is available.
    source_storage: Option<StorageWrite>,
    /// Only `local` storage is available.
    target_storage: Option<StorageWrite>,
    /// Only 0: consensus is not available.
    consensus_replicas: Option<i64>,
}

/// A change of a task; absent fields stay as they are.
#[derive(Default, Deserialize, ToSchema)]
pub struct PatchedTaskWrite {
    name: Option<String>,
    /// Only what it is: tasks do not move between projects.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    project_id: Option<Option<i64>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    owner_id: Option<Option<i64>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    assignee_id: Option<Option<i64>>,
    bug_tracker: Option<String>,
    labels: Option<Vec<LabelWrite>>,
    subset: Option<String>,
    source_storage: Option<StorageWrite>,
    target_storage: Option<StorageWrite>,
}

fn check_new(body: &TaskWrite) -> Result<(), Refusal> {
    let mut errors = FieldErrors::default();
    let storages = [&body.source_storage, &body.target_storage];
    fields::check(&mut errors, Some(&body.name), Some(&body.bug_tracker), storages);
    errors.max("subset", &body.subset, 64);
    for (field, number) in [("segment_size", Some(body.segment_size)), ("overlap", body.overlap)] {
        let number = number.unwrap_or(0);
        errors.check(number >= 0, field, "Ensure this value is greater than or equal to 0.");
        let text = format!("Ensure this value is less than or equal to {NUMBER_MAX}.");
        errors.check(number <= NUMBER_MAX, field, text);
    }
    let replicas = body.consensus_replicas.unwrap_or(0);
    errors.check(replicas == 0, "consensus_replicas", "Consensus is not available.");
    errors.finish()?;
    label_writes::check_new(&body.labels)
}

/// Creates a task: in its project's workspace, else in the personal one or in the organization that the request
/// names.
#[utoipa::path(request_body = TaskWrite, responses((status = 201, body = TaskRead)), tag = "tasks")]
#[post("/api/tasks")]
pub async fn create_task(kit: web::Data<Kit>, caller: Caller, request: Write<TaskWrite>) -> Answer {
    let body = &request.body;
    check_new(body)?;
    let owner_id = body.owner_id.filter(|_| caller.is_admin()).unwrap_or_else(|| caller.user_id());
    kit.write(&caller, &request, async |unit| {
        let organization_id = permitted_place(unit, &caller, &request).await?;
        check_user(unit.tx(), "owner_id", body.owner_id).await?;
        check_user(unit.tx(), "assignee_id", body.assignee_id).await?;
        let (id, at) = (unit.new_ids_of("task", 1).await?[0], unit.store().clock().now());
        let create = CreateTask {
            id,
            name: body.name.trim().to_owned(),
            project_id: body.project_id,
            owner_id,
            assignee_id: body.assignee_id,
            bug_tracker: body.bug_tracker.clone(),
            subset: body.subset.clone(),
            organization_id,
            labels: label_writes::new_labels(unit, &body.labels).await?,
            segment_size: body.segment_size,
            overlap: body.overlap,
            at,
        };
        unit.execute::<Task>(id, TaskCommand::Create(Box::new(create))).await?;
        if let Some(project_id) = body.project_id {
            cascade::tasks_changed::<Refusal>(unit, project_id, at).await?;
        }
        Reply::created(&read(unit, &caller, id).await?)
    })
    .await
}

/// Where a new task will be, if the caller may create one there; returns the organization. What it is in stays
/// until the end of the unit: whoever hears of its end meanwhile waits, and then finds the task.
async fn permitted_place(
    unit: &mut Unit,
    caller: &Caller,
    request: &Write<TaskWrite>,
) -> Result<Option<i64>, Refusal> {
    let (organization_id, scope, ownership) = match request.body.project_id {
        None => {
            let scope = Scope::hold(unit.tx(), caller, &request.selection).await?;
            (scope.organization_id(), "create", Ownership::NONE)
        }
        Some(id) => {
            let project = held_project(unit, id).await?;
            let is = |person: Option<i64>| person == Some(caller.user_id());
            let ownership = Ownership::NONE
                .with(Relation::ProjectOwner, is(project.owner_id))
                .with(Relation::ProjectAssignee, is(project.assignee_id));
            (project.organization_id, "create@project", ownership)
        }
    };
    let (table, subject) = (policy::table(Resource::Tasks), caller.subject());
    permit(unit.tx(), caller, organization_id, |context| {
        table.decide(scope, &subject, context, ownership, &LimitInput::NONE)
    })
    .await?;
    Ok(organization_id)
}

/// A project that stays until the end of the unit, and so does its organization. One whose organization has ended
/// is its owner's own, even if it has not been taken out yet.
async fn held_project(unit: &mut Unit, id: i64) -> Result<ProjectFact, Refusal> {
    let not_there = || unknown("project_id", id);
    // The organization first, as whoever takes the projects out of it does.
    let organization_id = projects::find(unit.tx(), id).await?.ok_or_else(not_there)?.organization_id;
    let held = match organization_id {
        Some(organization_id) => directory::hold_organization(unit.tx(), organization_id).await?,
        None => false,
    };
    let project = unit.load::<Project>(id).await?.unwrap_or_default();
    let project = project.alive().map_err(|_| not_there())?;
    let organization_id = project.organization_id.filter(|_| held);
    Ok(ProjectFact { organization_id, ..project.clone() })
}

service_kit::list_params!(TaskList, task_list::FIELDS, Place::Organization);

/// Lists the tasks that the caller may see.
#[utoipa::path(params(TaskList), responses((status = 200, body = Page<TaskRead>)), tag = "tasks")]
#[get("/api/tasks")]
pub async fn list_tasks(
    kit: web::Data<Kit>,
    caller: Caller,
    selection: Selection,
    request: HttpRequest,
) -> Answer {
    let query = ListQuery::from_query_string(request.query_string(), &task_list::FIELDS)?;
    let scope = kit.scope(&caller, &selection).await?;
    let visible = policy::table(Resource::Tasks).visible(&caller.subject(), &scope.list());
    let (results, window) = kit
        .read(&caller, async |tx| {
            let (views, window) = task_list::list(tx, &caller, &visible, &query).await?;
            Ok((render(tx, &caller.base_url, &views).await?, window))
        })
        .await?;
    Ok(HttpResponse::Ok().json(Page::new(results, &window, &url_of(&request))))
}

/// Shows a task.
#[utoipa::path(responses((status = 200, body = TaskRead)), tag = "tasks")]
#[get("/api/tasks/{id}")]
pub async fn get_task(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    let view = authorised_view(&kit, &caller, *id, &["view"]).await?;
    let results = kit.read(&caller, async |tx| render(tx, &caller.base_url, &[view]).await).await?;
    Ok(HttpResponse::Ok().json(results.into_iter().next()))
}

/// Changes a task: its name, people, subset and own labels.
#[utoipa::path(request_body = PatchedTaskWrite, responses((status = 200, body = TaskRead)), tag = "tasks")]
#[patch("/api/tasks/{id}")]
pub async fn update_task(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write<PatchedTaskWrite>,
) -> Answer {
    let body = &request.body;
    let mut errors = FieldErrors::default();
    let storages = [&body.source_storage, &body.target_storage];
    fields::check(&mut errors, body.name.as_deref(), body.bug_tracker.as_deref(), storages);
    errors.max("subset", body.subset.as_deref().unwrap_or_default(), 64);
    errors.finish()?;
    let labels = body.labels.as_deref().unwrap_or_default();
    label_writes::check(labels)?;
    kit.write(&caller, &request, async |unit| {
        if labels.iter().any(|label| label.deleted) {
            annotation_jobs::lock_labels(unit.tx(), Holder::Task(*id)).await?;
        }
        locked(unit, &caller, *id, &scopes(body)).await?;
        check_user(unit.tx(), "owner_id", body.owner_id.flatten()).await?;
        check_user(unit.tx(), "assignee_id", body.assignee_id.flatten()).await?;
        let at = unit.store().clock().now();
        let update = UpdateTask {
            name: body.name.as_ref().map(|name| name.trim().to_owned()),
            project_id: body.project_id,
            owner_id: body.owner_id,
            assignee_id: body.assignee_id,
            bug_tracker: body.bug_tracker.clone(),
            subset: body.subset.clone(),
            labels: label_writes::patches(unit, labels).await?,
            at,
        };
        let deleted = annotation_writes::deleted(&update.labels);
        let task = unit.execute::<Task>(*id, TaskCommand::Update(Box::new(update))).await?.state;
        annotation_writes::remove_labelled(unit, Holder::Task(*id), &deleted).await?;
        if let Some(project_id) = task.current.and_then(|fact| fact.project_id) {
            cascade::tasks_changed::<Refusal>(unit, project_id, at).await?;
        }
        Reply::ok(&read(unit, &caller, *id).await?)
    })
    .await
}

/// What a change needs permission for.
fn scopes(body: &PatchedTaskWrite) -> Vec<&'static str> {
    let mut scopes = vec![];
    if body.owner_id.is_some() {
        scopes.push("update:owner");
    }
    if body.assignee_id.is_some() {
        scopes.push("update:assignee");
    }
    if body.project_id.is_some() {
        scopes.push("update:project");
    }
    let describes = body.name.is_some()
        || body.bug_tracker.is_some()
        || body.labels.is_some()
        || body.subset.is_some()
        || scopes.is_empty();
    if describes {
        scopes.push("update:desc");
    }
    scopes
}

/// Deletes a task with its jobs and annotations.
#[utoipa::path(responses((status = 204)), tag = "tasks")]
#[delete("/api/tasks/{id}")]
pub async fn delete_task(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>, request: Write) -> Answer {
    kit.write(&caller, &request, async |unit| {
        locked(unit, &caller, *id, &["delete"]).await?;
        cascade::delete_task::<Refusal>(unit, *id).await?;
        Ok(Reply::no_content())
    })
    .await
}

/// A task that the caller may do all these things with.
pub async fn authorised(kit: &Kit, caller: &Caller, id: i64, scopes: &[&str]) -> Result<Fact, Refusal> {
    Ok(authorised_view(kit, caller, id, scopes).await?.fact)
}

async fn authorised_view(kit: &Kit, caller: &Caller, id: i64, scopes: &[&str]) -> Result<TaskView, Refusal> {
    kit.read_late(caller, async |tx| permitted(tx, caller, id, scopes).await).await
}

/// The same inside a write: nobody changes the task until the end of it.
pub async fn locked(unit: &mut Unit, caller: &Caller, id: i64, scopes: &[&str]) -> Result<TaskView, Refusal> {
    unit.lock::<Task>(&[id]).await?;
    permitted(unit.tx(), caller, id, scopes).await
}

/// The same inside a write that locks what it changes by itself.
pub async fn permitted(tx: &mut Tx, caller: &Caller, id: i64, scopes: &[&str]) -> Result<TaskView, Refusal> {
    let view = task_list::find(tx, id).await?.ok_or_else(Refusal::not_found)?;
    let ownership = view.ownership(caller.user_id());
    let (table, subject) = (policy::table(Resource::Tasks), caller.subject());
    for scope in scopes {
        permit(tx, caller, view.fact.organization_id, |context| {
            table.decide(scope, &subject, context, ownership, &LimitInput::NONE)
        })
        .await?;
    }
    Ok(view)
}

async fn read(unit: &mut Unit, caller: &Caller, id: i64) -> Result<TaskRead, Refusal> {
    let view = task_list::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)?;
    let mut rendered = render(unit.tx(), &caller.base_url, &[view]).await?;
    rendered.pop().ok_or_else(Refusal::not_found)
}

async fn render(tx: &mut Tx, base_url: &str, views: &[TaskView]) -> Result<Vec<TaskRead>, Refusal> {
    let people = views.iter().flat_map(|view| [view.fact.owner_id, view.fact.assignee_id]).flatten();
    let users = directory::users(tx, people).await?;
    Ok(views.iter().map(|view| TaskRead::new(&view.fact, &view.details, &users, base_url)).collect())
}
