//! Analytics from outside.

#[test]
fn the_openapi_document_is_the_committed_one() {
    test_kit::openapi::compare(&analytics::service(), env!("CARGO_MANIFEST_DIR"));
}
