//! What the page loads; part of the binary.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use service_kit::{Answer, Refusal};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const STYLES: &str = "text/css; charset=utf-8";
const ASSETS: &[(&str, &str, &str)] = &[
    ("uplot.min.js", JAVASCRIPT, include_str!("../../assets/uplot.min.js")),
    ("uplot.min.css", STYLES, include_str!("../../assets/uplot.min.css")),
    ("uplot.LICENSE.txt", "text/plain; charset=utf-8", include_str!("../../assets/uplot.LICENSE.txt")),
    ("usage.js", JAVASCRIPT, include_str!("../../assets/usage.js")),
    ("usage.css", STYLES, include_str!("../../assets/usage.css")),
];

/// Changes with the assets' content, so that a browser never shows a new page with old ones.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    ASSETS.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
});

pub fn routes(config: &mut web::ServiceConfig) -> &mut web::ServiceConfig {
    config.route("/usage/assets/{name}", web::get().to(get_asset))
}

async fn get_asset(request: HttpRequest, name: web::Path<String>) -> Answer {
    let asset = ASSETS.iter().find(|(known, ..)| *known == *name);
    let (_, media_type, content) = asset.ok_or_else(Refusal::not_found)?;
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|tag| tag == TAG.as_str());
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((header::ETAG, TAG.as_str())).insert_header((header::CACHE_CONTROL, "no-cache"));
    if known {
        return Ok(response.finish());
    }
    Ok(response.content_type(*media_type).body(*content))
}
