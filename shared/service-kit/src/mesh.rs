//! The second port: what services and operators' tools ask of a service. Every path begins with the
//! service's name; `/internal` wants a service credential.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use contracts::TenantId;
use event_store::inbox::redrive;
use event_store::log::{self, LogFilter};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::door::Door;
use crate::kit::Node;
use crate::service::find_by;
use crate::{Answer, Kit, Refusal, metrics, status, telemetry};

/// Events on one page of the log at most.
const PAGE_MAX: i64 = 1_000;
/// The longest poll.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Another service, or an operator's tool, by its credential: an extractor.
pub struct PeerCaller {
    pub service: String,
}

impl FromRequest for PeerCaller {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        let caller = || {
            let node = request.app_data::<web::Data<Node>>()?;
            let header = request.headers().get("authorization")?.to_str().ok()?;
            node.mesh_secret.caller(node.service, header.strip_prefix("Bearer ")?)
        };
        ready(caller().map(|service| Self { service }).ok_or_else(Refusal::unauthenticated))
    }
}

/// The endpoints that every service has.
pub fn node_routes(config: &mut web::ServiceConfig) {
    config
        .route("/health/live", web::get().to(HttpResponse::NoContent))
        .route("/metrics", web::get().to(metrics_text))
        .route("/internal/openapi", web::get().to(openapi));
}

/// The endpoint that a service without a store has besides.
pub fn storeless_routes(config: &mut web::ServiceConfig) {
    config.route("/health/ready", web::get().to(node_ready));
}

/// The endpoints that every service with a store has.
pub fn kit_routes(config: &mut web::ServiceConfig) {
    config
        .route("/health/ready", web::get().to(health_ready))
        .route("/internal/log", web::get().to(read_log))
        .route("/internal/stream", web::get().to(find_stream))
        .route("/internal/status", web::get().to(read_status))
        .route("/internal/parked", web::get().to(list_parked))
        .route("/internal/parked/redrive", web::post().to(redrive_parked))
        .route("/internal/parked/discard", web::post().to(discard_parked))
        .route("/internal/rebuild", web::post().to(rebuild));
}

async fn metrics_text(kit: Option<web::Data<Kit>>) -> Answer {
    if let Some(kit) = kit {
        status::measure(&kit).await?;
    }
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(metrics::text()))
}

async fn openapi(_: PeerCaller, node: web::Data<Node>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(node.openapi.to_string())
}

async fn node_ready(node: web::Data<Node>) -> Answer {
    if node.is_ready() {
        Ok(HttpResponse::Ok().json(json!({ "service": node.service })))
    } else {
        Err(Refusal::unavailable("starting"))
    }
}

async fn health_ready(kit: web::Data<Kit>) -> Answer {
    let status = status::read(&kit).await?;
    if status.ready {
        Ok(HttpResponse::Ok().json(json!({ "service": status.service, "head": status.head })))
    } else {
        Err(Refusal::unavailable("starting"))
    }
}

#[derive(Deserialize)]
struct LogQuery {
    #[serde(default)]
    after: i64,
    #[serde(default = "page_max")]
    limit: i64,
    #[serde(default)]
    wait_ms: u64,
    #[serde(default)]
    types: String,
    tenant: Option<TenantId>,
}

fn page_max() -> i64 {
    PAGE_MAX
}

async fn read_log(
    _: PeerCaller,
    kit: web::Data<Kit>,
    door: web::Data<Door>,
    query: web::Query<LogQuery>,
) -> Answer {
    let query = query.into_inner();
    let filter = LogFilter {
        types: query.types.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        tenant: query.tenant,
    };
    let (after, limit) = (query.after.max(0), query.limit.clamp(1, PAGE_MAX));
    let wait = Duration::from_millis(query.wait_ms).min(WAIT_MAX);
    let page = tokio::select! {
        biased;
        page = log::read_waiting(&kit.store, after, limit, &filter, wait) => page?,
        () = door.closing() => log::read(&kit.store, after, limit, &filter).await?,
    };
    Ok(HttpResponse::Ok().json(page))
}

#[derive(Deserialize)]
struct StreamQuery {
    tenant: TenantId,
    kind: String,
    id: Option<i64>,
    name: Option<String>,
}

async fn find_stream(_: PeerCaller, kit: web::Data<Kit>, query: web::Query<StreamQuery>) -> Answer {
    let id = match (query.id, &query.name) {
        (Some(id), _) => Some(id),
        (None, Some(name)) => match kit.finders.get(query.kind.as_str()) {
            Some(find) => find_by(&kit, *find, query.tenant, name).await?,
            None => None,
        },
        (None, None) => None,
    };
    let Some(id) = id else { return Err(Refusal::not_found()) };
    match log::contract_version(&kit.store, query.tenant, &query.kind, id).await? {
        Some(contract_version) => {
            Ok(HttpResponse::Ok().json(json!({ "id": id, "contract_version": contract_version })))
        }
        None => Err(Refusal::not_found()),
    }
}

