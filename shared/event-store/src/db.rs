//! Connections: three roles, and transactions that cannot forget their tenant.
//!
//! | role | sees | used by |
//! |---|---|---|
//! | owner | one tenant at a time, but may change tables | migrations, rebuilds |
//! | runtime | one tenant at a time | everything that serves |
//! | kernel | event tables of every tenant, nothing else | sequencer, publisher, log, sign-in |
//!
//! [`Tx`] is the only door to a connection. It has named its tenant before anybody can use it, and if its
//! future is dropped half-way the connection is closed at once instead of going back to the pool with locks
//! held or another tenant's name in it.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use contracts::TenantId;
use diesel::ConnectionError;
use diesel::sql_types::Text;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};
use futures::FutureExt;

use crate::error::StoreError;
use crate::sql::Sql;

/// How to reach one service's database, one URL a role.
#[derive(Clone)]
pub struct DatabaseUrls {
    pub owner: String,
    pub runtime: String,
    pub kernel: String,
}

impl std::fmt::Debug for DatabaseUrls {
    /// The URLs hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrls")
    }
}

/// How many connections each pool may open.
#[derive(Clone, Copy, Debug)]
pub struct PoolSizes {
    pub runtime: usize,
    pub kernel: usize,
}

impl Default for PoolSizes {
    fn default() -> Self {
        Self { runtime: 16, kernel: 4 }
    }
}

/// One service's database.
#[derive(Clone)]
pub struct Database {
    urls: DatabaseUrls,
    runtime: Pool<AsyncPgConnection>,
    kernel: Pool<AsyncPgConnection>,
    owner: Pool<AsyncPgConnection>,
}

impl Database {
    /// Builds the pools; connections are opened when needed, on the runtime that calls this, so that a busy
    /// web worker never stalls another's query.
    ///
    /// # Errors
    /// When the runtime role could get around row-level security, or the database does not answer.
    pub async fn connect(urls: DatabaseUrls, sizes: PoolSizes) -> Result<Self, StoreError> {
        let database = Self {
            runtime: pool(&urls.runtime, sizes.runtime)?,
            kernel: pool(&urls.kernel, sizes.kernel)?,
            owner: pool(&urls.owner, 2)?,
            urls,
        };
        database.refuse_privileged_roles().await?;
        Ok(database)
    }

    /// Begins a transaction that sees one tenant.
    pub async fn tenant(&self, tenant: TenantId) -> Result<Tx, StoreError> {
        Tx::begin(self.runtime.get().await?, Some(tenant)).await
    }

    /// Begins a transaction that sees the event tables of every tenant and nothing else.
    pub async fn kernel(&self) -> Result<Tx, StoreError> {
        Tx::begin(self.kernel.get().await?, None).await
    }

    /// Opens a connection of its own as the kernel role: for a lease, or to listen.
    pub async fn kernel_connection(&self) -> Result<AsyncPgConnection, StoreError> {
        Ok(AsyncPgConnection::establish(&self.urls.kernel).await?)
    }

    /// Begins a transaction as the owner, of no tenant yet: for a rebuild.
    pub(crate) async fn owner(&self) -> Result<Tx, StoreError> {
        Tx::begin(self.owner.get().await?, None).await
    }

    /// Connections in use and open, of the pool that serves requests.
    pub fn pool_status(&self) -> (usize, usize) {
        let status = self.runtime.status();
        (status.size.saturating_sub(status.available), status.size)
    }

    /// A superuser or a BYPASSRLS role walks through every wall, and an owner may take it down, so a service
    /// refuses to start as one.
    async fn refuse_privileged_roles(&self) -> Result<(), StoreError> {
        #[derive(diesel::QueryableByName)]
        struct Role {
            #[diesel(sql_type = diesel::sql_types::Text)]
            name: String,
            #[diesel(sql_type = diesel::sql_types::Bool)]
            privileged: bool,
        }
        const QUESTION: &str = "SELECT rolname::text AS name, rolsuper OR rolbypassrls OR EXISTS (\
             SELECT FROM pg_class WHERE oid = to_regclass('public.es_event') AND pg_has_role(relowner, 'MEMBER')\
             ) AS privileged FROM pg_roles WHERE rolname = current_user";
        for mut tx in [self.tenant(TenantId::DEPLOYMENT).await?, self.kernel().await?] {
            let role: Role =
                diesel_async::RunQueryDsl::get_result(crate::Sql::fixed(QUESTION), &mut *tx).await?;
            tx.commit().await?;
            if role.privileged {
                return Err(StoreError::PrivilegedRole(role.name));
            }
        }
        Ok(())
    }
}

