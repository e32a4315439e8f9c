//! Making an account of one's own.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, post, web};
use event_store::Unit;
use event_store::store::Context;
use policy::Privilege;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use service_kit::auth;
use service_kit::body::FieldErrors;
use service_kit::refusal::Text;
use service_kit::{Answer, Kit, Refusal, Write, telemetry};
use utoipa::ToSchema;

use super::sessions::signed_in_response;
use crate::domain::session::SessionKind;
use crate::domain::user::{NewUser, USERNAME_MAX, User, UserCommand, is_valid_username};
use crate::passwords::{self, About};
use crate::secrets::SessionSecrets;
use crate::sign_in;
use crate::steps::seats::{self, Seat};
use crate::steps::{self, Start};

/// The longest first or last name, in characters.
pub const PERSON_NAME_MAX: usize = 150;
/// The longest e-mail address, in characters.
pub const EMAIL_MAX: usize = 254;

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RegisterUser {
    pub username: String,
    pub email: String,
    pub password1: String,
    pub password2: String,
    #[serde(default)]
    pub first_name: String,
    #[serde(default)]
    pub last_name: String,
}

/// A registered account, signed in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Registered {
    pub username: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    /// Addresses are not verified here.
    pub email_verification_required: bool,
    /// For `Authorization: Token …`.
    pub key: String,
}

/// Registers a user of the default tenant and signs them in; at a company's host nobody can. Takes no `Idempotency-Key`.
#[utoipa::path(tag = "auth", request_body = RegisterUser, security(()), responses(
    (status = 201, description = "Registered", body = Registered),
    (status = 400, description = "A field is not good, or there is an Idempotency-Key"),
    (status = 403, description = "The tenant has no seat left, or is a company, whose accounts its administrators make"),
))]
#[post("/api/auth/register")]
pub async fn register_user(kit: web::Data<Kit>, request: HttpRequest, write: Write<RegisterUser>) -> Answer {
    let body = write.without_key()?.body;
    check(&body)?;
    let tenant = sign_in::tenant_of_host(&kit.store, auth::host(&request)).await?;
    if !sign_in::lets_register(tenant) {
        let text = "Accounts of this company are made by its administrators.";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "registration_closed", text));
    }
    let hash = passwords::hash(body.password1.clone()).await?;
    let context = Context {
        correlation: auth::request_id(&request),
        traceparent: telemetry::traceparent(),
        ..Context::mesh(tenant)
    };
    let secrets = SessionSecrets::new()?;
    let seat = seats::take(&kit, context.tenant).await?;
    let outcome = kit
        .store
        .transact(&context, async |unit| register(unit, &body, &hash, (&secrets, &seat)).await)
        .await;
    seat.settle(&kit, outcome).await?;
    let registered = Registered {
        username: body.username,
        email: body.email,
        first_name: body.first_name,
        last_name: body.last_name,
        email_verification_required: false,
        key: secrets.token.clone(),
    };
    Ok(signed_in_response(&kit, StatusCode::CREATED, &secrets, &registered))
}

async fn register(
    unit: &mut Unit,
    body: &RegisterUser,
    hash: &str,
    (secrets, seat): (&SessionSecrets, &Seat),
) -> Result<(), Refusal> {
    let reservation_id = seat.reservation(unit).await?;
    let id = steps::new_id::<User>(unit).await?;
    let new = NewUser {
        username: body.username.clone(),
        email: body.email.clone(),
        first_name: body.first_name.clone(),
        last_name: body.last_name.clone(),
        password_hash: Some(hash.to_owned()),
        privilege: Some(Privilege::User),
        operator: false,
        at: unit.store().clock().now(),
        reservation_id,
    };
    unit.execute::<User>(id, UserCommand::Register(new)).await?;
    steps::start_session(unit, Start::new(id, SessionKind::Registration, secrets)).await?;
    Ok(())
}

fn check(body: &RegisterUser) -> Result<(), Refusal> {
    let mut errors = FieldErrors::default();
    check_username(&mut errors, &body.username);
    check_email(&mut errors, &body.email);
    errors.max("first_name", &body.first_name, PERSON_NAME_MAX);
    errors.max("last_name", &body.last_name, PERSON_NAME_MAX);
    errors.finish()?;
    let about = About {
        username: &body.username,
        first_name: &body.first_name,
        last_name: &body.last_name,
        email: &body.email,
    };
    check_password("password1", &body.password1, &about)?;
    if body.password1 != body.password2 {
        return Err(Refusal::field("non_field_errors", "The two password fields didn\u{2019}t match."));
    }
    Ok(())
}

/// Notes what is wrong with a user name.
pub fn check_username(errors: &mut FieldErrors, username: &str) {
    errors.text("username", username, USERNAME_MAX).check(
        is_valid_username(username),
        "username",
        "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.",
    );
}

/// Notes what is wrong with an e-mail address.
pub fn check_email(errors: &mut FieldErrors, email: &str) {
    errors.text("email", email, EMAIL_MAX).check(is_email(email), "email", "Enter a valid email address.");
}

/// Refuses a new password with all that is wrong with it.
pub fn check_password(field: &str, password: &str, about: &About<'_>) -> Result<(), Refusal> {
    let problems = passwords::problems(password, about);
    if problems.is_empty() {
        return Ok(());
    }
    let mut refusal = Refusal::bad_request("");
    refusal.text = Text::Fields(Map::from_iter([(field.to_owned(), problems.into())]));
    Err(refusal)
}

/// Whether a text has the shape of an address; only a letter that arrives proves one.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain =
        |letter: char| !letter.is_whitespace() && !letter.is_control() && !"@<>(),;:\\\"[]".contains(letter);
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
    };
    !local.is_empty()
        && local.len() <= 64
        && local.chars().all(plain)
        && domain.split('.').all(label)
        && (domain.contains('.') || domain == "localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_name_and_a_domain() {
        for good in ["a@b.co", "first.last+tag@sub.example.com", "admin@localhost", "é@münchen.de"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "a@", "@b.co", "a@b", "a b@c.de", "a@b@c.de", "a@.de", "a@-b.de", "a\0@b.de"] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
