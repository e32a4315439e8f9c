//! The service's OpenAPI document is committed and compared.

#[test]
fn openapi_is_committed() {
    test_kit::openapi::compare(&projects::service(), env!("CARGO_MANIFEST_DIR"));
}
