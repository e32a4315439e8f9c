//! Makes running services of declared ones: databases, background work, and the HTTP
//! servers of [`crate::server`].

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::web;
use anyhow::Context as _;
use bus::{Consumer, Peer};
use diesel_migrations::EmbeddedMigrations;
use event_store::{Clock, Database, DatabaseUrls, PoolSizes, Store, bootstrap, idempotency, sequencer};

use crate::auth::authenticator::Authenticator;
use crate::auth::shared_cache::SharedCache;
use crate::documented::Documented;
use crate::kit::{Kit, Node, Peers};
use crate::mesh_token::MeshSecret;
use crate::server::{Face, Serving, serve};
use crate::tasks::Tasks;
use crate::{Config, Service, http_client, telemetry};

/// The directory's tables.
pub(crate) const DIRECTORY: EmbeddedMigrations = diesel_migrations::embed_migrations!("migrations");

/// The services of the whole mesh, as far as this process can name them.
pub const SERVICES: &[&str] =
    &["identity", "projects", "media", "billing", "webhooks", "analytics", "gateway"];

/// Where the services' databases are.
pub enum Databases {
    /// On the server of this URL, created and migrated if need be.
    Server(String),
    /// Ready, by service.
    Prepared(HashMap<String, DatabaseUrls>),
}

/// How long a stop waits for this process's consumers to leave their groups.
const LEAVE: std::time::Duration = std::time::Duration::from_secs(2);

/// Running services.
pub struct Running {
    pub config: Arc<Config>,
    pub kits: Vec<Kit>,
    nodes: Vec<Node>,
    tasks: Tasks,
    front: Serving,
    back: Serving,
}

impl Running {
    /// Stops: no new requests, the present ones finish, then the background work ends.
    pub async fn stop(self) {
        for node in &self.nodes {
            node.ready.store(false, Ordering::Relaxed);
        }
        // The front door first, then whoever asks the mesh, then the mesh.
        self.front.stop().await;
        self.tasks.stop().await;
        if self.config.kafka.is_some() && !bus::kafka::closed(LEAVE).await {
            tracing::warn!("a consumer has not left its group; others wait for the end of its session");
        }
        self.back.stop().await;
    }

    /// A service's kit.
    pub fn kit(&self, service: &str) -> Option<&Kit> {
        self.kits.iter().find(|kit| kit.service == service)
    }
}

/// Creates and migrates one service's database.
///
/// # Errors
/// When the server refuses or a migration fails.
pub async fn prepare(
    admin_url: &str,
    database: &str,
    service: &Service,
    secret: &MeshSecret,
) -> anyhow::Result<DatabaseUrls> {
    let password = |login: &str| hex::encode(secret.derive(&format!("postgresql/{login}")));
    bootstrap::create(admin_url, database, service.name, password)
        .await
        .with_context(|| format!("DATABASE_URL: cannot make the database of {}", service.name))?;
    let urls = bootstrap::urls(admin_url, database, service.name, password)?;
    migrate(&urls, service).await?;
    Ok(urls)
}

/// Runs a service's pending migrations.
///
/// # Errors
/// When one fails.
pub async fn migrate(urls: &DatabaseUrls, service: &Service) -> anyhow::Result<()> {
    let Some((migrations, kinds)) = service.schema() else { return Ok(()) };
    bootstrap::migrate(urls, migrations(), kinds)
        .await
        .with_context(|| format!("cannot migrate the database of {}", service.name))
}

