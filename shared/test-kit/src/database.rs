//! A database of its own for each test, cloned from a migrated template on a cluster that all tests share.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::EmbeddedMigrations;
use event_store::cluster::{Cluster, SharedCluster};
use event_store::{DatabaseUrls, Sql, bootstrap};
use tokio::sync::OnceCell;

static CLUSTER: OnceCell<SharedCluster> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The cluster that this run's tests share.
pub async fn cluster() -> &'static SharedCluster {
    CLUSTER
        .get_or_init(|| async {
            let target = std::env::current_exe().unwrap().ancestors().nth(3).map(PathBuf::from).unwrap();
            Cluster::shared_for_tests(&target.join("test-postgres")).await.unwrap_or_else(|why| {
                panic!("tests need PostgreSQL 15 or newer (Debian: apt-get install postgresql): {why:#}")
            })
        })
        .await
}

/// The URL of a role that may do everything.
pub async fn admin_url() -> String {
    cluster().await.url("postgres")
}

/// One service's database, dropped with the value.
pub struct TestDatabase {
    pub urls: DatabaseUrls,
    pub name: String,
}

impl TestDatabase {
    /// A database with the event store's tables and those of `migrations`.
    pub async fn create(
        service: &'static str,
        migrations: impl Fn() -> Vec<EmbeddedMigrations>,
        kinds: &[&str],
    ) -> Self {
        let admin_url = admin_url().await;
        let template = format!("template_{service}_{}", build());
        let mut admin = AsyncPgConnection::establish(&admin_url).await.unwrap();
        admin.batch_execute(&format!("SELECT pg_advisory_lock(hashtext('{template}'))")).await.unwrap();
        let ready = Sql::fixed("SELECT 1 FROM pg_database WHERE datname = $1")
            .bind::<diesel::sql_types::Text>(template.clone())
            .execute(&mut admin)
            .await
            .unwrap();
        if ready == 0 {
            let draft = format!("{template}_draft");
            admin.batch_execute(&format!("DROP DATABASE IF EXISTS {draft}")).await.unwrap();
            bootstrap::create(&admin_url, &draft, service, |_| "test".into()).await.unwrap();
            let urls = bootstrap::urls(&admin_url, &draft, service, |_| "test".into()).unwrap();
            bootstrap::migrate(&urls, migrations(), kinds).await.unwrap();
            admin.batch_execute(&format!("ALTER DATABASE {draft} RENAME TO {template}")).await.unwrap();
        }
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // One by one: several statements at once are a transaction, in which no database can be dropped.
        for statement in [
            format!("DROP DATABASE IF EXISTS {name}"),
            format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"),
        ] {
            admin.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let urls = bootstrap::urls(&admin_url, &name, service, |_| "test".into()).unwrap();
        Self { urls, name }
    }
}

/// The migrations are part of this very binary, so its age names them. A build that replaces the file while it
/// runs changes nothing: it is read once, and where Linux keeps what runs.
fn build() -> u64 {
    static BUILD: LazyLock<u64> = LazyLock::new(|| {
        let running = std::fs::metadata("/proc/self/exe");
        let running = running.or_else(|_| std::fs::metadata(std::env::current_exe()?)).unwrap();
        let changed = running.modified().unwrap();
        changed.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
    });
    *BUILD
}
