//! OpenAPI documents are committed and compared; `UPDATE_OPENAPI=1` rewrites them.

use std::path::Path;

use service_kit::Service;

/// Compares a service's document with `openapi.json` in its folder.
pub fn compare(service: &Service, folder: &str) {
    let path = Path::new(folder).join("openapi.json");
    let fresh = service.openapi().to_pretty_json().unwrap() + "\n";
    if std::fs::read_to_string(&path).is_ok_and(|committed| committed == fresh) {
        return;
    }
    assert!(
        std::env::var_os("UPDATE_OPENAPI").is_some(),
        "{} is out of date; run UPDATE_OPENAPI=1 cargo test -p {}",
        path.display(),
        service.name()
    );
    std::fs::write(&path, fresh).unwrap();
}
