//! The smallest honest service: an aggregate with a contract event and one projection.

use contracts::{ContractEvent, TenantId};
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use event_store::store::Context;
use event_store::{
    Aggregate, Applied, Change, DomainError, Outgoing, Projection, Refused, Registration, Sql, StoreError, Tx,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The projection's table.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// The service's name; its topic is `bench.events`.
pub const SERVICE: &str = "bench";

/// The tenant that everything happens in.
pub const TENANT: TenantId = TenantId(uuid::Uuid::from_u128(0xbe9c_0000_0000_4000_8000_0000_0000_0001));

/// The user who does everything.
pub const ACTOR: i64 = 7;

/// Makes an event some 250 bytes long, which is what a middling one of ours is.
pub const NOTE: &str = "The quick brown fox jumps over the lazy dog, again and again, until nobody counts any more; \
    then it sits down beside the dog and both look at the river, where a heron has stood since the early morning.";

/// What the projection does with an event.
pub const UPSERT: &str = "INSERT INTO meters (tenant_id, id, version, total, note) \
    VALUES (es_tenant(), $1, $2, $3, $4) ON CONFLICT (tenant_id, id) DO UPDATE SET \
    version = excluded.version, total = excluded.total, note = excluded.note";

/// The context of a command.
pub fn context() -> Context {
    Context { actor: Some(ACTOR), ..Context::mesh(TENANT) }
}

/// Something that is read now and then.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Meter {
    pub readings: i64,
    pub total: i64,
    pub note: String,
}

/// Reads a meter so many times at once.
pub struct Read {
    pub times: usize,
}

/// What happened to a meter.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum MeterEvent {
    Read { value: i64, note: String },
}

/// A meter never refuses.
#[derive(Debug, thiserror::Error)]
#[error("never")]
pub struct Never;

impl DomainError for Never {
    fn code(&self) -> &'static str {
        "never"
    }

    fn kind(&self) -> Refused {
        Refused::Invalid
    }
}

impl Aggregate for Meter {
    const KIND: &'static str = "meter";
    type Command = Read;
    type Event = MeterEvent;
    type Error = Never;

    fn decide(&self, command: Read) -> Result<Vec<MeterEvent>, Never> {
        Ok(vec![MeterEvent::Read { value: 5, note: NOTE.to_owned() }; command.times])
    }

    fn apply(&mut self, event: &MeterEvent) {
        let MeterEvent::Read { value, note } = event;
        self.readings += 1;
        self.total += value;
        self.note.clone_from(note);
    }
}

/// A meter was read: the contract event.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MeterRead {
    pub total: i64,
    pub note: String,
}

impl ContractEvent for MeterRead {
    const SERVICE: &'static str = SERVICE;
    const KIND: &'static str = Meter::KIND;
    const TYPE: &'static str = "bench.meter_read.v1";
}

/// The aggregate with its contract event, with or without the projection.
pub fn registration(projected: bool) -> Registration<Meter> {
    let projection = Projection { name: "meters", tables: &["meters"], apply };
    Registration { publish, projections: if projected { vec![projection] } else { vec![] } }
}

fn publish(change: &Change<'_, Meter>) -> Vec<Outgoing> {
    let Meter { total, note, .. } = change.after.clone();
    vec![Outgoing::new(&MeterRead { total, note }, None)]
}

fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Meter>) -> Applied<'a> {
    Box::pin(upsert(tx, change.id, change.version, change.after.total, &change.after.note))
}

/// Writes a meter's row.
pub async fn upsert(tx: &mut Tx, id: i64, version: i64, total: i64, note: &str) -> Result<(), StoreError> {
    Sql::fixed(UPSERT)
        .bind::<BigInt>(id)
        .bind::<BigInt>(version)
        .bind::<BigInt>(total)
        .bind::<Text>(note.to_owned())
        .execute(&mut **tx)
        .await?;
    Ok(())
}
