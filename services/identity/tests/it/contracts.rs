//! The document that the service promises.

#[test]
fn the_committed_document_is_what_the_service_answers() {
    test_kit::openapi::compare(&identity::service(), env!("CARGO_MANIFEST_DIR"));
}
