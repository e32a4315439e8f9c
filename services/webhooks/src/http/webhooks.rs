//! `/api/webhooks`.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, put, web};
use event_store::log::LogFilter;
use event_store::{Tx, Unit};
use policy::{LimitInput, Ownership, Relation, Resource};
use serde::Serialize;
use service_kit::auth::url_of;
use service_kit::cvat::{BasicUser, date};
use service_kit::list::{ListQuery, Page};
use service_kit::news::News;
use service_kit::organization::{Scope, permit};
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Selection, Write, directory};
use utoipa::ToSchema;

use super::write::{PatchedWebhookWrite, WebhookWrite};
use crate::domain::events::WebhookType;
use crate::domain::webhook::{CreateWebhook, UpdateWebhook, Webhook, WebhookCommand, WebhookError};
use crate::projections::{known_projects, webhooks};
use crate::secrets::Secrets;

/// The services whose events webhooks are told.
const SOURCES: [&str; 2] = ["identity", "projects"];
/// How long the creation of a webhook waits for each of them.
const SOURCE_TIME: Duration = Duration::from_secs(1);

/// A webhook.
#[derive(Serialize, ToSchema)]
pub struct WebhookRead {
    id: i64,
    url: String,
    target_url: String,
    description: String,
    #[serde(rename = "type")]
    webhook_type: String,
    content_type: &'static str,
    is_active: bool,
    enable_ssl: bool,
    created_date: String,
    updated_date: String,
    owner: Option<BasicUser>,
    project_id: Option<i64>,
    organization: Option<i64>,
    events: Vec<String>,
    /// Absent before the first delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<i32>,
    /// Absent before the first delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_delivery_date: Option<String>,
}

/// Creates a webhook of a project, or of the organization that the request names.
#[utoipa::path(request_body = WebhookWrite, responses((status = 201, body = WebhookRead)), tag = "webhooks")]
#[post("/api/webhooks")]
pub async fn create_webhook(kit: web::Data<Kit>, caller: Caller, request: Write<WebhookWrite>) -> Answer {
    let body = &request.body;
    // Before the target is looked up: a name is resolved for those only who may have a webhook.
    kit.read_late(&caller, async |tx| place(tx, &caller, &request).await).await?;
    body.check(&kit).await?;
    let starts = starts(&kit).await;
    kit.write(&caller, &request, async |unit| {
        let organization_id = place(unit.tx(), &caller, &request).await?;
        let id = unit.new_ids_of("webhook", 1).await?[0];
        let create = CreateWebhook {
            id,
            webhook_type: body.webhook_type,
            owner_id: caller.user_id(),
            project_id: body.project_id,
            organization_id,
            settings: body.settings(Secrets::new(&kit).seal(caller.tenant(), id, &body.secret)?),
            starts: starts.clone(),
            at: unit.store().clock().now(),
        };
        unit.execute::<Webhook>(id, WebhookCommand::Create(Box::new(create))).await?;
        Reply::created(&read(unit, &caller, id).await?)
    })
    .await
}

service_kit::list_params!(WebhookList, webhooks::FIELDS, service_kit::list::Place::Organization);

/// Lists the webhooks that the caller may see.
#[utoipa::path(params(WebhookList), responses((status = 200, body = Page<WebhookRead>)), tag = "webhooks")]
#[get("/api/webhooks")]
pub async fn list_webhooks(
    kit: web::Data<Kit>,
    caller: Caller,
    selection: Selection,
    request: HttpRequest,
) -> Answer {
    let query = ListQuery::from_query_string(request.query_string(), &webhooks::FIELDS)?;
    let scope = kit.scope(&caller, &selection).await?;
    let visible = policy::table(Resource::Webhooks).visible(&caller.subject(), &scope.list());
    let (results, window) = kit
        .read(&caller, async |tx| {
            let (rows, window) = webhooks::list(tx, &caller, &visible, &query).await?;
            Ok((render(tx, &caller.base_url, rows).await?, window))
        })
        .await?;
    Ok(HttpResponse::Ok().json(Page::new(results, &window, &url_of(&request))))
}

