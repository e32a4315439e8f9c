//! `GET /v1/events/live`.

use std::time::Duration;

use serde_json::Value;
use test_kit::TestMesh;

use crate::story::{caller, mesh, organization, page_of, project, publish};

/// An open stream.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(mesh: &TestMesh, name: &str, query: &str, last: Option<i64>) -> Self {
        let http = service_kit::http_client::builder().build().unwrap();
        let mut request = http.get(format!("{}/v1/events/live{query}", mesh.url));
        request = request.header("authorization", format!("Token {name}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut stream = Self { response, text: String::new() };
        assert!(stream.frame().await.unwrap().contains(": open"));
        stream
    }

    /// The next frame; `None` when the stream has ended.
    async fn frame(&mut self) -> Option<String> {
        let read = async {
            loop {
                if let Some((frame, rest)) = self.text.split_once("\n\n") {
                    let (frame, rest) = (frame.to_owned(), rest.to_owned());
                    self.text = rest;
                    // What only keeps the connection alive says nothing.
                    if !frame.starts_with(':') {
                        return Some(frame);
                    }
                    continue;
                }
                let piece = self.response.chunk().await.ok()??;
                self.text.push_str(std::str::from_utf8(&piece).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(30), read).await.expect("no frame in 30 s")
    }

    /// The next event: its cursor and itself.
    async fn event(&mut self) -> (i64, Value) {
        let frame = self.frame().await.unwrap();
        let line = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let event: Value = serde_json::from_str(&line("data: ")).unwrap();
        assert_eq!(line("event: "), event["type"].as_str().unwrap());
        (line("id: ").parse().unwrap(), event)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_as_they_happen_and_a_cut_stream_goes_on() {
    let mesh = mesh().await;
    let mut log = vec![project(1, 7, None)];
    publish(&mesh, "projects", &log).await;
    page_of(&caller(&mesh, "1.admin"), "/v1/events", 1).await;
    let mut stream = Stream::open(&mesh, "1.admin", "", None).await;
    log.push(project(2, 7, None));
    publish(&mesh, "projects", &log).await;
    let (cursor, event) = stream.event().await;
    assert_eq!((event["position"].as_i64(), event["cursor"].as_i64()), (Some(2), Some(cursor)));
    drop(stream);
    log.push(project(3, 7, None));
    log.push(project(4, 7, None));
    publish(&mesh, "projects", &log).await;
    let mut again = Stream::open(&mesh, "1.admin", "?after=0", Some(cursor)).await;
    assert_eq!(again.event().await.1["position"], 3);
    assert_eq!(again.event().await.1["position"], 4);
    let mut whole = Stream::open(&mesh, "1.admin", "?after=0&subject=project/1", None).await;
    assert_eq!(whole.event().await.1["position"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_shows_what_its_caller_may_see_now() {
    let mesh = mesh().await;
    let mut identity = organization(&[(7, "worker")]);
    publish(&mesh, "identity", &identity).await;
    page_of(&caller(&mesh, "1.admin"), "/v1/events", 2).await;
    let mut stream = Stream::open(&mesh, "7.user", "?type=projects.project_created.v1", None).await;
    publish(&mesh, "projects", &[project(1, 8, Some(3))]).await;
    page_of(&caller(&mesh, "1.admin"), "/v1/events", 3).await;
    // The worker becomes the owner: the stream, which is open, widens.
    let mut promoted = contracts::identity::MembershipUpdated {
        membership: contracts::event::Example::example(),
        before_update: serde_json::Map::new(),
    };
    promoted.membership.id = 1;
    identity.push(test_kit::fake::event(3, 1, 2, &promoted));
    publish(&mesh, "identity", &identity).await;
    page_of(&caller(&mesh, "7.user"), "/v1/events?type=projects.project_created.v1", 1).await;
    publish(&mesh, "projects", &[project(1, 8, Some(3)), project(2, 8, Some(3))]).await;
    let (_, event) = stream.event().await;
    assert_eq!(event["actorid"], 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_credential_does_and_when_the_service_stops() {
    let mesh = mesh().await;
    let mut stream = Stream::open(&mesh, "7.user", "", None).await;
    let deleted = contracts::identity::UserDeleted { user: contracts::event::Example::example() };
    // Every answer of the fake identity is of position 1 at least, so the revocation must come after it.
    let other = test_kit::fake::event(1, 1, 1, &deleted);
    publish(&mesh, "identity", &[other, test_kit::fake::event(2, 7, 1, &deleted)]).await;
    assert_eq!(stream.frame().await, None);
    let mut admin = Stream::open(&mesh, "9.admin", "?type=webhooks.webhook_created.v1", None).await;
    let stopping = tokio::time::Instant::now();
    let (_, ended) = tokio::join!(mesh.running.stop(), admin.frame());
    assert_eq!(ended, None);
    assert!(stopping.elapsed() < Duration::from_secs(6), "an open stream held the stop up");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_before_the_stream_begins() {
    let mesh = mesh().await;
    let admin = caller(&mesh, "1.admin");
    admin.get("/v1/events/live?limit=5").await.expect(400);
    admin.with("last-event-id", "x").get("/v1/events/live").await.expect(400);
    mesh.anonymous().get("/v1/events/live").await.expect(401);
    caller(&mesh, "9.none").get("/v1/events/live").await.expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_user_cannot_take_their_colleagues_streams() {
    let mesh = mesh().await;
    let mut open = vec![];
    for _ in 0..8 {
        open.push(Stream::open(&mesh, "7.user", "", None).await);
    }
    let refused = caller(&mesh, "7.user").get("/v1/events/live").await;
    assert_eq!((refused.status, &refused.headers["retry-after"]), (429, &"5".parse().unwrap()));
    assert_eq!(refused.json()["code"], "too_many_streams");
    Stream::open(&mesh, "8.user", "", None).await;
}
