//! The page of the mesh.

use std::time::Duration;

use contracts::event::Example;
use contracts::projects::ProjectCreated;
use serde_json::{Value, json};
use test_kit::fake::tell;
use test_kit::{Client, TestMesh, eventually, fake};

pub const TENANT: &str = "00000000-0000-0000-0000-000000000001";

pub async fn mesh() -> TestMesh {
    let mut services = fake::services();
    services.push(gateway::service());
    TestMesh::start(services).await
}

fn operator(mesh: &TestMesh) -> Client {
    mesh.anonymous().with("cookie", "sessionid=operator")
}

pub fn status(service: &str, head: i64, consumers: Value) -> Value {
    json!({
        "service": service, "ready": true, "head": head, "pending": 0, "published": null,
        "consumers": consumers, "parked": [], "projections": []
    })
}

/// An open page that reads what comes.
pub struct Live {
    response: reqwest::Response,
    text: String,
}

impl Live {
    pub async fn open(mesh: &TestMesh) -> Self {
        let http = service_kit::http_client::builder().build().unwrap();
        let request = http.get(format!("{}/mesh/live", mesh.url)).header("cookie", "sessionid=operator");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// Reads until this has come; returns everything before it and itself, and goes on behind it.
    pub async fn until(&mut self, what: &str) -> String {
        let read = async {
            while !self.text.contains(what) {
                let chunk = self.response.chunk().await.unwrap().unwrap();
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), read).await;
        assert!(in_time.is_ok(), "no {what} in {}", self.text);
        let end = self.text.find(what).unwrap() + what.len();
        let rest = self.text.split_off(end);
        std::mem::replace(&mut self.text, rest)
    }
}

fn event(position: i64) -> Value {
    let mut data = ProjectCreated::example();
    data.project.name = "<script>alert(1)</script>".into();
    let mut event = fake::event(position, 42, 1, &data);
    event["id"] = format!("00000000-0000-7000-8000-{position:012}").into();
    event
}

async fn tell_all(mesh: &TestMesh, position: i64, events: Value) {
    let head = events.as_array().unwrap().last().map_or(0, |event| event["position"].as_i64().unwrap());
    tell(mesh, "identity", status("identity", 3, json!([])), json!([])).await;
    for quiet in ["media", "billing"] {
        tell(mesh, quiet, status(quiet, 0, json!([])), json!([])).await;
    }
    tell(mesh, "projects", status("projects", head, json!([])), events).await;
    let consumers = json!([{ "name": "webhooks.reactions@1", "source": "projects", "position": position }]);
    tell(mesh, "webhooks", status("webhooks", 0, consumers), json!([])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_for_operators() {
    let mesh = mesh().await;
    let stranger = mesh.anonymous().get("/").await;
    assert_eq!((stranger.status, stranger.headers["location"].to_str().unwrap()), (303, "/sign-in"));
    assert_eq!(mesh.anonymous().get("/sign-in").await.status, 200);
    let user = mesh.anonymous().with("cookie", "sessionid=7.user");
    let refused = user.get("/").await;
    assert_eq!(refused.status, 403);
    assert!(refused.text.contains("This page is for operators"));
    for path in ["/mesh/status", "/mesh/live"] {
        user.get(path).await.expect(403);
        mesh.anonymous().get(path).await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_how_the_mesh_is() {
    let mesh = mesh().await;
    tell_all(&mesh, 0, json!([])).await;
    let page = operator(&mesh).get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.headers["content-security-policy"].to_str().unwrap().contains("script-src 'self'"));
    assert!(page.text.contains("<h1>analytics does not answer</h1>"));
    assert!(page.text.contains("cargo run -- demo"), "an empty mesh says what to do");
    tell(&mesh, "analytics", status("analytics", 0, json!([])), json!([])).await;
    tell_all(&mesh, 4, json!([event(5)])).await;
    let page = eventually("the page shows it", Duration::from_secs(30), async || {
        let page = operator(&mesh).get("/").await.text;
        page.contains("<h1>1 event on the way</h1>").then_some(page)
    })
    .await;
    assert!(!page.contains("cargo run -- demo"));
    let raw = operator(&mesh).get("/mesh/status").await.expect(200);
    assert_eq!(raw["services"][1]["status"]["head"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_flows_by_and_its_way_is_timed() {
    let mesh = mesh().await;
    tell_all(&mesh, 5, json!([event(5)])).await;
    let mut live = Live::open(&mesh).await;
    let mut text = live.until("e-00000000-0000-7000-8000-000000000005").await;
    text += &live.until("<i>taken</i>").await;
    tell_all(&mesh, 5, json!([event(5), event(6)])).await;
    text += &live.until("e-00000000-0000-7000-8000-000000000006").await;
    text += &live.until("on its way").await;
    tell_all(&mesh, 6, json!([event(5), event(6)])).await;
    // `12 ms` or, on a busy machine, `1.2 s`.
    text += &live.until("s</i>").await;
    assert!(!text.contains("<script>alert"), "what tenants wrote is escaped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_stream_is_discarded_with_the_sessions_token() {
    let mesh = mesh().await;
    let name = format!("{TENANT}/webhooks.reactions@1/projects/project/42");
    let mut parked = status("webhooks", 0, json!([]));
    parked["parked"] = json!([{
        "name": name, "consumer": "webhooks.reactions@1", "subject": "projects/project/42", "version": 2,
        "events": 3, "attempts": 4, "error": "no <such> thing", "parked_at": "2026-11-21T10:00:00Z"
    }]);
    tell(&mesh, "webhooks", parked, json!([])).await;
    let page = operator(&mesh).get("/").await.text;
    assert!(page.contains("no &#60;such&#62; thing") && page.contains("2 events wait behind it"));
    let http = service_kit::http_client::builder().build().unwrap();
    let send = async |token: Option<String>| {
        let mut request = http
            .post(format!("{}/mesh/parked/discard", mesh.url))
            .header("cookie", "sessionid=operator")
            .form(&[("service", "webhooks"), ("name", name.as_str())]);
        if let Some(token) = token {
            request = request.header("x-csrftoken", token);
        }
        request.send().await.unwrap()
    };
    assert_eq!(send(None).await.status().as_u16(), 403);
    let token = service_kit::auth::csrf_token("operator");
    assert!(page.contains(&token));
    let answer = send(Some(token)).await;
    assert_eq!(answer.status().as_u16(), 200);
    let part = answer.text().await.unwrap();
    assert!(part.contains("id=\"parked\"") && part.contains(" hidden") && !part.contains("such"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_about_no_service_of_the_mesh_is_not_found() {
    let mesh = mesh().await;
    let http = service_kit::http_client::builder().build().unwrap();
    for (service, command) in [("nobody", "redrive"), ("gateway", "redrive"), ("nobody", "discard")] {
        let request = http
            .post(format!("{}/mesh/parked/{command}", mesh.url))
            .header("cookie", "sessionid=operator")
            .header("x-csrftoken", service_kit::auth::csrf_token("operator"))
            .form(&[("service", service), ("name", "x")]);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 404, "{service} {command}");
    }
}
