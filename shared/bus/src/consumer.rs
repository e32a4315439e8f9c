//! A consumer: a name with a revision, the services it reads, and one handler for each event type.
//!
//! Where its events come from is none of its business; see [`crate::log_source`] and [`crate::kafka`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::{ContractEvent, Envelope};
use event_store::inbox::redrive;
use event_store::inbox::{Handled, Handler, Place};
use event_store::{Store, StoreError, Unit};

use crate::peer::{Peer, PeerError};

/// What takes one type of event in.
pub type On<E> = for<'a> fn(&'a mut Unit, &'a Envelope, E) -> Handled<'a>;

/// What is put around a consumer's handler, such as a trace.
pub type Around = Arc<dyn Fn(Handler) -> Handler + Send + Sync>;

/// A consumer before it runs.
#[derive(Clone)]
pub struct Consumer {
    name: &'static str,
    rev: u32,
    sources: Vec<&'static str>,
    by_type: HashMap<&'static str, Handler>,
    rest: Option<Handler>,
    tables: &'static [&'static str],
    around: Option<Around>,
}

impl Consumer {
    /// A consumer called `<service>.<name>@<rev>`. Raising `rev` makes it a new one, which reads everything.
    pub fn new(name: &'static str, rev: u32) -> Self {
        Self { name, rev, sources: vec![], by_type: HashMap::new(), rest: None, tables: &[], around: None }
    }

    /// Names the tables that this consumer feeds and nobody else writes, so that they can be rebuilt. A
    /// consumer of reactions has none and is never replayed.
    pub fn feeds(mut self, tables: &'static [&'static str]) -> Self {
        self.tables = tables;
        self
    }

    /// Takes events of one type in; the type names its publisher.
    pub fn on<E: ContractEvent>(mut self, handle: On<E>) -> Self {
        self.reads(E::SERVICE);
        let handler: Handler =
            Arc::new(move |unit, envelope| match serde_json::from_str::<E>(envelope.data.get()) {
                Ok(event) => handle(unit, envelope, event),
                Err(error) => Box::pin(async move { Err(error.into()) }),
            });
        self.by_type.insert(E::TYPE, handler);
        self
    }

    /// Takes events of one type in as they are written, for a handler that reads what it wants of them itself.
    pub fn on_written<E: ContractEvent>(
        mut self,
        handle: for<'a> fn(&'a mut Unit, &'a Envelope) -> Handled<'a>,
    ) -> Self {
        self.reads(E::SERVICE);
        self.by_type.insert(E::TYPE, Arc::new(handle));
        self
    }

    /// Takes every event of some services in, whatever its type.
    pub fn on_all_of(
        mut self,
        services: &[&'static str],
        handle: for<'a> fn(&'a mut Unit, &'a Envelope) -> Handled<'a>,
    ) -> Self {
        for service in services {
            self.reads(service);
        }
        self.rest = Some(Arc::new(handle));
        self
    }

    /// Puts something around every call of its handler.
    pub fn around(mut self, around: Around) -> Self {
        self.around = Some(around);
        self
    }

    fn reads(&mut self, service: &'static str) {
        if !self.sources.contains(&service) {
            self.sources.push(service);
        }
    }

    /// The name with its service and revision: `projects.directory@1`.
    pub fn full_name(&self, service: &str) -> String {
        format!("{service}.{}@{}", self.name, self.rev)
    }

    /// The name inside its service.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The services whose events it reads.
    pub fn sources(&self) -> &[&'static str] {
        &self.sources
    }

    /// The types that it handles one by one; empty when it takes all.
    pub fn types(&self) -> Vec<&'static str> {
        let mut types: Vec<_> = self.by_type.keys().copied().collect();
        types.sort_unstable();
        types
    }

    /// Whether it takes every event of a service, whatever its type.
    pub fn takes_rest_of(&self, service: &str) -> bool {
        self.rest.is_some() && self.sources.contains(&service)
    }

    /// The tables that it feeds.
    pub fn tables(&self) -> &'static [&'static str] {
        self.tables
    }

    /// One handler for all: an event of a type that nobody here knows is taken in and changes nothing.
    pub fn handler(&self) -> Handler {
        let (by_type, rest) = (self.by_type.clone(), self.rest.clone());
        let handler: Handler = Arc::new(move |unit, envelope| {
            match by_type.get(envelope.event_type.as_str()).or(rest.as_ref()) {
                Some(handler) => handler(unit, envelope),
                None => Box::pin(async { Ok(()) }),
            }
        });
        match &self.around {
            Some(around) => around(handler),
            None => handler,
        }
    }
}

/// A producer's log that is not the one that a consumer has read: what it took in belongs to another life.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log of {service} does not have the event that was taken from its position {position}: its database was \
     replaced, or another mesh answers; go back to the one that was, or reset this service's database as well"
)]
pub struct OtherLog {
    pub service: String,
    pub position: i64,
}

impl OtherLog {
    /// What is wrong with the log of `peer`, seen from `place`.
    pub(crate) fn new(peer: &Peer, place: &Place) -> Self {
        Self { service: peer.service.clone(), position: place.position }
    }
}

/// Why a consumer has to pause and begin again at its stored place.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("a peer failed")]
    Peer(#[from] PeerError),
    #[error(transparent)]
    OtherLog(#[from] OtherLog),
    #[error("the batch was not taken")]
    Take(#[from] event_store::inbox::TakeError),
}

/// Tries parked streams of a service's consumers whose pause is over; runs until it is dropped.
pub async fn redrive_loop(store: Store, consumers: Vec<Consumer>) {
    let consumers: Vec<(String, Handler)> =
        consumers.iter().map(|consumer| (consumer.full_name(store.service()), consumer.handler())).collect();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (name, handler) in &consumers {
            if let Err(error) = redrive::redrive_due(&store, name, handler).await {
                tracing::warn!(consumer = name, error = event_store::chain(&error), "redrive failed");
            }
        }
    }
}
