//! Analytics from outside, fed by services that publish what a test tells them.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod late_news;
mod live;
mod pages;
mod sight;
mod story;

#[test]
fn the_openapi_document_is_the_committed_one() {
    test_kit::openapi::compare(&analytics::service(), env!("CARGO_MANIFEST_DIR"));
}