/// Starts services in this process.
///
/// # Errors
/// Names the setting, address or database that is at fault.
pub async fn start(
    mut config: Config,
    clock: Clock,
    services: Vec<Service>,
    databases: Databases,
) -> anyhow::Result<Running> {
    policy::validate_all().context("the permission tables")?;
    let front = bind(config.http_address, "HTTP_ADDRESS")?;
    let back = bind(config.mesh_address, "MESH_ADDRESS")?;
    if config.http_address.port() == 0 {
        config.public_url = format!("http://localhost:{}", front.local_addr()?.port());
    }
    config.http_address = front.local_addr()?;
    config.mesh_address = back.local_addr()?;
    let config = Arc::new(config);
    let mesh_secret = MeshSecret::new(&config.mesh_secret, clock.clone());
    let http = Http { handlers: http_client::mesh_client()?, background: http_client::mesh_client()? };
    let tasks = Tasks::default();
    let mut nodes = Vec::new();
    let mut kits = Vec::new();
    let urls = match databases {
        Databases::Prepared(urls) => urls,
        Databases::Server(admin_url) => {
            let preparing = services.iter().filter(|service| service.has_store()).map(async |service| {
                let database = bootstrap::database_name(service.name);
                let urls = prepare(&admin_url, &database, service, &mesh_secret).await?;
                anyhow::Ok((service.name.to_owned(), urls))
            });
            futures::future::try_join_all(preparing).await?.into_iter().collect()
        }
    };
    let mut faces = Vec::new();
    let mut starting = Vec::new();
    for service in services {
        let documented = web::Data::new(Documented::new(&service.openapi()));
        let node = node(&service, &config, &clock, &mesh_secret, &http)?;
        let name = service.name;
        let background = node.with_peers(peers(name, &config, &mesh_secret, &http.background));
        tasks.start(
            format!("{name}: revocations"),
            node.authenticator.revocations.clone().follow(peer(
                name,
                "identity",
                &config,
                &mesh_secret,
                &http.background,
            )),
        );
        let kit = match urls.get(name) {
            Some(urls) if service.has_store() => {
                let database = Database::connect(urls.clone(), PoolSizes::default())
                    .await
                    .with_context(|| format!("cannot reach the database of {name}"))?;
                let store = Store::new(name, database, service.registry, clock.clone())
                    .reached_at(&config.public_url);
                Some(Kit {
                    node: node.clone(),
                    store,
                    consumers: Arc::new(service.consumers),
                    finders: Arc::new(service.finders),
                })
            }
            _ => None,
        };
        faces.push(Face {
            node: node.clone(),
            kit: kit.clone(),
            routes: service.routes,
            documented,
            mesh: service.mesh_routes,
            elsewhere: service.elsewhere,
        });
        tasks.start(format!("{name}: api calls"), crate::api_calls::run(node.clone()));
        for (work_name, work) in service.node_background {
            tasks.start(format!("{name}: {work_name}"), work(background.clone()));
        }
        if let Some(kit) = kit {
            let kit = Kit { node: background, ..kit };
            starting.push((kit.clone(), service.on_start, service.background, service.logs));
            kits.push(kit);
        }
        nodes.push(node);
    }
    let [front, back] = serve(&faces, front, back)?;
    futures::future::try_join_all(kits.iter().map(topic)).await?;
    for (kit, hooks, background, logs) in starting {
        run_machinery(&kit, logs, &tasks);
        for hook in hooks {
            hook(kit.clone()).await.with_context(|| format!("cannot start {}", kit.service))?;
        }
        for (name, work) in background {
            tasks.start(format!("{}: {name}", kit.service), work(kit.clone()));
        }
    }
    for node in &nodes {
        node.ready.store(true, Ordering::Relaxed);
    }
    Ok(Running { config, kits, nodes, tasks, front, back })
}

