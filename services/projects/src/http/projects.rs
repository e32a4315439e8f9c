//! `/api/projects`.

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use contracts::projects::Project as Fact;
use event_store::{Tx, Unit};
use policy::{LimitInput, Resource};
use serde::Deserialize;
use service_kit::auth::url_of;
use service_kit::body::FieldErrors;
use service_kit::cvat::project::ProjectRead;
use service_kit::list::{ListQuery, Page, Place};
use service_kit::organization::{Scope, ownership, permit};
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Selection, Write, directory};
use utoipa::ToSchema;

use super::annotation_writes;
use super::fields::{self, StorageWrite, check_user, present};
use super::label_writes::{self, LabelWrite};
use crate::cascade;
use crate::domain::project::{CreateProject, Project, ProjectCommand, UpdateProject};
use crate::projections::labels::Holder;
use crate::projections::{annotation_jobs, project_tasks, projects};

/// A new project.
#[derive(Deserialize, ToSchema)]
pub struct ProjectWrite {
    name: String,
    #[serde(default)]
    labels: Vec<LabelWrite>,
    owner_id: Option<i64>,
    assignee_id: Option<i64>,
    #[serde(default)]
    bug_tracker: String,
    /// Only `local` storage is available.
    source_storage: Option<StorageWrite>,
    /// Only `local` storage is available.
    target_storage: Option<StorageWrite>,
}

/// A change of a project; absent fields stay as they are.
#[derive(Default, Deserialize, ToSchema)]
pub struct PatchedProjectWrite {
    name: Option<String>,
    labels: Option<Vec<LabelWrite>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    owner_id: Option<Option<i64>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    assignee_id: Option<Option<i64>>,
    bug_tracker: Option<String>,
    source_storage: Option<StorageWrite>,
    target_storage: Option<StorageWrite>,
}

/// Creates a project in the personal workspace or in the organization that the request names.
#[utoipa::path(request_body = ProjectWrite, responses((status = 201, body = ProjectRead)), tag = "projects")]
#[post("/api/projects")]
pub async fn create_project(kit: web::Data<Kit>, caller: Caller, request: Write<ProjectWrite>) -> Answer {
    let body = &request.body;
    let mut errors = FieldErrors::default();
    let storages = [&body.source_storage, &body.target_storage];
    fields::check(&mut errors, Some(&body.name), Some(&body.bug_tracker), storages);
    errors.finish()?;
    label_writes::check_new(&body.labels)?;
    let owner_id = body.owner_id.filter(|_| caller.is_admin()).unwrap_or_else(|| caller.user_id());
    kit.write(&caller, &request, async |unit| {
        // The organization is held until the project is there for whoever hears of the organization's end.
        let scope = Scope::hold(unit.tx(), &caller, &request.selection).await?;
        let (table, subject) = (policy::table(Resource::Projects), caller.subject());
        permit(unit.tx(), &caller, scope.organization_id(), |context| {
            table.decide("create", &subject, context, policy::Ownership::NONE, &LimitInput::NONE)
        })
        .await?;
        check_user(unit.tx(), "owner_id", body.owner_id).await?;
        check_user(unit.tx(), "assignee_id", body.assignee_id).await?;
        let id = unit.new_ids_of("project", 1).await?[0];
        let create = CreateProject {
            id,
            name: body.name.trim().to_owned(),
            owner_id,
            assignee_id: body.assignee_id,
            bug_tracker: body.bug_tracker.clone(),
            organization_id: scope.organization_id(),
            labels: label_writes::new_labels(unit, &body.labels).await?,
            at: unit.store().clock().now(),
        };
        unit.execute::<Project>(id, ProjectCommand::Create(Box::new(create))).await?;
        Reply::created(&read(unit, &caller, id).await?)
    })
    .await
}

service_kit::list_params!(ProjectList, projects::FIELDS, Place::Organization);

/// Lists the projects that the caller may see.
#[utoipa::path(params(ProjectList), responses((status = 200, body = Page<ProjectRead>)), tag = "projects")]
#[get("/api/projects")]
pub async fn list_projects(
    kit: web::Data<Kit>,
    caller: Caller,
    selection: Selection,
    request: HttpRequest,
) -> Answer {
    let query = ListQuery::from_query_string(request.query_string(), &projects::FIELDS)?;
    let scope = kit.scope(&caller, &selection).await?;
    let visible = policy::table(Resource::Projects).visible(&caller.subject(), &scope.list());
    let (results, window) = kit
        .read(&caller, async |tx| {
            let (facts, window) = projects::list(tx, &caller, &visible, &query).await?;
            Ok((render(tx, &caller.base_url, &facts).await?, window))
        })
        .await?;
    Ok(HttpResponse::Ok().json(Page::new(results, &window, &url_of(&request))))
}

/// Shows a project.
#[utoipa::path(responses((status = 200, body = ProjectRead)), tag = "projects")]
#[get("/api/projects/{id}")]
pub async fn get_project(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    let fact = authorised(&kit, &caller, *id, &["view"]).await?;
    let results = kit.read(&caller, async |tx| render(tx, &caller.base_url, &[fact]).await).await?;
    Ok(HttpResponse::Ok().json(results.into_iter().next()))
}

