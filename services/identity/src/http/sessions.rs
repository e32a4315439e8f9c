//! Signing in and out.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, post, web};
use event_store::store::Context;
use serde::{Deserialize, Serialize};
use serde_json::json;
use service_kit::auth::{self, csrf_token};
use service_kit::{Answer, Caller, Kit, Refusal, Write, telemetry};
use utoipa::ToSchema;

use crate::domain::session::{Session, SessionCommand, SessionKind};
use crate::domain::user::User;
use crate::secrets::SessionSecrets;
use crate::sign_in::{self, Name, SignedIn};
use crate::steps::{self, Start};

/// A name or an address, and a password; or a key and its secret.
#[derive(Debug, Deserialize, ToSchema)]
pub struct LogIn {
    /// Perhaps with the tenant's name before it: `acme\alice`. Or an access key.
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    pub email: String,
    #[serde(default)]
    pub password: String,
}

/// What a sign-in gives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Token {
    /// For `Authorization: Token …`.
    pub key: String,
}

/// Something said to a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct Detail {
    pub detail: String,
}

/// Signs a user in: a token in the body, and the cookies `csrftoken` and `sessionid`.
#[utoipa::path(tag = "auth", request_body = LogIn, security(()), responses(
    (status = 200, description = "Signed in", body = Token),
    (status = 400, description = "Wrong name or password"),
    (status = 429, description = "Too many sign-ins at once"),
))]
#[post("/api/auth/login")]
pub async fn log_in(kit: web::Data<Kit>, request: HttpRequest, write: Write<LogIn>) -> Answer {
    let LogIn { username, email, password } = write.body;
    if password.is_empty() {
        return Err(Refusal::field("password", "This field is required."));
    }
    let name = match (username.is_empty(), email.is_empty()) {
        (false, _) => Name::Username(&username),
        (true, false) => Name::Email(&email),
        (true, true) => {
            return Err(Refusal::field(
                "non_field_errors",
                "Must include \"username\" or \"email\" and \"password\".",
            ));
        }
    };
    let verified = sign_in::with_password(&kit, auth::host(&request), name, password).await?;
    let signed_in = verified.ok_or_else(cannot_log_in)?;
    let secrets = SessionSecrets::new()?;
    let context = context_of(&request, &signed_in);
    kit.store.transact(&context, async |unit| start(unit, &signed_in, &secrets).await).await?;
    Ok(signed_in_response(&kit, StatusCode::OK, &secrets, &Token { key: secrets.token.clone() }))
}

/// Signs out: ends the session behind the cookie or token that was sent, and takes the cookies back.
#[utoipa::path(tag = "auth", responses((status = 200, description = "Signed out", body = Detail)))]
#[post("/api/auth/logout")]
pub async fn log_out(kit: web::Data<Kit>, caller: Result<Caller, Refusal>) -> Answer {
    match caller {
        Ok(caller) => end(&kit, &caller).await?,
        // Whoever is not signed in is signed out; but a forged request must not pass for that.
        Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => {}
        Err(refusal) => return Err(refusal),
    }
    let mut response = HttpResponse::Ok();
    for name in ["csrftoken", "sessionid"] {
        response.append_header((header::SET_COOKIE, format!("{name}=; Max-Age=0; Path=/; SameSite=Lax")));
    }
    Ok(response.json(json!({ "detail": "Successfully logged out." })))
}

async fn end(kit: &Kit, caller: &Caller) -> Result<(), Refusal> {
    // A password sent with each request has no session to end.
    let Some(session) = caller.principal.session else { return Ok(()) };
    let at = kit.clock.now();
    kit.store
        .transact(&caller.context(), async |unit| {
            unit.execute::<Session>(session, SessionCommand::End { at }).await?;
            Ok::<_, Refusal>(())
        })
        .await?;
    steps::settle(&kit.store).await?;
    kit.authenticator.revocations.await_session(caller.tenant(), session).await;
    Ok(())
}

/// Starts the session, unless the user has changed since the password was checked.
async fn start(
    unit: &mut event_store::Unit,
    signed_in: &SignedIn,
    secrets: &SessionSecrets,
) -> Result<(), Refusal> {
    let account = &signed_in.account;
    let now = unit.load::<User>(account.id).await?.ok_or_else(cannot_log_in)?;
    if !now.is_present() || now.password_hash != account.password_hash {
        return Err(cannot_log_in());
    }
    let access_key = signed_in.access_key.as_deref();
    let start = Start { access_key, ..Start::new(account.id, SessionKind::Login, secrets) };
    match steps::start_session(unit, start).await {
        Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => Err(cannot_log_in()),
        outcome => outcome.map(|_| ()),
    }
}

fn cannot_log_in() -> Refusal {
    Refusal::field("non_field_errors", "Unable to log in with provided credentials.")
}

fn context_of(request: &HttpRequest, signed_in: &SignedIn) -> Context {
    Context {
        tenant: signed_in.tenant,
        actor: Some(signed_in.account.id),
        impersonator: None,
        correlation: auth::request_id(request),
        causation: None,
        traceparent: telemetry::traceparent(),
    }
}

/// An answer with the cookies of a new session.
///
/// The headers are written by hand: Python's `SimpleCookie`, which CVAT's SDK reads them with, loses all
/// cookies when the first one ends in an attribute without a value.
pub fn signed_in_response(
    kit: &Kit,
    status: StatusCode,
    secrets: &SessionSecrets,
    body: &impl Serialize,
) -> HttpResponse {
    let secure = if kit.config.public_url.starts_with("https://") { "Secure; " } else { "" };
    let age = steps::SESSION_LIFE.num_seconds();
    let ending = format!("Max-Age={age}; Path=/; {secure}SameSite=Lax");
    HttpResponse::build(status)
        .append_header((header::SET_COOKIE, format!("csrftoken={}; {ending}", csrf_token(&secrets.cookie))))
        .append_header((header::SET_COOKIE, format!("sessionid={}; HttpOnly; {ending}", secrets.cookie)))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(body)
}
