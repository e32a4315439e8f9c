//! Services that answer as a test tells them, so that one real service is tested alone.
//!
//! [`tell`] gives a fake service its status and its log. The fake identity knows whoever shows a name of the
//! form `<id>.<privilege>` (`7.user`, `9.none`), whatever the password, and `operator`. They are of tenant 1;
//! `7.user.2` is of tenant 2.

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use contracts::identity::UserDeleted;
use contracts::{ContractEvent, TenantId};
use serde::Deserialize;
use serde_json::{Value, json};
use service_kit::auth::{Credential, ExchangeAnswer, ExchangeRequest, Principal};
use service_kit::mesh::PeerCaller;
use service_kit::{Answer, Caller, Node, Refusal, Service};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{Client, TestMesh};

/// What a fake service says.
#[derive(Default)]
struct Fake {
    told: Mutex<Told>,
}

#[derive(Clone, Default, Deserialize)]
struct Told {
    status: Value,
    #[serde(default)]
    events: Vec<Value>,
}

/// The tenant of a number.
pub fn tenant(number: u32) -> TenantId {
    format!("00000000-0000-0000-0000-{number:012}").parse().unwrap()
}

/// An event of tenant 1 as a log holds it; a test changes what it cares about.
pub fn event<E: ContractEvent>(position: i64, stream: i64, version: i64, data: &E) -> Value {
    let subject = format!("{}/{stream}", E::KIND);
    json!({
        "specversion": "1.0",
        "id": event_store::new_id(),
        "source": format!("/mesh/{}", E::SERVICE),
        "type": E::TYPE,
        "subject": subject,
        "time": event_store::Clock::system().now(),
        "datacontenttype": "application/json",
        "dataschema": format!("/schemas/{}.json", E::TYPE),
        "tenantid": tenant(1),
        "streamversion": version,
        "position": position,
        "partitionkey": format!("{}/{subject}", tenant(1)),
        "correlationid": event_store::new_id(),
        "data": data,
    })
}

/// Tells a fake service its status and the events of its log.
pub async fn tell(mesh: &TestMesh, service: &str, status: Value, events: Value) {
    let at = Client::new(&format!("http://{}", mesh.running.config.mesh_address));
    let told = json!({ "status": status, "events": events });
    at.post(&format!("/{service}/internal/tell"), told).await.expect(204);
}

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

/// Every service of the mesh but the gateway.
pub fn services() -> Vec<Service> {
    ["identity", "projects", "media", "billing", "webhooks", "analytics"].map(service).into()
}

/// One fake service.
pub fn service(name: &'static str) -> Service {
    Service::new(name).mesh_routes(mesh_routes).routes(routes)
}

fn mesh_routes(config: &mut web::ServiceConfig) {
    config
        .route("/internal/tell", web::post().to(take))
        .route("/internal/status", web::get().to(status))
        .route("/internal/log", web::get().to(log))
        .route("/internal/stream", web::get().to(find_stream))
        .route("/internal/parked/discard", web::post().to(discard))
        .route("/internal/exchange", web::post().to(exchange))
        .route("/internal/jwks", web::get().to(jwks));
}

fn routes(config: &mut ServiceConfig) {
    config.map(|config| {
        config
            .route("/api/projects", web::route().to(echo))
            .route("/api/projects/whoami", web::get().to(whoami))
            .route("/api/projects/stream", web::get().to(stream))
            .route("/api/projects/empty", web::delete().to(HttpResponse::NoContent))
    });
}

async fn take(node: web::Data<Node>, told: web::Json<Told>) -> HttpResponse {
    *node.shared::<Fake>().told.lock().unwrap() = told.into_inner();
    HttpResponse::NoContent().finish()
}

async fn status(_: PeerCaller, node: web::Data<Node>) -> Answer {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let told = node.shared::<Fake>().told.lock().unwrap().clone();
    if told.status.is_null() { Err(Refusal::not_found()) } else { Ok(HttpResponse::Ok().json(told.status)) }
}

#[derive(Deserialize)]
struct LogQuery {
    after: i64,
    wait_ms: u64,
    #[serde(default)]
    types: String,
}

