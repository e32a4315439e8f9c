//! A store on a database of its own, and what tests ask of it.

use std::sync::atomic::{AtomicI64, Ordering};

use contracts::{Envelope, TenantId};
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use event_store::log::{self, LogFilter};
use event_store::store::Context;
use event_store::{Clock, Database, ExecuteError, Executed, PoolSizes, Registry, Sql, Store, sequencer};
use tokio::task::JoinSet;

use crate::account::{self, Account, AccountCommand, AccountError};
use test_kit::database::{TestDatabase, cluster};

pub const SERVICE: &str = "eventstoretest";
pub const LOGS: [&str; 2] = [sequencer::EVENTS, sequencer::CONTRACTS];

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("tests/migrations");

/// The tenant of tests that need only one.
pub const ACME: TenantId = TenantId(uuid::Uuid::from_u128(1));
pub const GLOBEX: TenantId = TenantId(uuid::Uuid::from_u128(2));

pub struct World {
    pub database: TestDatabase,
    pub store: Store,
}

impl World {
    pub async fn new() -> Self {
        Self::with_pool(16).await
    }

    /// A store with so many connections for requests.
    pub async fn with_pool(runtime: usize) -> Self {
        let database = TestDatabase::create(SERVICE, || vec![MIGRATIONS], &["account"]).await;
        let store = connect(&database.urls, runtime, account::registry()).await;
        Self { database, store }
    }

    /// Another process's store on the same database.
    pub async fn another_store(&self) -> Store {
        connect(&self.database.urls, 16, account::registry()).await
    }

    /// The URL of a superuser, who sees every row.
    pub async fn admin_url(&self) -> String {
        cluster().await.url(&self.database.name)
    }

    pub async fn admin(&self) -> AsyncPgConnection {
        AsyncPgConnection::establish(&self.admin_url().await).await.unwrap()
    }

    /// Does something that only a superuser may.
    pub async fn admin_does(&self, sql: &str) {
        self.admin().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Rows as a superuser sees them, each as a JSON object.
    pub async fn rows(&self, query: &str) -> Vec<serde_json::Value> {
        rows(&mut self.admin().await, query).await
    }

    /// The one number that a query returns.
    pub async fn number(&self, query: &str) -> i64 {
        number(&mut self.admin().await, query).await
    }

    /// Numbers everything and returns the contract log from its beginning.
    pub async fn contract_log(&self) -> Vec<Envelope> {
        sequencer::drain(&self.store, &LOGS).await.unwrap();
        log::read(&self.store, 0, 100_000, &LogFilter::default()).await.unwrap().events
    }
}

pub async fn connect(urls: &event_store::DatabaseUrls, runtime: usize, registry: Registry) -> Store {
    let database = Database::connect(urls.clone(), PoolSizes { runtime, kernel: 4 }).await.unwrap();
    Store::new(SERVICE, database, registry, Clock::system())
}

/// What each process of a service runs: a sequencer, and somebody who listens to those of the others; until
/// the set is dropped.
pub fn sequencers(stores: impl IntoIterator<Item = Store>) -> JoinSet<()> {
    let mut running = JoinSet::new();
    for store in stores {
        running.spawn(sequencer::listen(store.clone()));
        running.spawn(sequencer::run(store, LOGS.to_vec()));
    }
    running
}

/// A user of a tenant.
pub fn by(tenant: TenantId, user: i64) -> Context {
    Context { actor: Some(user), ..Context::mesh(tenant) }
}

pub fn new_account_id() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub type Outcome = Result<Executed<Account>, ExecuteError<AccountError>>;

/// Sends one command to one account of [`ACME`].
pub async fn execute(store: &Store, id: i64, command: AccountCommand) -> Outcome {
    execute_in(store, ACME, id, command).await
}

pub async fn execute_in(store: &Store, tenant: TenantId, id: i64, command: AccountCommand) -> Outcome {
    store
        .transact(&Context::mesh(tenant), async |unit| unit.execute::<Account>(id, command.clone()).await)
        .await
}

pub async fn load(store: &Store, tenant: TenantId, id: i64) -> Option<Account> {
    store.load::<Account>(tenant, id).await.unwrap()
}

/// Opens an account of [`ACME`]; returns its id.
pub async fn open(store: &Store, name: &str) -> i64 {
    let id = new_account_id();
    execute(store, id, AccountCommand::Open(name.to_owned())).await.unwrap();
    id
}

pub async fn rows(connection: &mut AsyncPgConnection, query: &str) -> Vec<serde_json::Value> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        row: String,
    }
    let rows: Vec<Row> = Sql::composed(format!("SELECT row_to_json(q)::text AS row FROM ({query}) AS q"))
        .load(connection)
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    rows.iter().map(|row| serde_json::from_str(&row.row).unwrap()).collect()
}

pub async fn number(connection: &mut AsyncPgConnection, query: &str) -> i64 {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        value: i64,
    }
    let row: Row = Sql::composed(format!("SELECT ({query})::bigint AS value"))
        .get_result(connection)
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    row.value
}

/// Numbers that are the same in every run (xorshift).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}
