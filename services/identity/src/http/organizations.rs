//! Organizations: workspaces inside the caller's tenant.

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use chrono::{DateTime, Utc};
use event_store::{Tx, Unit};
use policy::{Context, LimitInput, ListScope, Ownership, Resource, Role, table};
use serde::Deserialize;
use serde_json::{Map, Value};
use service_kit::auth::url_of;
use service_kit::body::{FieldErrors, Nothing};
use service_kit::cvat::organization::OrganizationRead;
use service_kit::directory::{self, Organization as Row};
use service_kit::list::{ListQuery, Page, Place};
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Selection, Write};
use utoipa::ToSchema;

use crate::domain::membership::{Membership, MembershipCommand, NewMembership};
use crate::domain::organization::{
    NewOrganization, Organization, OrganizationChange, OrganizationCommand, SLUG_MAX, is_valid_slug,
};
use crate::domain::user::User;
use crate::projections::organizations;
use crate::steps;

/// The longest name, in characters.
const NAME_MAX: usize = 64;
/// The longest description, in characters.
const DESCRIPTION_MAX: usize = 16_384;
/// The longest contact, in bytes of its JSON.
const CONTACT_BYTES_MAX: usize = 16_384;

/// A new organization.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CreateOrganization {
    /// `^[-a-zA-Z0-9_]{1,16}$`, unique in the tenant.
    pub slug: String,
    /// The slug, if absent or empty.
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub contact: Map<String, Value>,
}

/// What to change of an organization.
#[derive(Debug, Deserialize, ToSchema)]
pub struct UpdateOrganization {
    pub slug: Option<String>,
    pub name: Option<String>,
    pub description: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub contact: Option<Map<String, Value>>,
}

/// Creates an organization; the caller becomes its owner.
#[utoipa::path(tag = "organizations", request_body = CreateOrganization, responses(
    (status = 201, description = "Created", body = OrganizationRead),
    (status = 400, description = "A field is not good, or the slug is taken"),
))]
#[post("/api/organizations")]
pub async fn create_organization(
    kit: web::Data<Kit>,
    caller: Caller,
    write: Write<CreateOrganization>,
) -> Answer {
    let decision = table(Resource::Organizations).decide(
        "create",
        &caller.subject(),
        &Context::Sandbox,
        Ownership::NONE,
        &LimitInput::NONE,
    );
    if !decision.is_allowed() {
        return Err(Refusal::forbidden());
    }
    let body = &write.body;
    check(Some(&body.slug), Some(&body.name), Some(&body.description), Some(&body.contact))?;
    kit.write(&caller, &write, async |unit| {
        let id = create(unit, body, caller.user_id()).await?;
        Reply::created(&show(unit.tx(), id, &caller).await?)
    })
    .await
}

service_kit::list_params!(OrganizationList, organizations::FIELDS, Place::Organization);

/// The organizations of which the caller is a member; all of the tenant's for an admin.
#[utoipa::path(tag = "organizations", params(OrganizationList), responses(
    (status = 200, description = "A page of organizations", body = Page<OrganizationRead>),
))]
#[get("/api/organizations")]
pub async fn list_organizations(
    kit: web::Data<Kit>,
    caller: Caller,
    selection: Selection,
    request: HttpRequest,
) -> Answer {
    let query = ListQuery::from_query_string(request.query_string(), &organizations::FIELDS)?;
    let scope = kit.scope(&caller, &selection).await?;
    let seen = table(Resource::Organizations).visible(&caller.subject(), &scope.list());
    let (shown, window) = kit
        .read(&caller, async |tx| {
            let (found, window) = organizations::list(tx, &query, &seen, caller.user_id()).await?;
            Ok((render(tx, found, &caller.base_url).await?, window))
        })
        .await?;
    Ok(HttpResponse::Ok().json(Page::new(shown, &window, &url_of(&request))))
}

/// An organization.
#[utoipa::path(tag = "organizations", responses(
    (status = 200, description = "The organization", body = OrganizationRead),
    (status = 404, description = "None that the caller is a member of"),
))]
#[get("/api/organizations/{id}")]
pub async fn get_organization(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    let organization = kit
        .read(&caller, async |tx| {
            let row = find(tx, *id, &caller).await?;
            render_one(tx, row, &caller).await
        })
        .await?;
    Ok(HttpResponse::Ok().json(organization))
}

/// Changes an organization: its owner or a maintainer.
#[utoipa::path(tag = "organizations", request_body = UpdateOrganization, responses(
    (status = 200, description = "The organization as it is now", body = OrganizationRead),
    (status = 400, description = "A field is not good, or the slug is taken"),
    (status = 404, description = "None that the caller is a member of"),
))]
#[patch("/api/organizations/{id}")]
pub async fn update_organization(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    write: Write<UpdateOrganization>,
) -> Answer {
    let body = &write.body;
    check(body.slug.as_deref(), body.name.as_deref(), body.description.as_deref(), body.contact.as_ref())?;
    kit.write(&caller, &write, async |unit| {
        authorise(unit, &caller, *id, "update").await?;
        let change = OrganizationChange {
            slug: body.slug.clone(),
            name: body.name.clone(),
            description: body.description.clone(),
            contact: body.contact.clone(),
        };
        let at = unit.store().clock().now();
        unit.execute::<Organization>(*id, OrganizationCommand::Update { change, at }).await?;
        Reply::ok(&show(unit.tx(), *id, &caller).await?)
    })
    .await
}

