//! Services that answer as a test tells them, so that the gateway alone is tested.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use serde::Deserialize;
use serde_json::{Value, json};
use service_kit::auth::{Credential, ExchangeAnswer, ExchangeRequest, Principal};
use service_kit::mesh::PeerCaller;
use service_kit::{Answer, Caller, Node, Refusal, Service};
use utoipa_actix_web::service_config::ServiceConfig;

/// What a fake service says.
#[derive(Default)]
pub struct Fake {
    told: Mutex<Told>,
}

#[derive(Clone, Default, Deserialize)]
pub struct Told {
    pub status: Value,
    #[serde(default)]
    pub events: Vec<Value>,
}

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

/// Every service of the mesh but the gateway.
pub fn services() -> Vec<Service> {
    ["identity", "projects", "webhooks", "analytics"].map(service).into()
}

pub fn service(name: &'static str) -> Service {
    Service::new(name).mesh_routes(mesh_routes).routes(routes)
}

fn mesh_routes(config: &mut web::ServiceConfig) {
    config
        .route("/internal/tell", web::post().to(tell))
        .route("/internal/status", web::get().to(status))
        .route("/internal/log", web::get().to(log))
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

async fn tell(node: web::Data<Node>, told: web::Json<Told>) -> HttpResponse {
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
}

async fn log(_: PeerCaller, node: web::Data<Node>, query: web::Query<LogQuery>) -> HttpResponse {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(query.wait_ms.min(500));
    loop {
        let told = node.shared::<Fake>().told.lock().unwrap().clone();
        let position = |event: &Value| event["position"].as_i64().unwrap();
        let head = told.events.last().map_or(0, position);
        let events: Vec<Value> =
            told.events.into_iter().filter(|event| position(event) > query.after).collect();
        if !events.is_empty() || tokio::time::Instant::now() >= deadline {
            let next = events.last().map_or(query.after.min(head), position);
            return HttpResponse::Ok().json(json!({ "events": events, "next": next, "head": head }));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn discard(_: PeerCaller, node: web::Data<Node>, body: web::Json<Value>) -> HttpResponse {
    let fake = node.shared::<Fake>();
    let mut told = fake.told.lock().unwrap();
    let parked = told.status["parked"].as_array_mut().unwrap();
    parked.retain(|stream| stream["name"] != body["name"]);
    HttpResponse::Ok().json(json!({ "discarded": 1 }))
}

/// Knows `operator` and `user`, whatever they show.
async fn exchange(_: PeerCaller, request: web::Json<ExchangeRequest>) -> Answer {
    let name = match request.into_inner().credential {
        Credential::Basic { username, .. } => username,
        Credential::Session(name) | Credential::Token(name) | Credential::Bearer(name) => name,
    };
    if name != "operator" && name != "user" {
        return Err(Refusal::invalid_token());
    }
    let now = event_store::Clock::system().now().timestamp();
    let principal = Principal {
        iss: Principal::ISSUER.into(),
        aud: Principal::AUDIENCE.into(),
        exp: now + 60,
        iat: now,
        tenant: contracts::TenantId::DEPLOYMENT,
        sub: "7".into(),
        privilege: None,
        operator: name == "operator",
        read_only: false,
        session: None,
        acting_for: None,
    };
    let header = jsonwebtoken::Header {
        kid: Some("k".into()),
        ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA)
    };
    let private = jsonwebtoken::EncodingKey::from_ed_der(KEY.to_pkcs8v1().unwrap().as_ref());
    let token = jsonwebtoken::encode(&header, &principal, &private).unwrap();
    Ok(HttpResponse::Ok().json(ExchangeAnswer { token, position: 1 }))
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
