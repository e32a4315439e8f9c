//! The documents of the API: OpenAPI of each service and of all, AsyncAPI and JSON Schemas of the events. They
//! hold no data of anybody, so they are for everybody.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;
use service_kit::start::SERVICES;
use service_kit::{Answer, Node, Refusal, auth};
use utoipa::ToSchema;

use crate::documents;

/// The OpenAPI document of all services.
#[utoipa::path(
    tag = "schema",
    operation_id = "schema_retrieve",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), (status = 503, description = "A service does not answer"))
)]
#[get("/api/schema")]
async fn get_openapi(request: HttpRequest, node: web::Data<Node>) -> Answer {
    let accept =
        request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let plain = accept.contains("application/json");
    let media_type = if plain { "application/json" } else { "application/vnd.oai.openapi+json" };
    Ok(HttpResponse::Ok().content_type(media_type).body(documents::all(&node).await?.to_string()))
}

/// Which documents there are.
#[derive(Serialize, ToSchema)]
struct DocumentList {
    documents: Vec<DocumentLink>,
}

/// Where a service's document is.
#[derive(Serialize, ToSchema)]
struct DocumentLink {
    service: &'static str,
    url: String,
}

/// Lists the services' OpenAPI documents.
#[utoipa::path(tag = "schema", operation_id = "list_documents", responses((status = 200, body = DocumentList)))]
#[get("/v1/openapi")]
async fn list_documents(request: HttpRequest) -> HttpResponse {
    let base = auth::base_url(&request);
    let documents = SERVICES
        .iter()
        .map(|service| DocumentLink { service, url: format!("{base}/v1/openapi/{service}") })
        .collect();
    HttpResponse::Ok().json(DocumentList { documents })
}

/// A service's OpenAPI document.
#[utoipa::path(
    tag = "schema",
    operation_id = "get_document",
    params(("service" = String, Path, description = "Such as `projects`")),
    responses(
        (status = 200, description = "OpenAPI 3.1", body = Object),
        (status = 404, description = "There is no such service", content_type = "application/problem+json"),
        (status = 503, description = "The service does not answer", content_type = "application/problem+json"),
    )
)]
#[get("/v1/openapi/{service}")]
async fn get_document(node: web::Data<Node>, service: web::Path<String>) -> Answer {
    Ok(HttpResponse::Ok().json(documents::of(&node, &service).await?.as_ref()))
}

/// The AsyncAPI document of all events.
#[utoipa::path(
    tag = "schema",
    operation_id = "get_asyncapi",
    responses((status = 200, description = "AsyncAPI 3.0", body = Object))
)]
#[get("/asyncapi.json")]
async fn asyncapi() -> HttpResponse {
    HttpResponse::Ok().json(contracts::asyncapi::document())
}

/// The JSON Schema of an event's `data`; an event names it as `dataschema`.
#[utoipa::path(
    tag = "schema",
    operation_id = "get_schema",
    params(("name" = String, Path, description = "An event type, such as `projects.project_created.v1`")),
    responses(
        (status = 200, description = "JSON Schema 2020-12", content_type = "application/schema+json", body = Object),
        (status = 404, description = "There is no such event", content_type = "application/problem+json"),
    )
)]
#[get("/schemas/{name}.json")]
async fn get_schema(name: web::Path<String>) -> Answer {
    let catalog = contracts::catalog();
    let event = catalog.iter().find(|event| event.name == *name).ok_or_else(Refusal::not_found)?;
    let schema = serde_json::to_string(&(event.schema)()).unwrap_or_default();
    Ok(HttpResponse::Ok().content_type("application/schema+json").body(schema))
}