/// Changes a project: its name, people and labels.
#[utoipa::path(request_body = PatchedProjectWrite, responses((status = 200, body = ProjectRead)), tag = "projects")]
#[patch("/api/projects/{id}")]
pub async fn update_project(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write<PatchedProjectWrite>,
) -> Answer {
    let body = &request.body;
    let mut errors = FieldErrors::default();
    let storages = [&body.source_storage, &body.target_storage];
    fields::check(&mut errors, body.name.as_deref(), body.bug_tracker.as_deref(), storages);
    errors.finish()?;
    let labels = body.labels.as_deref().unwrap_or_default();
    label_writes::check(labels)?;
    let mut scopes = vec![];
    let describes = body.name.is_some() || body.bug_tracker.is_some() || body.labels.is_some();
    if describes || (body.owner_id.is_none() && body.assignee_id.is_none()) {
        scopes.push("update:desc");
    }
    if body.owner_id.is_some() {
        scopes.push("update:owner");
    }
    if body.assignee_id.is_some() {
        scopes.push("update:assignee");
    }
    kit.write(&caller, &request, async |unit| {
        if labels.iter().any(|label| label.deleted) {
            annotation_jobs::lock_labels(unit.tx(), Holder::Project(*id)).await?;
        }
        locked(unit, &caller, *id, &scopes).await?;
        check_user(unit.tx(), "owner_id", body.owner_id.flatten()).await?;
        check_user(unit.tx(), "assignee_id", body.assignee_id.flatten()).await?;
        let update = UpdateProject {
            name: body.name.as_ref().map(|name| name.trim().to_owned()),
            owner_id: body.owner_id,
            assignee_id: body.assignee_id,
            bug_tracker: body.bug_tracker.clone(),
            labels: label_writes::patches(unit, labels).await?,
            at: unit.store().clock().now(),
        };
        let deleted = annotation_writes::deleted(&update.labels);
        unit.execute::<Project>(*id, ProjectCommand::Update(Box::new(update))).await?;
        annotation_writes::remove_labelled(unit, Holder::Project(*id), &deleted).await?;
        Reply::ok(&read(unit, &caller, *id).await?)
    })
    .await
}

/// Deletes a project with its tasks.
#[utoipa::path(responses((status = 204)), tag = "projects")]
#[delete("/api/projects/{id}")]
pub async fn delete_project(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write,
) -> Answer {
    kit.write(&caller, &request, async |unit| {
        locked(unit, &caller, *id, &["delete"]).await?;
        cascade::delete_project::<Refusal>(unit, *id).await?;
        Ok(Reply::no_content())
    })
    .await
}

/// A project that the caller may do all these things with.
pub async fn authorised(kit: &Kit, caller: &Caller, id: i64, scopes: &[&str]) -> Result<Fact, Refusal> {
    kit.read_late(caller, async |tx| permitted(tx, caller, id, scopes).await).await
}

/// The same inside a write: nobody changes the project until the end of it.
pub async fn locked(unit: &mut Unit, caller: &Caller, id: i64, scopes: &[&str]) -> Result<Fact, Refusal> {
    unit.lock::<Project>(&[id]).await?;
    permitted(unit.tx(), caller, id, scopes).await
}

async fn permitted(tx: &mut Tx, caller: &Caller, id: i64, scopes: &[&str]) -> Result<Fact, Refusal> {
    let fact = projects::find(tx, id).await?.ok_or_else(Refusal::not_found)?;
    let ownership = ownership(caller.user_id(), fact.owner_id, fact.assignee_id);
    let (table, subject) = (policy::table(Resource::Projects), caller.subject());
    for scope in scopes {
        permit(tx, caller, fact.organization_id, |context| {
            table.decide(scope, &subject, context, ownership, &LimitInput::NONE)
        })
        .await?;
    }
    Ok(fact)
}

async fn read(unit: &mut Unit, caller: &Caller, id: i64) -> Result<ProjectRead, Refusal> {
    let fact = projects::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)?;
    let mut rendered = render(unit.tx(), &caller.base_url, &[fact]).await?;
    rendered.pop().ok_or_else(Refusal::not_found)
}

async fn render(tx: &mut Tx, base_url: &str, facts: &[Fact]) -> Result<Vec<ProjectRead>, Refusal> {
    let people = facts.iter().flat_map(|fact| [fact.owner_id, fact.assignee_id]).flatten();
    let users = directory::users(tx, people).await?;
    let mut totals = project_tasks::of(tx, facts.iter().map(|fact| fact.id)).await?;
    let read = |fact: &Fact| {
        let mut read = ProjectRead::new(fact, &users, base_url);
        let totals = totals.remove(&fact.id).unwrap_or_default();
        read.tasks.count = totals.tasks;
        read.task_subsets = totals.subsets;
        read.dimension = Some("2d".to_owned()).filter(|_| totals.tasks > 0);
        read
    };
    Ok(facts.iter().map(read).collect())
}
