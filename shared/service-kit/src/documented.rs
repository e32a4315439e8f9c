//! What no handler takes: a path that does not exist, or one that does not know the method. The router alone
//! cannot tell them apart; the service's OpenAPI document can.

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::{Answer, Refusal, routes};

/// The documented paths of a service, with their methods.
pub struct Documented {
    paths: Vec<(Vec<String>, Vec<String>)>,
}

impl Documented {
    /// Reads a document.
    pub fn new(document: &utoipa::openapi::OpenApi) -> Self {
        let document = serde_json::to_value(document).unwrap_or_default();
        let paths = document["paths"].as_object().into_iter().flatten().map(|(path, item)| {
            let methods = item.as_object().into_iter().flatten().map(|(method, _)| method.to_uppercase());
            (path.split('/').map(str::to_owned).collect(), methods.collect())
        });
        Self { paths: paths.collect() }
    }

    /// The methods that a path knows; empty when there is no such path.
    fn methods(&self, path: &str) -> Vec<&str> {
        self.known(path).flat_map(|(_, methods)| methods.iter().map(String::as_str)).collect()
    }

    /// What a path is called in the document: `/api/projects/{id}`.
    pub(crate) fn template(&self, path: &str) -> Option<String> {
        let holes = |template: &[String]| template.iter().filter(|part| part.contains('{')).count();
        let closest = self.known(path).min_by_key(|(template, _)| holes(template))?;
        Some(closest.0.join("/"))
    }

    fn known(&self, path: &str) -> impl Iterator<Item = &(Vec<String>, Vec<String>)> {
        let segments: Vec<&str> = path.split('/').collect();
        self.paths.iter().filter(move |(template, _)| {
            template.len() == segments.len()
                && template.iter().zip(&segments).all(|(part, seen)| fits_segment(part, seen))
        })
    }
}

/// The services of this process, for requests with `HEAD`.
pub(crate) struct Heads {
    pub here: Vec<(&'static str, web::Data<Documented>)>,
}

impl Heads {
    /// Whether whatever answers a path knows `HEAD` by itself: an endpoint that says so, or another process.
    pub fn are_known_at(&self, path: &str) -> bool {
        // The router does not mind a slash at the end.
        let path = path.trim_end_matches('/');
        let Some(service) = routes::service_of(path) else { return false };
        let own = self.here.iter().find(|(name, _)| *name == service);
        own.is_none_or(|(_, documented)| documented.methods(path).contains(&"HEAD"))
    }
}

/// Whether a segment is one of a template, such as `projects`, `{id}` or `{name}.json`.
fn fits_segment(template: &str, segment: &str) -> bool {
    match template.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?.1))) {
        Some((before, after)) => {
            segment.len() > before.len() + after.len()
                && segment.starts_with(before)
                && segment.ends_with(after)
        }
        None => template == segment,
    }
}

/// Answers what no handler takes: 404, 405, or 200 for `OPTIONS`, which every resource of CVAT's answers.
pub(crate) async fn unmatched(request: HttpRequest, documented: web::Data<Documented>) -> Answer {
    let methods = documented.methods(request.path());
    if methods.is_empty() {
        return Err(Refusal::not_found());
    }
    let allow = methods.join(", ");
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::Ok().insert_header((header::ALLOW, allow)).finish());
    }
    let detail = format!("Method \"{}\" not allowed.", request.method());
    let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
    Err(Refusal { allow: Some(allow), ..refusal })
}

#[cfg(test)]
mod tests {
    use super::fits_segment;

    #[test]
    fn a_placeholder_may_have_text_around_it() {
        for (template, segment, fits) in [
            ("projects", "projects", true),
            ("projects", "labels", false),
            ("{id}", "7", true),
            ("{name}.json", "x.json", true),
            ("{name}.json", "x", false),
            ("{name}.json", ".json", false),
        ] {
            assert_eq!(fits_segment(template, segment), fits, "{template} {segment}");
        }
    }
}
