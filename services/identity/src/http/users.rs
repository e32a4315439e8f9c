//! Users as CVAT shows them: all of oneself, and to admins; little of others.

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, web};
use event_store::Unit;
use policy::{Context, LimitInput, ListScope, Ownership, Privilege, Relation, Resource, table};
use serde::{Deserialize, Serialize};
use service_kit::auth::url_of;
use service_kit::body::{FieldErrors, Nothing};
use service_kit::cvat::{BasicUser, date};
use service_kit::list::{ListQuery, Page, Place};
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Selection, Write, directory};
use utoipa::ToSchema;

use super::registration::{PERSON_NAME_MAX, check_email, check_username};
use crate::domain::user::{User, UserChange, UserCommand};
use crate::projections::accounts::{self, Account};
use crate::steps;
use crate::steps::seats::{self, Seat};

/// A user, as they see themselves and as admins see them.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserRead {
    pub url: String,
    pub id: i64,
    pub username: String,
    pub first_name: String,
    pub last_name: String,
    pub email: String,
    /// The privilege: `admin`, `business`, `user` or `worker`; at most one.
    pub groups: Vec<String>,
    pub is_staff: bool,
    pub is_superuser: bool,
    pub is_active: bool,
    pub last_login: Option<String>,
    pub date_joined: String,
    pub has_analytics_access: bool,
}

impl UserRead {
    fn new(account: &Account, base_url: &str) -> Self {
        let privilege = account.privilege();
        let is_admin = privilege == Some(Privilege::Admin);
        Self {
            url: format!("{base_url}/api/users/{}", account.id),
            id: account.id,
            username: account.username.clone(),
            first_name: account.first_name.clone(),
            last_name: account.last_name.clone(),
            email: account.email.clone(),
            groups: privilege.map(|privilege| privilege.to_string()).into_iter().collect(),
            is_staff: is_admin,
            is_superuser: is_admin,
            is_active: account.is_active,
            last_login: account.last_login.map(date),
            date_joined: date(account.date_joined),
            has_analytics_access: privilege >= Some(Privilege::Business),
        }
    }
}

/// A user in full or in short.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum MetaUser {
    Full(UserRead),
    Basic(BasicUser),
}

impl MetaUser {
    fn new(account: &Account, caller: &Caller) -> Self {
        if caller.is_admin() || account.id == caller.user_id() {
            return Self::Full(UserRead::new(account, &caller.base_url));
        }
        let user = directory::User {
            id: account.id,
            username: account.username.clone(),
            first_name: account.first_name.clone(),
            last_name: account.last_name.clone(),
        };
        Self::Basic(BasicUser::new(&user, &caller.base_url))
    }
}

/// What to change of a user; the names are everybody's own, the rest is for admins.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct UpdateUser {
    pub username: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub email: Option<String>,
    /// At most one of `admin`, `business`, `user` and `worker` counts: the greatest.
    pub groups: Option<Vec<String>>,
    /// Follows from `groups`.
    pub is_staff: Option<bool>,
    /// Follows from `groups`.
    pub is_superuser: Option<bool>,
    pub is_active: Option<bool>,
}

/// The caller.
#[utoipa::path(tag = "users", responses((status = 200, description = "The caller", body = UserRead)))]
#[get("/api/users/self")]
pub async fn get_self(kit: web::Data<Kit>, caller: Caller) -> Answer {
    let found = kit.read(&caller, async |tx| Ok(accounts::find(tx, caller.user_id()).await?)).await?;
    let account = found.ok_or_else(Refusal::invalid_token)?;
    Ok(HttpResponse::Ok().json(UserRead::new(&account, &caller.base_url)))
}

service_kit::list_params!(UserList, accounts::FIELDS, Place::Organization);