/// Deletes an organization with its memberships: its owner.
#[utoipa::path(tag = "organizations", responses(
    (status = 204, description = "Deleted"),
    (status = 404, description = "None that the caller is a member of"),
))]
#[delete("/api/organizations/{id}")]
pub async fn delete_organization(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    write: Write<Nothing>,
) -> Answer {
    kit.write(&caller, &write, async |unit| {
        authorise(unit, &caller, *id, "delete").await?;
        steps::delete_organization(unit, *id).await?;
        Ok(Reply::no_content())
    })
    .await
}

async fn create(unit: &mut Unit, body: &CreateOrganization, owner_id: i64) -> Result<i64, Refusal> {
    // Held until the end, so that an owner is not deleted meanwhile.
    let owner = unit.load::<User>(owner_id).await?;
    if !owner.is_some_and(|owner| owner.is_present()) {
        return Err(Refusal::invalid_token());
    }
    let at: DateTime<Utc> = unit.store().clock().now();
    let id = steps::new_id::<Organization>(unit).await?;
    let new = NewOrganization {
        slug: body.slug.clone(),
        name: if body.name.is_empty() { body.slug.clone() } else { body.name.clone() },
        description: body.description.clone(),
        contact: body.contact.clone(),
        owner_id,
        at,
    };
    unit.execute::<Organization>(id, OrganizationCommand::Create(new)).await?;
    let membership = steps::new_id::<Membership>(unit).await?;
    let new =
        NewMembership { organization_id: id, user_id: owner_id, role: Role::Owner, joined_at: Some(at) };
    unit.execute::<Membership>(membership, MembershipCommand::Create(new)).await?;
    Ok(id)
}

/// The organization, if the caller sees it.
async fn find(tx: &mut Tx, id: i64, caller: &Caller) -> Result<Row, Refusal> {
    let all = ListScope::All { memberships: &[] };
    let seen = table(Resource::Organizations).visible(&caller.subject(), &all);
    let found = organizations::find_visible(tx, id, &seen, caller.user_id()).await?;
    found.ok_or_else(Refusal::not_found)
}

/// 404 for what the caller does not see, 403 for what they may not do.
async fn authorise(unit: &mut Unit, caller: &Caller, id: i64, scope: &str) -> Result<(), Refusal> {
    unit.lock::<Organization>(&[id]).await?;
    find(unit.tx(), id, caller).await?;
    let role = directory::role(unit.tx(), id, caller.user_id()).await?;
    let decision = table(Resource::Organizations).decide(
        scope,
        &caller.subject(),
        &Context::Organization { id, role },
        Ownership::by_role(role),
        &LimitInput::NONE,
    );
    if decision.is_allowed() { Ok(()) } else { Err(Refusal::forbidden()) }
}

async fn show(tx: &mut Tx, id: i64, caller: &Caller) -> Result<OrganizationRead, Refusal> {
    let row = directory::organization(tx, id).await?.ok_or_else(Refusal::not_found)?;
    render_one(tx, row, caller).await
}

async fn render_one(tx: &mut Tx, row: Row, caller: &Caller) -> Result<OrganizationRead, Refusal> {
    render(tx, vec![row], &caller.base_url).await?.pop().ok_or_else(Refusal::not_found)
}

async fn render(tx: &mut Tx, rows: Vec<Row>, base_url: &str) -> Result<Vec<OrganizationRead>, Refusal> {
    let users = directory::users(tx, rows.iter().filter_map(|row| row.owner_id)).await?;
    rows.into_iter().map(|row| Ok(OrganizationRead::new(&row.fact()?, &users, base_url))).collect()
}

fn check(
    slug: Option<&str>,
    name: Option<&str>,
    description: Option<&str>,
    contact: Option<&Map<String, Value>>,
) -> Result<(), Refusal> {
    let mut errors = FieldErrors::default();
    if let Some(slug) = slug {
        errors.text("slug", slug, SLUG_MAX).check(
            is_valid_slug(slug),
            "slug",
            "Enter a valid \u{201c}slug\u{201d} consisting of letters, numbers, underscores or hyphens.",
        );
    }
    errors.max("name", name.unwrap_or_default(), NAME_MAX);
    errors.max("description", description.unwrap_or_default(), DESCRIPTION_MAX);
    let bytes = contact.and_then(|contact| serde_json::to_vec(contact).ok()).map_or(0, |json| json.len());
    errors.check(
        bytes <= CONTACT_BYTES_MAX,
        "contact",
        format!("Ensure this field has no more than {CONTACT_BYTES_MAX} bytes."),
    );
    errors.check(!contact.is_some_and(fields_hold_nul), "contact", "Null characters are not allowed.");
    errors.finish()
}

/// Whether U+0000 is in it, which readers that keep JSON in binary form could not store.
fn fields_hold_nul(fields: &Map<String, Value>) -> bool {
    fields.iter().any(|(name, value)| name.contains('\0') || holds_nul(value))
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields_hold_nul(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
