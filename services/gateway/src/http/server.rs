//! `/api/server`: what CVAT's clients ask before they sign in, and what load balancers ask.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, get, web};
use futures::future::join_all;
use serde::Serialize;
use serde_json::json;
use service_kit::start::SERVICES;
use service_kit::{Caller, Node, auth};
use utoipa::ToSchema;

/// The CVAT release whose API is spoken; its SDK warns about a server that it does not know.
const CVAT_VERSION: &str = "2.80.0";
/// How long a service may take to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// What this server is.
#[derive(Serialize, ToSchema)]
struct About {
    name: &'static str,
    description: &'static str,
    version: &'static str,
    logo_url: String,
    subtitle: &'static str,
}

/// Tells what this server is; for everybody.
#[utoipa::path(tag = "server", operation_id = "server_retrieve_about", responses((status = 200, body = About)))]
#[get("/api/server/about")]
async fn about(request: HttpRequest) -> HttpResponse {
    HttpResponse::Ok().json(About {
        name: "Annomesh",
        description: "Annotation of images and videos, for many tenants, on a mesh of event-sourced services.",
        version: CVAT_VERSION,
        logo_url: format!("{}/assets/icon.svg", auth::base_url(&request)),
        subtitle: "The annotation mesh",
    })
}

/// Which optional parts of CVAT's interface have a backend here.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Plugins {
    git_integration: bool,
    analytics: bool,
    models: bool,
    predict: bool,
}

/// Tells which optional parts are there. CVAT's `ANALYTICS` is a page at `/analytics`, which is not here yet.
#[utoipa::path(
    tag = "server",
    operation_id = "server_retrieve_plugins",
    responses((status = 200, body = Plugins), (status = 401, description = "Not signed in"))
)]
#[get("/api/server/plugins")]
async fn plugins(_: Caller) -> HttpResponse {
    HttpResponse::Ok().json(Plugins {
        git_integration: false,
        analytics: false,
        models: false,
        predict: false,
    })
}

/// The file formats of annotations.
#[derive(Serialize, ToSchema)]
struct DatasetFormats {
    importers: Vec<DatasetFormat>,
    exporters: Vec<DatasetFormat>,
}

/// A file format.
#[derive(Serialize, ToSchema)]
struct DatasetFormat {
    name: String,
    ext: String,
    version: String,
    enabled: bool,
    dimension: String,
}

/// Lists the file formats of annotations: none as long as no service keeps annotations.
#[utoipa::path(
    tag = "server",
    operation_id = "server_retrieve_annotation_formats",
    responses((status = 200, body = DatasetFormats), (status = 401, description = "Not signed in"))
)]
#[get("/api/server/annotation/formats")]
async fn formats(_: Caller) -> HttpResponse {
    HttpResponse::Ok().json(DatasetFormats { importers: vec![], exporters: vec![] })
}

/// Tells whether every service is ready; for everybody.
#[utoipa::path(
    tag = "server",
    operation_id = "server_retrieve_health",
    responses(
        (status = 200, description = "Every service is ready"),
        (status = 503, description = "The services under `missing` are not"),
    )
)]
#[get("/api/server/health")]
async fn health(node: web::Data<Node>) -> HttpResponse {
    let missing: Vec<&str> = join_all(SERVICES.iter().map(|service| ready(&node, service)))
        .await
        .into_iter()
        .zip(SERVICES)
        .filter_map(|(ready, service)| (!ready).then_some(*service))
        .collect();
    if missing.is_empty() {
        HttpResponse::Ok().json(json!({ "status": "ok", "services": SERVICES }))
    } else {
        let detail = format!("Not ready: {}.", missing.join(", "));
        HttpResponse::ServiceUnavailable()
            .insert_header(("retry-after", "1"))
            .json(json!({ "status": "unavailable", "detail": detail, "missing": missing }))
    }
}

async fn ready(node: &Node, service: &str) -> bool {
    if service == node.service {
        return node.is_ready();
    }
    let Ok(peer) = node.peer(service) else { return false };
    let answer = peer.send(peer.get("/health/ready").timeout(PATIENCE)).await;
    if let Err(error) = &answer {
        tracing::debug!(service, error = event_store::chain(error), "not ready");
    }
    answer.is_ok()
}