/// The users that the caller may see: themselves, and the members of their organizations.
#[utoipa::path(tag = "users", params(UserList), responses(
    (status = 200, description = "A page of users", body = Page<MetaUser>),
))]
#[get("/api/users")]
pub async fn list_users(
    kit: web::Data<Kit>,
    caller: Caller,
    selection: Selection,
    request: HttpRequest,
) -> Answer {
    let query = ListQuery::from_query_string(request.query_string(), &accounts::FIELDS)?;
    let scope = kit.scope(&caller, &selection).await?;
    let seen = table(Resource::Users).visible(&caller.subject(), &scope.list());
    let (found, window) =
        kit.read(&caller, async |tx| accounts::list(tx, &query, &seen, caller.user_id()).await).await?;
    let users = found.iter().map(|account| MetaUser::new(account, &caller)).collect();
    Ok(HttpResponse::Ok().json(Page::new(users, &window, &url_of(&request))))
}

/// A user.
#[utoipa::path(tag = "users", responses(
    (status = 200, description = "The user", body = MetaUser),
    (status = 403, description = "Not in an organization of the caller's"),
    (status = 404, description = "No such user"),
))]
#[get("/api/users/{id}")]
pub async fn get_user(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    let account = kit
        .read(&caller, async |tx| {
            let account = accounts::find(tx, *id).await?.ok_or_else(Refusal::not_found)?;
            // A user is in no organization of their own, so it is enough to share one.
            let memberships = directory::memberships_of(tx, caller.user_id()).await?;
            let all = ListScope::All { memberships: &memberships };
            let seen = table(Resource::Users).visible(&caller.subject(), &all);
            match accounts::is_visible(tx, *id, &seen, caller.user_id()).await? {
                true => Ok(account),
                false => Err(Refusal::forbidden()),
            }
        })
        .await?;
    Ok(HttpResponse::Ok().json(MetaUser::new(&account, &caller)))
}

/// Changes a user: the caller, or any user if the caller is an admin.
#[utoipa::path(tag = "users", request_body = UpdateUser, responses(
    (status = 200, description = "The user as they are now", body = MetaUser),
    (status = 400, description = "A field is not good"),
    (status = 404, description = "No such user"),
))]
#[patch("/api/users/{id}")]
pub async fn update_user(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    write: Write<UpdateUser>,
) -> Answer {
    check(&write.body, caller.is_admin())?;
    let privilege = wanted_privilege(&write.body)?;
    let seat = match write.body.is_active {
        Some(true) => seat_again(&kit, &caller, *id).await?,
        _ => None,
    };
    let outcome = kit
        .write(&caller, &write, async |unit| {
            let account = authorise(unit, &caller, *id, "update").await?;
            let updated = update(unit, &account, &write.body, privilege, seat.as_ref()).await?;
            Reply::ok(&MetaUser::new(&updated, &caller))
        })
        .await;
    let answer = match seat {
        Some(seat) => seat.settle(&kit, outcome).await?,
        None => outcome?,
    };
    steps::settle(&kit.store).await?;
    Ok(answer)
}

/// Deletes a user: the caller, or any user if the caller is an admin. What they made stays, without owner.
#[utoipa::path(tag = "users", responses(
    (status = 204, description = "Deleted"),
    (status = 404, description = "No such user"),
))]
#[delete("/api/users/{id}")]
pub async fn delete_user(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    write: Write<Nothing>,
) -> Answer {
    let answer = kit
        .write(&caller, &write, async |unit| {
            authorise(unit, &caller, *id, "delete").await?;
            steps::delete_user(unit, *id).await?;
            Ok(Reply::no_content())
        })
        .await?;
    steps::settle(&kit.store).await?;
    Ok(answer)
}

/// The account, if the caller may do this to it.
async fn authorise(unit: &mut Unit, caller: &Caller, id: i64, scope: &str) -> Result<Account, Refusal> {
    unit.lock::<User>(&[id]).await?;
    let account = accounts::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)?;
    let relation = Ownership::NONE.with(Relation::SelfUser, id == caller.user_id());
    let decision = table(Resource::Users).decide(
        scope,
        &caller.subject(),
        &Context::Sandbox,
        relation,
        &LimitInput::NONE,
    );
    // A tenant's admin rules over their tenant, not over those who operate the deployment.
    if !decision.is_allowed() || (account.operator && !caller.principal.operator) {
        return Err(Refusal::forbidden());
    }
    Ok(account)
}

