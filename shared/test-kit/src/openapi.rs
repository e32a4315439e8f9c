//! OpenAPI documents are committed and compared; `UPDATE_OPENAPI=1` rewrites them.

use std::path::Path;

use serde_json::Value;
use service_kit::Service;

/// Compares a service's document with `openapi.json` in its folder, and insists that it tells the truth about
/// lists.
pub fn compare(service: &Service, folder: &str) {
    check_lists(&serde_json::to_value(service.openapi()).unwrap());
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

/// Every list answers a page, and says which parameters choose it: none promises a bare array.
fn check_lists(document: &Value) {
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(operation) = item.get("get") else { continue };
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        assert_ne!(schema["type"], "array", "GET {path} promises an array; lists answer a Page");
        let name = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
        let Some(schema) = name.and_then(|path| document.pointer(path)) else { continue };
        if schema["properties"].get("results").is_none() {
            continue;
        }
        let parameters: Vec<&str> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        for wanted in ["page", "page_size", "sort", "filter"] {
            assert!(parameters.contains(&wanted), "GET {path} does not document {wanted}: {parameters:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::check_lists;

    #[test]
    #[should_panic(expected = "promises an array")]
    fn a_list_that_promises_an_array_is_noticed() {
        let schema = json!({ "type": "array" });
        let content = json!({ "application/json": { "schema": schema } });
        check_lists(
            &json!({ "paths": { "/x": { "get": { "responses": { "200": { "content": content } } } } } }),
        );
    }
}
