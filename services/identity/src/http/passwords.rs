//! Changing one's password.

use actix_web::{HttpResponse, post, web};
use serde::Deserialize;
use serde_json::json;
use service_kit::{Answer, Caller, Kit, Refusal, Write};
use utoipa::ToSchema;

use super::registration::check_password;
use super::sessions::Detail;
use crate::domain::user::{User, UserCommand};
use crate::passwords::{self, About};
use crate::projections::accounts::{self, Account};
use crate::steps;

/// The old password and, twice, the new one.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChangePassword {
    pub old_password: String,
    pub new_password1: String,
    pub new_password2: String,
}

/// Changes the caller's password and ends all their sessions but the one that asks. Takes no `Idempotency-Key`.
#[utoipa::path(tag = "auth", request_body = ChangePassword, responses(
    (status = 200, description = "Changed", body = Detail),
    (status = 400, description = "The old password is wrong, the new one is weak, or there is an Idempotency-Key"),
))]
#[post("/api/auth/password/change")]
pub async fn change_password(kit: web::Data<Kit>, caller: Caller, write: Write<ChangePassword>) -> Answer {
    let found = kit.read(&caller, async |tx| Ok(accounts::find(tx, caller.user_id()).await?)).await?;
    let account = found.ok_or_else(Refusal::invalid_token)?;
    let body = write.without_key()?.body;
    let old_hash = account.password_hash.clone();
    if !passwords::verify(body.old_password.clone(), old_hash.clone()).await? {
        return Err(wrong_old_password());
    }
    check(&body, &account)?;
    let hash = passwords::hash(body.new_password1).await?;
    let keep = caller.principal.session;
    kit.store
        .transact(&caller.context(), async |unit| {
            let now = unit.load::<User>(account.id).await?.ok_or_else(Refusal::invalid_token)?;
            if now.password_hash != old_hash {
                return Err(wrong_old_password());
            }
            let change = UserCommand::ChangePassword { password_hash: hash.clone() };
            unit.execute::<User>(account.id, change).await?;
            steps::end_sessions(unit, account.id, keep).await
        })
        .await?;
    steps::settle(&kit.store).await?;
    Ok(HttpResponse::Ok().json(json!({ "detail": "New password has been saved." })))
}

fn check(body: &ChangePassword, account: &Account) -> Result<(), Refusal> {
    if body.new_password1 != body.new_password2 {
        return Err(Refusal::field("new_password2", "The two password fields didn\u{2019}t match."));
    }
    let about = About {
        username: &account.username,
        first_name: &account.first_name,
        last_name: &account.last_name,
        email: &account.email,
    };
    check_password("new_password2", &body.new_password1, &about)
}

fn wrong_old_password() -> Refusal {
    Refusal::field("old_password", "Your old password was entered incorrectly. Please enter it again.")
}
