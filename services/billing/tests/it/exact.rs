//! Usage is exact however the events arrive: late, shuffled across streams, twice, in any pieces.

use billing::domain::curve::Window;
use billing::domain::windows::{Span, windows};
use billing::meters::METERS;
use contracts::{Envelope, TenantId};
use event_store::Store;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Happened, at, counted, store, stream, take, values};

/// Seconds after the beginning at which it is asked.
const NOW: i64 = 6_130;

/// Histories of several streams, with times that meet boundaries often and sometimes run backwards.
fn histories() -> impl Strategy<Value = Vec<Vec<(i64, Happened)>>> {
    let second = || (0_i64..100).prop_map(|n| n * 60);
    let user = |id: i64| {
        let word = prop_oneof![3 => Just(Some(true)), 2 => Just(Some(false)), 1 => Just(None)];
        prop::collection::vec((second(), word), 0..5).prop_map(move |words| {
            let mut history: Vec<_> =
                words.into_iter().map(|(s, active)| (s, Happened::User { id, active })).collect();
            if let Some((_, Happened::User { active, .. })) = history.first_mut() {
                // Whoever is deleted was registered before.
                *active = Some(active.unwrap_or(true));
            }
            history
        })
    };
    let stored =
        prop::collection::vec((second(), (0_i64..5).prop_map(|n| Happened::Stored(n * 1_000_000))), 0..6);
    let tasks = prop::collection::vec(
        (second(), prop::option::of(1_i64..3).prop_map(|project| Happened::Task { project })),
        0..6,
    );
    let annotated =
        prop::collection::vec((second(), (0_i64..9).prop_map(|shapes| Happened::Annotated { shapes })), 0..4);
    let jobs = prop::collection::vec((second(), Just(Happened::Job)), 0..4);
    let frames = (0_i64..7).prop_map(|frames| Happened::Imported { frames });
    let imported = prop::collection::vec((second(), frames), 0..4);
    let calls = (0_i64..9, 0_i64..9).prop_map(|(reads, writes)| Happened::Called { reads, writes });
    let called = prop::collection::vec((second(), calls), 0..4);
    let delivered = prop::collection::vec((second(), Just(Happened::Delivered)), 0..4);
    let users = (user(1), user(2), user(3)).prop_map(|(one, two, three)| vec![one, two, three]);
    let others = (stored, tasks, annotated, jobs, imported, called, delivered).prop_map(
        |(stored, tasks, annotated, jobs, imported, called, delivered)| {
            vec![stored, tasks, annotated, jobs, imported, called, delivered]
        },
    );
    (users, others).prop_map(|(users, others)| [users, others].concat())
}

/// An order that keeps that of each stream: which stream is next, again and again; each event may come once more,
/// at once and later.
fn arrange(mut streams: Vec<Vec<Envelope>>, dice: &[u8], twice: bool) -> Vec<Vec<Envelope>> {
    for stream in &mut streams {
        stream.reverse();
    }
    let (mut batches, mut batch, mut old) = (vec![], vec![], vec![]);
    for (throw, die) in dice.iter().cycle().enumerate() {
        streams.retain(|stream| !stream.is_empty());
        if streams.is_empty() {
            break;
        }
        let chosen = (usize::from(*die) + throw) % streams.len();
        let Some(event) = streams[chosen].pop() else { continue };
        batch.push(event.clone());
        if twice {
            batch.push(event.clone());
            old.push(event);
        }
        if die % 3 == 0 {
            batches.push(std::mem::take(&mut batch));
            batches.push(old.clone());
        }
    }
    batches.push(batch);
    batches.push(old);
    batches
}

fn asked() -> Vec<Window> {
    let mut asked = windows(at(-1_800), at(7_200), Span::Hour, "Asia/Kolkata".parse().unwrap()).unwrap();
    asked.push((asked.last().unwrap().1, at(90_000)));
    asked
}

/// All values of all meters.
async fn everything(store: &Store, tenant: TenantId) -> Vec<Vec<i128>> {
    let mut all = vec![];
    for meter in METERS {
        all.push(values(store, tenant, meter.name, &asked(), NOW).await);
    }
    all
}

#[test]
fn usage_is_what_happened_however_it_arrives() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let store = runtime.block_on(store());
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let input = (histories(), prop::collection::vec(any::<u8>(), 1..40), any::<bool>());
    let outcome = runner.run(&input, |(histories, dice, twice)| {
        let expected: Vec<Vec<i128>> = METERS
            .iter()
            .map(|meter| asked().iter().map(|window| counted(&histories, meter.name, window, NOW)).collect())
            .collect();
        runtime.block_on(async {
            // The same events in order and once, and arranged anew: two tenants that have the same history.
            for dice in [None, Some(&dice)] {
                let tenant = TenantId(event_store::new_id());
                let streams: Vec<Vec<Envelope>> =
                    histories.iter().map(|history| stream(tenant, history, 100)).collect();
                let batches = match dice {
                    None => vec![streams.into_iter().flatten().collect()],
                    Some(dice) => arrange(streams, dice, twice),
                };
                for batch in batches {
                    take(&store, &batch).await;
                }
                prop_assert_eq!(&everything(&store, tenant).await, &expected);
            }
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_is_set_aside_and_the_others_count() {
    let (store, tenant) = (store().await, TenantId(event_store::new_id()));
    let tasks = |first| stream(tenant, &[(0, Happened::Task { project: None })], first);
    let mut bad = stream(tenant, &[(5, Happened::Stored(7))], 0);
    bad[0].data = serde_json::value::RawValue::from_string(r#"{"bytes":-7}"#.into()).unwrap();
    let batch: Vec<_> = tasks(100).into_iter().chain(bad).chain(tasks(101)).collect();
    let taken = take(&store, &batch).await;
    assert_eq!((taken.handled, taken.parked), (2, 1));
    let window = [(at(0), at(900))];
    assert_eq!(values(&store, tenant, "tasks", &window, NOW).await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_on_a_boundary_is_in_the_window_that_begins_there() {
    let (store, tenant) = (store().await, TenantId(event_store::new_id()));
    take(&store, &stream(tenant, &[(3_600, Happened::Task { project: None })], 100)).await;
    let user =
        [(0, Happened::User { id: 7, active: Some(true) }), (3_600, Happened::User { id: 7, active: None })];
    take(&store, &stream(tenant, &user, 0)).await;
    let hours = [(at(0), at(3_600)), (at(3_600), at(7_200))];
    assert_eq!(values(&store, tenant, "tasks", &hours, 9_000).await, [0, 1]);
    assert_eq!(values(&store, tenant, "seats", &hours, 9_000).await, [1, 0]);
    assert_eq!(values(&store, tenant, "seats_peak", &hours, 9_000).await, [1, 0]);
    assert_eq!(values(&store, tenant, "seat_hours", &hours, 9_000).await, [3_600_000_000, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenants_usage_is_nothing_in_another() {
    let (store, one) = (store().await, TenantId(event_store::new_id()));
    let other = TenantId(event_store::new_id());
    take(&store, &stream(one, &[(0, Happened::Task { project: None })], 100)).await;
    take(&store, &stream(one, &[(0, Happened::Stored(5))], 0)).await;
    let window = [(at(0), at(900))];
    assert_eq!(values(&store, one, "tasks", &window, NOW).await, [1]);
    for meter in METERS {
        assert_eq!(values(&store, other, meter.name, &window, NOW).await, [0], "{}", meter.name);
    }
}
