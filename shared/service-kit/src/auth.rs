//! Who calls. Whatever credential a request carries is exchanged once at identity for a short-lived signed
//! statement, which this service verifies itself and keeps; no header, address or ingress is trusted.

use std::future::Future;
use std::pin::Pin;

use actix_web::http::Method;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use aws_lc_rs::digest;
use base64::Engine;
use contracts::TenantId;
use event_store::store::Context;
use policy::{Privilege, Subject};
use serde::{Deserialize, Serialize};

use crate::faces::RequestId;
use crate::kit::Node;
use crate::{Refusal, telemetry};

pub mod authenticator;
pub mod revocations;
pub(crate) mod shared_cache;

/// Seconds that a principal's statement is good for at most.
pub const TOKEN_LIFE_S: i64 = 120;
/// The longest credential that is looked at, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;

/// What a request carries to say who calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// CVAT's `sessionid` cookie.
    Session(String),
    /// `Authorization: Token …`
    Token(String),
    /// `Authorization: Basic …`
    Basic { username: String, password: String },
    /// `Authorization: Bearer …`
    Bearer(String),
}

/// What identity is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExchangeRequest {
    pub credential: Credential,
    /// The host that the request came to; it may name the tenant.
    pub host: String,
}

/// What identity answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExchangeAnswer {
    /// The signed [`Principal`].
    pub token: String,
    /// Identity's log position, read before the credential: a revocation after it makes the answer void.
    pub position: i64,
}

/// Who somebody is; never which organization's role they have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Principal {
    pub iss: String,
    pub aud: String,
    pub exp: i64,
    pub iat: i64,
    #[serde(rename = "tid")]
    pub tenant: TenantId,
    /// The user's id, as text because RFC 7519 wants it so.
    pub sub: String,
    #[serde(rename = "priv", skip_serializing_if = "Option::is_none", default)]
    pub privilege: Option<Privilege>,
    /// Whether the caller operates the deployment; no directory can grant that.
    #[serde(rename = "op", default)]
    pub operator: bool,
    #[serde(rename = "ro", default)]
    pub read_only: bool,
    #[serde(rename = "sid", skip_serializing_if = "Option::is_none", default)]
    pub session: Option<i64>,
    /// The real user, when somebody acts for `sub`.
    #[serde(rename = "act", skip_serializing_if = "Option::is_none", default)]
    pub impersonator: Option<i64>,
}

impl Principal {
    pub const ISSUER: &'static str = "annomesh-identity";
    pub const AUDIENCE: &'static str = "annomesh-mesh";

    pub fn user_id(&self) -> i64 {
        self.sub.parse().unwrap_or(0)
    }
}

/// The authenticated caller of a request: an extractor.
#[derive(Clone, Debug)]
pub struct Caller {
    pub principal: Principal,
    pub request_id: uuid::Uuid,
    /// Scheme and host of the request, for absolute links; no slash at the end.
    pub base_url: String,
    /// The session cookie's value, when the caller signed in with one.
    pub session_secret: Option<String>,
}

impl Caller {
    pub fn tenant(&self) -> TenantId {
        self.principal.tenant
    }

    pub fn user_id(&self) -> i64 {
        self.principal.user_id()
    }

    pub fn is_admin(&self) -> bool {
        self.principal.privilege == Some(Privilege::Admin)
    }

    /// The caller, as the permission tables know one.
    pub fn subject(&self) -> Subject {
        Subject { user_id: self.user_id(), privilege: self.principal.privilege }
    }

    /// The context of the events that this request causes.
    pub fn context(&self) -> Context {
        Context {
            tenant: self.tenant(),
            actor: Some(self.user_id()),
            impersonator: self.principal.impersonator,
            correlation: self.request_id,
            causation: None,
            traceparent: telemetry::traceparent(),
        }
    }

    /// Refuses everybody but the deployment's operator.
    pub fn require_operator(&self) -> Result<(), Refusal> {
        if self.principal.operator { Ok(()) } else { Err(Refusal::forbidden()) }
    }
}

