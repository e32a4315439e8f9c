//! What the page of the mesh loads and sends; for operators.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use bytes::Bytes;
use futures::{future, stream};
use serde::Deserialize;
use serde_json::json;
use service_kit::auth::{self, Credential};
use service_kit::{Answer, Caller, Node, Refusal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::task_way::TaskKey;
use crate::watch::event_view::EventView;
use crate::watch::view::MeshView;
use crate::watch::way_view::WayView;
use crate::watch::{Look, Viewer, Watch, follow, publishers};

/// How long a stream may be silent; also how often a silent stream's credential is looked at.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How soon a stream notices that the gateway stops.
const GLANCE: Duration = Duration::from_secs(1);
/// The page is brought up to date at most so often: faster than that nobody reads.
const PAUSE: Duration = Duration::from_millis(100);
/// After so many bytes it has one pause more, so that a burst neither floods the page nor keeps the gateway busy.
const PAUSE_BYTES: usize = 32 * 1024;
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The newest events and ways that a page shows: whatever else has changed meanwhile nobody would see.
const SHOWN: (usize, usize) = (80, 12);

pub fn routes(config: &mut web::ServiceConfig) -> &mut web::ServiceConfig {
    config
        .route("/mesh/status", web::get().to(status))
        .route("/mesh/live", web::get().to(live))
        .route("/mesh/parked/redrive", web::post().to(redrive))
        .route("/mesh/parked/discard", web::post().to(discard))
}

/// The parts of the page that change, without the events.
#[derive(Template)]
#[template(path = "parts.html")]
struct Parts {
    mesh: MeshView,
}

/// One event of the page.
#[derive(Template)]
#[template(path = "event.html")]
struct EventItem {
    event: EventView,
    /// Whether it has just happened.
    fresh: bool,
}

/// One task's way.
#[derive(Template)]
#[template(path = "way.html")]
struct WayItem {
    way: WayView,
}

/// The parked streams, after a command about one.
#[derive(Template)]
#[template(path = "parked.html")]
struct ParkedPart {
    mesh: MeshView,
}

/// The state of every service, as each gave it.
async fn status(caller: Caller, node: web::Data<Node>) -> Answer {
    caller.require_operator()?;
    let watch = Watch::default();
    follow::look_once(&node, &watch).await;
    let seen = watch.seen();
    let services = publishers().map(|name| match seen.services.get(name) {
        Some(Look::Here(status)) => json!({ "service": name, "answers": true, "status": status }),
        Some(Look::Away(error)) => json!({ "service": name, "answers": false, "error": error }),
        None => json!({ "service": name, "answers": false }),
    });
    Ok(HttpResponse::Ok().json(json!({ "services": services.collect::<Vec<_>>() })))
}

/// Which parked stream of which service.
#[derive(Deserialize)]
struct ParkedForm {
    service: String,
    name: String,
}

async fn redrive(caller: Caller, node: web::Data<Node>, form: web::Form<ParkedForm>) -> Answer {
    command(&caller, &node, &form, "/internal/parked/redrive").await
}

async fn discard(caller: Caller, node: web::Data<Node>, form: web::Form<ParkedForm>) -> Answer {
    command(&caller, &node, &form, "/internal/parked/discard").await
}

/// Sends a command about a parked stream to its service and shows what is parked then.
async fn command(caller: &Caller, node: &Node, form: &ParkedForm, path: &str) -> Answer {
    caller.require_operator()?;
    if !publishers().any(|name| name == form.service) {
        return Err(Refusal::not_found());
    }
    let peer = node.peer(&form.service)?;
    let call = peer.post(path).json(&json!({ "name": form.name })).timeout(Duration::from_secs(10));
    match peer.send(call).await {
        // One that is not there has been freed meanwhile, which is as good.
        Ok(_) | Err(bus::peer::PeerError::Refused { status: 404, .. }) => {}
        Err(error) => {
            tracing::warn!(parked = form.name, error = event_store::chain(&error), "the command failed");
            return Err(Refusal::unavailable(format!("{} could not do it.", form.service)));
        }
    }
    tracing::info!(parked = form.name, operator = caller.user_id(), "{path}");
    let watch = Watch::default();
    follow::look_once(node, &watch).await;
    let mesh = MeshView::of(&watch.seen());
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(rendered(&ParkedPart { mesh })?))
}

