//! The gateway from outside.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod page;
mod proxy;
mod server;
mod ways;

#[test]
fn the_openapi_document_is_the_committed_one() {
    test_kit::openapi::compare(&gateway::service(), env!("CARGO_MANIFEST_DIR"));
}
