//! The route table: which service answers which path. The local server and the gateway dispatch by it, and
//! a test holds every service's OpenAPI document against it.

use crate::clearml::Address;

/// Who answers ClearML's endpoints, also for those that nobody has: the refusal has ClearML's shape.
const CLEARML: &str = "identity";

/// A path and everything below it; `{id}` stands for one segment.
pub struct Route {
    pub prefix: &'static str,
    pub service: &'static str,
}

macro_rules! table {
    ($($service:literal: $($prefix:literal)*;)*) => {
        /// More particular ones first: the first match decides.
        pub const TABLE: &[Route] = &[$($(Route { prefix: $prefix, service: $service }),*),*];
    };
}

table! {
    "identity": "/api/auth" "/api/users" "/api/organizations" "/api/memberships" "/api/invitations";
    "media": "/api/tasks/{id}/data" "/api/tasks/{id}/preview" "/api/tasks/{id}/status" "/api/jobs/{id}/data"
        "/api/jobs/{id}/preview" "/api/projects/{id}/preview";
    "billing": "/v1/usage" "/v1/limits" "/usage";
    "projects": "/api/projects" "/api/labels" "/api/tasks" "/api/jobs" "/api/requests" "/v1/jobs";
    "webhooks": "/api/webhooks";
    "analytics": "/v1/events";
    "gateway": "/api/server" "/api/schema" "/v1/openapi" "/asyncapi.json" "/schemas" "/assets" "/mesh" "/sign-in"
        "/";
}

/// The service that answers a path.
pub fn service_of(path: &str) -> Option<&'static str> {
    known(path).or_else(|| Address::of(path).map(|_| CLEARML))
}

/// Whether a path is ClearML's: of its grammar, and nobody else's.
pub fn is_clearml(path: &str) -> bool {
    known(path).is_none() && Address::of(path).is_some()
}

fn known(path: &str) -> Option<&'static str> {
    TABLE.iter().find(|route| matches(route.prefix, path)).map(|route| route.service)
}

fn matches(prefix: &str, path: &str) -> bool {
    // `/` alone is the page, not everything.
    if prefix == "/" {
        return path == "/";
    }
    let mut segments = path.split('/');
    prefix.split('/').all(|wanted| segments.next().is_some_and(|found| wanted == "{id}" || wanted == found))
}

#[cfg(test)]
mod tests {
    use super::service_of;

    #[test]
    fn a_path_belongs_to_the_service_of_its_prefix() {
        assert_eq!(service_of("/api/projects/7/"), Some("projects"));
        assert_eq!(service_of("/api/projectsx"), None);
        assert_eq!(service_of("/api/tasks/7"), Some("projects"));
        assert_eq!(service_of("/api/tasks/7/data/meta"), Some("media"));
        assert_eq!(service_of("/api/tasks/7/datax"), Some("projects"));
        assert_eq!(service_of("/"), Some("gateway"));
        assert_eq!(service_of("/nothing"), None);
        assert_eq!(service_of("/v1/events/live"), Some("analytics"));
    }

    #[test]
    fn clearmls_endpoints_are_identitys_and_hide_nothing() {
        for path in ["/auth.login", "/v2.23/auth.login", "/api/v2.5/auth.login", "/api/login.set_domains"] {
            assert_eq!(service_of(path), Some("identity"), "{path}");
        }
        assert_eq!(service_of("/queues.create"), Some("identity"));
        assert_eq!(service_of("/asyncapi.json"), Some("gateway"));
        assert_eq!(service_of("/schemas/projects.project_created.v1.json"), Some("gateway"));
        assert_eq!(service_of("/api/auth/login"), Some("identity"));
        assert_eq!(service_of("/v2.23/auth/login"), None);
    }
}
