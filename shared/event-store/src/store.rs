//! The write side: one transaction that loads streams, decides, projects and appends.
//!
//! [`Store::transact`] runs a closure in a [`Unit`] of work and commits it, trying again when two writers
//! collide. Inside, [`Unit::execute`] sends one command to one stream. Projections are written at once, so
//! the closure reads its own writes; the event rows are written last, just before COMMIT, because whoever
//! waits for a unique index must not hold a place in the log already.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use contracts::TenantId;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use uuid::Uuid;

use crate::aggregate::{Aggregate, split_event};
use crate::append::Buffer;
use crate::clock::{Clock, new_id};
use crate::db::{Database, Tx};
use crate::error::StoreError;
use crate::gather::Pile;
use crate::idempotency::{self, Key};
use crate::inbox::HandlerError;
use crate::registry::{Change, Registry};
use crate::sequencer::Wake;
use crate::sql::Sql;
use crate::stream::{Loaded, StreamKey, load};

/// Who does something, where, and why; goes into every event.
#[derive(Clone, Debug)]
pub struct Context {
    pub tenant: TenantId,
    /// The user; `None` when the mesh itself acts.
    pub actor: Option<i64>,
    /// Who really called, when they do it as `actor`.
    pub impersonator: Option<i64>,
    /// The request that began the chain.
    pub correlation: Uuid,
    /// The foreign event that is being answered.
    pub causation: Option<Uuid>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

impl Context {
    /// The mesh acts by itself, in a tenant.
    pub fn mesh(tenant: TenantId) -> Self {
        Self {
            tenant,
            actor: None,
            impersonator: None,
            correlation: new_id(),
            causation: None,
            traceparent: None,
        }
    }
}

/// One service's event store.
#[derive(Clone)]
pub struct Store {
    pub(crate) database: Database,
    pub(crate) registry: Arc<Registry>,
    pub(crate) wake: Wake,
    pub(crate) service: &'static str,
    clock: Clock,
    public_url: Arc<str>,
    /// Whether its units write the tables in the schema `rebuild`; see [`crate::projection`].
    in_shadow: bool,
}

/// Why a command did not go through.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<E> {
    /// The aggregate refused.
    #[error("refused")]
    Refused(#[source] E),
    #[error("not stored")]
    Store(#[from] StoreError),
}

/// An accepted command.
#[derive(Debug)]
pub struct Executed<A> {
    pub state: A,
    /// Private version of the stream.
    pub version: i64,
    /// Contract version of the stream.
    pub contract_version: i64,
}

/// How a caller's error type shows the store error inside it, so that [`Store::transact`] can try again.
pub trait HasStoreError: From<StoreError> {
    fn store_error(&self) -> Option<&StoreError>;
}

impl HasStoreError for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

impl<E> HasStoreError for ExecuteError<E> {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Refused(_) => None,
        }
    }
}

/// How often a transaction is tried when writers collide.
pub(crate) const TRIES: u32 = 16;

impl Store {
    /// A store of `service` on its database.
    pub fn new(service: &'static str, database: Database, registry: Registry, clock: Clock) -> Self {
        let (registry, wake, public_url) = (Arc::new(registry), Wake::default(), Arc::default());
        Self { database, registry, wake, service, clock, public_url, in_shadow: false }
    }

    /// The same store, which knows how people reach the deployment.
    pub fn reached_at(self, public_url: &str) -> Self {
        Self { public_url: public_url.into(), ..self }
    }

