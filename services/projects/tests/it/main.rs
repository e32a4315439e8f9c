//! The service's OpenAPI document is committed and compared; and what one consumer must not do behind another's
//! back.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod organization_ends;

#[test]
fn openapi_is_committed() {
    test_kit::openapi::compare(&projects::service(), env!("CARGO_MANIFEST_DIR"));
}
