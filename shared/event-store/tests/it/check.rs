//! The checker: whatever a test did to a store, this must hold afterwards.

use std::collections::BTreeMap;

use event_store::{Aggregate, Store, sequencer};
use serde_json::{Value, json};

use crate::account::{Account, AccountEvent};
use crate::world::{LOGS, World};

type Key = (String, i64);

/// Panics unless the log, the states, the numbering and the read models agree.
pub async fn assert_consistent(world: &World) {
    assert_consistent_seen_by(world, &world.store).await;
}

/// Like [`assert_consistent`], for a test whose own store must not be used.
pub async fn assert_consistent_seen_by(world: &World, store: &Store) {
    sequencer::drain(store, &LOGS).await.unwrap();
    let folded = fold_all(world).await;
    streams_are_their_folds(world, &folded).await;
    contract_versions_have_no_holes(world).await;
    for log in LOGS {
        everything_is_numbered(world, log).await;
        positions_keep_the_order_of_versions(world, log).await;
    }
    read_models_are_their_folds(world, &folded).await;
}

struct Folded {
    state: Account,
    version: i64,
    notes: Vec<(i64, String)>,
}

/// Folds every stream, by means of the aggregate and nothing else.
async fn fold_all(world: &World) -> BTreeMap<Key, Folded> {
    let mut folded: BTreeMap<Key, Folded> = BTreeMap::new();
    for row in world
        .rows(
            "SELECT tenant_id, stream_id, version, event_type, data FROM es_event \
               WHERE kind = 'account' ORDER BY tenant_id, stream_id, version",
        )
        .await
    {
        let stream = folded.entry(key(&row, "stream_id")).or_insert_with(|| Folded {
            state: Account::default(),
            version: 0,
            notes: vec![],
        });
        stream.version += 1;
        assert_eq!(row["version"], stream.version, "versions have a hole: {row}");
        let mut event = json!({ "type": row["event_type"] });
        if !row["data"].is_null() {
            event["data"] = row["data"].clone();
        }
        let event: AccountEvent = serde_json::from_value(event).unwrap();
        stream.state.apply(&event);
        if let AccountEvent::Noted { text } = event {
            stream.notes.push((stream.version, text));
        }
    }
    folded
}

async fn streams_are_their_folds(world: &World, folded: &BTreeMap<Key, Folded>) {
    let stored: BTreeMap<Key, (i64, Account)> = world
        .rows("SELECT tenant_id, stream_id, version, state FROM es_stream WHERE kind = 'account'")
        .await
        .iter()
        .map(|row| {
            let state = serde_json::from_value(row["state"].clone()).unwrap();
            (key(row, "stream_id"), (row["version"].as_i64().unwrap(), state))
        })
        .collect();
    let folded: BTreeMap<Key, (i64, Account)> =
        folded.iter().map(|(key, stream)| (key.clone(), (stream.version, stream.state.clone()))).collect();
    assert_eq!(stored, folded, "the states are not what their events say");
}

async fn contract_versions_have_no_holes(world: &World) {
    let broken = world
        .rows("SELECT s.tenant_id, s.stream_id, s.contract_version, count(c.version), max(c.version) FROM es_stream s \
               LEFT JOIN es_contract c USING (tenant_id, kind, stream_id) \
               GROUP BY s.tenant_id, s.kind, s.stream_id \
               HAVING count(c.version) <> s.contract_version OR coalesce(max(c.version), 0) <> s.contract_version")
        .await;
    assert_eq!(broken, Vec::<Value>::new(), "contract versions have holes");
    let orphans = world
        .number(
            "SELECT count(*) FROM es_contract LEFT JOIN es_stream s USING (tenant_id, kind, stream_id) \
                      WHERE s.version IS NULL",
        )
        .await;
    assert_eq!(orphans, 0, "contract events of no stream");
}

async fn everything_is_numbered(world: &World, log: &str) {
    let numbering = world
        .rows(&format!(
            "SELECT (SELECT count(*) FROM {log}_pending) AS pending, count(*) AS events, count(p.seq) AS placed, \
             coalesce(min(p.position), 1) AS first, coalesce(max(p.position), 0) AS last, \
             (SELECT position FROM es_head WHERE log = '{log}') AS head, \
             count(*) FILTER (WHERE p.tenant_id <> e.tenant_id) AS strangers \
             FROM {log} e FULL JOIN {log}_position p USING (seq)"
        ))
        .await
        .remove(0);
    let events = &numbering["events"];
    let wanted = json!({
        "pending": 0, "events": events, "placed": events, "first": 1, "last": events, "head": events, "strangers": 0,
    });
    assert_eq!(numbering, wanted, "the numbering of {log} is not 1..n");
}

async fn positions_keep_the_order_of_versions(world: &World, log: &str) {
    let inversions = world
        .number(&format!(
            "SELECT count(*) FROM (SELECT version - row_number() OVER \
             (PARTITION BY e.tenant_id, kind, stream_id ORDER BY position) AS off \
             FROM {log} e JOIN {log}_position USING (seq)) AS q WHERE off <> 0"
        ))
        .await;
    assert_eq!(inversions, 0, "{log} shows versions of a stream out of order");
}

async fn read_models_are_their_folds(world: &World, folded: &BTreeMap<Key, Folded>) {
    let accounts: BTreeMap<Key, Value> = world
        .rows("SELECT tenant_id, id, name, balance, changes FROM accounts")
        .await
        .into_iter()
        .map(|row| (key(&row, "id"), json!([row["name"], row["balance"], row["changes"]])))
        .collect();
    let wanted = folded
        .iter()
        .filter(|(_, stream)| stream.state.open)
        .map(|(key, Folded { state, version, .. })| {
            (key.clone(), json!([state.name, state.balance, version]))
        })
        .collect();
    assert_eq!(accounts, wanted, "the table accounts is not what the events say");
    let notes: Vec<Value> = world
        .rows(
            "SELECT tenant_id, account_id, version, text FROM notes ORDER BY tenant_id, account_id, version",
        )
        .await;
    let wanted: Vec<Value> = folded
        .iter()
        .flat_map(|((tenant, id), stream)| {
            stream.notes.iter().map(move |(version, text)| {
                json!({ "tenant_id": tenant, "account_id": id, "version": version, "text": text })
            })
        })
        .collect();
    assert_eq!(notes, wanted, "the table notes is not what the events say");
}

fn key(row: &Value, id: &str) -> Key {
    (row["tenant_id"].as_str().unwrap().to_owned(), row[id].as_i64().unwrap())
}