#[derive(Deserialize)]
struct StatusQuery {
    /// The `changes` of the state that the caller has: the answer waits for another one.
    seen: Option<u64>,
    #[serde(default)]
    wait_ms: u64,
}

async fn read_status(
    _: PeerCaller,
    kit: web::Data<Kit>,
    door: web::Data<Door>,
    query: web::Query<StatusQuery>,
) -> Answer {
    let wait = Duration::from_millis(query.wait_ms).min(WAIT_MAX);
    let status = tokio::select! {
        biased;
        status = status::read_waiting(&kit, query.seen, wait) => status?,
        () = door.closing() => status::read(&kit).await?,
    };
    Ok(HttpResponse::Ok().json(status))
}

async fn list_parked(_: PeerCaller, kit: web::Data<Kit>) -> Answer {
    Ok(HttpResponse::Ok().json(status::read(&kit).await?.parked))
}

/// Which parked stream; absent means all.
#[derive(Deserialize, Serialize)]
pub struct ParkedCommand {
    pub name: Option<String>,
}

async fn redrive_parked(_: PeerCaller, kit: web::Data<Kit>, command: web::Json<ParkedCommand>) -> Answer {
    let mut freed = 0;
    for stream in chosen(&kit, command.name.as_deref()).await? {
        freed += usize::from(redrive_one(&kit, &stream).await?);
    }
    Ok(HttpResponse::Ok().json(json!({ "freed": freed })))
}

async fn redrive_one(kit: &Kit, stream: &redrive::ParkedStream) -> Result<bool, Refusal> {
    let consumer = kit.consumers.iter().find(|consumer| consumer.full_name(kit.service) == stream.consumer);
    match consumer {
        Some(consumer) => {
            let handler = telemetry::traced(&stream.consumer, consumer.handler());
            Ok(redrive::redrive(&kit.store, stream, &handler).await?)
        }
        None => Ok(false),
    }
}

async fn discard_parked(_: PeerCaller, kit: web::Data<Kit>, command: web::Json<ParkedCommand>) -> Answer {
    let Some(name) = command.name.as_deref() else {
        return Err(Refusal::bad_request("name the parked stream to discard an event of"));
    };
    for stream in chosen(&kit, Some(name)).await? {
        redrive::discard(&kit.store, &stream).await?;
        redrive_one(&kit, &stream).await?;
    }
    Ok(HttpResponse::Ok().json(json!({ "discarded": 1 })))
}

async fn chosen(kit: &Kit, name: Option<&str>) -> Result<Vec<redrive::ParkedStream>, Refusal> {
    let mut streams = redrive::list(&kit.store).await?;
    if let Some(name) = name {
        streams.retain(|stream| stream.name() == name);
        if streams.is_empty() {
            return Err(Refusal::not_found());
        }
    }
    Ok(streams)
}

/// Which projection; absent means all.
#[derive(Deserialize, Serialize)]
pub struct RebuildCommand {
    pub projection: Option<String>,
}

async fn rebuild(_: PeerCaller, kit: web::Data<Kit>, command: web::Json<RebuildCommand>) -> Answer {
    let known = status::read(&kit).await?.projections;
    let wanted = match &command.projection {
        Some(name) if known.contains(name) => vec![name.clone()],
        Some(name) => {
            let detail = format!("{} has no projection {name}; it has {}", kit.service, known.join(", "));
            return Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", detail));
        }
        None => known,
    };
    let mut rebuilt = serde_json::Map::new();
    for name in wanted {
        let events = match kit.store.rebuild(&name).await? {
            Some(events) => events,
            None => rebuild_fed(&kit, &name).await?,
        };
        tracing::info!(projection = name, events, "rebuilt");
        rebuilt.insert(name, events.into());
    }
    Ok(HttpResponse::Ok().json(rebuilt))
}

async fn rebuild_fed(kit: &Kit, name: &str) -> Result<u64, Refusal> {
    let consumer =
        kit.consumers.iter().find(|consumer| consumer.name() == name).ok_or_else(Refusal::not_found)?;
    let peers =
        consumer.sources().iter().map(|source| kit.peer(source).cloned()).collect::<Result<Vec<_>, _>>()?;
    bus::rebuild::rebuild(&kit.store, consumer, &peers).await.map_err(|error| {
        tracing::error!(projection = name, error = event_store::chain(&error), "the rebuild failed");
        Refusal::unavailable(format!("The rebuild failed and changed nothing: {error}"))
    })
}