    /// How people reach the deployment, for links in what consumers send out; no slash at the end.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    pub fn service(&self) -> &'static str {
        self.service
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What wakes the sequencer, and whoever waits for the log.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }

    /// The same store, but tables that are being rebuilt are meant by their names.
    pub fn in_shadow(&self) -> Self {
        Self { in_shadow: true, ..self.clone() }
    }

    /// Opens a unit of work. Prefer [`Store::transact`], which also tries again.
    pub async fn begin(&self, context: Context) -> Result<Unit, StoreError> {
        let mut tx = self.database.tenant(context.tenant).await?;
        if self.in_shadow {
            tx.search_shadow_first().await?;
        }
        Ok(Unit {
            store: self.clone(),
            tx,
            context,
            buffer: Buffer::default(),
            streams: HashMap::new(),
            met: BTreeSet::new(),
            absent: HashSet::new(),
            contested: None,
            piles: Vec::new(),
        })
    }

    /// Runs `work` in one transaction and commits it. `work` may run several times: it must have no effect
    /// but through its [`Unit`].
    ///
    /// Whoever collided with others locks the streams that it came upon in their order when it runs again, so that it
    /// does not deadlock with them once more.
    pub async fn transact<T, E: HasStoreError>(
        &self,
        context: &Context,
        work: impl AsyncFn(&mut Unit) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut tries = 1;
        let mut streams = BTreeSet::new();
        loop {
            let mut unit = self.begin(context.clone()).await?;
            let outcome = match unit.lock_all(&streams).await {
                Ok(()) => work(&mut unit).await,
                Err(error) => Err(error.into()),
            };
            streams.append(&mut unit.met);
            let (error, contested) = match outcome {
                Ok(value) => match unit.commit().await {
                    Ok(()) => return Ok(value),
                    Err(error) => (E::from(error), None),
                },
                Err(error) => {
                    let contested = unit.contested;
                    unit.rollback().await;
                    (error, contested)
                }
            };
            let mut collided = error.store_error().is_some_and(StoreError::is_collision);
            if let Some(stream) = contested {
                collided |= self.exists(stream).await?;
            }
            if !collided || tries == TRIES {
                return Err(error);
            }
            tries += 1;
        }
    }

    async fn exists(&self, (tenant, kind, id): StreamKey) -> Result<bool, StoreError> {
        let mut tx = self.database.tenant(tenant).await?;
        let found =
            Sql::fixed("SELECT 1 FROM es_stream WHERE tenant_id = $1 AND kind = $2 AND stream_id = $3")
                .bind::<SqlUuid>(tenant.0)
                .bind::<Text>(kind)
                .bind::<BigInt>(id)
                .execute(&mut *tx)
                .await?;
        tx.commit().await?;
        Ok(found > 0)
    }

    /// Like [`Store::transact`], but a repeated `key` with the same request gets the first answer again.
    ///
    /// # Errors
    /// [`StoreError::KeyReused`] when the key belongs to another request.
    pub async fn transact_once<T, E>(
        &self,
        context: &Context,
        key: &Key,
        work: impl AsyncFn(&mut Unit) -> Result<T, E>,
    ) -> Result<T, E>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
        E: HasStoreError,
    {
        self.transact(context, async |unit| {
            if let Some(answer) = idempotency::claim(&mut unit.tx, context, key).await? {
                return Ok(serde_json::from_str(&answer).map_err(StoreError::from)?);
            }
            let value = work(unit).await?;
            // The work may have gone to another tenant.
            unit.enter(context.clone()).await?;
            let answer = serde_json::to_string(&value).map_err(StoreError::from)?;
            idempotency::settle(&mut unit.tx, context, key, answer).await?;
            Ok(value)
        })
        .await
    }

    /// Takes one new id of `kind`; ids are unique in the deployment.
    pub async fn new_id_of(&self, kind: &'static str) -> Result<i64, StoreError> {
        let mut tx = self.database.tenant(TenantId::DEPLOYMENT).await?;
        let ids = take_ids(&mut tx, kind, 1).await?;
        tx.commit().await?;
        Ok(ids[0])
    }

    /// The projections that are fed by this service's own events.
    pub fn projections(&self) -> impl Iterator<Item = &'static str> {
        self.registry.rebuilds.iter().map(|(name, _)| *name)
    }

    /// Rebuilds an own projection beside the old one and swaps; returns how many events it applied, or
    /// `None` when there is no projection of that name.
    pub async fn rebuild(&self, projection: &str) -> Result<Option<u64>, StoreError> {
        match self.registry.rebuilds.iter().find(|(name, _)| *name == projection) {
            Some((_, rebuild)) => rebuild(self.clone()).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads a stream's current state, or `None` when it does not exist.
    pub async fn load<A: Aggregate>(&self, tenant: TenantId, id: i64) -> Result<Option<A>, StoreError> {
        let mut tx = self.database.tenant(tenant).await?;
        let found = load::<A>(&mut tx, tenant, id, false).await?;
        tx.commit().await?;
        Ok(found.map(|stream| stream.state))
    }
}

/// The name of the sequence that gives out `kind`'s ids.
pub fn id_sequence(kind: &str) -> String {
    format!("{kind}_ids")
}

async fn take_ids(tx: &mut Tx, kind: &'static str, count: usize) -> Result<Vec<i64>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Array<BigInt>)]
        ids: Vec<i64>,
    }
    // One row, because thousands of annotations take their ids at once.
    let row: Row =
        Sql::fixed("SELECT ARRAY(SELECT nextval($1::text::regclass) FROM generate_series(1, $2)) AS ids")
            .bind::<Text>(id_sequence(kind))
            .bind::<BigInt>(count as i64)
            .get_result(&mut **tx)
            .await?;
    Ok(row.ids)
}

