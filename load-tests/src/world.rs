//! What a scenario stands on: a durable private cluster of its own, and the bench's service on it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use diesel_migrations::EmbeddedMigrations;
use event_store::cluster::{Binaries, Cluster, Options};
use event_store::{Clock, Database, DatabaseUrls, PoolSizes, Registry, Store, bootstrap};

use crate::bench_aggregate::{self, Meter, SERVICE};

/// A running cluster; its folder is removed in the end.
pub struct World {
    cluster: Option<Cluster>,
    /// Also holds scripts and other files of the scenario.
    pub folder: PathBuf,
}

/// The bench's service.
pub struct Bench {
    pub store: Store,
    pub urls: DatabaseUrls,
}

impl World {
    /// Starts a cluster that waits for the disk at each commit, as production does.
    pub async fn start(name: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("annomesh-load-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let mut world = Self { cluster: None, folder };
        let binaries = Binaries::find().context(Binaries::HOW_TO_INSTALL)?;
        let options = Options::durable(world.folder.join("postgres"), binaries);
        world.cluster = Some(Cluster::start(options).await?);
        Ok(world)
    }

    /// The URL of a database, for the superuser.
    pub fn url(&self, database: &str) -> String {
        self.cluster.as_ref().map(|cluster| cluster.url(database)).unwrap_or_default()
    }

    /// The URL of the database that a running service has made, for the role that it works as.
    pub fn runtime_url(&self, service: &str) -> anyhow::Result<String> {
        // On the cluster's socket nobody asks for a password.
        let password = |_: &str| "unused".to_owned();
        Ok(bootstrap::urls(&self.url("postgres"), &format!("annomesh_{service}"), service, password)?.runtime)
    }

    /// The folder whose disk the cluster writes to.
    pub fn disk(&self) -> &Path {
        self.cluster.as_ref().map_or(&self.folder, Cluster::folder)
    }

    /// Runs statements as the superuser, past every wall.
    pub async fn execute(&self, database: &str, statements: &str) -> anyhow::Result<()> {
        let mut admin = AsyncPgConnection::establish(&self.url(database)).await?;
        Ok(admin.batch_execute(statements).await?)
    }

    /// Makes a service's database.
    pub async fn database(
        &self,
        service: &str,
        migrations: Vec<EmbeddedMigrations>,
        kinds: &[&str],
        connections: usize,
    ) -> anyhow::Result<(Database, DatabaseUrls)> {
        let admin = self.url("postgres");
        let password = |_: &str| "bench".to_owned();
        bootstrap::create(&admin, service, service, password).await?;
        let urls = bootstrap::urls(&admin, service, service, password)?;
        bootstrap::migrate(&urls, migrations, kinds).await?;
        let sizes = PoolSizes { runtime: connections, ..PoolSizes::default() };
        Ok((Database::connect(urls.clone(), sizes).await?, urls))
    }

    /// Makes the bench's database and a store on it.
    pub async fn bench(&self, projected: bool, connections: usize) -> anyhow::Result<Bench> {
        let migrations = vec![bench_aggregate::MIGRATIONS];
        let (database, urls) = self.database(SERVICE, migrations, &["meter"], connections).await?;
        let mut registry = Registry::default();
        registry.register::<Meter>(bench_aggregate::registration(projected));
        Ok(Bench { store: Store::new(SERVICE, database, registry, Clock::system()), urls })
    }

    /// Stops the cluster and removes everything.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let Some(cluster) = self.cluster.take() else { return Ok(()) };
        let place = cluster.folder().to_owned();
        cluster.stop().await?;
        Ok(std::fs::remove_dir_all(place)?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whatever is left of it is in nobody's way; a cluster that still runs is told to stop.
        self.cluster = None;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