impl FromRequest for Caller {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let Some(node) = request.app_data::<web::Data<Node>>() else {
                return Err(Refusal::unavailable("The service is starting."));
            };
            let credential = credential(&request)?.ok_or_else(Refusal::unauthenticated)?;
            if let Credential::Session(secret) = &credential {
                check_csrf(&request, secret)?;
            }
            let principal = node.authenticator.authenticate(&credential, host(&request)).await?;
            if principal.read_only && !request.method().is_safe() {
                return Err(Refusal::forbidden());
            }
            node.count_call(principal.tenant, request.method(), request.path());
            Ok(Self {
                principal,
                request_id: request_id(&request),
                base_url: base_url(&request),
                session_secret: match credential {
                    Credential::Session(secret) => Some(secret),
                    _ => None,
                },
            })
        })
    }
}

/// The host that a request came to, with its port.
pub fn host(request: &HttpRequest) -> &str {
    let header = request.headers().get("host").and_then(|value| value.to_str().ok());
    header.or_else(|| request.uri().authority().map(|authority| authority.as_str())).unwrap_or("")
}

/// Scheme and host of a request, for absolute links.
pub fn base_url(request: &HttpRequest) -> String {
    format!("{}://{}", request.connection_info().scheme(), host(request))
}

/// The absolute address of a request, for the links to other pages.
pub fn url_of(request: &HttpRequest) -> String {
    format!("{}{}", base_url(request), request.uri())
}

/// The id of a request, given by the middleware.
pub fn request_id(request: &HttpRequest) -> uuid::Uuid {
    request.extensions().get::<RequestId>().map_or_else(event_store::new_id, |id| id.0)
}

/// Reads the credential of a request: a header before the cookie.
///
/// # Errors
/// 401 when the header makes no sense.
pub fn credential(request: &HttpRequest) -> Result<Option<Credential>, Refusal> {
    if let Some(header) = request.headers().get("authorization") {
        let header = header.to_str().map_err(|_| Refusal::invalid_token())?;
        if header.len() > CREDENTIAL_BYTES_MAX {
            return Err(Refusal::invalid_token());
        }
        let (scheme, value) = header.split_once(' ').ok_or_else(Refusal::invalid_token)?;
        let value = value.trim();
        return match scheme.to_ascii_lowercase().as_str() {
            "token" => Ok(Some(Credential::Token(value.to_owned()))),
            "bearer" => Ok(Some(Credential::Bearer(value.to_owned()))),
            "basic" => basic(value).map(Some).ok_or_else(|| Refusal {
                text: crate::refusal::Text::Detail("Invalid basic header.".into()),
                ..Refusal::invalid_token()
            }),
            _ => Err(Refusal::invalid_token()),
        };
    }
    let cookie = request.cookie("sessionid").filter(|cookie| cookie.value().len() <= 256);
    Ok(cookie.map(|cookie| Credential::Session(cookie.value().to_owned())))
}

fn basic(value: &str) -> Option<Credential> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Credential::Basic { username: username.to_owned(), password: password.to_owned() })
}

/// The CSRF token that belongs to a session: whoever knows it could read the session's cookie.
pub fn csrf_token(session_secret: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"annomesh-csrf:");
    context.update(session_secret.as_bytes());
    hex::encode(context.finish())
}

/// A cookie is sent by the browser unasked, so a write also needs what only the page itself can know.
fn check_csrf(request: &HttpRequest, session_secret: &str) -> Result<(), Refusal> {
    if request.method().is_safe() || request.method() == Method::OPTIONS {
        return Ok(());
    }
    let failed = |why: &str| {
        Refusal::new(actix_web::http::StatusCode::FORBIDDEN, "csrf_failed", format!("CSRF Failed: {why}"))
    };
    if let Some(origin) = request.headers().get("origin") {
        let origin = origin.to_str().unwrap_or_default();
        if origin.split_once("://").map(|(_, host)| host) != Some(host(request)) {
            return Err(failed("Origin checking failed."));
        }
    }
    let sent = request.headers().get("x-csrftoken").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if sent.is_empty() {
        return Err(failed("CSRF token missing."));
    }
    let expected = csrf_token(session_secret);
    if aws_lc_rs::constant_time::verify_slices_are_equal(sent.as_bytes(), expected.as_bytes()).is_err() {
        return Err(failed("CSRF token incorrect."));
    }
    Ok(())
}
