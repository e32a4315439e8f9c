//! The pages: the mesh as it is now, for operators, and the way in.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use askama::Template;
use service_kit::{Caller, Node, Refusal, auth};

use crate::watch::view::MeshView;
use crate::watch::{Watch, follow};

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub fn routes(config: &mut web::ServiceConfig) -> &mut web::ServiceConfig {
    config.route("/", web::get().to(mesh_page)).route("/sign-in", web::get().to(sign_in_page))
}

/// The mesh as it is now.
#[derive(Template)]
#[template(path = "page.html")]
struct MeshPage {
    mesh: MeshView,
    csrf_token: String,
    public_url: String,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage;

/// One sentence and what to do about it.
#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    title: &'static str,
    text: &'static str,
    /// Whether trying again in a moment helps.
    again: bool,
    /// Whether the page of usage may be what they are looking for.
    usage: bool,
}

async fn mesh_page(caller: Result<Caller, Refusal>, node: web::Data<Node>) -> HttpResponse {
    let caller = match caller {
        Ok(caller) => caller,
        Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => return to_sign_in(),
        Err(refusal) => return sorry(&refusal),
    };
    if !caller.principal.operator {
        let page = MessagePage {
            title: "This page is for operators",
            text: "It shows the mesh of all tenants. You are signed in, but not as an operator of this deployment. \
                   The API is open to you at /api and /v1.",
            again: false,
            usage: true,
        };
        return render(StatusCode::FORBIDDEN, &page);
    }
    let watch = node.shared::<Watch>();
    let _viewer = watch.look();
    if watch.seen().services.is_empty() {
        follow::look_once(&node, &watch).await;
    }
    let mesh = MeshView::of(&watch.seen());
    let csrf_token = caller.session_secret.as_deref().map(auth::csrf_token).unwrap_or_default();
    render(StatusCode::OK, &MeshPage { mesh, csrf_token, public_url: node.config.public_url.clone() })
}

async fn sign_in_page() -> HttpResponse {
    render(StatusCode::OK, &SignInPage)
}

fn to_sign_in() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, "/sign-in")).finish()
}

fn sorry(refusal: &Refusal) -> HttpResponse {
    refusal.log();
    let page = MessagePage {
        title: "Not now",
        text: "Whether you may see this page cannot be found out at the moment: identity does not answer. \
               This page tries again by itself.",
        again: true,
        usage: false,
    };
    render(refusal.status, &page)
}

fn render(status: StatusCode, page: &impl Template) -> HttpResponse {
    match page.render() {
        Ok(html) => HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((header::REFERRER_POLICY, "same-origin"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(html),
        Err(error) => {
            tracing::error!(error = event_store::chain(&error), "a page cannot be rendered");
            HttpResponse::InternalServerError().finish()
        }
    }
}