/// A transaction with the context of the command that it carries out.
pub struct Unit {
    store: Store,
    tx: Tx,
    context: Context,
    buffer: Buffer,
    /// Streams that this unit already changed: their newest version is not in the database yet.
    streams: HashMap<StreamKey, (i64, i64, String)>,
    /// Streams that this unit came upon.
    met: BTreeSet<StreamKey>,
    /// Streams that this unit looked for and did not find. One that is there after all was created meanwhile, and
    /// what was decided on its absence is void.
    absent: HashSet<StreamKey>,
    /// The stream that a unique rule kept this unit from creating. If it exists now, then because somebody
    /// else created it meanwhile, and the rule's answer is not the one to give.
    contested: Option<StreamKey>,
    /// What a consumer's handlers have gathered and nobody has written yet.
    pub(crate) piles: Vec<Box<dyn Pile>>,
}

impl Unit {
    /// The transaction, to read projections or to write what belongs to this command.
    pub fn tx(&mut self) -> &mut Tx {
        &mut self.tx
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Makes the rest of this unit another tenant's, caused by another event; for consumers.
    pub async fn enter(&mut self, context: Context) -> Result<(), StoreError> {
        if context.tenant != self.context.tenant {
            self.tx.set_tenant(context.tenant).await?;
        }
        self.context = context;
        Ok(())
    }

    /// Takes `count` new ids of `kind`, rising; a rolled-back unit leaves a gap, never a duplicate.
    pub async fn new_ids_of(&mut self, kind: &'static str, count: usize) -> Result<Vec<i64>, StoreError> {
        take_ids(&mut self.tx, kind, count).await
    }

    /// Locks several streams in sorted order, so that two units that need the same ones cannot deadlock.
    pub async fn lock<A: Aggregate>(&mut self, ids: &[i64]) -> Result<(), StoreError> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        for id in ids {
            load::<A>(&mut self.tx, self.context.tenant, id, true).await?;
        }
        Ok(())
    }

    /// Locks streams in their order: their names, which also those have that nobody has created yet, and then
    /// their rows, which those respect who run for the first time.
    async fn lock_all(&mut self, streams: &BTreeSet<StreamKey>) -> Result<(), StoreError> {
        let own = || streams.iter().filter(|(tenant, ..)| *tenant == self.context.tenant);
        for (_, kind, id) in own() {
            self.tx.lock_name(&format!("stream/{kind}/{id}")).await?;
        }
        for (tenant, kind, id) in own() {
            Sql::fixed(
                "SELECT FROM es_stream WHERE tenant_id = $1 AND kind = $2 AND stream_id = $3 FOR UPDATE",
            )
            .bind::<SqlUuid>(tenant.0)
            .bind::<Text>(*kind)
            .bind::<BigInt>(*id)
            .execute(&mut *self.tx)
            .await?;
        }
        Ok(())
    }

    /// A stream's state as this unit sees it; locks the stream until the end of the transaction.
    pub async fn load<A: Aggregate>(&mut self, id: i64) -> Result<Option<A>, StoreError> {
        Ok(self.stream::<A>(id).await?.map(|stream| stream.state))
    }

    async fn stream<A: Aggregate>(&mut self, id: i64) -> Result<Option<Loaded<A>>, StoreError> {
        let key = (self.context.tenant, A::KIND, id);
        if let Some((version, contract_version, state)) = self.streams.get(&key) {
            let state = serde_json::from_str(state)?;
            return Ok(Some(Loaded { state, version: *version, contract_version: *contract_version }));
        }
        self.met.insert(key);
        let found = load::<A>(&mut self.tx, self.context.tenant, id, true).await?;
        if found.is_none() {
            self.absent.insert(key);
        } else if self.absent.contains(&key) {
            return Err(StoreError::collided());
        }
        Ok(found)
    }

    /// Sends a command to a stream, which it creates if there is none.
    pub async fn execute<A: Aggregate>(
        &mut self,
        id: i64,
        command: A::Command,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        self.execute_at(id, None, command).await
    }

