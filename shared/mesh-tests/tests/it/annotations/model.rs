//! Random requests against a model in memory: what the service shows, at any version, is what the model says,
//! also after the read model was made anew from the log.

use std::collections::BTreeMap;

use projects::domain::annotations::Annotations;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::bench::{Bench, path};

const KINDS: [&str; 3] = ["tags", "shapes", "tracks"];

/// How many of each kind come, and which of those that are there are meant.
#[derive(Clone, Debug)]
enum Step {
    Create([usize; 3]),
    Update(Vec<(usize, Index)>),
    Delete(Vec<(usize, Index)>),
    Replace([usize; 3]),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let counts = || prop::array::uniform3(0..4_usize);
    let picks = || prop::collection::vec((0..3_usize, any::<Index>()), 0..5);
    let step = prop_oneof![
        4 => counts().prop_map(Step::Create),
        3 => picks().prop_map(Step::Update),
        3 => picks().prop_map(Step::Delete),
        1 => counts().prop_map(Step::Replace),
        1 => Just(Step::Clear),
    ];
    prop::collection::vec(step, 1..12)
}

/// What a job has: by kind and id.
type Snapshot = BTreeMap<(&'static str, i64), Value>;

/// A job and what the model says that it had at each version.
struct Modelled {
    job: i64,
    versions: Vec<Snapshot>,
}

impl Modelled {
    fn now(&self) -> Snapshot {
        self.versions.last().cloned().unwrap_or_default()
    }

    /// Those that are meant, and for each kind an id that nobody has.
    fn picked(&self, picks: &[(usize, Index)]) -> Vec<(&'static str, i64)> {
        let now = self.now();
        let mut picked = vec![];
        for (kind, index) in picks {
            let there: Vec<i64> = now.keys().filter(|(k, _)| *k == KINDS[*kind]).map(|(_, id)| *id).collect();
            let id = if there.is_empty() { 1_000_000_000 } else { there[index.index(there.len())] };
            if !picked.contains(&(KINDS[*kind], id)) {
                picked.push((KINDS[*kind], id));
            }
        }
        picked
    }

    /// Notes what a request made of it; a request that changed nothing made no version.
    fn note(&mut self, removed: &[(&'static str, i64)], added: &Value) {
        let mut next = self.now();
        removed.iter().for_each(|key| drop(next.remove(key)));
        for kind in KINDS {
            for thing in added[kind].as_array().into_iter().flatten() {
                let fresh = next.insert((kind, thing["id"].as_i64().unwrap()), thing.clone()).is_none();
                assert!(fresh, "an id was given twice: {thing}");
            }
        }
        if next != self.now() {
            self.versions.push(next);
        }
    }
}

fn thing(bench: &Bench, kind: &str, n: usize) -> Value {
    let frame = n % 10;
    match kind {
        "tags" => json!({ "frame": frame, "label_id": bench.car, "group": n }),
        "shapes" => bench.rectangle(frame as i64, n as f64),
        _ => json!({ "frame": frame, "label_id": bench.tree, "shapes": [
            { "type": "points", "frame": frame, "points": [n, n] },
        ]}),
    }
}

fn things(bench: &Bench, counts: [usize; 3], salt: usize) -> Value {
    let list =
        |kind: usize| (0..counts[kind]).map(|n| thing(bench, KINDS[kind], salt + n)).collect::<Vec<_>>();
    json!({ "tags": list(0), "shapes": list(1), "tracks": list(2) })
}

/// Objects that name these ids.
fn naming(bench: &Bench, picked: &[(&'static str, i64)], salt: usize) -> Value {
    let mut body = json!({ "tags": [], "shapes": [], "tracks": [] });
    for (n, (kind, id)) in picked.iter().enumerate() {
        let mut thing = thing(bench, kind, salt + n);
        thing["id"] = (*id).into();
        body[*kind].as_array_mut().unwrap().push(thing);
    }
    body
}

async fn play(bench: &Bench, steps: &[Step]) -> Modelled {
    let mut modelled = Modelled { job: bench.job(10).await, versions: vec![Snapshot::new()] };
    let job = modelled.job;
    for (n, step) in steps.iter().enumerate() {
        let salt = n * 10;
        match step {
            Step::Create(counts) => {
                let added = bench.patch(job, "create", things(bench, *counts, salt)).await;
                assert_eq!(KINDS.map(|kind| added[kind].as_array().unwrap().len()), *counts);
                modelled.note(&[], &added);
            }
            Step::Update(picks) => {
                let picked = modelled.picked(picks);
                let added = bench.patch(job, "update", naming(bench, &picked, salt)).await;
                let count: usize = KINDS.iter().map(|kind| added[kind].as_array().unwrap().len()).sum();
                assert_eq!(count, picked.len());
                modelled.note(&picked, &added);
            }
            Step::Delete(picks) => {
                let picked = modelled.picked(picks);
                bench.patch(job, "delete", naming(bench, &picked, salt)).await;
                modelled.note(&picked, &Value::Null);
            }
            Step::Replace(counts) => {
                let gone: Vec<_> = modelled.now().into_keys().collect();
                let added = bench.put(job, things(bench, *counts, salt)).await;
                modelled.note(&gone, &added);
            }
            Step::Clear => {
                let gone: Vec<_> = modelled.now().into_keys().collect();
                bench.client.delete(&path(job)).await.expect(204);
                modelled.note(&gone, &Value::Null);
            }
        }
    }
    modelled
}

fn snapshot(data: &Value) -> Snapshot {
    let mut snapshot = Snapshot::new();
    for kind in KINDS {
        for thing in data[kind].as_array().unwrap() {
            snapshot.insert((kind, thing["id"].as_i64().unwrap()), thing.clone());
        }
    }
    snapshot
}

/// Compares everything that can be read of a job with the model.
async fn compare(bench: &Bench, modelled: &Modelled) {
    let Modelled { job, versions } = modelled;
    let newest = versions.len() as i64 - 1;
    let now = bench.get(*job).await;
    assert_eq!((now["version"].as_i64(), snapshot(&now)), (Some(newest), modelled.now()));
    for (version, wanted) in versions.iter().enumerate() {
        let then = bench.client.get(&format!("{}?version={version}", path(*job))).await.expect(200);
        assert_eq!((then["version"].as_u64(), snapshot(&then)), (Some(version as u64), wanted.clone()));
    }
    bench.client.get(&format!("{}?version={}", path(*job), newest + 1)).await.expect(404);
    let counts =
        |snapshot: &Snapshot| KINDS.map(|kind| snapshot.keys().filter(|(k, _)| *k == kind).count() as i64);
    let listed = bench.client.get(&format!("/v1/jobs/{job}/annotations/versions")).await.expect(200);
    let listed = listed["items"].as_array().unwrap().iter().map(|version| {
        let total = KINDS.map(|kind| version["total"][kind].as_i64().unwrap());
        (version["version"].as_i64().unwrap(), total)
    });
    let wanted = (1..).zip(versions[1..].iter().map(counts));
    assert_eq!(listed.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
    let state = bench.store().load::<Annotations>(bench.tenant, *job).await.unwrap().unwrap_or_default();
    let total = [state.total.tags, state.total.shapes, state.total.tracks];
    assert_eq!((state.version, total), (newest, counts(&modelled.now())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_is_what_the_model_says_at_every_version_and_after_a_rebuild() {
    let bench = Bench::start().await;
    let mut all = vec![];
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let outcome = tokio::task::block_in_place(|| {
        let all = std::sync::Mutex::new(&mut all);
        runner.run(&steps(), |steps| {
            Handle::current().block_on(async {
                let modelled = play(&bench, &steps).await;
                compare(&bench, &modelled).await;
                all.lock().unwrap().push(modelled);
            });
            Ok(())
        })
    });
    outcome.unwrap();
    for table in ["annotations", "annotation_versions"] {
        assert!(bench.store().rebuild(table).await.unwrap().unwrap() > 0);
    }
    for modelled in &all {
        compare(&bench, modelled).await;
        let changes = bench.told(modelled.job).await.len();
        assert_eq!(changes, modelled.versions.len() - 1, "one fact for each version");
    }
    bench.mesh.running.stop().await;
}
