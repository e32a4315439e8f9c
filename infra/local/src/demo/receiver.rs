//! The other end of the demo's webhook: a server on loopback that notes when each call came.

use std::collections::{BTreeMap, HashMap};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use anyhow::{Context, bail};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant as Deadline, timeout_at};

use super::signature;

/// One call as it came.
pub struct Call {
    pub at: Instant,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Call {
    /// A header, by its name in small letters.
    pub fn header(&self, name: &str) -> anyhow::Result<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).with_context(|| format!("there is no header {name}"))
    }
}

/// A running receiver.
pub struct Receiver {
    pub url: String,
    /// How many calls there were about each event.
    pub counts: BTreeMap<String, usize>,
    secret: String,
    calls: UnboundedReceiver<Call>,
    /// What came while something else was waited for, by event and id.
    early: HashMap<(String, i64), Call>,
    handle: ServerHandle,
    _server: JoinSet<std::io::Result<()>>,
}

impl Receiver {
    /// Starts one on a free port; it trusts who knows the secret.
    pub fn start(secret: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let (sender, calls) = unbounded_channel();
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::new(sender.clone())).default_service(web::to(receive))
        })
        .listen(listener)?
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .run();
        let handle = server.handle();
        let mut running = JoinSet::new();
        running.spawn(server);
        let (secret, counts, early) = (secret.to_owned(), BTreeMap::new(), HashMap::new());
        Ok(Self { url, counts, secret, calls, early, handle, _server: running })
    }

    /// Waits for a call about an event of this very thing; calls about different things come in any order.
    pub async fn wait_for(&mut self, event: &str, id: i64, patience: Duration) -> anyhow::Result<Call> {
        let deadline = Deadline::now() + patience;
        loop {
            if let Some(call) = self.early.remove(&(event.to_owned(), id)) {
                return Ok(call);
            }
            let Ok(Some(call)) = timeout_at(deadline, self.calls.recv()).await else {
                bail!("nothing came in {} s", patience.as_secs());
            };
            signature::verify(&self.secret, &call)?;
            let body: Value = serde_json::from_slice(&call.body).context("the call's body")?;
            let event = body["event"].as_str().context("the call names no event")?;
            let resource = event.split_once(':').map_or(event, |(_, resource)| resource);
            let id = body[resource]["id"].as_i64().with_context(|| format!("{event} of what?"))?;
            *self.counts.entry(event.to_owned()).or_default() += 1;
            self.early.insert((event.to_owned(), id), call);
        }
    }

    pub async fn stop(&self) {
        self.handle.stop(false).await;
    }
}

async fn receive(
    request: HttpRequest,
    body: web::Bytes,
    calls: web::Data<UnboundedSender<Call>>,
) -> HttpResponse {
    let at = Instant::now();
    let header = |(name, value): (&_, &actix_web::http::header::HeaderValue)| {
        let name: &actix_web::http::header::HeaderName = name;
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let headers = request.headers().iter().map(header).collect();
    match calls.send(Call { at, headers, body: body.to_vec() }) {
        Ok(()) => HttpResponse::Ok().finish(),
        Err(_) => HttpResponse::Gone().finish(),
    }
}
