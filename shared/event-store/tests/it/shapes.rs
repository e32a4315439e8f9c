//! Yesterday's rows under today's code: older events go through the upcaster, older states are folded anew.

use diesel_async::RunQueryDsl;
use event_store::store::Context;
use event_store::{
    Aggregate, Clock, Database, DomainError, PoolSizes, Refused, Registration, Registry, Sql, Store,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::world::{ACME, SERVICE, World};

/// In revision 1 an event said `title` and `euros`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Savings {
    name: String,
    cents: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum SavingsEvent {
    Opened { name: String },
    Saved { cents: i64 },
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

impl DomainError for Never {
    fn code(&self) -> &'static str {
        "never"
    }

    fn kind(&self) -> Refused {
        Refused::Invalid
    }
}

impl Aggregate for Savings {
    const KIND: &'static str = "savings";
    const STATE_REV: i16 = 2;
    const EVENT_REV: i16 = 2;

    type Command = i64;
    type Event = SavingsEvent;
    type Error = Never;

    fn decide(&self, cents: i64) -> Result<Vec<SavingsEvent>, Never> {
        Ok(vec![SavingsEvent::Saved { cents }])
    }

    fn apply(&mut self, event: &SavingsEvent) {
        match event {
            SavingsEvent::Opened { name } => self.name.clone_from(name),
            SavingsEvent::Saved { cents } => self.cents += cents,
        }
    }

    fn upcast(event_type: &str, stored_rev: i16, data: Value) -> Value {
        assert_eq!(stored_rev, 1, "only what is old needs the upcaster");
        match event_type {
            "opened" => json!({ "name": data["title"] }),
            "saved" => json!({ "cents": data["euros"].as_i64().unwrap() * 100 }),
            _ => data,
        }
    }
}

/// A world whose database holds what revision 1 stored, and today's store on it.
async fn yesterday(golden: &Value) -> (World, Store) {
    let world = World::new().await;
    for (n, event) in golden["stored"].as_array().unwrap().iter().enumerate() {
        world
            .admin_does(&format!(
                "INSERT INTO es_event (tenant_id, kind, stream_id, version, event_type, schema_rev, data, \
                 correlation_id, occurred_at) VALUES ('{ACME}', 'savings', 1, {}, '{}', 1, '{}', '{ACME}', now())",
                n + 1,
                event["type"].as_str().unwrap(),
                event["data"]
            ))
            .await;
    }
    world
        .admin_does(&format!(
            "INSERT INTO es_event_pending SELECT seq, tenant_id FROM es_event; \
             INSERT INTO es_stream VALUES ('{ACME}', 'savings', 1, 3, 0, 1, '{{\"title\":\"holiday\"}}')"
        ))
        .await;
    let mut registry = Registry::default();
    registry.register(Registration::<Savings> { publish: |_| vec![], projections: vec![] });
    let sizes = PoolSizes { runtime: 2, kernel: 2 };
    let database = Database::connect(world.database.urls.clone(), sizes).await.unwrap();
    let store = Store::new(SERVICE, database, registry, Clock::system());
    (world, store)
}

async fn load(store: &Store) -> Savings {
    store.load(ACME, 1).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_state_is_folded_anew_from_upcast_events_and_stored_in_todays_shape() {
    let golden: Value = serde_json::from_str(include_str!("../golden/savings_rev1.json")).unwrap();
    let (world, store) = yesterday(&golden).await;
    let loaded = load(&store).await;
    assert_eq!(serde_json::to_value(&loaded).unwrap(), golden["today"]);

    let done = store
        .transact(&Context::mesh(ACME), async |unit| unit.execute::<Savings>(1, 58).await)
        .await
        .unwrap();
    assert_eq!((done.version, done.state.cents), (4, 4258));
    let row = world.rows("SELECT version, state_rev, state FROM es_stream").await.remove(0);
    assert_eq!(row, json!({ "version": 4, "state_rev": 2, "state": { "name": "holiday", "cents": 4258 } }));
    let events =
        world.rows("SELECT schema_rev, event_type AS type, data FROM es_event ORDER BY version").await;
    for (stored, before) in events.iter().zip(golden["stored"].as_array().unwrap()) {
        assert_eq!(
            (&stored["type"], &stored["data"]),
            (&before["type"], &before["data"]),
            "history was edited"
        );
    }
    assert_eq!(events[3], json!({ "schema_rev": 2, "type": "saved", "data": { "cents": 58 } }));
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_data_is_kept_byte_for_byte_also_what_jsonb_would_refuse() {
    let world = World::new().await;
    let id = crate::world::open(&world.store, "a\u{0001}b").await;
    let text = "two  spaces, \u{0000}, and a \"quote\"";
    let noted = crate::account::AccountCommand::Note(text.into());
    // The read model is a text column, which cannot hold NUL; the event alone can.
    crate::world::execute(&world.store, id, noted).await.unwrap_err();
    let mut tx = world.store.database().tenant(ACME).await.unwrap();
    let count = Sql::fixed("SELECT 1 FROM es_event WHERE data::text = '{\"name\":\"a\\u0001b\"}'")
        .execute(&mut *tx)
        .await
        .unwrap();
    assert_eq!(count, 1);
    tx.commit().await.unwrap();
}
