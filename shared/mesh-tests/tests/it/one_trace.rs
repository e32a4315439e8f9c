//! One trace from a person's request through the log, or Kafka when `TEST_KAFKA_BROKERS` names one, to the
//! webhook's call and to analytics, as a collector gets it from the binary. Everything that the collector
//! gets here was sent when the binary stopped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use test_kit::receiver::{Mode, Received};
use test_kit::{Client, Receiver, eventually};

use crate::collector::{Collector, Span};
use crate::support::{PATIENCE, annomesh, ports, unique};

/// The kinds of spans, as OTLP numbers them.
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;

/// The whole mesh in a process of its own, with a PostgreSQL of its own.
struct Binary {
    child: Child,
    folder: PathBuf,
    url: String,
}

impl Binary {
    fn start(collector: &Collector) -> Self {
        let folder = std::env::temp_dir().join(unique("annomesh-trace-"));
        std::fs::create_dir(&folder).unwrap();
        let ports = ports(2);
        let mut command = Command::new(annomesh());
        command
            .env("ANNOMESH_DATA", folder.join("data"))
            .env("HTTP_ADDRESS", format!("127.0.0.1:{}", ports[0]))
            .env("MESH_ADDRESS", format!("127.0.0.1:{}", ports[1]))
            .env("ADMIN_PASSWORD", "correct horse battery")
            .env("RUST_LOG", "warn")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint)
            // Nothing is sent by and by: what arrives was sent at the end.
            .env("OTEL_BSP_SCHEDULE_DELAY", "3600000")
            .env_remove("OTEL_SERVICE_NAME")
            .env_remove("DATABASE_URL")
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap());
        if let Some(brokers) = test_kit::servers::brokers() {
            command.env("KAFKA_BROKERS", brokers).env("KAFKA_TOPIC_PREFIX", format!("{}.", unique("trace")));
        }
        let child = command.spawn().unwrap();
        Self { child, folder, url: format!("http://127.0.0.1:{}", ports[0]) }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    async fn ready(&mut self, client: &Client) {
        let child = RefCell::new(&mut self.child);
        let log = self.folder.join("log");
        eventually("the mesh is ready", PATIENCE, async || {
            if let Some(ended) = child.borrow_mut().try_wait().unwrap() {
                panic!("ended, {ended}: {}", std::fs::read_to_string(&log).unwrap());
            }
            (client.try_get("/api/server/health").await? == 200).then_some(())
        })
        .await;
    }

    /// Stops it as an operator does, and waits for its end.
    fn stop(&mut self) -> ExitStatus {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.unwrap().success());
        let began = Instant::now();
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None => {
                    assert!(began.elapsed() < Duration::from_secs(15), "it does not stop: {}", self.log())
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // Its PostgreSQL looks after itself when it is killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_its_event_and_the_webhooks_call_are_one_trace() {
    const CALLERS: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let (collector, receiver) = (Collector::start(), Receiver::start(Mode::Ok));
    let mut binary = Binary::start(&collector);
    let admin = Client::new(&binary.url).basic("admin", "correct horse battery");
    binary.ready(&admin).await;
    let slug = unique("o");
    admin.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let client = admin.organization(&slug);
    let hook = json!({
        "target_url": receiver.url, "type": "organization", "content_type": "application/json",
        "events": ["create:project", "update:project"],
    });
    client.post("/api/webhooks", hook).await.expect(201);
    let traced = client.with("traceparent", &format!("00-{CALLERS}-00f067aa0ba902b7-01"));
    let project = traced.post("/api/projects", json!({ "name": "traced" })).await.expect(201);
    let path = format!("/api/projects/{}", project["id"]);
    client.patch(&path, json!({ "name": "a trace of its own" })).await.expect(200);
    let received = eventually("two calls of the webhook", PATIENCE, async || {
        let received = receiver.received();
        (received.len() >= 2).then_some(received)
    })
    .await;
    eventually("both events in analytics", PATIENCE, async || {
        let page = client.get(&format!("/v1/events?subject=project/{}", project["id"])).await.expect(200);
        (page["items"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    assert!(collector.spans().is_empty(), "sent before the end, so the end proves nothing");
    let before = binary.log().len();
    let status = binary.stop();
    let log = binary.log();
    assert!(status.success(), "{status}: {log}");
    assert!(!log[before..].contains("WARN"), "a stop is no reason to warn: {}", &log[before..]);

    let spans = collector.spans();
    let by_event: BTreeMap<String, &Received> = received
        .iter()
        .map(|request| (request.json()["event"].as_str().unwrap().to_owned(), request))
        .collect();
    let called = by_event["create:project"];
    let trace = check(&spans, "POST /api/projects", "projects.project_created.v1", called);
    assert_eq!(trace.trace, CALLERS, "the caller's trace is not continued");
    assert_eq!(trace.parent, "00f067aa0ba902b7");
    let called = by_event["update:project"];
    let trace = check(&spans, "PATCH /api/projects/{id}", "projects.project_updated.v1", called);
    assert_eq!(trace.parent, "", "a request without a trace begins one");
    collector.stop().await;
    receiver.stop().await;
}

/// Follows one request through the spans, each the parent of the next; returns the first.
fn check<'a>(spans: &'a [Span], request: &str, event: &str, called: &Received) -> &'a Span {
    let traceparent = called.header("traceparent").unwrap();
    let [version, trace, call, flags] = traceparent.split('-').collect::<Vec<_>>()[..] else {
        panic!("{traceparent}")
    };
    assert_eq!((version, flags), ("00", "01"));
    let of_trace: Vec<&Span> = spans.iter().filter(|span| span.trace == trace).collect();
    let one = |what: &str, wanted: &dyn Fn(&Span) -> bool| {
        let found: Vec<&&Span> = of_trace.iter().filter(|span| wanted(span)).collect();
        assert_eq!(found.len(), 1, "{what} of {trace}: {of_trace:#?}");
        *found[0]
    };
    let server = one("the request", &|span| span.kind == SERVER && span.name == request);
    assert_eq!(server.service, "annomesh");
    assert!(["200", "201"].contains(&server.attribute("http.response.status_code").unwrap()));
    let consumed = |consumer: &str| {
        one(consumer, &|span| {
            span.kind == CONSUMER
                && span.name == format!("take in {event}")
                && span.attribute("consumer") == Some(consumer)
        })
    };
    assert_eq!(consumed("analytics.events@1").parent, server.id);
    let reaction = consumed("webhooks.reactions@1");
    assert_eq!(reaction.parent, server.id);
    let delivery = one("the webhook's call", &|span| span.kind == CLIENT && span.id == call);
    assert_eq!((delivery.name.as_str(), &delivery.parent), ("POST webhook", &reaction.id));
    server
}
