//! `/api/labels`: the labels of projects, and of tasks without one. They change through their holder's aggregate.

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, web};
use contracts::projects::{Attribute, Label};
use event_store::{Tx, Unit};
use policy::Resource;
use serde::Serialize;
use service_kit::auth::url_of;
use service_kit::body::FieldErrors;
use service_kit::list::{ListQuery, Page, Place};
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Selection, Write};
use url::form_urlencoded;
use utoipa::ToSchema;

use super::label_writes::{LabelWrite, check, patches};
use super::{annotation_writes, jobs, projects, tasks};
use crate::domain::label::LabelPatch;
use crate::domain::project::{Project, ProjectCommand, UpdateProject};
use crate::domain::task::{Task, TaskCommand, UpdateTask};
use crate::projections::annotation_jobs;
use crate::projections::labels::{self, HeldLabel, Holder, Shown};

/// `Label` of CVAT 2.80.
#[derive(Serialize, ToSchema)]
pub struct LabelRead {
    id: i64,
    name: String,
    color: String,
    attributes: Vec<AttributeRead>,
    #[serde(rename = "type")]
    label_type: String,
    #[schema(no_recursion)]
    sublabels: Vec<LabelRead>,
    project_id: Option<i64>,
    task_id: Option<i64>,
    parent_id: Option<i64>,
    has_parent: bool,
}

/// `Attribute` of CVAT 2.80.
#[derive(Serialize, ToSchema)]
pub struct AttributeRead {
    id: i64,
    name: String,
    mutable: bool,
    input_type: String,
    default_value: String,
    values: Vec<String>,
}

impl From<HeldLabel> for LabelRead {
    fn from(HeldLabel { holder, label }: HeldLabel) -> Self {
        let (project_id, task_id) = match holder {
            Holder::Project(id) => (Some(id), None),
            Holder::Task(id) => (None, Some(id)),
        };
        let Label { id, name, color, label_type, attributes } = label;
        let attributes = attributes
            .into_iter()
            .map(|Attribute { id, name, mutable, input_type, default_value, values }| AttributeRead {
                id,
                name,
                mutable,
                input_type,
                default_value,
                values,
            })
            .collect();
        Self {
            id,
            name,
            color,
            attributes,
            label_type,
            sublabels: vec![],
            project_id,
            task_id,
            parent_id: None,
            has_parent: false,
        }
    }
}

service_kit::list_params!(LabelList, labels::FIELDS, Place::Organization);

/// Lists labels: of one project, task or job, which the caller must be allowed to see, or all that they may see.
#[utoipa::path(
    params(
        LabelList,
        ("project_id" = Option<i64>, Query, description = "Only of this project."),
        ("task_id" = Option<i64>, Query, description = "Only of this task, or of its project."),
        ("job_id" = Option<i64>, Query, description = "Only of this job's task, or of its project."),
    ),
    responses((status = 200, body = Page<LabelRead>)),
    tag = "labels"
)]
#[get("/api/labels")]
pub async fn list_labels(
    kit: web::Data<Kit>,
    caller: Caller,
    selection: Selection,
    request: HttpRequest,
) -> Answer {
    let query = ListQuery::from_query_string(request.query_string(), &labels::FIELDS)?;
    let scope = kit.scope(&caller, &selection).await?;
    let (subject, list) = (caller.subject(), scope.list());
    let shown = match named(request.query_string())? {
        Some(named) => Shown::Of(holder(&kit, &caller, named).await?),
        None => Shown::Visible {
            projects: &policy::table(Resource::Projects).visible(&subject, &list),
            tasks: &policy::table(Resource::Tasks).visible(&subject, &list),
        },
    };
    let (found, window) =
        kit.read(&caller, async |tx| labels::list(tx, &caller, &shown, &query).await).await?;
    let results: Vec<LabelRead> = found.into_iter().map(LabelRead::from).collect();
    Ok(HttpResponse::Ok().json(Page::new(results, &window, &url_of(&request))))
}

/// Whose labels a query asks for.
#[derive(Clone, Copy)]
enum Named {
    Project(i64),
    Task(i64),
    Job(i64),
}

fn named(query: &str) -> Result<Option<Named>, Refusal> {
    let mut named = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let of: fn(i64) -> Named = match name.as_ref() {
            "project_id" => Named::Project,
            "task_id" => Named::Task,
            "job_id" => Named::Job,
            _ => continue,
        };
        if value.trim().is_empty() {
            continue;
        }
        let id = value.trim().parse().map_err(|_| Refusal::field(&name, "Enter a number."))?;
        if named.replace(of(id)).is_some() {
            let text = "job_id, task_id and project_id parameters cannot be used together";
            return Err(Refusal::field("non_field_errors", text));
        }
    }
    Ok(named)
}

