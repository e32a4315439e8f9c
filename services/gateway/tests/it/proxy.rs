//! The gateway as a process of its own: it passes on what belongs to services elsewhere.

use std::time::{Duration, Instant};

use test_kit::{TestMesh, fake};

/// A mesh without a gateway, and a gateway alone that knows where it is.
async fn apart() -> (TestMesh, TestMesh) {
    let services = TestMesh::start(fake::services()).await;
    let at = format!("http://{}", services.running.config.mesh_address);
    let peers =
        ["identity", "projects", "webhooks", "analytics"].map(|name| format!("{name}={at}")).join(",");
    let gateway = TestMesh::start_with(vec![gateway::service()], vec![("MESH_PEERS".into(), peers)]).await;
    (services, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_arrives_as_it_was_sent() {
    let (_services, gateway) = apart().await;
    let client = gateway
        .anonymous()
        .with("authorization", "Token something")
        .with("cookie", "sessionid=1; csrftoken=2")
        .with("x-organization", "wonderland")
        .with("connection", "x-private")
        .with("x-private", "for the gateway only")
        .with("x-forwarded-for", "203.0.113.9");
    let response =
        client.send("PATCH", "/api/projects/?page=2&q=a%2Fb", Some("{\"name\":\"é\"}".into())).await;
    assert_eq!(response.headers["x-echo"], "yes");
    assert_eq!(response.headers.get_all("set-cookie").iter().count(), 2);
    let echo = response.expect(201);
    assert_eq!(echo["method"], "PATCH");
    assert_eq!(echo["uri"], "/api/projects?page=2&q=a%2Fb");
    assert_eq!(echo["body"], "{\"name\":\"é\"}");
    let headers = &echo["headers"];
    assert_eq!(headers["host"], gateway.url.strip_prefix("http://").unwrap());
    assert_eq!(headers["authorization"], "Token something");
    assert_eq!(headers["cookie"], "sessionid=1; csrftoken=2");
    assert_eq!(headers["x-organization"], "wonderland");
    assert_eq!(headers["x-private"], serde_json::Value::Null);
    assert_eq!(headers["x-forwarded-for"], "203.0.113.9, 127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_and_the_request_id_are_the_services() {
    let (_services, gateway) = apart().await;
    let response = gateway.anonymous().basic("7.user", "x").get("/api/projects/whoami").await;
    let id = response.headers["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(response.headers.get_all("x-request-id").iter().count(), 1);
    let body = response.expect(200);
    assert_eq!(body["user"], 7);
    assert_eq!(body["request_id"], id.as_str());
    assert_eq!(body["base"], gateway.url.as_str());
    let refused = gateway.anonymous().get("/api/projects/whoami").await;
    assert_eq!(refused.headers["www-authenticate"], "Token");
    assert_eq!(refused.expect(401)["detail"], "Authentication credentials were not provided.");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_size_pass_and_none_stays_none() {
    let (_services, gateway) = apart().await;
    let large = "x".repeat(1_500_000);
    let echo = gateway.anonymous().send("POST", "/api/projects", Some(large.clone())).await.expect(201);
    assert_eq!(echo["body"].as_str().unwrap().len(), large.len());
    let deleted = gateway.anonymous().delete("/api/projects/empty").await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    let nothing = gateway.anonymous().get("/api/projects").await.expect(201);
    assert_eq!(nothing["body"], "");
    assert_eq!(nothing["headers"]["transfer-encoding"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_streams() {
    let (_services, gateway) = apart().await;
    let http = service_kit::http_client::builder().build().unwrap();
    let began = Instant::now();
    let mut response = http.get(format!("{}/api/projects/stream", gateway.url)).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "piece 0\n");
    assert!(began.elapsed() < Duration::from_secs(1), "the first piece waited for the second");
    assert_eq!(response.chunk().await.unwrap().unwrap(), "piece 1\n");
    assert_eq!(response.chunk().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_of_nobody_is_404_and_a_service_that_is_down_is_503() {
    let (services, gateway) = apart().await;
    assert_eq!(gateway.anonymous().get("/api/nothing").await.expect(404)["detail"], "Not found.");
    assert_eq!(gateway.anonymous().get("/v1/nothing").await.expect(404)["code"], "not_found");
    services.running.stop().await;
    let response = gateway.anonymous().get("/api/projects").await;
    assert!(response.headers.contains_key("retry-after"));
    assert_eq!(response.expect(503)["detail"], "projects does not answer at the moment.");
    let native = gateway.anonymous().get("/v1/events").await;
    assert_eq!(native.expect(503)["code"], "unavailable");
}
