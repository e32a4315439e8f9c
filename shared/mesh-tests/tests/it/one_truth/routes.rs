//! Traefik's routes and the chart's are made from the route table, and lead where it leads.

use std::fmt::Write;

use regex::Regex;
use serde_yaml_ng::Value;
use service_kit::routes::{TABLE, service_of};
use service_kit::start::SERVICES;

use super::{PORTS, yaml};
use crate::support::root;

const TRAEFIK: &str = "infra/traefik/routes.yml";
const CHART: &str = "k8s/files/routes.yaml";
const NOTE: &str = "# Made from the route table (shared/service-kit/src/routes.rs) by UPDATE_ROUTES=1 cargo test -p mesh-tests one_truth\n";
/// The grammar of ClearML's endpoints, which have no prefix (`service_kit::clearml::Address`), but for its `^`.
const CLEARML: &str = r"/(api/)?(v[0-9]+(\.[0-9]+)?/)?[A-Za-z_][A-Za-z0-9_]+\.[A-Za-z_][A-Za-z0-9_]+/?$";
/// Who answers what is nobody's, and the page.
const REST: &str = "gateway";

/// A prefix of the table as a regular expression.
fn pattern(prefix: &str) -> String {
    prefix.replace('.', r"\.").replace("{id}", "[^/]+")
}

/// As YAML's double quotes want it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\"))
}

/// Who answers ClearML's endpoints.
fn clearml() -> &'static str {
    service_of("/auth.login").unwrap()
}

/// Neighbours in the table that have the same service. The page alone has no prefix: it is in the rest.
fn groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = vec![];
    for route in TABLE.iter().filter(|route| route.prefix != "/") {
        match groups.last_mut() {
            Some((service, prefixes)) if *service == route.service => prefixes.push(route.prefix),
            _ => groups.push((route.service, vec![route.prefix])),
        }
    }
    groups
}

fn traefik() -> String {
    let mut text = format!("{NOTE}http:\n  routers:\n");
    let mut router = |name: &str, rule: &str, priority: usize, service: &str| {
        let rule = quoted(rule);
        writeln!(
            text,
            "    {name}:\n      rule: {rule}\n      priority: {priority}\n      service: {service}"
        )
        .unwrap();
    };
    let groups = groups();
    for (index, (service, prefixes)) in groups.iter().enumerate() {
        let any: Vec<String> = prefixes.iter().map(|prefix| pattern(prefix)).collect();
        let rule = format!("PathRegexp(`^({})(/|$)`)", any.join("|"));
        router(&format!("{}-{service}", index + 1), &rule, groups.len() + 2 - index, service);
    }
    router("clearml", &format!("PathRegexp(`^{CLEARML}`)"), 2, clearml());
    router("rest", "PathPrefix(`/`)", 1, REST);
    text.push_str("  services:\n");
    for name in SERVICES {
        writeln!(text, "    {name}:\n      loadBalancer:\n        serversTransport: mesh\n        servers:")
            .unwrap();
        writeln!(text, "          - url: http://{name}:{}", PORTS[0]).unwrap();
    }
    text.push_str(
        "  middlewares:\n    # A service that restarts is waited for, about 15 s: a request of which nothing has been \
         sent yet is sent again.\n    patience:\n      retry:\n        attempts: 40\n        initialInterval: 250ms\n  \
         serversTransports:\n    # A connection for each request: the name is looked up anew, so replicas share \
         the work, and none is kept to one that stops.\n    mesh:\n      maxIdleConnsPerHost: -1\n      \
         forwardingTimeouts:\n        dialTimeout: 1s\n",
    );
    text
}

fn chart() -> String {
    let mut text = format!(
        "{NOTE}# More particular ones first: `patterns` are prefixes of which a segment may be anything.\npatterns:\n"
    );
    let line = |service: &str, path: &str| format!("  - {{service: {service}, path: {}}}\n", quoted(path));
    let below = |prefix: &str| format!("{}(/|$)", pattern(prefix));
    let named = TABLE.iter().filter(|route| route.prefix != "/");
    let (patterns, prefixes): (Vec<_>, Vec<_>) = named.partition(|route| route.prefix.contains("{id}"));
    for route in patterns {
        text.push_str(&line(route.service, &below(route.prefix)));
    }
    text.push_str("prefixes:\n");
    for route in prefixes {
        text.push_str(&line(route.service, &below(route.prefix)));
    }
    text + "clearml:\n" + &line(clearml(), CLEARML) + "rest:\n" + &line(REST, "/")
}

