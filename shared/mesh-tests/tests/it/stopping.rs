//! A stop is quick, whoever is connected, and whoever is inside gets an answer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_kit::{Client, TestMesh, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{PATIENCE, services, unique};

/// What a stop may take: less than the second after which actix looks again whether somebody is inside.
const QUICK: Duration = Duration::from_millis(900);

/// A mesh whose stop has no group of consumers to leave.
async fn without_kafka() -> TestMesh {
    TestMesh::start_with(services(), vec![]).await
}

/// A connection that was answered once and is kept for another request.
async fn kept(address: SocketAddr) -> TcpStream {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).await.unwrap();
    assert!(connection.read(&mut [0; 64]).await.unwrap() > 0);
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_long_polls_nor_idle_connections_hold_up_a_stop() {
    let mut fastest = Duration::MAX;
    // Other tests share this machine: one stop of three has to be quick.
    for _ in 0..3 {
        let mesh = without_kafka().await;
        let alice = mesh.user(&unique("alice")).await;
        alice.get("/api/projects").await.expect(200);
        let kit = mesh.running.kit("projects").unwrap();
        let credential = kit.mesh_secret.credential("tests", "projects");
        let peer = Client::new(&format!("http://{}", mesh.running.config.mesh_address))
            .with("authorization", &format!("Bearer {credential}"));
        let page = peer.get("/projects/internal/log?limit=1000").await.expect(200);
        let log = format!("/projects/internal/log?after={}&wait_ms=20000", page["head"]);
        // What alice caused has been taken in once nothing changes any more.
        let changes =
            async || peer.get("/projects/internal/status").await.expect(200)["changes"].as_i64().unwrap();
        let seen = eventually("nothing happens", Duration::from_secs(20), async || {
            let before = changes().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            (changes().await == before).then_some(before)
        })
        .await;
        let status = format!("/projects/internal/status?seen={seen}&wait_ms=20000");
        #[expect(clippy::disallowed_methods, reason = "a peer that waits while the mesh stops")]
        let polls = [log, status].map(|path| {
            let peer = peer.clone();
            tokio::spawn(async move { peer.get(&path).await.expect(200) })
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(polls.iter().all(|poll| !poll.is_finished()), "the polls do not wait");
        let config = &mesh.running.config;
        let _idle = [kept(config.http_address).await, kept(config.mesh_address).await];
        let began = Instant::now();
        mesh.running.stop().await;
        fastest = fastest.min(began.elapsed());
        let [log, status] = polls;
        assert_eq!(log.await.unwrap()["events"], json!([]), "a waiting peer is told that there is nothing");
        assert_eq!(status.await.unwrap()["service"], "projects");
    }
    assert!(fastest < QUICK, "the quickest of three stops took {fastest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_inside_gets_its_answer_and_no_other_comes_in() {
    let mesh = without_kafka().await;
    let alice = mesh.admin();
    let address = mesh.running.config.http_address;
    let body = json!({ "name": unique("late") }).to_string();
    let (first, last) = body.split_at(4);
    let mut connection = TcpStream::connect(address).await.unwrap();
    use base64::Engine;
    let basic = base64::engine::general_purpose::STANDARD.encode("admin:correct horse battery");
    let head = format!(
        "POST /api/projects HTTP/1.1\r\nhost: {address}\r\nauthorization: Basic {basic}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    #[expect(clippy::disallowed_methods, reason = "the mesh stops while the request is inside")]
    let stop = tokio::spawn(mesh.running.stop());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!stop.is_finished(), "the stop did not wait for the request");
    let refused = tokio::time::timeout(Duration::from_millis(500), alice.try_get("/api/projects")).await;
    assert!(!matches!(refused, Ok(Some(_))), "somebody came in although the door was closed");
    connection.write_all(last.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = connection.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(30), read).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(serde_json::from_str::<Value>(body).unwrap()["id"].is_i64());
    tokio::time::timeout(Duration::from_secs(30), stop).await.unwrap().unwrap();
}

/// One request on a connection of its own: `None` when it was refused at the door.
async fn served(address: SocketAddr) -> Option<std::io::Result<String>> {
    let mut connection = TcpStream::connect(address).await.ok()?;
    let request = format!("GET /api/server/about HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let talk = async {
        connection.write_all(request.as_bytes()).await?;
        connection.read_to_string(&mut answer).await
    };
    Some(talk.await.map(|_| answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_while_the_door_closes_is_served_or_refused() {
    for _ in 0..5 {
        let mesh = without_kafka().await;
        let address = mesh.running.config.http_address;
        #[expect(clippy::disallowed_methods, reason = "visitors who come while the mesh stops")]
        let visitors: Vec<_> = (0..8)
            .map(|_| {
                tokio::spawn(async move {
                    let mut answers = 0;
                    while let Some(answer) = served(address).await {
                        let answer = answer.expect("broken off");
                        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        tokio::time::timeout(PATIENCE, mesh.running.stop()).await.expect("a stop that ends");
        for visitor in visitors {
            assert!(visitor.await.unwrap() > 0, "nobody was served before the stop");
        }
    }
}
