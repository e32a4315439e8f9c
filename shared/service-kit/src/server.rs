//! The two HTTP servers that all of a process's services share: the front door and the mesh port.
//!
//! The mesh port also serves each service's front-door endpoints, under `/<service>/front`: that is where a
//! gateway in a process of its own sends what belongs to the service.

use std::any::Any;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Extensions, HttpServiceFactory, ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::guard::{Guard, fn_guard};
use actix_web::http::Uri;
use actix_web::middleware::{Next, NormalizePath, from_fn};
use actix_web::{App, Error, HttpMessage, HttpServer, web};
use socket2::Socket;
use utoipa_actix_web::scope;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::documented::{Documented, Heads, unmatched};
use crate::door::{Door, attend};
use crate::kit::{Kit, Node};
use crate::{body, faces, mesh, routes};

/// How long a stop waits for the requests of people, and for those of peers, who ask again elsewhere.
const FRONT_STOP: Duration = Duration::from_millis(4_500);
const BACK_STOP: Duration = Duration::from_secs(1);

/// How long those are waited for who came in at the very last moment.
const STRAGGLERS_S: u64 = 1;

/// A server that runs.
pub(crate) struct Serving {
    handle: ServerHandle,
    listener: Socket,
    door: Door,
    stop: Duration,
}

impl Serving {
    /// Takes no new requests, lets the present ones finish, and ends.
    pub(crate) async fn stop(&self) {
        self.door.close(&self.handle, &self.listener, self.stop).await;
    }
}

/// One service's endpoints with what its handlers hold.
#[derive(Clone)]
pub(crate) struct Face {
    pub node: Node,
    pub kit: Option<Kit>,
    pub routes: fn(&mut ServiceConfig),
    pub documented: web::Data<Documented>,
    pub mesh: Option<fn(&mut web::ServiceConfig)>,
    /// Answers what belongs to services that are not in this process.
    pub elsewhere: Option<fn(&mut web::ServiceConfig)>,
}

/// Serves both ports, front door first, until they are stopped.
pub(crate) fn serve(all: &[Face], front: TcpListener, back: TcpListener) -> anyhow::Result<[Serving; 2]> {
    let (front_faces, back_faces) = (all.to_vec(), all.to_vec());
    let (front_door, back_door) = (Door::default(), Door::default());
    let (front_listener, back_listener) = (front.try_clone()?, back.try_clone()?);
    let (front_data, back_data) = (web::Data::new(front_door.clone()), web::Data::new(back_door.clone()));
    let heads = web::Data::new(Heads {
        here: all.iter().map(|face| (face.node.service, face.documented.clone())).collect(),
    });
    let back_heads = heads.clone();
    let front = HttpServer::new(move || {
        let mut app = App::new()
            .app_data(heads.clone())
            .wrap(NormalizePath::trim())
            .wrap(from_fn(faces::layer))
            .wrap(from_fn(attend))
            .app_data(front_data.clone())
            .app_data(web::PayloadConfig::new(body::BODY_BYTES_MAX));
        let here: Vec<&str> = front_faces.iter().map(|face| face.node.service).collect();
        for face in &front_faces {
            let name = face.node.service;
            let own = fn_guard(move |request| routes::service_of(request.head().uri.path()) == Some(name));
            app = app.service(endpoints(face, own));
            if let Some(elsewhere) = face.elsewhere {
                let here = here.clone();
                let foreign = fn_guard(move |request| {
                    routes::service_of(request.head().uri.path()).is_some_and(|name| !here.contains(&name))
                });
                let node = web::Data::new(face.node.clone());
                app = app.service(web::scope("").guard(foreign).app_data(node).configure(elsewhere));
            }
        }
        app
    })
    .on_connect(arrives(&front_door))
    .listen(front)?
    .workers(2)
    .shutdown_timeout(STRAGGLERS_S)
    .disable_signals()
    .run();
    let back = HttpServer::new(move || {
        let mut app = App::new()
            .app_data(back_heads.clone())
            .wrap(from_fn(enter_front))
            .wrap(NormalizePath::trim())
            .wrap(from_fn(attend))
            .app_data(back_data.clone())
            .app_data(web::PayloadConfig::new(body::BODY_BYTES_MAX));
        for face in &back_faces {
            let name = face.node.service;
            let entered = fn_guard(move |request| {
                request.req_data().get::<Entered>().is_some_and(|front| front.0 == name)
            });
            app = app.service(endpoints(face, entered));
        }
        for face in &back_faces {
            app = app.service(mesh_endpoints(face));
        }
        app
    })
    .on_connect(arrives(&back_door))
    .listen(back)?
    .workers(2)
    .shutdown_timeout(STRAGGLERS_S)
    .disable_signals()
    .run();
    let serving = [
        Serving {
            handle: front.handle(),
            listener: front_listener.into(),
            door: front_door,
            stop: FRONT_STOP,
        },
        Serving { handle: back.handle(), listener: back_listener.into(), door: back_door, stop: BACK_STOP },
    ];
    for server in [front, back] {
        #[expect(clippy::disallowed_methods, reason = "a server ends through its handle, not through Tasks")]
        tokio::spawn(server);
    }
    Ok(serving)
}

