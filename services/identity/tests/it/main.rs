//! Identity through HTTP, on a PostgreSQL of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clearml;
mod contracts;
mod mesh;
mod organizations;
mod races;
mod sign_in;
mod users;

/// Identity, beside a billing that has nothing to say.
fn services() -> Vec<service_kit::Service> {
    vec![identity::service(), test_kit::fake::service("billing")]
}

/// Waits until a client is nobody: a revocation takes the way through the log.
async fn refused(client: &test_kit::Client) {
    test_kit::eventually("a revoked credential is refused", std::time::Duration::from_secs(30), async || {
        (client.get("/api/users/self").await.status == 401).then_some(())
    })
    .await;
}
