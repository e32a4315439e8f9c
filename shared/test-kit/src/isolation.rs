//! Two companies on one mesh: neither can tell, through any endpoint of any OpenAPI document, that what the other
//! has exists. The endpoints, their parameters and their bodies are read from the documents, so that a new one
//! that nobody thought of here fails the test instead of passing it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use service_kit::Service;

use crate::client::{Client, Response};

/// An id that nobody has.
const NOBODYS: i64 = 987_654_321;
/// How often something must have been compared, or the documents were not read.
const LEAST: usize = 15;

/// One thing of each kind: its id, by the path that names it (`/api/projects/{id}`); `{delivery_id}` and other
/// names of parameters further back by themselves.
pub type Things = BTreeMap<&'static str, Value>;

/// The path of the kind of things that an id in a body or a query is of; `None` for an id that is not one.
fn kind_of(name: &str) -> Option<&'static str> {
    match name {
        "project_id" => Some("/api/projects/{id}"),
        "owner_id" | "assignee_id" | "user_id" => Some("/api/users/{id}"),
        "org_id" | "organization_id" => Some("/api/organizations/{id}"),
        "task_id" => Some("/api/tasks/{id}"),
        "job_id" => Some("/api/jobs/{id}"),
        // Nothing of these kinds is there yet; whatever they are filtered by, nothing is shown.
        "parent_id" | "parent_job_id" | "cloud_storage_id" => None,
        other => panic!("say in test_kit::isolation whose id `{other}` is"),
    }
}

/// One company's things, and another's admin with things of their own.
pub struct Isolation<'a> {
    pub services: &'a [Service],
    pub stranger: &'a Client,
    pub theirs: &'a Things,
    pub own: &'a Things,
    /// A body that an endpoint, by path and method, accepts: the answer is to be about the ids in it.
    pub body: fn(path: &str, method: &str) -> Option<Value>,
    /// What is asked of things besides, for endpoints where that decides whether the request makes sense at all.
    pub query: &'a str,
}

/// Asks for everything that is somebody else's, in every place where an endpoint takes an id: each answer must be
/// the one about what does not exist.
pub async fn assert_tenant_isolation(isolation: &Isolation<'_>) {
    let (mut paths, mut bodies, mut queries) = (0, 0, 0);
    for service in isolation.services {
        let document = serde_json::to_value(service.openapi()).unwrap();
        for (path, item) in document["paths"].as_object().unwrap() {
            if !path.starts_with("/api/") {
                continue;
            }
            for method in ["get", "put", "patch", "post", "delete"] {
                let Some(operation) = item.get(method) else { continue };
                paths += isolation.path(path, method).await;
                bodies += isolation.body(&document, operation, path, method).await;
                queries += isolation.query(operation, path, method).await;
            }
        }
    }
    assert!(paths >= LEAST, "only {paths} endpoints were compared");
    assert!(bodies >= 5 && queries >= 5, "only {bodies} bodies and {queries} queries were compared");
}

