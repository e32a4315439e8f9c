//! What a service declares; its `lib.rs` reads as a table of contents.

use std::collections::HashMap;
use std::future::Future;

use bus::Consumer;
use contracts::TenantId;
use diesel_migrations::EmbeddedMigrations;
use event_store::sequencer::{CONTRACTS, EVENTS};
use event_store::{Aggregate, Apply, Change, Outgoing, Projection, Registration, Registry, StoreError, Tx};
use futures::future::BoxFuture;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{Kit, Node};

/// Finds a stream's id by a natural key, in the tenant of the transaction.
pub type Find = for<'a> fn(&'a mut Tx, &'a str) -> BoxFuture<'a, Result<Option<i64>, StoreError>>;
type Hook = Box<dyn Fn(Kit) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;
type Background = Box<dyn Fn(Kit) -> BoxFuture<'static, ()> + Send + Sync>;
type NodeBackground = Box<dyn Fn(Node) -> BoxFuture<'static, ()> + Send + Sync>;

/// A service before it runs.
pub struct Service {
    pub(crate) name: &'static str,
    pub(crate) migrations: Option<fn() -> EmbeddedMigrations>,
    pub(crate) registry: Registry,
    pub(crate) id_kinds: Vec<&'static str>,
    pub(crate) logs: Vec<&'static str>,
    pub(crate) routes: fn(&mut ServiceConfig),
    pub(crate) mesh_routes: Option<fn(&mut actix_web::web::ServiceConfig)>,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) finders: HashMap<&'static str, Find>,
    pub(crate) on_start: Vec<Hook>,
    pub(crate) background: Vec<(&'static str, Background)>,
    pub(crate) node_background: Vec<(&'static str, NodeBackground)>,
    pub(crate) elsewhere: Option<fn(&mut actix_web::web::ServiceConfig)>,
}

/// An aggregate while it is being declared.
pub struct AggregateBuilder<A: Aggregate> {
    service: Service,
    registration: Registration<A>,
}

impl Service {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            migrations: None,
            registry: Registry::default(),
            id_kinds: vec![],
            logs: vec![CONTRACTS, EVENTS],
            routes: |_| {},
            mesh_routes: None,
            consumers: vec![],
            finders: HashMap::new(),
            on_start: vec![],
            background: vec![],
            node_background: vec![],
            elsewhere: None,
        }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The consumers that it runs.
    pub fn consumers(&self) -> &[Consumer] {
        &self.consumers
    }

    /// The migrations of its database and the kinds of its ids; `None` for a service without one.
    pub fn schema(&self) -> Option<(impl Fn() -> Vec<EmbeddedMigrations>, &[&'static str])> {
        let own = self.migrations?;
        Some((move || vec![crate::start::DIRECTORY, own()], self.id_kinds.as_slice()))
    }

    /// Whether it has a database; the gateway has none.
    pub(crate) fn has_store(&self) -> bool {
        self.migrations.is_some()
    }

    /// The migrations of its own tables.
    pub fn migrations(mut self, migrations: fn() -> EmbeddedMigrations) -> Self {
        self.migrations = Some(migrations);
        self
    }

    /// Declares an aggregate with its `publish` function; projections follow, then [`AggregateBuilder::end`].
    pub fn aggregate<A: Aggregate>(
        mut self,
        publish: fn(&Change<'_, A>) -> Vec<Outgoing>,
    ) -> AggregateBuilder<A> {
        self.id_kinds.push(A::KIND);
        AggregateBuilder { service: self, registration: Registration { publish, projections: vec![] } }
    }

    /// Declares a kind of ids that is no stream of its own, such as labels.
    pub fn ids(mut self, kind: &'static str) -> Self {
        self.id_kinds.push(kind);
        self
    }

    /// Declares a numbered table besides the events; see `es_numbered_table`.
    pub fn numbered_log(mut self, log: &'static str) -> Self {
        self.logs.push(log);
        self
    }

    /// The endpoints on the front door.
    pub fn routes(mut self, routes: fn(&mut ServiceConfig)) -> Self {
        self.routes = routes;
        self
    }

    /// The endpoints on the mesh port besides the kit's.
    pub fn mesh_routes(mut self, routes: fn(&mut actix_web::web::ServiceConfig)) -> Self {
        self.mesh_routes = Some(routes);
        self
    }

    /// A consumer: a projection that is fed from outside, or the service's reactions.
    pub fn consumer(mut self, consumer: Consumer) -> Self {
        self.consumers.push(consumer);
        self
    }

    /// Lets peers ask for a stream by a natural key.
    pub fn find(mut self, kind: &'static str, find: Find) -> Self {
        self.finders.insert(kind, find);
        self
    }

    /// Runs once before the service is ready; must be idempotent, because every replica runs it.
    pub fn on_start<F>(mut self, hook: fn(Kit) -> F) -> Self
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.on_start.push(Box::new(move |kit| Box::pin(hook(kit))));
        self
    }

    /// Background work that runs as long as the service.
    pub fn background<F>(mut self, name: &'static str, work: fn(Kit) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.background.push((name, Box::new(move |kit| Box::pin(work(kit)))));
        self
    }

    /// Background work of a service without a database.
    pub fn node_background<F>(mut self, name: &'static str, work: fn(Node) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.node_background.push((name, Box::new(move |node| Box::pin(work(node)))));
        self
    }

    /// What answers the paths of services that this process does not run: the gateway's proxy.
    pub fn elsewhere(mut self, routes: fn(&mut actix_web::web::ServiceConfig)) -> Self {
        self.elsewhere = Some(routes);
        self
    }

    /// The service's OpenAPI document.
    pub fn openapi(&self) -> utoipa::openapi::OpenApi {
        use utoipa_actix_web::AppExt;
        let (_, mut document) =
            actix_web::App::new().into_utoipa_app().configure(self.routes).split_for_parts();
        document.info = utoipa::openapi::Info::new(format!("Annomesh {}", self.name), "1".to_owned());
        document
    }
}

impl<A: Aggregate> AggregateBuilder<A> {
    /// Declares a projection of this aggregate and the tables that it alone writes.
    pub fn projection(
        mut self,
        name: &'static str,
        tables: &'static [&'static str],
        apply: Apply<A>,
    ) -> Self {
        self.registration.projections.push(Projection { name, tables, apply });
        self
    }

    /// Goes on with the service.
    pub fn end(mut self) -> Service {
        self.service.registry.register(self.registration);
        self.service
    }
}

/// Asks a finder, in a tenant.
pub(crate) async fn find_by(
    kit: &Kit,
    find: Find,
    tenant: TenantId,
    name: &str,
) -> Result<Option<i64>, StoreError> {
    let mut tx = kit.store.database().tenant(tenant).await?;
    let found = find(&mut tx, name).await?;
    tx.commit().await?;
    Ok(found)
}