/// Tells a door of each new connection.
fn arrives(door: &Door) -> impl Fn(&dyn Any, &mut Extensions) + Send + Clone + 'static {
    let door = door.clone();
    move |_, connection| door.arrives(connection)
}

/// A service's front-door endpoints.
fn endpoints(face: &Face, guard: impl Guard + 'static) -> impl HttpServiceFactory + 'static {
    let mut part = scope::scope("").guard(guard).app_data(web::Data::new(face.node.clone()));
    if let Some(kit) = &face.kit {
        part = part.app_data(web::Data::new(kit.clone()));
    }
    part.app_data(face.documented.clone()).configure(face.routes).default_service(web::to(unmatched))
}

/// A service's endpoints for its peers.
fn mesh_endpoints(face: &Face) -> impl HttpServiceFactory + 'static {
    let mut part = web::scope(&format!("/{}", face.node.service))
        .app_data(web::Data::new(face.node.clone()))
        .configure(mesh::node_routes);
    part = match &face.kit {
        Some(kit) => part.app_data(web::Data::new(kit.clone())).configure(mesh::kit_routes),
        None => part.configure(mesh::storeless_routes),
    };
    match face.mesh {
        Some(own) => part.configure(own),
        None => part,
    }
}

/// Marks a request that came to a service's front-door endpoints through the mesh port.
struct Entered(String);

/// Gives `/<service>/front/…` the path that its caller asked for, so that handlers, links and idempotency keys
/// are the same by either way, and treats it as the front door does.
async fn enter_front(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some((service, uri)) = inner(request.uri()) else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    request.match_info_mut().get_mut().update(&uri);
    request.head_mut().uri = uri;
    request.extensions_mut().insert(Entered(service));
    faces::layer(request, next).await
}

/// The service and the public URI in the URI of a proxied request.
fn inner(uri: &Uri) -> Option<(String, Uri)> {
    let (service, rest) = uri.path_and_query()?.as_str().strip_prefix('/')?.split_once('/')?;
    let rest = rest.strip_prefix("front")?;
    let public = match rest.chars().next() {
        None | Some('?') => format!("/{rest}"),
        Some('/') => rest.to_owned(),
        Some(_) => return None,
    };
    Some((service.to_owned(), public.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxied_uri_holds_the_public_one() {
        let inner = |uri: &str| inner(&uri.parse().unwrap()).map(|(service, uri)| (service, uri.to_string()));
        let projects = |uri: &str| Some(("projects".to_owned(), uri.to_owned()));
        assert_eq!(inner("/projects/front/api/projects?page=2"), projects("/api/projects?page=2"));
        assert_eq!(inner("/projects/front"), projects("/"));
        assert_eq!(inner("/projects/front?x=1"), projects("/?x=1"));
        assert_eq!(inner("/projects/frontier"), None);
        assert_eq!(inner("/projects/internal/log"), None);
        assert_eq!(inner("/projects"), None);
    }
}