/// Shows a webhook.
#[utoipa::path(responses((status = 200, body = WebhookRead)), tag = "webhooks")]
#[get("/api/webhooks/{id}")]
pub async fn get_webhook(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    let row = authorised(&kit, &caller, *id, "view").await?;
    let results = kit.read(&caller, async |tx| Ok(render(tx, &caller.base_url, vec![row]).await?)).await?;
    Ok(HttpResponse::Ok().json(results.into_iter().next()))
}

/// Replaces a webhook's settings; a secret that is not sent stays.
#[utoipa::path(request_body = PatchedWebhookWrite, responses((status = 200, body = WebhookRead)), tag = "webhooks")]
#[put("/api/webhooks/{id}")]
pub async fn replace_webhook(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write<PatchedWebhookWrite>,
) -> Answer {
    request.body.check_complete()?;
    change(&kit, &caller, *id, request).await
}

/// Changes a webhook's settings.
#[utoipa::path(request_body = PatchedWebhookWrite, responses((status = 200, body = WebhookRead)), tag = "webhooks")]
#[patch("/api/webhooks/{id}")]
pub async fn update_webhook(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write<PatchedWebhookWrite>,
) -> Answer {
    change(&kit, &caller, *id, request).await
}

async fn change(kit: &Kit, caller: &Caller, id: i64, request: Write<PatchedWebhookWrite>) -> Answer {
    // Before the target is looked up: a name is resolved for those only who may have a webhook.
    authorised(kit, caller, id, "update").await?;
    request.body.check(kit).await?;
    kit.write(caller, &request, async |unit| {
        let row = locked(unit, caller, id, "update").await?;
        let sealed_secret = match request.body.secret() {
            Some(wanted) => Secrets::new(kit).change(caller.tenant(), id, &row.sealed_secret, wanted)?,
            None => None,
        };
        let at = unit.store().clock().now();
        let update = UpdateWebhook { at, ..request.body.update(sealed_secret) };
        unit.execute::<Webhook>(id, WebhookCommand::Update(Box::new(update))).await?;
        Reply::ok(&read(unit, caller, id).await?)
    })
    .await
}

/// Deletes a webhook; what it was still to be told is dropped.
#[utoipa::path(responses((status = 204)), tag = "webhooks")]
#[delete("/api/webhooks/{id}")]
pub async fn delete_webhook(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write,
) -> Answer {
    kit.write(&caller, &request, async |unit| {
        locked(unit, &caller, *id, "delete").await?;
        unit.execute::<Webhook>(*id, WebhookCommand::Delete).await?;
        Ok(Reply::no_content())
    })
    .await
}

/// A webhook with which the caller may do this.
pub async fn authorised(kit: &Kit, caller: &Caller, id: i64, scope: &str) -> Result<webhooks::Row, Refusal> {
    kit.read_late(caller, async |tx| permitted(tx, caller, id, scope).await).await
}

/// The same inside a write: nobody changes the webhook until the end of it.
pub async fn locked(
    unit: &mut Unit,
    caller: &Caller,
    id: i64,
    scope: &str,
) -> Result<webhooks::Row, Refusal> {
    unit.lock::<Webhook>(&[id]).await?;
    permitted(unit.tx(), caller, id, scope).await
}

async fn permitted(tx: &mut Tx, caller: &Caller, id: i64, scope: &str) -> Result<webhooks::Row, Refusal> {
    let row = webhooks::find(tx, id).await?.ok_or_else(Refusal::not_found)?;
    let ownership = Ownership::NONE
        .with(Relation::Owner, row.owner_id == Some(caller.user_id()))
        .with(Relation::ProjectOwner, row.project_owner_id == Some(caller.user_id()));
    allow(tx, caller, scope, row.organization_id, ownership).await?;
    Ok(row)
}

