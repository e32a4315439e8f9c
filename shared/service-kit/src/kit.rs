//! What every handler, reaction and job of a service holds.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Consumer, Peer};
use contracts::TenantId;
use event_store::inbox::{self, Progress};
use event_store::{Clock, Store, Tx};

use crate::auth::authenticator::Authenticator;
use crate::directory;
use crate::mesh_token::MeshSecret;
use crate::service::Find;
use crate::{Caller, Config, Refusal};

/// How long a request waits for this service to hear of something.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running service, as far as it needs no database.
#[derive(Clone)]
pub struct Node {
    pub service: &'static str,
    pub config: Arc<Config>,
    pub clock: Clock,
    pub authenticator: Authenticator,
    pub mesh_secret: MeshSecret,
    pub peers: Peers,
    /// The service's OpenAPI document, as JSON.
    pub(crate) openapi: Arc<str>,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) shared: Shared,
}

/// The mesh ports of the services, as one service sees them.
pub(crate) type Peers = Arc<HashMap<&'static str, Peer>>;

/// One value of each type, for all workers and background tasks of a service.
pub(crate) type Shared = Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>;

/// A running service with its store.
#[derive(Clone)]
pub struct Kit {
    pub(crate) node: Node,
    pub store: Store,
    pub(crate) consumers: Arc<Vec<Consumer>>,
    pub(crate) finders: Arc<HashMap<&'static str, Find>>,
}

impl Deref for Kit {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Node {
    /// The same service, which reaches the others over other connections.
    pub(crate) fn with_peers(&self, peers: Peers) -> Self {
        Self { peers, ..self.clone() }
    }

    /// Another service's mesh port.
    ///
    /// # Errors
    /// 503 for a service that this deployment does not have.
    pub fn peer(&self, service: &str) -> Result<&Peer, Refusal> {
        self.peers.get(service).ok_or_else(|| Refusal::unavailable(format!("{service} is not deployed.")))
    }

    /// What the service keeps in memory, one value of a type for all its workers; made on first use.
    pub fn shared<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut shared = self.shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let value = shared.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        value.clone().downcast().unwrap_or_default()
    }

    /// Whether it has started completely.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

impl Kit {
    /// The consumer that takes a source's events in, which a late request waits for; the directory first.
    fn follower(&self, source: &str) -> Option<String> {
        let reads = |consumer: &&Consumer| consumer.sources().contains(&source);
        let mut readers = self.consumers.iter().filter(reads);
        let directory =
            self.consumers.iter().filter(reads).find(|consumer| consumer.name() == directory::CONSUMER);
        directory.or_else(|| readers.next()).map(|consumer| consumer.full_name(self.service))
    }

    /// Reads in the caller's tenant. After a refusal the connection goes back to its pool all the same, which
    /// it would not if the transaction were dropped.
    pub async fn read<T>(
        &self,
        caller: &Caller,
        work: impl AsyncFnOnce(&mut Tx) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut tx = self.store.database().tenant(caller.tenant()).await?;
        let outcome = work(&mut tx).await;
        tx.rollback().await?;
        outcome
    }

    /// Asks a stream's owner how far it is and waits until this service has taken that in. Returns whether
    /// there is such a stream.
    ///
    /// # Errors
    /// 503 when the owner does not answer, the stream is parked, or two seconds are over.
    pub async fn await_stream(
        &self,
        tenant: TenantId,
        source: &'static str,
        kind: &str,
        id: i64,
    ) -> Result<bool, Refusal> {
        if source == self.service {
            // Its own projections are never behind.
            return Ok(false);
        }
        match self.peer(source)?.stream(tenant, kind, id).await {
            Ok(None) => Ok(false),
            Ok(Some(head)) => {
                self.await_version(tenant, source, kind, head.id, head.contract_version).await.map(|()| true)
            }
            Err(error) => Err(late(&error)),
        }
    }

    /// The same, by a natural key such as a user's name; returns the stream's id.
    ///
    /// # Errors
    /// As [`Kit::await_stream`].
    pub async fn await_named(
        &self,
        tenant: TenantId,
        source: &'static str,
        kind: &str,
        name: &str,
    ) -> Result<Option<i64>, Refusal> {
        if source == self.service {
            return Ok(None);
        }
        match self.peer(source)?.named_stream(tenant, kind, name).await {
            Ok(None) => Ok(None),
            Ok(Some(head)) => {
                self.await_version(tenant, source, kind, head.id, head.contract_version).await?;
                Ok(Some(head.id))
            }
            Err(error) => Err(late(&error)),
        }
    }

    async fn await_version(
        &self,
        tenant: TenantId,
        source: &'static str,
        kind: &str,
        id: i64,
        version: i64,
    ) -> Result<(), Refusal> {
        let Some(consumer) = self.follower(source) else { return Ok(()) };
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut taken = self.store.wake().follow_taken();
        loop {
            taken.mark_unchanged();
            match inbox::progress(&self.store, &consumer, tenant, source, kind, id).await? {
                Progress::At(at) if at >= version => return Ok(()),
                Progress::At(_) => {}
                Progress::Parked => {
                    return Err(Refusal::unavailable(format!(
                        "News of {kind} {id} could not be taken in yet."
                    )));
                }
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(Refusal::unavailable(format!("News of {kind} {id} has not arrived yet.")));
            }
            // Another replica may be the one that takes it in: then nobody here is woken.
            tokio::select! {
                _ = taken.changed() => {}
                () = tokio::time::sleep(Duration::from_millis(25)) => {}
            }
        }
    }

    /// Reads something that rests on another service's streams; if it is not there, waits for the news of one
    /// stream and reads again.
    ///
    /// # Errors
    /// As [`Kit::await_stream`], and whatever `read` says.
    pub async fn find_late<T>(
        &self,
        tenant: TenantId,
        (source, kind, id): (&'static str, &str, i64),
        read: impl AsyncFn(&mut event_store::Tx) -> Result<Option<T>, event_store::StoreError>,
    ) -> Result<Option<T>, Refusal> {
        for attempt in 0..2 {
            let mut tx = self.store.database().tenant(tenant).await?;
            let found = read(&mut tx).await?;
            tx.commit().await?;
            if found.is_some() || attempt == 1 || !self.await_stream(tenant, source, kind, id).await? {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// A user of the caller's tenant, waited for if need be.
    ///
    /// # Errors
    /// As [`Kit::await_stream`].
    pub async fn user(&self, tenant: TenantId, id: i64) -> Result<Option<directory::User>, Refusal> {
        self.find_late(tenant, ("identity", "user", id), async |tx| {
            Ok(directory::users(tx, [id]).await?.remove(&id))
        })
        .await
    }
}

fn late(error: &bus::peer::PeerError) -> Refusal {
    tracing::warn!(error = event_store::chain(error), "a peer could not be asked");
    Refusal::unavailable("Another service that knows more does not answer at the moment.")
}
