//! Billing's tables, fed with events as its sources feed them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod exact;
mod rebuilt;
mod story;
mod support;

#[test]
fn the_openapi_document_is_the_committed_one() {
    test_kit::openapi::compare(&billing::service(), env!("CARGO_MANIFEST_DIR"));
}