/// Makes sure that a service may publish where it is going to. A broker that is away is waited for by the publisher.
async fn topic(kit: &Kit) -> anyhow::Result<()> {
    let Some(settings) = &kit.config.kafka else { return Ok(()) };
    match bus::kafka::admin::ensure_topic(settings, kit.service).await {
        Err(error) if error.is_lasting() => Err(error.into()),
        Err(error) => {
            tracing::warn!(error = event_store::chain(&error), "{} starts without Kafka", kit.service);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The mesh's HTTP clients. A connection dies with the thread that opened it, and the servers' threads end
/// while the background still works; so each has its own.
struct Http {
    handlers: reqwest::Client,
    background: reqwest::Client,
}

fn bind(address: std::net::SocketAddr, variable: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address}: set {variable} to a free address"))
}

fn peer(from: &'static str, to: &str, config: &Config, secret: &MeshSecret, http: &reqwest::Client) -> Peer {
    let secret = secret.clone();
    let credential = Arc::new(move |to: &str| secret.credential(from, to));
    Peer::new(to, &config.peer_url(to), http.clone(), credential)
}

fn peers(from: &'static str, config: &Config, secret: &MeshSecret, http: &reqwest::Client) -> Peers {
    Arc::new(SERVICES.iter().map(|to| (*to, peer(from, to, config, secret, http))).collect())
}

fn node(
    service: &Service,
    config: &Arc<Config>,
    clock: &Clock,
    mesh_secret: &MeshSecret,
    http: &Http,
) -> anyhow::Result<Node> {
    let shared_cache =
        config.redis_url.as_deref().map(|url| SharedCache::new(url, mesh_secret)).transpose()?;
    Ok(Node {
        service: service.name,
        config: config.clone(),
        clock: clock.clone(),
        authenticator: Authenticator::new(
            peer(service.name, "identity", config, mesh_secret, &http.handlers),
            clock.clone(),
            shared_cache,
        ),
        mesh_secret: mesh_secret.clone(),
        peers: peers(service.name, config, mesh_secret, &http.handlers),
        openapi: service.openapi().to_json().unwrap_or_default().into(),
        ready: Arc::new(AtomicBool::new(false)),
        shared: crate::kit::Shared::default(),
    })
}

/// Sequencer, publisher, consumers, redrive and housekeeping of one service.
fn run_machinery(kit: &Kit, logs: Vec<&'static str>, tasks: &Tasks) {
    let name = kit.service;
    let owner = format!("{name}/{}", event_store::new_id());
    let store = &kit.store;
    tasks.start(format!("{name}: sequencer"), sequencer::run(store.clone(), logs));
    tasks.start(format!("{name}: listener"), sequencer::listen(store.clone()));
    tasks.start(
        format!("{name}: redrive"),
        bus::consumer::redrive_loop(
            store.clone(),
            kit.consumers.iter().map(|one| traced(one, name)).collect(),
        ),
    );
    tasks.start(format!("{name}: housekeeping"), housekeeping(store.clone()));
    if let Some(settings) = &kit.config.kafka {
        tasks.start(
            format!("{name}: publisher"),
            bus::publisher::run(store.clone(), settings.clone(), owner.clone()),
        );
    }
    for consumer in kit.consumers.iter() {
        let consumer = &traced(consumer, name);
        let peers: Vec<Peer> =
            consumer.sources().iter().filter_map(|source| kit.peers.get(source).cloned()).collect();
        match &kit.config.kafka {
            Some(settings) => tasks.start(
                consumer.full_name(name),
                bus::kafka::run(store.clone(), consumer.clone(), peers, settings.clone()),
            ),
            None => {
                for peer in peers {
                    tasks.start(
                        format!("{} of {}", consumer.full_name(name), peer.service),
                        bus::log_source::run(store.clone(), consumer.clone(), peer, owner.clone()),
                    );
                }
            }
        }
    }
}

/// The same consumer, which goes on with the trace of each event that it takes in.
fn traced(consumer: &Consumer, service: &str) -> Consumer {
    let name = consumer.full_name(service);
    consumer.clone().around(Arc::new(move |handler| telemetry::traced(&name, handler)))
}

/// Forgets idempotency keys after a day.
async fn housekeeping(store: Store) {
    loop {
        let before = store.clock().now() - chrono::TimeDelta::hours(24);
        if let Err(error) = idempotency::forget(&store, before).await {
            tracing::warn!(error = event_store::chain(&error), "idempotency keys were not forgotten");
        }
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
}
