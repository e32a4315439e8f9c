//! What no handler takes: a path that does not exist, or one that does not know the method. The router alone
//! cannot tell them apart; the service's OpenAPI document can.

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

use crate::{Answer, Refusal};

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
        let segments: Vec<&str> = path.split('/').collect();
        let fits = |template: &[String]| {
            template.len() == segments.len()
                && template.iter().zip(&segments).all(|(part, seen)| part.starts_with('{') || part == seen)
        };
        let known = self.paths.iter().filter(|(template, _)| fits(template));
        known.flat_map(|(_, methods)| methods.iter().map(String::as_str)).collect()
    }
}

/// Answers what no handler takes: 404, 405, or 200 for `OPTIONS`, which every resource of CVAT's answers.
pub(crate) async fn unmatched(request: HttpRequest, documented: web::Data<Documented>) -> Answer {
    let methods = documented.methods(request.path());
    if methods.is_empty() {
        return Err(Refusal::not_found());
    }
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::Ok().insert_header((header::ALLOW, methods.join(", "))).finish());
    }
    let detail = format!("Method \"{}\" not allowed.", request.method());
    Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail))
}