impl Isolation<'_> {
    /// Their id in the path.
    async fn path(&self, path: &str, method: &str) -> usize {
        let Some(target) = filled(path, self.theirs) else { return 0 };
        let none = path.replace("{id}", &NOBODYS.to_string());
        let none = filled(&none, self.theirs).unwrap_or(none);
        let [target, none] = [target, none].map(|path| format!("{path}?{}", self.query));
        let body = (self.body)(path, method).map(|body| body.to_string());
        let method_name = method.to_uppercase();
        let real = self.stranger.send(&method_name, &target, body.clone()).await;
        let none = self.stranger.send(&method_name, &none, body).await;
        assert_eq!((real.status, &real.text), (none.status, &none.text), "{method} {path}");
        assert_eq!(real.status, 404, "{method} {path}: {}", real.text);
        1
    }

    /// Their ids in the body of a request about something of one's own.
    async fn body(&self, document: &Value, operation: &Value, path: &str, method: &str) -> usize {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let mut compared = 0;
        for name in properties(document, schema).into_iter().filter(|name| name.ends_with("_id")) {
            let Some(kind) = kind_of(&name) else { continue };
            let target = filled(path, self.own).unwrap_or_else(|| path.to_owned());
            let ask = async |id: &Value| {
                let mut body = (self.body)(path, method).unwrap_or_else(|| json!({}));
                body[&name] = id.clone();
                if let Some(body) = body.as_object_mut().filter(|_| name == "project_id") {
                    // Only a webhook of a project has one, and a task that has one has no labels of its own.
                    body.insert("type".into(), "project".into());
                    body.remove("labels");
                }
                self.stranger.send(&method.to_uppercase(), &target, Some(body.to_string())).await
            };
            let (real, none) = (ask(&self.theirs[kind]).await, ask(&NOBODYS.into()).await);
            let place = format!("{name} of {method} {path}");
            self.compare(&real, &self.theirs[kind], &none, &place);
            assert!((400..=404).contains(&real.status), "{place}: {} {}", real.status, real.text);
            let own = ask(&self.own[kind]).await;
            assert!(own.status < 300, "{place}: one's own is refused too: {} {}", own.status, own.text);
            compared += 1;
        }
        compared
    }

    /// Their ids in the query.
    async fn query(&self, operation: &Value, path: &str, method: &str) -> usize {
        let mut compared = 0;
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            let Some(kind) = name.ends_with("_id").then(|| kind_of(name)).flatten() else { continue };
            let target = filled(path, self.own).unwrap_or_else(|| path.to_owned());
            let ask = async |id: &Value| {
                let target = format!("{target}?{name}={id}");
                self.stranger.send(&method.to_uppercase(), &target, None).await
            };
            let (real, none) = (ask(&self.theirs[kind]).await, ask(&NOBODYS.into()).await);
            self.compare(&real, &self.theirs[kind], &none, &format!("{name} of {method} {path}"));
            compared += 1;
        }
        compared
    }

    fn compare(&self, real: &Response, id: &Value, none: &Response, place: &str) {
        assert_eq!(
            (real.status, without(&real.text, id.as_i64().unwrap())),
            (none.status, without(&none.text, NOBODYS)),
            "{place}"
        );
    }
}

/// A path with ids in it; `None` for one that has no place for any.
///
/// # Panics
/// When `things` has none of that kind.
fn filled(path: &str, things: &Things) -> Option<String> {
    let end = path.find('}')?;
    let (start, id) = match path.find("{id}") {
        Some(_) => (path[..=end].to_owned(), "{id}".to_owned()),
        None => (String::new(), String::new()),
    };
    let mut filled = path.to_owned();
    if !id.is_empty() {
        let known = things.get(start.as_str());
        let known = known.unwrap_or_else(|| panic!("{path} is not covered: make a thing of this kind"));
        filled = filled.replace("{id}", &text(known));
    }
    while let (Some(open), Some(close)) = (filled.find('{'), filled.find('}')) {
        let name = filled[open..=close].to_owned();
        let known = things.get(name.as_str());
        let known = known.unwrap_or_else(|| panic!("{name} of {path} is not covered: make one"));
        filled = filled.replace(&name, &text(known));
    }
    Some(filled)
}

/// An id as it stands in a path.
fn text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

/// The names of an object's properties, whose schema may be a reference.
fn properties(document: &Value, schema: &Value) -> Vec<String> {
    let schema = match schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        Some(path) => document.pointer(path).unwrap(),
        None => schema,
    };
    schema["properties"].as_object().into_iter().flat_map(|names| names.keys().cloned()).collect()
}

/// A text without one number in it, wherever that stands alone.
fn without(text: &str, number: i64) -> String {
    let number = number.to_string();
    let mut rest = text;
    let mut kept = String::new();
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let digits = rest[start..].find(|letter: char| !letter.is_ascii_digit());
        let end = digits.map_or(rest.len(), |length| start + length);
        kept.push_str(&rest[..start]);
        kept.push_str(if rest[start..end] == number { "…" } else { &rest[start..end] });
        rest = &rest[end..];
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_left_out_where_it_stands_alone() {
        assert_eq!(without("1 of 11: \"1\"", 1), "… of 11: \"…\"");
        assert_eq!(without("none", 1), "none");
    }

    #[test]
    fn a_path_is_filled_by_the_kinds_of_its_ids() {
        let things = Things::from([
            ("/api/webhooks/{id}", json!(5)),
            ("{delivery_id}", json!(7)),
            ("/api/requests/{id}", json!("a.b")),
        ]);
        let path = "/api/webhooks/{id}/deliveries/{delivery_id}";
        assert_eq!(filled(path, &things).unwrap(), "/api/webhooks/5/deliveries/7");
        assert_eq!(filled("/api/requests/{id}/cancel", &things).unwrap(), "/api/requests/a.b/cancel");
        assert_eq!(filled("/api/webhooks", &things), None);
    }
}