    /// Sends a command to a stream that must still be at the version that the client named.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is not.
    pub async fn execute_at<A: Aggregate>(
        &mut self,
        id: i64,
        expected: Option<i64>,
        command: A::Command,
    ) -> Result<Executed<A>, ExecuteError<A::Error>> {
        let loaded = self.stream::<A>(id).await?.unwrap_or_else(|| Loaded {
            state: A::default(),
            version: 0,
            contract_version: 0,
        });
        if let Some(expected) = expected
            && expected != loaded.version
        {
            return Err(StoreError::Conflict { expected, actual: loaded.version }.into());
        }
        let events = loaded.state.decide(command).map_err(ExecuteError::Refused)?;
        let registration = self.store.registry.get::<A>();
        let at = self.store.clock.now();
        let Loaded { mut state, mut version, mut contract_version } = loaded;
        let base_version = version;
        for event in &events {
            let before = state.clone();
            state.apply(event);
            version += 1;
            let change = Change {
                tenant: self.context.tenant,
                id,
                version,
                before: &before,
                event,
                after: &state,
                at,
                actor: self.context.actor,
            };
            for projection in &registration.projections {
                if let Err(error) = (projection.apply)(&mut self.tx, &change).await {
                    let StoreError::Unique { constraint } = error else { return Err(error.into()) };
                    if base_version == 0 {
                        self.contested = Some((self.context.tenant, A::KIND, id));
                    }
                    return Err(match A::taken(&constraint) {
                        Some(refusal) => ExecuteError::Refused(refusal),
                        None => StoreError::Unique { constraint }.into(),
                    });
                }
            }
            let (name, data) = split_event(event).map_err(StoreError::from)?;
            self.buffer.event::<A>(&self.context, id, version, at, name, data)?;
            for outgoing in (registration.publish)(&change) {
                contract_version += 1;
                self.buffer.contract(&self.context, A::KIND, id, contract_version, at, outgoing)?;
            }
        }
        if version != base_version {
            let text = serde_json::to_string(&state).map_err(StoreError::from)?;
            self.streams
                .insert((self.context.tenant, A::KIND, id), (version, contract_version, text.clone()));
            self.buffer.stream::<A>(self.context.tenant, id, version, contract_version, text);
        }
        Ok(Executed { state, version, contract_version })
    }

    /// Queues a job that will run after commit; see [`crate::jobs`].
    pub async fn enqueue(
        &mut self,
        job: &'static str,
        subject_id: i64,
        due_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        // A microsecond off, so that whoever works on it already does not finish it for this wish too.
        Sql::fixed(
            "INSERT INTO es_job (tenant_id, name, subject_id, due_at, traceparent) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant_id, name, subject_id) DO UPDATE \
             SET due_at = LEAST(es_job.due_at - interval '1 microsecond', excluded.due_at)",
        )
        .bind::<SqlUuid>(self.context.tenant.0)
        .bind::<Text>(job)
        .bind::<BigInt>(subject_id)
        .bind::<diesel::sql_types::Timestamptz>(due_at)
        .bind::<Nullable<Text>>(self.context.traceparent.clone())
        .execute(&mut *self.tx)
        .await?;
        self.buffer.jobs = true;
        Ok(())
    }

    /// Runs a handler, and writes what it gathered, so that its failure undoes what it did and nothing else.
    pub(crate) async fn attempt(
        &mut self,
        work: impl AsyncFnOnce(&mut Unit) -> Result<(), HandlerError>,
    ) -> Result<Result<(), HandlerError>, StoreError> {
        let before = (self.buffer.clone(), self.streams.clone(), self.context.clone());
        self.tx.savepoint().await?;
        let mut outcome = work(self).await;
        if outcome.is_ok() {
            outcome = self.write_gathered().await;
        }
        let error = match outcome {
            Ok(()) => match self.tx.release_savepoint().await {
                Ok(()) => return Ok(Ok(())),
                // It went on after a statement that had failed.
                Err(error @ StoreError::Database(_)) => HandlerError::from(error),
                Err(error) => return Err(error),
            },
            Err(error) => error,
        };
        self.tx.rollback_to_savepoint().await?;
        self.piles.clear();
        (self.buffer, self.streams, self.context) = before;
        Ok(Err(error))
    }

    /// Undoes everything, and keeps the connection.
    pub(crate) async fn rollback(self) {
        // A transaction that cannot be rolled back is dropped, which closes its connection.
        if let Err(error) = self.tx.rollback().await {
            tracing::debug!(error = crate::chain(&error), "not rolled back; the connection is closed");
        }
    }

    /// Writes the event rows; returns whether there were any.
    async fn finish(&mut self) -> Result<bool, StoreError> {
        let wrote_events = self.buffer.flush(&mut self.tx, self.context.tenant).await?;
        if !wrote_events {
            // When a statement has failed and nobody minded, PostgreSQL answers COMMIT by rolling back, without
            // an error. Any statement brings it to light.
            self.tx.batch_execute("SELECT").await?;
        }
        Ok(wrote_events)
    }

    /// Writes the event rows, commits, and wakes the sequencer.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        debug_assert!(self.piles.is_empty(), "gathered outside a consumer");
        crate::fail_point!("es.append.before_rows");
        let wrote_jobs = self.buffer.jobs;
        let wrote_events = match self.finish().await {
            Ok(wrote_events) => wrote_events,
            Err(error) => {
                self.rollback().await;
                return Err(error);
            }
        };
        crate::fail_point!("es.append.before_commit");
        self.tx.commit().await?;
        crate::fail_point!("es.append.after_commit");
        if wrote_events {
            self.store.wake.appended();
        }
        if wrote_jobs {
            self.store.wake.queued();
        }
        Ok(())
    }
}