async fn allow(
    tx: &mut Tx,
    caller: &Caller,
    scope: &str,
    organization_id: Option<i64>,
    ownership: Ownership,
) -> Result<(), Refusal> {
    let (table, subject) = (policy::table(Resource::Webhooks), caller.subject());
    permit(tx, caller, organization_id, |context| {
        table.decide(scope, &subject, context, ownership, &LimitInput::NONE)
    })
    .await
}

fn refused(error: WebhookError) -> Refusal {
    event_store::ExecuteError::Refused(error).into()
}

/// The organization of a webhook that the caller may create: its project's, wherever the request is, or the one
/// that the request names, which is held until the end of the transaction.
async fn place(tx: &mut Tx, caller: &Caller, request: &Write<WebhookWrite>) -> Result<Option<i64>, Refusal> {
    match (request.body.webhook_type, request.body.project_id) {
        (WebhookType::Project, Some(id)) => {
            let unknown = || Refusal::not_found().unless(News::of("projects", "project", id));
            let project = known_projects::find(tx, id).await?.ok_or_else(unknown)?;
            let owns =
                Ownership::NONE.with(Relation::ProjectOwner, project.owner_id == Some(caller.user_id()));
            allow(tx, caller, "create@project", project.organization_id, owns).await?;
            Ok(project.organization_id)
        }
        (WebhookType::Project, None) => Err(refused(WebhookError::NoProject)),
        (WebhookType::Organization, Some(_)) => Err(refused(WebhookError::ProjectNotAllowed)),
        (WebhookType::Organization, None) => {
            let organization_id = Scope::hold(tx, caller, &request.selection).await?.organization_id();
            allow(tx, caller, "create@organization", organization_id, Ownership::NONE).await?;
            Ok(organization_id)
        }
    }
}

/// How far each source's log is now: a new webhook hears of what comes after it. One that does not answer is
/// left out, and the clock decides for it.
async fn starts(kit: &Kit) -> BTreeMap<String, i64> {
    let head = async |service: &'static str| {
        let peer = kit.peer(service).ok()?;
        let filter = LogFilter::default();
        let page = peer.log(i64::MAX, 1, Duration::ZERO, &filter);
        let page = tokio::time::timeout(SOURCE_TIME, page).await.ok()?.ok()?;
        Some((service.to_owned(), page.head))
    };
    futures::future::join_all(SOURCES.map(head)).await.into_iter().flatten().collect()
}

async fn read(unit: &mut Unit, caller: &Caller, id: i64) -> Result<WebhookRead, Refusal> {
    let row = webhooks::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)?;
    let mut rendered = render(unit.tx(), &caller.base_url, vec![row]).await?;
    rendered.pop().ok_or_else(Refusal::not_found)
}

/// Webhooks as clients see them.
pub async fn render(
    tx: &mut Tx,
    base_url: &str,
    rows: Vec<webhooks::Row>,
) -> Result<Vec<WebhookRead>, Refusal> {
    let users = directory::users(tx, rows.iter().filter_map(|row| row.owner_id)).await?;
    let one = |row: webhooks::Row| WebhookRead {
        id: row.id,
        url: format!("{base_url}/api/webhooks/{}", row.id),
        target_url: row.target_url,
        description: row.description,
        webhook_type: row.webhook_type,
        content_type: "application/json",
        is_active: row.is_active,
        enable_ssl: row.enable_ssl,
        created_date: date(row.created_date),
        updated_date: date(row.updated_date),
        owner: BasicUser::find(&users, row.owner_id, base_url),
        project_id: row.project_id,
        organization: row.organization_id,
        events: row.events,
        last_status: row.last_status,
        last_delivery_date: row.last_delivery_date.map(date),
    };
    Ok(rows.into_iter().map(one).collect())
}