fn rendered(template: &impl Template) -> Result<String, Refusal> {
    template.render().map_err(|error| {
        tracing::error!(error = event_store::chain(&error), "a part of the page cannot be rendered");
        Refusal::unavailable("The page cannot be shown.")
    })
}

/// Streams the page's changes: `mesh` carries its parts, `way` one task's way, `event` one event.
async fn live(request: HttpRequest, caller: Caller, node: web::Data<Node>) -> Answer {
    caller.require_operator()?;
    let watch = node.shared::<Watch>();
    let live = Live {
        credential: auth::credential(&request)?.ok_or_else(Refusal::unauthenticated)?,
        host: auth::host(&request).to_owned(),
        node: node.get_ref().clone(),
        changed: watch.follow(),
        viewer: watch.look(),
        watch,
        sent: 0,
        parts: String::new(),
        ways: HashMap::new(),
    };
    let body = stream::unfold((live, true), |(mut live, opening)| async move {
        // Headers alone would wait in a proxy's buffer until something happens.
        let text = if opening { "retry: 1000\n: open\n\n".to_owned() } else { live.next().await? };
        Some((Ok::<_, actix_web::Error>(Bytes::from(text)), (live, false)))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(Box::pin(body)))
}

/// One open page.
struct Live {
    node: Node,
    credential: Credential,
    host: String,
    watch: Arc<Watch>,
    changed: watch::Receiver<u64>,
    #[expect(dead_code, reason = "the services are watched as long as it lives")]
    viewer: Viewer,
    /// Serial of the newest change that was sent.
    sent: u64,
    /// The parts as they were sent last.
    parts: String,
    /// The ways that the page shows, as they were sent last.
    ways: HashMap<TaskKey, String>,
}

impl Live {
    /// The next frames; `None` when the gateway stops or the viewer is no operator any more.
    async fn next(&mut self) -> Option<String> {
        let deadline = Instant::now() + HEARTBEAT;
        loop {
            let principal = self.node.authenticator.authenticate(&self.credential, &self.host).await.ok()?;
            if !principal.operator || !self.node.is_ready() {
                return None;
            }
            self.changed.mark_unchanged();
            let frames = self.frames().ok()?;
            if !frames.is_empty() {
                // Whatever else happens meanwhile comes with the next frames.
                let pauses = u32::try_from(1 + frames.len() / PAUSE_BYTES).unwrap_or(u32::MAX);
                tokio::time::sleep(PAUSE.saturating_mul(pauses).min(PAUSE_MAX)).await;
                return Some(frames);
            }
            if Instant::now() >= deadline {
                return Some(": still here\n\n".to_owned());
            }
            let changed = std::pin::pin!(self.changed.changed());
            future::select(changed, std::pin::pin!(tokio::time::sleep(GLANCE))).await;
        }
    }

    /// What has changed since the last frames.
    fn frames(&mut self) -> Result<String, Refusal> {
        let seen = self.watch.seen();
        let mut frames = String::new();
        let mut ways = HashMap::new();
        for way in seen.ways.newest(SHOWN.1) {
            let item = rendered(&WayItem { way: WayView::of(way, &seen) })?;
            if self.ways.get(&way.key) != Some(&item) {
                frames.push_str(&frame("way", &item));
            }
            ways.insert(way.key, item);
        }
        self.ways = ways;
        let newest = seen.events.iter().skip(seen.events.len().saturating_sub(SHOWN.0));
        for passing in newest.filter(|passing| passing.serial > self.sent) {
            let item = EventItem { event: EventView::of(passing, &seen), fresh: passing.timed };
            frames.push_str(&frame("event", &rendered(&item)?));
        }
        if seen.mesh_serial > self.sent {
            let parts = rendered(&Parts { mesh: MeshView::of(&seen) })?;
            if parts != self.parts {
                frames.push_str(&frame("mesh", &parts));
                self.parts = parts;
            }
        }
        self.sent = seen.serial;
        Ok(frames)
    }
}

/// A server-sent event; its data may have several lines.
fn frame(name: &str, data: &str) -> String {
    let mut frame = format!("event: {name}\n");
    for line in data.lines() {
        frame.push_str("data: ");
        frame.push_str(line);
        frame.push('\n');
    }
    frame.push('\n');
    frame
}