#[test]
fn the_committed_routes_are_those_of_the_table() {
    for (path, fresh) in [(TRAEFIK, traefik()), (CHART, chart())] {
        let file = root().join(path);
        if std::fs::read_to_string(&file).is_ok_and(|committed| committed == fresh) {
            continue;
        }
        assert!(
            std::env::var_os("UPDATE_ROUTES").is_some(),
            "{path} is not what the route table says; run UPDATE_ROUTES=1 cargo test -p mesh-tests one_truth"
        );
        std::fs::write(file, fresh).unwrap();
    }
}

/// Paths that are somebody's, nearly somebody's, and nobody's.
fn samples() -> Vec<String> {
    let mut samples: Vec<String> = [
        "/",
        "/nothing",
        "/api",
        "/auth.login",
        "/auth.login/",
        "/api/auth.login",
        "/v2/auth.login",
        "/v2.23/auth.login",
        "/api/v2.5/auth.login",
        "/v2.1.3/auth.login",
        "/2.1/auth.login",
        "/auth.login.now",
        "/auth.",
        "/.login",
        "/a.b",
        "/1auth.login",
        "/v2.23/auth/login",
        "/files/a.png/b.png",
        "/api/tasks.get_all",
    ]
    .map(str::to_owned)
    .to_vec();
    for route in TABLE.iter().filter(|route| route.prefix != "/") {
        let path = route.prefix.replace("{id}", "7");
        samples.extend(["", "/", "/7", "/7/x.json", "x", ".xy"].map(|end| format!("{path}{end}")));
    }
    samples
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value:?}")).to_owned()
}

#[test]
fn traefik_leads_where_the_table_leads() {
    let file = yaml(TRAEFIK);
    let routers: Vec<(u64, Regex, String)> = file["http"]["routers"]
        .as_mapping()
        .unwrap()
        .values()
        .map(|router| {
            let rule = text(&router["rule"]);
            let inner = |kind: &str| rule.strip_prefix(kind)?.strip_suffix("`)").map(str::to_owned);
            let regex = match (inner("PathRegexp(`"), inner("PathPrefix(`")) {
                (Some(regex), _) => regex,
                (_, Some(prefix)) => format!("^{prefix}"),
                _ => panic!("{rule} is of no kind that is known here"),
            };
            (router["priority"].as_u64().unwrap(), Regex::new(&regex).unwrap(), text(&router["service"]))
        })
        .collect();
    for path in samples() {
        let (_, _, service) = routers
            .iter()
            .filter(|(_, regex, _)| regex.is_match(&path))
            .max_by_key(|router| router.0)
            .unwrap();
        assert_eq!(service, service_of(&path).unwrap_or(REST), "{path}");
        let server = &file["http"]["services"][service.as_str()]["loadBalancer"]["servers"][0]["url"];
        assert_eq!(text(server), format!("http://{service}:{}", PORTS[0]));
    }
}

#[test]
fn the_ingress_leads_where_the_table_leads() {
    let file = yaml(CHART);
    let ranks: Vec<Vec<(Regex, String)>> = ["patterns", "prefixes", "clearml", "rest"]
        .iter()
        .map(|rank| {
            let routes = file[*rank].as_sequence().unwrap().iter();
            routes
                .map(|route| {
                    let regex = Regex::new(&format!("^{}", text(&route["path"]))).unwrap();
                    (regex, text(&route["service"]))
                })
                .collect()
        })
        .collect();
    for path in samples() {
        let mut found: Vec<&str> = vec![];
        for rank in &ranks {
            if found.is_empty() {
                let matching = rank.iter().filter(|(regex, _)| regex.is_match(&path));
                found = matching.map(|(_, service)| service.as_str()).collect();
            }
        }
        // Nobody says which of two of the same rank comes first.
        assert_eq!(found, [service_of(&path).unwrap_or(REST)], "{path}");
    }
}
