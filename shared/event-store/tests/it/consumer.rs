//! A consumer of the tests' own log: writes down what it takes in, in order, and stumbles where it is told to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use contracts::Envelope;
use diesel::sql_types::{BigInt, Text, Uuid as SqlUuid};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use event_store::inbox::redrive::{self, ParkedStream};
use event_store::inbox::{self, Handler, HandlerError, Move, Place, TakeError, Taken};
use event_store::{Sql, Store, StoreError, Unit};
use uuid::Uuid;

use crate::world::World;

/// The events at which the handler stumbles.
type Poison = Arc<Mutex<BTreeSet<Uuid>>>;

/// A stream, by tenant and subject, and a version of it.
pub type Seen = (String, String, i64);

#[derive(Clone)]
pub struct Consumer {
    pub store: Store,
    pub name: &'static str,
    pub handler: Handler,
    poison: Poison,
}

impl Consumer {
    pub fn new(store: Store, name: &'static str) -> Self {
        let poison = Poison::default();
        let poisoned = poison.clone();
        let handler: Handler = Arc::new(move |unit, event| {
            let bad = poisoned.lock().unwrap().contains(&event.id);
            Box::pin(async move {
                write_down(unit, name, event).await?;
                if bad { Err(HandlerError::Refused("poison".into())) } else { Ok(()) }
            })
        });
        Self { store, name, handler, poison }
    }

    pub fn poison(&self, event: &Envelope) {
        self.poison.lock().unwrap().insert(event.id);
    }

    pub fn cure(&self) {
        self.poison.lock().unwrap().clear();
    }

    pub async fn place(&self) -> Place {
        inbox::place(&self.store, self.name, "log", 0).await.unwrap()
    }

    /// Takes a batch in and moves the place behind it.
    pub async fn take(&self, batch: &[Envelope]) -> Result<Taken, TakeError> {
        let from = self.place().await;
        self.take_from(from, batch).await
    }

    pub async fn take_from(&self, from: Place, batch: &[Envelope]) -> Result<Taken, TakeError> {
        let to = match batch.last() {
            Some(last) => Place {
                next_offset: last.position.max(from.next_offset),
                position: last.position.max(from.position),
                event_id: Some(last.id),
                ..from.clone()
            },
            None => from.clone(),
        };
        inbox::take(&self.store, self.name, &self.handler, batch, &[Move { from, to }]).await
    }

    pub async fn parked(&self) -> Vec<ParkedStream> {
        let all = redrive::list(&self.store).await.unwrap();
        all.into_iter().filter(|stream| stream.consumer == self.name).collect()
    }

    /// Tries every parked stream, due or not; returns how many came free.
    pub async fn redrive(&self) -> usize {
        let mut free = 0;
        for stream in self.parked().await {
            free += usize::from(redrive::redrive(&self.store, &stream, &self.handler).await.unwrap());
        }
        free
    }

    /// What it has taken in, stream by stream, each in the order in which it did.
    pub async fn seen(&self, world: &World) -> Vec<Seen> {
        world
            .rows(&format!(
                "SELECT tenant_id, subject, version FROM seen WHERE consumer = '{}' ORDER BY tenant_id, subject, n",
                self.name
            ))
            .await
            .iter()
            .map(|row| {
                let text = |column: &str| row[column].as_str().unwrap().to_owned();
                (text("tenant_id"), text("subject"), row["version"].as_i64().unwrap())
            })
            .collect()
    }

    /// Panics unless all of `log` was taken in, once, each stream in order.
    pub async fn assert_has_seen(&self, world: &World, log: &[Envelope]) {
        let mut wanted: Vec<Seen> = log
            .iter()
            .map(|event| (event.tenantid.to_string(), event.subject.clone(), event.streamversion))
            .collect();
        wanted.sort();
        assert_eq!(self.seen(world).await, wanted);
    }
}

async fn write_down(unit: &mut Unit, consumer: &str, event: &Envelope) -> Result<(), StoreError> {
    Sql::fixed("INSERT INTO seen (tenant_id, consumer, subject, version) VALUES ($1, $2, $3, $4)")
        .bind::<SqlUuid>(unit.context().tenant.0)
        .bind::<Text>(consumer.to_owned())
        .bind::<Text>(event.subject.clone())
        .bind::<BigInt>(event.streamversion)
        .execute(&mut **unit.tx())
        .await?;
    Ok(())
}

/// A consumer with a handler of the test's own.
pub fn consumer_with(
    store: &Store,
    name: &'static str,
    handler: impl for<'a> Fn(&'a mut Unit, &'a Envelope) -> inbox::Handled<'a> + Send + Sync + 'static,
) -> Consumer {
    Consumer { handler: Arc::new(handler), ..Consumer::new(store.clone(), name) }
}

/// A statement that fails and makes the whole transaction unusable.
pub async fn stumble(unit: &mut Unit) -> Result<(), StoreError> {
    Ok(unit.tx().batch_execute("SELECT 1 / 0").await?)
}
