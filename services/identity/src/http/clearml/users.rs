//! `auth.*_user` and `users.*`: the users of a tenant.

use actix_web::http::StatusCode;
use event_store::Unit;
use serde_json::{Value, json};
use service_kit::Refusal;
use service_kit::clearml::{Fault, fault};
use uuid::Uuid;

use super::token::{name_of, role_of};
use super::{Answered, Call};
use crate::domain::role::Role;
use crate::domain::user::{NewUser, USERNAME_MAX, User, UserCommand, is_valid_username};
use crate::http::registration::{EMAIL_MAX, PERSON_NAME_MAX, is_email};
use crate::projections::accounts::{self, Account};
use crate::projections::tenants::{self, TenantRow};
use crate::steps;
use crate::steps::seats::{self, Seat};

/// The most users on a page.
const PAGE_MAX: i64 = 500;

/// A user that a call describes.
struct Described {
    email: String,
    first_name: String,
    last_name: String,
    role: Role,
    /// What they would be called by CVAT's clients.
    username: String,
}

pub async fn create(call: &Call) -> Answered {
    let described = describe(call)?;
    let tenant = call.company().await?;
    let context = call.context(tenant)?;
    let seat = seats::take(&call.kit, tenant).await?;
    let mut outcome = register(call, &context, &described, &seat, false).await;
    if outcome.as_ref().is_err_and(|refusal| refusal.code == "username_taken") {
        // Somebody took the name a moment ago.
        outcome = register(call, &context, &described, &seat, true).await;
    }
    let outcome = seat.settle(&call.kit, outcome).await;
    let public_id = outcome.map_err(|refusal| match refusal.code {
        "email_taken" => fault::NOT_UNIQUE.fault().with("email", &described.email),
        _ => Fault::from(refusal),
    })?;
    Ok(json!({ "id": public_id.simple().to_string() }))
}

async fn register(
    call: &Call,
    context: &event_store::store::Context,
    described: &Described,
    seat: &Seat,
    numbered: bool,
) -> Result<Uuid, Refusal> {
    let work = async |unit: &mut Unit| {
        let reservation_id = seat.reservation(unit).await?;
        let id = steps::new_id::<User>(unit).await?;
        let taken = accounts::find_by_username(unit.tx(), &described.username).await?.is_some();
        let username = match taken || numbered {
            true => format!("{}-{id}", described.username),
            false => described.username.clone(),
        };
        let new = NewUser {
            username,
            email: described.email.clone(),
            first_name: described.first_name.clone(),
            last_name: described.last_name.clone(),
            password_hash: None,
            privilege: described.role.privilege(),
            operator: false,
            at: unit.store().clock().now(),
            reservation_id,
        };
        unit.execute::<User>(id, UserCommand::Register(new)).await?;
        let account = accounts::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)?;
        Ok(account.public_id)
    };
    call.store().transact(context, work).await
}

fn describe(call: &Call) -> Result<Described, Fault> {
    let name = call.body.needed_text("name")?;
    let email = call.body.needed_text("email")?;
    if !is_email(&email) || email.chars().count() > EMAIL_MAX {
        return Err(fault::EMAIL.fault().with("email", email));
    }
    let given_name = call.body.text("given_name")?.filter(|name| !name.is_empty());
    let (first_name, last_name) =
        (given_name.unwrap_or(name), call.body.text("family_name")?.unwrap_or_default());
    for (field, text) in [("name", &first_name), ("family_name", &last_name)] {
        if text.chars().count() > PERSON_NAME_MAX {
            let reason = format!("at most {PERSON_NAME_MAX} characters are allowed");
            return Err(fault::VALIDATION.because(reason).with("field", field));
        }
    }
    let role = role(call)?.unwrap_or(Role::User);
    let username = username_for(email.split('@').next().unwrap_or_default());
    Ok(Described { email, first_name, last_name, role, username })
}

/// A name that CVAT's clients accept, with room for a number behind it.
fn username_for(local_part: &str) -> String {
    let plain = |letter: char| match letter.is_alphanumeric() || "_.@+-".contains(letter) {
        true => letter,
        false => '_',
    };
    let name: String = local_part.chars().map(plain).take(USERNAME_MAX - 20).collect();
    if is_valid_username(&name) { name } else { "user".to_owned() }
}

fn role(call: &Call) -> Result<Option<Role>, Fault> {
    let Some(name) = call.body.text("role")? else { return Ok(None) };
    let role = Role::given(&name);
    role.map(Some)
        .ok_or_else(|| fault::VALIDATION.because("there is no such role to give").with("role", name))
}

pub async fn edit(call: &Call) -> Answered {
    let (tenant, id) = call.user().await?;
    let role = role(call)?.ok_or_else(|| fault::MISSING.fault().with("field", "role"))?;
    let changed = call
        .store()
        .transact(&call.context(tenant)?, async |unit| {
            let account = authorise(call, unit, id).await?;
            let last_admin = accounts::is_last_admin(unit.tx(), id).await?;
            let privilege = role.privilege();
            steps::set_privilege(unit, &account, privilege, last_admin).await?;
            Ok(account.privilege() != privilege)
        })
        .await
        .map_err(|refusal| unknown(call, refusal))?;
    steps::settle(call.store()).await?;
    let fields = if changed { json!({ "role": role.to_string() }) } else { json!({}) };
    Ok(json!({ "updated": i64::from(changed), "fields": fields }))
}

