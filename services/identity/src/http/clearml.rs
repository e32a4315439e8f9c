//! ClearML's API, as far as tenants, users and credentials go: any method, a body or none, one envelope.
//!
//! To add an endpoint: an async function from [`Call`] to its data in its service's file, and a line in
//! [`ENDPOINTS`].

use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use futures::future::LocalBoxFuture;
use serde_json::Value;
use service_kit::clearml::{self, Address, Body, Fault, Meta, Version, fault};
use service_kit::{Kit, auth};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem, Paths};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, RefOr, Required, ResponseBuilder, Schema};
use utoipa_actix_web::OpenApiFactory;

mod auth_calls;
mod call;
mod companies;
mod credentials;
mod login;
mod server;
mod token;
mod users;

use crate::domain::role::Role;
pub use call::Call;

/// What an endpoint answers.
pub type Answered = Result<Value, Fault>;

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Callers {
    /// Also who shows no credential.
    Anybody,
    Users,
    Admins,
    /// Who operates the deployment.
    Operators,
}

impl Callers {
    fn allow(self, role: Role) -> bool {
        match self {
            Self::Anybody | Self::Users => true,
            Self::Admins => role.is_admin(),
            Self::Operators => role.is_operator(),
        }
    }
}

/// One endpoint.
struct Endpoint {
    name: &'static str,
    /// The version of the API that it came with.
    since: Version,
    callers: Callers,
    run: for<'a> fn(&'a Call) -> LocalBoxFuture<'a, Answered>,
    summary: &'static str,
}

macro_rules! endpoints {
    ($($name:literal $major:literal $minor:literal $callers:ident $run:path, $summary:literal;)*) => {
        &[$(Endpoint {
            name: $name,
            since: Version { major: $major, minor: $minor },
            callers: Callers::$callers,
            run: |call| Box::pin($run(call)),
            summary: $summary,
        }),*]
    };
}

/// Every endpoint.
const ENDPOINTS: &[Endpoint] = endpoints! {
    "system.create_company" 2 1 Operators companies::create, "Creates a tenant.";
    "system.get_companies" 2 1 Operators companies::list, "The tenants.";
    "system.company_info" 2 1 Operators companies::info, "A tenant.";
    "system.update_company_settings" 2 1 Operators companies::update, "Changes what a tenant may use.";
    "auth.login" 2 1 Users auth_calls::login, "A token for `Authorization: Bearer …`.";
    "auth.logout" 2 2 Users auth_calls::logout, "Ends the token that is shown.";
    "auth.validate_token" 2 1 Operators auth_calls::validate_token, "Whether a token is good, and whose it is.";
    "auth.create_user" 2 1 Admins users::create, "Creates a user of a tenant.";
    "auth.edit_user" 2 1 Admins users::edit, "Changes a user's role.";
    "auth.delete_user" 2 1 Admins users::delete, "Deletes a user.";
    "auth.create_credentials" 2 1 Users credentials::create, "A key and its secret, which is shown here only.";
    "auth.get_credentials" 2 1 Users credentials::list, "The caller's keys.";
    "auth.edit_credentials" 2 19 Users credentials::edit, "Labels a key.";
    "auth.revoke_credentials" 2 1 Users credentials::revoke, "Revokes a key.";
    "auth.fixed_users_mode" 2 1 Anybody login::fixed_users_mode, "There are no users in the settings.";
    "login.supported_modes" 2 9 Anybody login::supported_modes, "How one signs in.";
    "login.logout" 2 13 Users auth_calls::logout, "Ends the token that is shown.";
    "login.set_domains" 2 1 Operators login::set_domains, "Sets the domains of a tenant's e-mail addresses.";
    "login.get_domains" 2 1 Admins login::get_domains, "The domains of the tenant's e-mail addresses.";
    "login.get_settings" 2 1 Admins login::get_settings, "The domains of the tenant's e-mail addresses.";
    "users.get_current_user" 2 1 Users users::get_current, "The caller.";
    "users.get_all" 2 1 Users users::list, "The users of the caller's tenant.";
    "users.get_all_ex" 2 8 Users users::list, "The users of the caller's tenant.";
    "users.get_by_id" 2 1 Users users::get, "A user of the caller's tenant.";
    "organization.get_user_companies" 2 12 Users companies::of_user, "The caller's tenant.";
    "server.info" 2 8 Users server::info, "Versions.";
};

/// All of ClearML's paths, as one service.
pub struct ClearMl;

