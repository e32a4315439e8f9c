//! `/api/jobs`. Jobs come with a task's data and go with the task.

use actix_web::{HttpRequest, HttpResponse, get, patch, web};
use contracts::projects::Job as Fact;
use event_store::{Tx, Unit};
use policy::{LimitInput, Resource};
use serde::Deserialize;
use service_kit::auth::url_of;
use service_kit::cvat::job::JobRead;
use service_kit::list::{ListQuery, Page, Place};
use service_kit::organization::permit;
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Selection, Write, directory};
use utoipa::ToSchema;

use super::fields::{check_user, present};
use crate::cascade;
use crate::domain::job::{Job, JobCommand, UpdateJob};
use crate::projections::job_list::{self, JobView};

/// A change of a job; absent fields stay as they are.
#[derive(Default, Deserialize, ToSchema)]
pub struct PatchedJobWrite {
    /// A user's id, or `null` for nobody.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    assignee: Option<Option<i64>>,
    /// `annotation`, `validation` or `acceptance`; a new one begins in the state `new`.
    stage: Option<String>,
    /// `new`, `in progress`, `completed` or `rejected`.
    state: Option<String>,
}

service_kit::list_params!(JobList, job_list::FIELDS, Place::Organization);

/// Lists the jobs that the caller may see.
#[utoipa::path(params(JobList), responses((status = 200, body = Page<JobRead>)), tag = "jobs")]
#[get("/api/jobs")]
pub async fn list_jobs(
    kit: web::Data<Kit>,
    caller: Caller,
    selection: Selection,
    request: HttpRequest,
) -> Answer {
    let query = ListQuery::from_query_string(request.query_string(), &job_list::FIELDS)?;
    let scope = kit.scope(&caller, &selection).await?;
    let visible = policy::table(Resource::Jobs).visible(&caller.subject(), &scope.list());
    let (results, window) = kit
        .read(&caller, async |tx| {
            let (views, window) = job_list::list(tx, &caller, &visible, &query).await?;
            Ok((render(tx, &caller.base_url, &views).await?, window))
        })
        .await?;
    Ok(HttpResponse::Ok().json(Page::new(results, &window, &url_of(&request))))
}

/// Shows a job.
#[utoipa::path(responses((status = 200, body = JobRead)), tag = "jobs")]
#[get("/api/jobs/{id}")]
pub async fn get_job(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    let view = authorised_view(&kit, &caller, *id, &["view"]).await?;
    let results = kit.read(&caller, async |tx| render(tx, &caller.base_url, &[view]).await).await?;
    Ok(HttpResponse::Ok().json(results.into_iter().next()))
}

/// Changes a job: who works on it, its stage and its state. Its task and its project follow.
#[utoipa::path(request_body = PatchedJobWrite, responses((status = 200, body = JobRead)), tag = "jobs")]
#[patch("/api/jobs/{id}")]
pub async fn update_job(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write<PatchedJobWrite>,
) -> Answer {
    let body = &request.body;
    let wanted = [
        ("update:assignee", body.assignee.is_some()),
        ("update:stage", body.stage.is_some()),
        ("update:state", body.state.is_some()),
    ];
    // Whoever changes nothing only looks.
    let mut scopes = vec!["view"];
    scopes.extend(wanted.iter().filter(|(_, wanted)| *wanted).map(|(scope, _)| *scope));
    kit.write(&caller, &request, async |unit| {
        locked(unit, &caller, *id, &scopes).await?;
        check_user(unit.tx(), "assignee", body.assignee.flatten()).await?;
        let at = unit.store().clock().now();
        let before = unit.load::<Job>(*id).await?.unwrap_or_default();
        let update = UpdateJob {
            assignee_id: body.assignee,
            stage: body.stage.clone(),
            state: body.state.clone(),
            at,
        };
        let job = unit.execute::<Job>(*id, JobCommand::Update(update)).await?.state;
        let status = |job: &Job| job.current.as_ref().map(|fact| fact.status.clone());
        if let Some(fact) = job.current.as_ref().filter(|_| status(&before) != status(&job)) {
            cascade::job_changed::<Refusal>(unit, fact.task_id, at).await?;
        }
        Reply::ok(&read(unit, &caller, *id).await?)
    })
    .await
}

/// A job that the caller may do all these things with.
pub async fn authorised(kit: &Kit, caller: &Caller, id: i64, scopes: &[&str]) -> Result<Fact, Refusal> {
    Ok(authorised_view(kit, caller, id, scopes).await?.fact)
}

async fn authorised_view(kit: &Kit, caller: &Caller, id: i64, scopes: &[&str]) -> Result<JobView, Refusal> {
    kit.read_late(caller, async |tx| permitted(tx, caller, id, scopes).await).await
}

/// The same inside a write: nobody changes the job until the end of it.
pub async fn locked(unit: &mut Unit, caller: &Caller, id: i64, scopes: &[&str]) -> Result<JobView, Refusal> {
    unit.lock::<Job>(&[id]).await?;
    permitted(unit.tx(), caller, id, scopes).await
}

/// The same in any transaction.
pub async fn permitted(tx: &mut Tx, caller: &Caller, id: i64, scopes: &[&str]) -> Result<JobView, Refusal> {
    let view = job_list::find(tx, id).await?.ok_or_else(Refusal::not_found)?;
    let ownership = view.ownership(caller.user_id());
    let (table, subject) = (policy::table(Resource::Jobs), caller.subject());
    for scope in scopes {
        permit(tx, caller, view.fact.organization_id, |context| {
            table.decide(scope, &subject, context, ownership, &LimitInput::NONE)
        })
        .await?;
    }
    Ok(view)
}

async fn read(unit: &mut Unit, caller: &Caller, id: i64) -> Result<JobRead, Refusal> {
    let view = job_list::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)?;
    let mut rendered = render(unit.tx(), &caller.base_url, &[view]).await?;
    rendered.pop().ok_or_else(Refusal::not_found)
}

async fn render(tx: &mut Tx, base_url: &str, views: &[JobView]) -> Result<Vec<JobRead>, Refusal> {
    let users = directory::users(tx, views.iter().filter_map(|view| view.fact.assignee_id)).await?;
    Ok(views.iter().map(|view| JobRead::new(&view.fact, &view.details, &users, base_url)).collect())
}
