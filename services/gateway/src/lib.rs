#![doc = include_str!("../README.md")]

use service_kit::Service;

mod documents;
mod domain;
mod http;
mod proxy;
mod watch;

/// Everything that the gateway is made of.
pub fn service() -> Service {
    Service::new("gateway")
        .routes(http::routes)
        .node_background("watch", watch::follow::run)
        .elsewhere(proxy::routes)
}
