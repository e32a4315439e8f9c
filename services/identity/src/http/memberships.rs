//! Memberships: who belongs to an organization, and as what.

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, web};
use event_store::{Tx, Unit};
use policy::{Context, LimitInput, Ownership, Relation, Resource, Role, table};
use serde::Deserialize;
use service_kit::auth::url_of;
use service_kit::body::Nothing;
use service_kit::cvat::membership::MembershipRead;
use service_kit::list::{ListQuery, Page, Place};
use service_kit::organization::Scope;
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Selection, Write, directory};
use utoipa::ToSchema;

use crate::domain::membership::{Membership, MembershipCommand};
use crate::projections::memberships::{self, Membership as Row, Pending};

/// What to change of a membership.
#[derive(Debug, Deserialize, ToSchema)]
pub struct UpdateMembership {
    #[schema(value_type = String)]
    pub role: Role,
}

service_kit::list_params!(MembershipList, memberships::FIELDS, Place::Organization);

/// The memberships that the caller may see: their own, and those of their organizations.
#[utoipa::path(tag = "memberships", params(MembershipList), responses(
    (status = 200, description = "A page of memberships", body = Page<MembershipRead>),
))]
#[get("/api/memberships")]
pub async fn list_memberships(
    kit: web::Data<Kit>,
    caller: Caller,
    selection: Selection,
    request: HttpRequest,
) -> Answer {
    let query = ListQuery::from_query_string(request.query_string(), &memberships::FIELDS)?;
    let scope = kit.scope(&caller, &selection).await?;
    let seen = table(Resource::Memberships).visible(&caller.subject(), &scope.list());
    let pending = match &scope {
        Scope::All(memberships) => Pending::of(caller.is_admin(), memberships),
        Scope::Personal => Pending::of(caller.is_admin(), &[]),
        Scope::Organization { organization, role } => {
            let own: Vec<_> = role.map(|role| (organization.id, role)).into_iter().collect();
            Pending::of(caller.is_admin(), &own)
        }
    };
    let (shown, window) = kit
        .read(&caller, async |tx| {
            let (found, window) = memberships::list(tx, &query, &seen, &pending, caller.user_id()).await?;
            Ok((render(tx, found, &caller.base_url).await?, window))
        })
        .await?;
    Ok(HttpResponse::Ok().json(Page::new(shown, &window, &url_of(&request))))
}

/// A membership.
#[utoipa::path(tag = "memberships", responses(
    (status = 200, description = "The membership", body = MembershipRead),
    (status = 403, description = "Of an organization that the caller is not in"),
    (status = 404, description = "No such membership"),
))]
#[get("/api/memberships/{id}")]
pub async fn get_membership(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    let membership = kit
        .read(&caller, async |tx| {
            let row = find(tx, &caller, *id).await?;
            permit(tx, &caller, &row, "view", row.role()).await?;
            render_one(tx, row, &caller).await
        })
        .await?;
    Ok(HttpResponse::Ok().json(membership))
}

/// Changes a member's role.
#[utoipa::path(tag = "memberships", request_body = UpdateMembership, responses(
    (status = 200, description = "The membership as it is now", body = MembershipRead),
    (status = 400, description = "An owner stays the owner, and nobody else becomes one"),
    (status = 403, description = "The caller may not"),
    (status = 404, description = "No such membership"),
))]
#[patch("/api/memberships/{id}")]
pub async fn update_membership(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    write: Write<UpdateMembership>,
) -> Answer {
    let role = write.body.role;
    kit.write(&caller, &write, async |unit| {
        let row = locked(unit, &caller, *id).await?;
        // Both the role that is taken away and the one that is given must be in the caller's gift.
        permit(unit.tx(), &caller, &row, "change:role", row.role()).await?;
        permit(unit.tx(), &caller, &row, "change:role", Some(role)).await?;
        unit.execute::<Membership>(*id, MembershipCommand::ChangeRole { role }).await?;
        let row = find(unit.tx(), &caller, *id).await?;
        Reply::ok(&render_one(unit.tx(), row, &caller).await?)
    })
    .await
}

/// Removes a member; members may leave by themselves.
#[utoipa::path(tag = "memberships", responses(
    (status = 204, description = "Removed"),
    (status = 400, description = "An owner stays"),
    (status = 403, description = "The caller may not"),
    (status = 404, description = "No such membership"),
))]
#[delete("/api/memberships/{id}")]
pub async fn delete_membership(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    write: Write<Nothing>,
) -> Answer {
    kit.write(&caller, &write, async |unit| {
        let row = locked(unit, &caller, *id).await?;
        permit(unit.tx(), &caller, &row, "delete", row.role()).await?;
        unit.execute::<Membership>(*id, MembershipCommand::Delete).await?;
        Ok(Reply::no_content())
    })
    .await
}

async fn locked(unit: &mut Unit, caller: &Caller, id: i64) -> Result<Row, Refusal> {
    unit.lock::<Membership>(&[id]).await?;
    find(unit.tx(), caller, id).await
}

/// The membership; one that is not active yet is there for those who run the organization only.
async fn find(tx: &mut Tx, caller: &Caller, id: i64) -> Result<Row, Refusal> {
    let row = memberships::find(tx, id).await?.ok_or_else(Refusal::not_found)?;
    if !row.is_active && !caller.is_admin() {
        let role = directory::role(tx, row.organization_id, caller.user_id()).await?;
        if role < Some(Role::Maintainer) {
            return Err(Refusal::not_found());
        }
    }
    Ok(row)
}

/// Refuses what the tables do not allow to do to a membership with this role.
async fn permit(
    tx: &mut Tx,
    caller: &Caller,
    row: &Row,
    scope: &str,
    limit: Option<Role>,
) -> Result<(), Refusal> {
    let role = directory::role(tx, row.organization_id, caller.user_id()).await?;
    let decision = table(Resource::Memberships).decide(
        scope,
        &caller.subject(),
        &Context::Organization { id: row.organization_id, role },
        Ownership::NONE.with(Relation::SelfUser, row.user_id == caller.user_id()),
        &LimitInput { role: limit, membership_role: None },
    );
    if decision.is_allowed() { Ok(()) } else { Err(Refusal::forbidden()) }
}

async fn render_one(tx: &mut Tx, row: Row, caller: &Caller) -> Result<MembershipRead, Refusal> {
    render(tx, vec![row], &caller.base_url).await?.pop().ok_or_else(Refusal::not_found)
}

async fn render(tx: &mut Tx, rows: Vec<Row>, base_url: &str) -> Result<Vec<MembershipRead>, Refusal> {
    let users = directory::users(tx, rows.iter().map(|row| row.user_id)).await?;
    let shown = rows.into_iter().map(|row| MembershipRead::new(&row.fact(), &users, base_url));
    // A membership is deleted with its user, in one transaction; CVAT's SDK refuses one without.
    Ok(shown.filter(|membership| membership.user.is_some()).collect())
}