/// A seat for a user who is to be active again: who was disabled has given theirs back.
async fn seat_again(kit: &Kit, caller: &Caller, id: i64) -> Result<Option<Seat>, Refusal> {
    let found = kit.read(caller, async |tx| Ok(accounts::find(tx, id).await?)).await?;
    match found.is_some_and(|account| !account.is_active) {
        true => Ok(Some(seats::take(kit, caller.tenant()).await?)),
        false => Ok(None),
    }
}

async fn update(
    unit: &mut Unit,
    account: &Account,
    body: &UpdateUser,
    privilege: Option<Option<Privilege>>,
    seat: Option<&Seat>,
) -> Result<Account, Refusal> {
    let id = account.id;
    let reservation_id = match (seat, account.is_active) {
        (Some(seat), false) => seat.reservation(unit).await?,
        (None, false) if body.is_active == Some(true) => {
            return Err(Refusal::unavailable("This user was disabled just now; try again."));
        }
        _ => None,
    };
    let last_admin = accounts::is_last_admin(unit.tx(), id).await?;
    let change = UserChange {
        username: body.username.clone(),
        email: body.email.clone(),
        first_name: body.first_name.clone(),
        last_name: body.last_name.clone(),
        is_active: body.is_active,
        reservation_id,
    };
    unit.execute::<User>(id, UserCommand::Update { change, last_admin }).await?;
    if let Some(privilege) = privilege {
        steps::set_privilege(unit, account, privilege, last_admin).await?;
    }
    if body.is_active == Some(false) {
        steps::end_sessions(unit, id, None).await?;
    }
    accounts::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)
}

fn check(body: &UpdateUser, is_admin: bool) -> Result<(), Refusal> {
    let admins = [
        ("email", body.email.is_some()),
        ("groups", body.groups.is_some()),
        ("is_active", body.is_active.is_some()),
        ("is_staff", body.is_staff.is_some()),
        ("is_superuser", body.is_superuser.is_some()),
    ];
    let mut errors = FieldErrors::default();
    for (field, _) in admins.iter().filter(|(_, given)| *given && !is_admin) {
        errors.check(false, field, "Only an admin may change this field.");
    }
    if let Some(username) = &body.username {
        check_username(&mut errors, username);
    }
    if let Some(email) = &body.email {
        check_email(&mut errors, email);
    }
    for (field, name) in [("first_name", &body.first_name), ("last_name", &body.last_name)] {
        errors.max(field, name.as_deref().unwrap_or_default(), PERSON_NAME_MAX);
    }
    errors.finish()
}

/// The privilege that the groups stand for, if the request says any.
fn wanted_privilege(body: &UpdateUser) -> Result<Option<Option<Privilege>>, Refusal> {
    let Some(groups) = &body.groups else {
        if body.is_staff.is_some() || body.is_superuser.is_some() {
            return Err(Refusal::field(
                "groups",
                "Set the groups: is_staff and is_superuser follow from them.",
            ));
        }
        return Ok(None);
    };
    let mut greatest = None;
    for name in groups {
        let privilege: Privilege = name.parse().map_err(|_: policy::UnknownName| {
            Refusal::field("groups", format!("Object with name={name} does not exist."))
        })?;
        greatest = greatest.max(Some(privilege));
    }
    let is_admin = greatest == Some(Privilege::Admin);
    for (field, value) in [("is_staff", body.is_staff), ("is_superuser", body.is_superuser)] {
        if value.is_some_and(|value| value != is_admin) {
            return Err(Refusal::field(field, "This follows from the groups: it is true for admins only."));
        }
    }
    Ok(Some(greatest))
}
