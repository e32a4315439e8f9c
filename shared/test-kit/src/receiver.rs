//! A webhook receiver that keeps what it gets and misbehaves on demand.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;

/// How it answers.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    Ok,
    /// This status, always.
    Status(u16),
    /// This status for the first so many requests, then 200.
    FailFirst(usize, u16),
    /// 429 with `Retry-After` in seconds, then 200.
    RetryAfter(u64),
    /// A redirect to this machine's metadata address.
    Redirect,
    /// Silence for this long, then 200.
    Slow(Duration),
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

#[derive(Clone)]
struct State {
    received: Arc<Mutex<Vec<Received>>>,
    mode: Arc<Mutex<Mode>>,
}

/// A running receiver.
pub struct Receiver {
    pub url: String,
    state: State,
    handle: ServerHandle,
}

impl Receiver {
    /// Starts one on a free port of loopback.
    #[expect(clippy::disallowed_methods, reason = "a test's own server")]
    pub fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let state = State { received: Arc::default(), mode: Arc::new(Mutex::new(mode)) };
        let shared = state.clone();
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::new(shared.clone())).default_service(web::to(receive))
        })
        .listen(listener)
        .unwrap()
        .workers(1)
        .disable_signals()
        .shutdown_timeout(0)
        .run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { url, state, handle }
    }

    /// Changes how it answers.
    pub fn behave(&self, mode: Mode) {
        *self.state.mode.lock().unwrap() = mode;
    }

    /// Everything that came so far.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap().clone()
    }

    /// Stops listening.
    pub async fn stop(self) {
        self.handle.stop(false).await;
    }
}

async fn receive(request: HttpRequest, body: web::Bytes, state: web::Data<State>) -> HttpResponse {
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let count = {
        let mut received = state.received.lock().unwrap();
        received.push(Received { at: Instant::now(), headers, body: body.to_vec() });
        received.len()
    };
    let mode = *state.mode.lock().unwrap();
    let status = |code: u16| HttpResponse::build(actix_web::http::StatusCode::from_u16(code).unwrap());
    match mode {
        Mode::Ok => HttpResponse::Ok().body("thank you"),
        Mode::Status(code) => status(code).finish(),
        Mode::FailFirst(failures, code) if count <= failures => status(code).finish(),
        Mode::RetryAfter(seconds) if count == 1 => {
            status(429).insert_header(("retry-after", seconds.to_string())).finish()
        }
        Mode::FailFirst(..) | Mode::RetryAfter(_) => HttpResponse::Ok().finish(),
        Mode::Redirect => status(302).insert_header(("location", "http://169.254.169.254/")).finish(),
        Mode::Slow(pause) => {
            tokio::time::sleep(pause).await;
            HttpResponse::Ok().finish()
        }
    }
}
