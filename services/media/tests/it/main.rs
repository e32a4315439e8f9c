//! Media alone, among services that say what a test tells them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod bad_files;
mod frames;
mod full;
mod gcs;
mod lifecycle;
mod s3;
mod slow;
mod tus;
mod uploads;
mod world;

/// The service's OpenAPI document is committed and compared.
#[test]
fn openapi_is_committed() {
    test_kit::openapi::compare(&media::service(), env!("CARGO_MANIFEST_DIR"));
}