/// What has the labels: those of a task in a project are the project's.
async fn holder(kit: &Kit, caller: &Caller, named: Named) -> Result<Holder, Refusal> {
    let (task_id, project_id) = match named {
        Named::Project(id) => {
            projects::authorised(kit, caller, id, &["view"]).await?;
            return Ok(Holder::Project(id));
        }
        Named::Task(id) => (id, tasks::authorised(kit, caller, id, &["view"]).await?.project_id),
        Named::Job(id) => {
            let job = jobs::authorised(kit, caller, id, &["view"]).await?;
            (job.task_id, job.project_id)
        }
    };
    Ok(project_id.map_or(Holder::Task(task_id), Holder::Project))
}

/// Shows a label.
#[utoipa::path(responses((status = 200, body = LabelRead)), tag = "labels")]
#[get("/api/labels/{id}")]
pub async fn get_label(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    let find = async |tx: &mut Tx| labels::find(tx, *id).await?.ok_or_else(Refusal::not_found);
    let label = kit.read(&caller, find).await?;
    match label.holder {
        Holder::Project(id) => projects::authorised(&kit, &caller, id, &["view"]).await.map(drop)?,
        Holder::Task(id) => tasks::authorised(&kit, &caller, id, &["view"]).await.map(drop)?,
    }
    Ok(HttpResponse::Ok().json(LabelRead::from(label)))
}

/// Changes a label.
#[utoipa::path(request_body = LabelWrite, responses((status = 200, body = LabelRead)), tag = "labels")]
#[patch("/api/labels/{id}")]
pub async fn update_label(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write<LabelWrite>,
) -> Answer {
    let body = &request.body;
    let mut errors = FieldErrors::default();
    errors.check(body.id.is_none_or(|named| named == *id), "id", "This is the id of another label.");
    errors.check(!body.deleted, "deleted", "A label is deleted by DELETE, or in a change of what has it.");
    errors.finish()?;
    let mut wanted = body.clone();
    wanted.id = Some(*id);
    check(std::slice::from_ref(&wanted))?;
    kit.write(&caller, &request, async |unit| {
        let label = locked_label(unit, &caller, *id, "update:desc").await?;
        let patches = patches(unit, std::slice::from_ref(&wanted)).await?;
        change(unit, label.holder, patches).await?;
        let label = labels::find(unit.tx(), *id).await?.ok_or_else(Refusal::not_found)?;
        Reply::ok(&LabelRead::from(label))
    })
    .await
}

/// Deletes a label.
#[utoipa::path(responses((status = 204)), tag = "labels")]
#[delete("/api/labels/{id}")]
pub async fn delete_label(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>, request: Write) -> Answer {
    kit.write(&caller, &request, async |unit| {
        let label = labels::find(unit.tx(), *id).await?.ok_or_else(Refusal::not_found)?;
        annotation_jobs::lock_labels(unit.tx(), label.holder).await?;
        let label = locked_label(unit, &caller, *id, "update:desc").await?;
        change(unit, label.holder, vec![LabelPatch::Delete { id: *id }]).await?;
        Ok(Reply::no_content())
    })
    .await
}

/// A label with whose holder the caller may do this; nobody changes the holder until the end of the write.
async fn locked_label(unit: &mut Unit, caller: &Caller, id: i64, scope: &str) -> Result<HeldLabel, Refusal> {
    let label = labels::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)?;
    match label.holder {
        Holder::Project(id) => projects::locked(unit, caller, id, &[scope]).await.map(drop)?,
        Holder::Task(id) => tasks::locked(unit, caller, id, &[scope]).await.map(drop)?,
    }
    // It may have gone while its holder was waited for.
    labels::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)
}

async fn change(unit: &mut Unit, holder: Holder, labels: Vec<LabelPatch>) -> Result<(), Refusal> {
    let at = unit.store().clock().now();
    let deleted = annotation_writes::deleted(&labels);
    match holder {
        Holder::Project(id) => {
            let update = UpdateProject { labels, at, ..Default::default() };
            unit.execute::<Project>(id, ProjectCommand::Update(Box::new(update))).await?;
        }
        Holder::Task(id) => {
            let update = UpdateTask { labels, at, ..Default::default() };
            unit.execute::<Task>(id, TaskCommand::Update(Box::new(update))).await?;
        }
    }
    annotation_writes::remove_labelled(unit, holder, &deleted).await
}