async fn log(_: PeerCaller, node: web::Data<Node>, query: web::Query<LogQuery>) -> HttpResponse {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(query.wait_ms.min(500));
    loop {
        let told = node.shared::<Fake>().told.lock().unwrap().clone();
        let position = |event: &Value| event["position"].as_i64().unwrap();
        let head = told.events.last().map_or(0, position);
        let wanted = |event: &Value| {
            let mut types = query.types.split(',');
            position(event) > query.after
                && (query.types.is_empty() || types.any(|name| event["type"] == name))
        };
        let events: Vec<Value> = told.events.into_iter().filter(wanted).collect();
        if !events.is_empty() || tokio::time::Instant::now() >= deadline {
            return HttpResponse::Ok().json(json!({ "events": events, "next": head, "head": head }));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[derive(Deserialize)]
struct StreamQuery {
    tenant: String,
    kind: String,
    id: Option<i64>,
}

/// How far a stream of the told log is; no stream has a name.
async fn find_stream(_: PeerCaller, node: web::Data<Node>, query: web::Query<StreamQuery>) -> Answer {
    let told = node.shared::<Fake>().told.lock().unwrap().clone();
    let id = query.id.ok_or_else(Refusal::not_found)?;
    let key = format!("{}/{}/{id}", query.tenant, query.kind);
    let of_stream = told.events.iter().filter(|event| event["partitionkey"] == key.as_str());
    let version = of_stream.filter_map(|event| event["streamversion"].as_i64()).max();
    let version = version.ok_or_else(Refusal::not_found)?;
    Ok(HttpResponse::Ok().json(json!({ "id": id, "contract_version": version })))
}

async fn discard(_: PeerCaller, node: web::Data<Node>, body: web::Json<Value>) -> HttpResponse {
    let fake = node.shared::<Fake>();
    let mut told = fake.told.lock().unwrap();
    let parked = told.status["parked"].as_array_mut().unwrap();
    parked.retain(|stream| stream["name"] != body["name"]);
    HttpResponse::Ok().json(json!({ "discarded": 1 }))
}

async fn exchange(_: PeerCaller, node: web::Data<Node>, request: web::Json<ExchangeRequest>) -> Answer {
    // As of the end of the log: what was told before is no news to whoever follows it from now on.
    let told = node.shared::<Fake>().told.lock().unwrap().clone();
    let position = told.events.last().and_then(|event| event["position"].as_i64()).unwrap_or(1);
    let name = match request.into_inner().credential {
        Credential::Basic { username, .. } => username,
        Credential::Session(name) | Credential::Token(name) | Credential::Bearer(name) => name,
    };
    let (id, privilege, number) = match name.split('.').collect::<Vec<_>>()[..] {
        ["operator"] => ("1", "admin", 1),
        [id, privilege] => (id, privilege, 1),
        [id, privilege, number] => (id, privilege, number.parse().unwrap()),
        _ => return Err(Refusal::invalid_token()),
    };
    let subject = format!("user/{id}");
    let gone = |event: &Value| {
        event["type"] == UserDeleted::TYPE
            && event["subject"] == subject.as_str()
            && event["tenantid"] == json!(tenant(number))
    };
    if told.events.iter().any(gone) {
        return Err(Refusal::invalid_token());
    }
    let now = event_store::Clock::system().now().timestamp();
    let principal = Principal {
        iss: Principal::ISSUER.into(),
        aud: Principal::AUDIENCE.into(),
        exp: now + 60,
        iat: now,
        tenant: tenant(number),
        sub: id.into(),
        privilege: privilege.parse().ok(),
        operator: name == "operator",
        read_only: false,
        session: None,
        impersonator: None,
    };
    let header = jsonwebtoken::Header {
        kid: Some("k".into()),
        ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA)
    };
    let private = jsonwebtoken::EncodingKey::from_ed_der(KEY.to_pkcs8v1().unwrap().as_ref());
    let token = jsonwebtoken::encode(&header, &principal, &private).unwrap();
    Ok(HttpResponse::Ok().json(ExchangeAnswer { token, position }))
}

async fn jwks() -> HttpResponse {
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(KEY.public_key());
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k", "x": x });
    HttpResponse::Ok().json(json!({ "keys": [key] }))
}

/// Says what arrived.
async fn echo(request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let headers: serde_json::Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().into()))
        .collect();
    HttpResponse::Created()
        .insert_header(("x-echo", "yes"))
        .append_header(("set-cookie", "a=1"))
        .append_header(("set-cookie", "b=2"))
        .json(json!({
            "method": request.method().as_str(),
            "uri": request.uri().to_string(),
            "headers": headers,
            "body": String::from_utf8_lossy(&body),
        }))
}

async fn whoami(caller: Caller) -> HttpResponse {
    HttpResponse::Ok()
        .json(json!({ "user": caller.user_id(), "request_id": caller.request_id, "base": caller.base_url }))
}

/// Two pieces with a pause between.
async fn stream() -> HttpResponse {
    let pieces = futures::stream::unfold(0, |n| async move {
        if n > 0 {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
        }
        (n < 2).then(|| (Ok::<_, actix_web::Error>(web::Bytes::from(format!("piece {n}\n"))), n + 1))
    });
    HttpResponse::Ok().content_type("text/plain").streaming(Box::pin(pieces))
}
