//! The service on its own: its document, and deliveries from an event's arrival to the receiver. The events
//! are handed to the consumer by the test, because no other service runs here.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod deliveries;
mod targets;
mod tasks;

/// The service's OpenAPI document is committed and compared.
#[test]
fn openapi_is_committed() {
    test_kit::openapi::compare(&webhooks::service(), env!("CARGO_MANIFEST_DIR"));
}