impl HttpServiceFactory for ClearMl {
    fn register(self, config: &mut AppService) {
        let endpoint = r"{service:[a-zA-Z_]\w+}.{action:[a-zA-Z_]\w+}";
        let paths = ["", "/api"].map(|root| {
            [format!("{root}/{endpoint}"), format!("{root}/v{{version:\\d+\\.?\\d*}}/{endpoint}")]
        });
        web::resource(paths.concat()).route(web::route().to(answer)).register(config);
    }
}

impl OpenApiFactory for ClearMl {
    fn paths(&self) -> Paths {
        let object =
            |text: &str| -> RefOr<Schema> { ObjectBuilder::new().description(Some(text)).build().into() };
        let json = |text: &str| ContentBuilder::new().schema(Some(object(text))).build();
        let mut paths = Paths::new();
        for endpoint in ENDPOINTS {
            let body = utoipa::openapi::request_body::RequestBodyBuilder::new()
                .content("application/json", json("The call's fields; those that nobody knows are ignored."))
                .required(Some(Required::False))
                .build();
            let answer = ResponseBuilder::new()
                .description("The envelope with `data`; refusals have the same shape.")
                .content("application/json", json("`meta` and `data`."))
                .build();
            let operation = OperationBuilder::new()
                .tag("clearml")
                .summary(Some(endpoint.summary))
                .description(Some("Any method will do, and `/v<version>` or `/api` before the path."))
                .operation_id(Some(endpoint.name.replace('.', "_")))
                .request_body(Some(body))
                .response("200", answer);
            let item = PathItem::new(HttpMethod::Post, operation);
            paths.paths.insert(format!("/{}", endpoint.name), item);
        }
        paths
    }

    fn schemas(&self, _: &mut Vec<(String, RefOr<Schema>)>) {}
}

/// Answers every call.
async fn answer(kit: web::Data<Kit>, request: HttpRequest, payload: web::Payload) -> HttpResponse {
    if request.method() == Method::OPTIONS {
        return HttpResponse::Ok().finish();
    }
    let Some(address) = Address::of(request.path()) else { return HttpResponse::NotFound().finish() };
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        return HttpResponse::UnsupportedMediaType().body("Content-Encoding is not supported.");
    }
    let trx = ["x-clearml-trx", "x-trains-trx"].iter().find_map(|name| {
        request.headers().get(*name)?.to_str().ok().filter(|trx| (1..=128).contains(&trx.len()))
    });
    let mut meta = Meta::new(auth::request_id(&request), trx, &address);
    match run(&kit, &request, payload, &mut meta).await {
        Ok(data) => clearml::answer(&meta, data),
        Err(fault) => clearml::refuse(&meta, &fault),
    }
}

/// Finds the endpoint, then who calls, as whom, and whether they may; only then the body is read.
async fn run(kit: &Kit, request: &HttpRequest, payload: web::Payload, meta: &mut Meta) -> Answered {
    let known = ENDPOINTS.iter().find(|known| known.name == meta.endpoint && known.since <= meta.requested);
    let Some(endpoint) = known else {
        let mut fault = fault::NO_ENDPOINT.fault();
        fault.message += &format!(" for name {} and version {}", meta.endpoint, meta.requested);
        return Err(fault);
    };
    meta.actual = Some(endpoint.since);
    let who = match endpoint.callers {
        Callers::Anybody => None,
        callers => Some(call::who(kit, request, |role| callers.allow(role)).await?),
    };
    let bytes = payload.to_bytes_limited(service_kit::body::BODY_BYTES_MAX).await;
    let bytes = bytes.map_err(|_| fault::TOO_LARGE.fault())?;
    let bytes = bytes.map_err(|error| fault::BAD_REQUEST.because(format!("the body broke off: {error}")))?;
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let body = Body::parse(&bytes, media_type.unwrap_or_default(), request.query_string())?;
    (endpoint.run)(&Call::new(kit, request, who, body)).await
}

#[cfg(test)]
mod tests {
    use service_kit::clearml::API_VERSION;

    use super::*;

    #[test]
    fn names_are_unique_and_no_newer_than_the_api() {
        for (index, endpoint) in ENDPOINTS.iter().enumerate() {
            assert!(endpoint.since <= API_VERSION, "{}", endpoint.name);
            let path = format!("/{}", endpoint.name);
            assert_eq!(Address::of(&path).map(|found| found.endpoint).as_deref(), Some(endpoint.name));
            assert!(!ENDPOINTS[..index].iter().any(|other| other.name == endpoint.name), "{}", endpoint.name);
        }
    }
}