pub async fn delete(call: &Call) -> Answered {
    let (tenant, id) = call.user().await?;
    call.store()
        .transact(&call.context(tenant)?, async |unit| {
            authorise(call, unit, id).await?;
            steps::delete_user(unit, id).await
        })
        .await
        .map_err(|refusal| unknown(call, refusal))?;
    steps::settle(call.store()).await?;
    Ok(json!({ "deleted": 1 }))
}

/// The account; a tenant's admin rules over their tenant, not over those who operate the deployment.
async fn authorise(call: &Call, unit: &mut Unit, id: i64) -> Result<Account, Refusal> {
    unit.lock::<User>(&[id]).await?;
    let account = accounts::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)?;
    let operates = call.who().is_ok_and(|who| who.role.is_operator());
    if account.operator && !operates { Err(Refusal::forbidden()) } else { Ok(account) }
}

/// A user who was deleted a moment ago was never there.
fn unknown(call: &Call, refusal: Refusal) -> Fault {
    match (refusal.status, call.body.text("user")) {
        (StatusCode::NOT_FOUND, Ok(Some(id))) => fault::USER_ID.fault().with("id", id),
        _ => refusal.into(),
    }
}

pub async fn get_current(call: &Call) -> Answered {
    let who = call.who()?;
    let mut tx = call.store().database().tenant(who.tenant).await?;
    let account = accounts::find(&mut tx, who.user_id).await?;
    let tenant = tenants::own(&mut tx).await?;
    tx.commit().await?;
    let (Some(account), Some(tenant)) = (account, tenant) else { return Err(fault::INVALID_TOKEN.fault()) };
    let mut user = shown(&account, &tenant, true);
    user["company"] = json!({ "id": user["company"], "name": tenant.display_name });
    user["created_in_version"] = env!("CARGO_PKG_VERSION").into();
    user["preferences"] = json!({});
    Ok(json!({ "user": user, "getting_started": null, "settings": { "max_download_items": 1000 } }))
}

pub async fn list(call: &Call) -> Answered {
    let who = call.who()?;
    let only = call.body.texts("id")?.map(|ids| {
        // What is no id is nobody's.
        ids.iter().filter_map(|id| Uuid::try_parse(id).ok()).collect()
    });
    let number = call.body.integer("page")?.unwrap_or(0);
    let size = call.body.integer("page_size")?.unwrap_or(PAGE_MAX).min(PAGE_MAX);
    if number < 0 || size < 1 {
        return Err(fault::VALIDATION.because("page is 0 or more, page_size is 1 or more"));
    }
    let mut tx = call.store().database().tenant(who.tenant).await?;
    let found = accounts::page(&mut tx, only, size, number.saturating_mul(size)).await?;
    let tenant = tenants::own(&mut tx).await?;
    tx.commit().await?;
    let tenant = tenant.ok_or_else(|| fault::INVALID_TOKEN.fault())?;
    let admin = who.role.is_admin();
    let users: Vec<Value> = found.iter().map(|account| shown(account, &tenant, admin)).collect();
    Ok(json!({ "users": users }))
}

pub async fn get(call: &Call) -> Answered {
    let who = call.who()?;
    let text = call.body.needed_text("user")?;
    let unknown = || fault::USER_ID.fault().with("id", &text);
    let id = Uuid::try_parse(&text).map_err(|_| unknown())?;
    let mut tx = call.store().database().tenant(who.tenant).await?;
    let found = accounts::page(&mut tx, Some(vec![id]), 1, 0).await?;
    let tenant = tenants::own(&mut tx).await?;
    tx.commit().await?;
    let (Some(account), Some(tenant)) = (found.first(), tenant) else { return Err(unknown()) };
    Ok(json!({ "user": shown(account, &tenant, who.role.is_admin()) }))
}

/// A user; their address is for admins, and for themselves.
fn shown(account: &Account, tenant: &TenantRow, in_full: bool) -> Value {
    let mut user = json!({
        "id": account.public_id.simple().to_string(),
        "name": name_of(account),
        "given_name": account.first_name,
        "family_name": account.last_name,
        "avatar": null,
        "company": tenant.tenant().0.simple().to_string(),
        "role": role_of(account).to_string(),
        "created": account.date_joined.to_rfc3339(),
    });
    if in_full {
        user["email"] = account.email.clone().into();
        // What CVAT's clients call them.
        user["username"] = account.username.clone().into();
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_an_address_begins_with_there_is_a_name_for_it() {
        for (local_part, name) in
            [("jane.doe+x", "jane.doe+x"), ("o'hara", "o_hara"), ("\u{e9}", "\u{e9}"), ("", "user")]
        {
            assert_eq!(username_for(local_part), name);
        }
        let long = username_for(&"x".repeat(400));
        assert!(is_valid_username(&format!("{long}-9223372036854775807")));
    }
}
