//! How a service says no: one type for handlers, rendered by the face that was spoken to.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use event_store::{DomainError, ExecuteError, HasStoreError, Refused, StoreError};
use serde_json::{Map, Value, json};

use crate::news::News;

/// A refused request.
#[derive(Debug, thiserror::Error)]
#[error("{status}: {code}")]
pub struct Refusal {
    pub status: StatusCode,
    /// Stable, in snake case; part of the native face.
    pub code: &'static str,
    pub text: Text,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
    /// With a 405: the methods that the path knows.
    pub allow: Option<String>,
    /// The stream of another service that it rests on, until that one's news were waited for.
    pub(crate) news: Option<Box<News>>,
    /// What went wrong below, for the log only.
    #[source]
    pub(crate) cause: Option<Box<StoreError>>,
}

/// What the caller is told, in the shapes of Django REST framework.
#[derive(Debug)]
pub enum Text {
    /// `{"detail": "…"}`
    Detail(String),
    /// `{"field": ["…"]}`
    Fields(Map<String, Value>),
    /// Anything else that CVAT answers, such as a bare list or string.
    Json(Value),
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let text = Text::Detail(detail.into());
        Self { status, code, text, retry_after: None, allow: None, news: None, cause: None }
    }

    /// 400, about one field of the request.
    pub fn field(name: &str, text: impl Into<String>) -> Self {
        let fields = Map::from_iter([(name.to_owned(), json!([text.into()]))]);
        Self { text: Text::Fields(fields), ..Self::new(StatusCode::BAD_REQUEST, "invalid", "") }
    }

    /// 400, with a body of CVAT's own shape.
    pub fn body(status: StatusCode, code: &'static str, body: Value) -> Self {
        Self { text: Text::Json(body), ..Self::new(status, code, "") }
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// 401: no credential was sent.
    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "not_authenticated",
            "Authentication credentials were not provided.",
        )
    }

    /// 401: the credential is not good.
    pub fn invalid_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_failed", "Invalid token.")
    }

    pub fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "permission_denied",
            "You do not have permission to perform this action.",
        )
    }

    /// 404, the same for what does not exist and for what another tenant has.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "Not found.")
    }

    /// 503: try again in a moment.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }

    /// Writes the cause of a server error to the log, once.
    pub fn log(&self) {
        if self.status.is_server_error() {
            let cause = self.cause.as_deref().map(|cause| event_store::chain(cause)).unwrap_or_default();
            tracing::error!(status = self.status.as_u16(), code = self.code, error = cause, "request failed");
        }
    }

    /// The body in CVAT's shape.
    pub fn cvat_body(&self) -> Value {
        match &self.text {
            Text::Detail(detail) => json!({ "detail": detail }),
            Text::Fields(fields) => Value::Object(fields.clone()),
            Text::Json(body) => body.clone(),
        }
    }

    /// What went wrong, in one line.
    pub fn detail(&self) -> String {
        match &self.text {
            Text::Detail(detail) => detail.clone(),
            Text::Fields(fields) => fields
                .iter()
                .map(|(name, texts)| format!("{name}: {}", texts[0].as_str().unwrap_or_default()))
                .collect::<Vec<_>>()
                .join("; "),
            Text::Json(body) => body.to_string(),
        }
    }

    /// The body as RFC 9457 problem details.
    pub fn problem_body(&self, trace_id: &str) -> Value {
        let mut problem = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail(),
            "trace_id": trace_id,
        });
        if let Text::Fields(fields) = &self.text {
            problem["errors"] = Value::Object(fields.clone());
        }
        problem
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// The middleware in [`crate::faces`] renders it; this is what remains where it is not installed.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status).json(self.cvat_body())
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        let mut refusal = match &error {
            StoreError::Conflict { .. } => Self::new(StatusCode::CONFLICT, "version_conflict", detail),
            StoreError::KeyReused => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
            }
            StoreError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail),
            StoreError::Unavailable(_) | StoreError::Collision(_) | StoreError::Fenced(_) => {
                Self::unavailable("The service is busy or its database is away; try again.")
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal server error."),
        };
        refusal.cause = Some(Box::new(error));
        refusal
    }
}

impl From<diesel::result::Error> for Refusal {
    fn from(error: diesel::result::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl<E: DomainError> From<ExecuteError<E>> for Refusal {
    fn from(error: ExecuteError<E>) -> Self {
        match error {
            ExecuteError::Store(error) => error.into(),
            ExecuteError::Refused(refusal) => {
                let status = match refusal.kind() {
                    Refused::Invalid => StatusCode::BAD_REQUEST,
                    Refused::NotFound => return Self::not_found(),
                    Refused::Conflict => StatusCode::CONFLICT,
                    Refused::Forbidden => StatusCode::FORBIDDEN,
                };
                match refusal.field() {
                    Some(field) => {
                        Self { status, code: refusal.code(), ..Self::field(field, refusal.to_string()) }
                    }
                    None => Self::new(status, refusal.code(), refusal.to_string()),
                }
            }
        }
    }
}

impl From<crate::list::ListError> for Refusal {
    fn from(error: crate::list::ListError) -> Self {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
        let code = if status == StatusCode::NOT_FOUND { "not_found" } else { "invalid" };
        Self::body(status, code, error.body)
    }
}

impl HasStoreError for Refusal {
    fn store_error(&self) -> Option<&StoreError> {
        self.cause.as_deref()
    }
}