fn pool(url: &str, size: usize) -> Result<Pool<AsyncPgConnection>, StoreError> {
    let home = tokio::runtime::Handle::current();
    let mut config = ManagerConfig::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |url| {
        let (home, url) = (home.clone(), url.to_owned());
        async move {
            // The connection's driver must live on this runtime.
            let established = home.spawn(async move { AsyncPgConnection::establish(&url).await });
            established.await.unwrap_or_else(|stopped| {
                Err(ConnectionError::BadConnection(format!("the runtime is shutting down: {stopped}")))
            })
        }
        .boxed()
    });
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url, config);
    Pool::builder(manager)
        .max_size(size)
        .runtime(deadpool::Runtime::Tokio1)
        .wait_timeout(Some(Duration::from_secs(5)))
        .create_timeout(Some(Duration::from_secs(5)))
        .build()
        .map_err(|why| StoreError::Unavailable(why.to_string()))
}

/// Named, because locks rely on it: a statement that waited for one sees what its holder committed.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// An open transaction.
pub struct Tx {
    connection: Option<Object<AsyncPgConnection>>,
    open: bool,
}

impl Tx {
    async fn begin(
        connection: Object<AsyncPgConnection>,
        tenant: Option<TenantId>,
    ) -> Result<Self, StoreError> {
        // The guard exists before the first await: a drop during BEGIN closes the connection too.
        let mut tx = Self { connection: Some(connection), open: true };
        let begin = match tenant {
            // A uuid's text needs no quoting beyond this; it cannot hold a quote.
            Some(tenant) => &format!("{BEGIN}; SET LOCAL app.tenant = '{tenant}'"),
            None => BEGIN,
        };
        AnsiTransactionManager::begin_transaction_sql(&mut *tx, begin).await?;
        Ok(tx)
    }

    /// Makes another tenant this transaction's; for consumers, whose batch holds several.
    pub async fn set_tenant(&mut self, tenant: TenantId) -> Result<(), StoreError> {
        self.batch_execute(&format!("SET LOCAL app.tenant = '{tenant}'")).await?;
        Ok(())
    }

    /// Has a name of the tenant to itself until the end of the transaction, like `organization/7`: waits for those who
    /// share it, and those who come meanwhile wait behind. An advisory lock and not a row's: who shares a row's lock
    /// lets others in for as long as they come, and who wants it alone waits for all of them.
    ///
    /// A statement of its own, so that the next one sees what was waited for.
    pub async fn lock_name(&mut self, name: &str) -> Result<(), StoreError> {
        self.take_name("pg_advisory_xact_lock", name).await
    }

    /// Shares a name of the tenant until the end of the transaction; see [`Tx::lock_name`].
    pub async fn share_name(&mut self, name: &str) -> Result<(), StoreError> {
        self.take_name("pg_advisory_xact_lock_shared", name).await
    }

    async fn take_name(&mut self, lock: &'static str, name: &str) -> Result<(), StoreError> {
        Sql::templated(format!("SELECT {lock}(hashtextextended($1, hashtext(es_tenant()::text)))"))
            .bind::<Text>(name.to_owned())
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    /// Makes the names of tables that are being rebuilt mean the new ones.
    pub(crate) async fn search_shadow_first(&mut self) -> Result<(), StoreError> {
        // A statement that was prepared in an earlier rebuild, of other tables, would not notice that a new
        // table now hides the one that it was prepared for.
        self.batch_execute("SET LOCAL search_path = rebuild, public; DISCARD PLANS").await?;
        Ok(())
    }

    /// Commits. Without it everything is rolled back.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        AnsiTransactionManager::commit_transaction(&mut *self).await?;
        self.open = false;
        Ok(())
    }

    /// Rolls back and returns the connection to its pool, which dropping does not.
    pub async fn rollback(mut self) -> Result<(), StoreError> {
        AnsiTransactionManager::rollback_transaction(&mut *self).await?;
        self.open = false;
        Ok(())
    }

    /// Begins a savepoint; they nest. Not diesel's: when a release fails it forgets that there is one, and its
    /// next rollback takes the whole transaction.
    pub async fn savepoint(&mut self) -> Result<(), StoreError> {
        Ok(self.batch_execute("SAVEPOINT attempt").await?)
    }

    /// Keeps what was done since the last savepoint. Fails when a statement since then has failed.
    pub async fn release_savepoint(&mut self) -> Result<(), StoreError> {
        Ok(self.batch_execute("RELEASE SAVEPOINT attempt").await?)
    }

    /// Undoes what was done since the last savepoint.
    pub async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        Ok(self.batch_execute("ROLLBACK TO SAVEPOINT attempt; RELEASE SAVEPOINT attempt").await?)
    }
}

impl Deref for Tx {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &Self::Target {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("the connection leaves only in drop"),
        }
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("the connection leaves only in drop"),
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if self.open
            && let Some(connection) = self.connection.take()
        {
            // Close it now: back in the pool it would hold its locks until somebody took it again.
            drop(Object::take(connection));
        }
    }
}
