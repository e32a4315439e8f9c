//! What clients ask before they sign in, and the documents.

use test_kit::{TestMesh, fake};

async fn mesh() -> TestMesh {
    let mut services = fake::services();
    services.push(gateway::service());
    TestMesh::start(services).await
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_may_ask_what_this_server_is() {
    let mesh = mesh().await;
    let about = mesh.anonymous().get("/api/server/about").await.expect(200);
    assert_eq!(about["version"], "2.80.0");
    for field in ["name", "description", "logo_url", "subtitle"] {
        assert!(about[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    assert_eq!(mesh.anonymous().get("/assets/icon.svg").await.status, 200);
    mesh.anonymous().get("/api/server/plugins").await.expect(401);
    let plugins = mesh.anonymous().basic("7.user", "x").get("/api/server/plugins").await.expect(200);
    assert_eq!(plugins["MODELS"], false);
    let formats =
        mesh.anonymous().basic("7.user", "x").get("/api/server/annotation/formats").await.expect(200);
    assert_eq!(formats["exporters"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_names_what_is_missing() {
    let mesh = mesh().await;
    mesh.anonymous().get("/api/server/health/").await.expect(200);
    let part = TestMesh::start(vec![fake::service("identity"), gateway::service()]).await;
    let response = part.anonymous().get("/api/server/health").await;
    assert_eq!(response.headers["retry-after"], "1");
    let body = response.expect(503);
    assert_eq!(body["missing"], serde_json::json!(["projects", "media", "billing", "webhooks", "analytics"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_document_is_served() {
    let mesh = mesh().await;
    let list = mesh.anonymous().get("/v1/openapi").await.expect(200);
    for document in list["documents"].as_array().unwrap() {
        let path = document["url"].as_str().unwrap().strip_prefix(&mesh.url).unwrap();
        assert_eq!(mesh.anonymous().get(path).await.expect(200)["openapi"], "3.1.0");
    }
    mesh.anonymous().get("/v1/openapi/nobody").await.expect(404);
    let all = mesh.anonymous().get("/api/schema/").await.expect(200);
    assert!(all["paths"]["/api/server/about"].is_object());
    assert_eq!(mesh.anonymous().get("/asyncapi.json").await.expect(200)["asyncapi"], "3.0.0");
    for event in contracts::catalog() {
        mesh.anonymous().get(&format!("/schemas/{}.json", event.name)).await.expect(200);
    }
    mesh.anonymous().get("/schemas/nothing.v1.json").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_can_be_read_answers_head() {
    let mesh = mesh().await;
    for path in ["/", "/api/server/about", "/api/server/health", "/schemas/identity.user_deleted.v1.json"] {
        let (read, head) =
            (mesh.anonymous().get(path).await, mesh.anonymous().send("HEAD", path, None).await);
        assert_eq!((read.status, &*head.text), (head.status, ""), "{path}");
        assert_eq!(read.headers.get("content-type"), head.headers.get("content-type"), "{path}");
        assert_eq!(read.text.len().to_string(), head.headers["content-length"], "{path}");
    }
    mesh.anonymous().send("HEAD", "/nothing", None).await.expect(404);
    // A stream that never ends.
    let operator = mesh.anonymous().basic("operator", "x");
    let live = operator.send("HEAD", "/mesh/live", None).await;
    assert_eq!((live.status, &*live.text), (200, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_does_not_know_a_method_says_which_it_knows() {
    let mesh = mesh().await;
    for (method, path) in
        [("DELETE", "/api/server/about"), ("POST", "/schemas/identity.user_deleted.v1.json")]
    {
        let refused = mesh.anonymous().send(method, path, None).await;
        assert_eq!(refused.headers["allow"], "GET", "{path}");
        refused.expect(405);
    }
    mesh.anonymous().get("/schemas/x").await.expect(404);
}
