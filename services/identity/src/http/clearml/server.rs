//! `server.info`.

use serde_json::json;
use service_kit::clearml::API_VERSION;

use super::{Answered, Call};

pub async fn info(_: &Call) -> Answered {
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "build": "annomesh",
        "commit": "",
        "api_version": API_VERSION.to_string(),
    }))
}
