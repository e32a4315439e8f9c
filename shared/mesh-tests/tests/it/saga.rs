//! The saga from the first byte to the jobs, in processes that are killed at each of its named places: no step is
//! lost, done twice or stuck, and what is stored, counted and shown is the same.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use event_store::Sql;
use futures::future::{join, join_all};
use test_kit::eventually;

use crate::fleet::Fleet;
use crate::sender::{File, Sender, jpeg};
use crate::support::PATIENCE;

const SERVICES: [&str; 5] = ["identity", "projects", "media", "billing", "gateway"];
/// Who imports at the same time: where one waits for a dead worker's claim to end, others come to the next place.
const IMPORTERS: usize = 3;

/// Where media dies: its own places, and those of every service. After the death of a job its claim is waited for, so
/// these are not one after the other.
const IN_MEDIA: [&str; 30] = [
    "media.keep.declared:2",
    "media.tus.stored:1",
    "media.tus.stored:2",
    "media.keep.declared:1",
    "media.keep.stored:1",
    "media.keep.stored:2",
    "media.sweep.deleted:1",
    "media.sweep.pieces:1",
    "es.append.before_rows:1",
    "es.append.before_rows:4",
    "media.prepare.stored:1",
    "es.append.before_commit:1",
    "es.append.before_commit:2",
    "es.append.before_commit:3",
    "es.append.before_commit:5",
    "media.prepare.assembled:1",
    "es.append.before_commit:8",
    "es.append.after_commit:1",
    "es.append.after_commit:2",
    "es.append.after_commit:3",
    "media.prepare.before_end:1",
    "es.append.after_commit:5",
    "es.append.after_commit:8",
    "es.sequencer.before_commit:1",
    "es.sequencer.before_commit:4",
    "media.prepare.after_end:1",
    "es.sequencer.after_commit:1",
    "es.sequencer.after_commit:4",
    "bus.consumer.before_commit:1",
    "bus.consumer.after_commit:1",
];
/// Where projects dies while it takes in what media says.
const IN_PROJECTS: [&str; 10] = [
    "bus.consumer.before_commit:1",
    "bus.consumer.before_commit:2",
    "bus.consumer.before_commit:3",
    "bus.consumer.after_commit:1",
    "bus.consumer.after_commit:2",
    "bus.consumer.after_commit:3",
    "es.append.before_rows:2",
    "es.append.after_commit:2",
    "es.sequencer.before_commit:2",
    "es.sequencer.after_commit:2",
];
/// Where billing dies while it counts.
const IN_BILLING: [&str; 4] = [
    "bus.consumer.before_commit:1",
    "bus.consumer.before_commit:3",
    "bus.consumer.after_commit:1",
    "bus.consumer.after_commit:3",
];
/// With a broker, where each of them dies while it publishes.
const IN_PUBLISHERS: [&str; 2] = ["bus.publisher.before_send:2", "bus.publisher.after_ack:2"];

/// What a broker has a part in: what was told just before a death or just not, and what was taken in. Each death costs
/// the ten seconds after which a group misses its member, so one of a kind is enough.
fn with_a_broker(death: &&str) -> bool {
    death.ends_with("_end:1") || death.starts_with("bus.consumer.") && death.ends_with(":1")
}

fn sender(fleet: &Fleet) -> Sender {
    Sender::new(&fleet.url, "admin", "correct horse battery")
}

/// What came of an import.
struct Imported {
    task: i64,
    files: Vec<File>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Finished,
    /// Finished, and the task was deleted afterwards.
    Deleted,
    Failed,
}

const OUTCOMES: [Outcome; 3] = [Outcome::Deleted, Outcome::Finished, Outcome::Failed];

/// A task's whole life up to an outcome.
async fn live(sender: &Sender, name: &str, outcome: Outcome) -> Imported {
    let task = sender.task().await;
    let bad = outcome == Outcome::Failed;
    let files = vec![
        // The same bytes in every task.
        ("a.jpg", jpeg("the same", 0)),
        // Too large for the memory.
        ("b.jpg", jpeg(&format!("b of {name}"), 1_100_000)),
        ("c.jpg", if bad { b"no picture at all".to_vec() } else { jpeg(&format!("c of {name}"), 0) }),
    ];
    let request = sender.import(task, &files).await;
    let ended = sender.ended(task, &request).await;
    if bad {
        assert_eq!(ended["status"], "failed", "{ended}");
        assert!(ended["message"].as_str().unwrap().starts_with("c.jpg: it is not a picture"), "{ended}");
        sender.has_nothing(task).await;
        return Imported { task, files, outcome };
    }
    assert_eq!(ended["status"], "finished", "{ended}");
    sender.has_all(task, &files).await;
    if outcome == Outcome::Deleted {
        sender.delete(task).await;
    }
    Imported { task, files, outcome }
}

/// Lets tasks live, one after the other at several hands, while services die.
async fn meanwhile(fleet: &mut Fleet, victim: &'static str, deaths: &[&str]) -> Vec<Imported> {
    let (sender, over) = (&sender(fleet), &Cell::new(false));
    let importing = join_all((0..IMPORTERS).map(|hand| async move {
        let mut imported = vec![];
        while !over.get() {
            let number = imported.len();
            let outcome = OUTCOMES[(hand + number) % OUTCOMES.len()];
            imported.push(live(sender, &format!("{victim} {hand} {number}"), outcome).await);
        }
        imported
    }));
    let dying = async {
        fleet.die_at(victim, deaths).await;
        over.set(true);
    };
    join(importing, dying).await.0.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_of_its_places_the_saga_loses_doubles_and_keeps_nothing() {
    let mut fleet = Fleet::start(&SERVICES, vec![]).await;
    let mut all = vec![];
    for (victim, deaths) in
        [("media", &IN_MEDIA[..]), ("projects", &IN_PROJECTS[..]), ("billing", &IN_BILLING[..])]
    {
        let mut deaths = deaths.to_vec();
        if fleet.on_kafka() {
            deaths.retain(with_a_broker);
            deaths.extend(IN_PUBLISHERS);
        }
        all.extend(meanwhile(&mut fleet, victim, &deaths).await);
    }
    let sender = sender(&fleet);
    for Imported { task, files, outcome } in &all {
        match outcome {
            Outcome::Finished => sender.has_all(*task, files).await,
            Outcome::Failed => sender.has_nothing(*task).await,
            Outcome::Deleted => {
                sender.send("GET", &format!("/api/tasks/{task}"), &[], vec![]).await.expect(404);
            }
        }
    }
    for outcome in OUTCOMES {
        let count = all.iter().filter(|imported| imported.outcome == outcome).count();
        eprintln!("{count} tasks: {outcome:?}");
        assert!(count > 0, "{outcome:?} was not tried");
    }
    nobody_is_late(&mut fleet, 0).await;
    let kept: BTreeSet<&[u8]> = all
        .iter()
        .filter(|imported| imported.outcome == Outcome::Finished)
        .flat_map(|imported| imported.files.iter().map(|(_, content)| content.as_slice()))
        .collect();
    only_these_are_stored(&fleet, &kept).await;
    for Imported { task, outcome, .. } in &all {
        if *outcome != Outcome::Deleted {
            sender.delete(*task).await;
        }
    }
    nobody_is_late(&mut fleet, all.len()).await;
    only_these_are_stored(&fleet, &BTreeSet::new()).await;
    counted(&fleet, &all).await;
}

#[derive(diesel::QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

async fn number(database: &mut AsyncPgConnection, sql: &'static str) -> i64 {
    let row: Number = Sql::fixed(sql).get_result(database).await.unwrap();
    row.number
}

/// When so many tasks are gone, ten minutes pass, after which nobody can be about to use what was declared by who is
/// dead; and a day, after which nobody can be at a file that arrived in part.
async fn nobody_is_late(fleet: &mut Fleet, gone: usize) {
    let mut database = fleet.database("media").await;
    let began = std::time::Instant::now();
    let sql = "SELECT count(*) AS number FROM es_contract WHERE event_type = 'media.task_data_removed.v1'";
    while number(&mut database, sql).await < gone as i64 {
        assert!(began.elapsed() < PATIENCE, "media has not heard of all deletions");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let released = "SELECT count(*) AS number FROM es_job WHERE name = 'media.release'";
    while number(&mut database, released).await > 0 {
        assert!(began.elapsed() < PATIENCE, "media has not given back what was deleted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let past = "UPDATE blob SET wanted_at = wanted_at - interval '11 minutes' WHERE uses = 0; \
        UPDATE upload_remains SET gone_at = gone_at - interval '11 minutes'; \
        UPDATE es_job SET due_at = now() WHERE name = 'media.sweep'";
    database.batch_execute(past).await.unwrap();
    fleet.kill("media");
    let yesterday = SystemTime::from(event_store::Clock::system().now()) - Duration::from_secs(25 * 3600);
    for path in files(&fleet.data.join("media/incoming")) {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(yesterday).unwrap();
    }
    fleet.revive("media", None);
    fleet.ready().await;
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] })
        .collect()
}

/// Insists that these bytes are in the storage, each once, and nothing else; and that the rows and the tenant's
/// level say the same.
async fn only_these_are_stored(fleet: &Fleet, kept: &BTreeSet<&[u8]>) {
    let folder = fleet.data.join("media");
    let there = || files(&folder).len();
    let began = std::time::Instant::now();
    while there() != kept.len() {
        assert!(
            began.elapsed() < PATIENCE,
            "{} pictures are used, and here are {:#?}",
            kept.len(),
            files(&folder)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let contents: Vec<Vec<u8>> = files(&folder).iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(contents.iter().map(Vec::as_slice).collect::<BTreeSet<_>>() == *kept);
    let mut database = fleet.database("media").await;
    let bytes: i64 = kept.iter().map(|content| content.len() as i64).sum();
    for (sql, expected) in [
        ("SELECT count(*) AS number FROM blob", kept.len() as i64),
        ("SELECT count(*) AS number FROM upload_file", 0),
        ("SELECT count(*) AS number FROM upload_remains", 0),
        ("SELECT coalesce(sum(size), 0)::bigint AS number FROM blob", bytes),
        ("SELECT (state->>'bytes')::bigint AS number FROM es_stream WHERE kind = 'storage'", bytes),
        ("SELECT count(*) AS number FROM inbox_parked", 0),
    ] {
        assert_eq!(number(&mut database, sql).await, expected, "{sql}");
    }
}

/// Insists that billing has counted what was done, and the level of the storage over time, exactly.
async fn counted(fleet: &Fleet, all: &[Imported]) {
    let admin = fleet.admin();
    let finished = all.iter().filter(|imported| imported.outcome != Outcome::Failed).count();
    for (meter, expected) in [("tasks", all.len()), ("frames", 3 * finished), ("jobs", 2 * finished)] {
        eventually(&format!("{expected} {meter} are counted"), PATIENCE, async || {
            (used(&admin, meter).await == expected.to_string()).then_some(())
        })
        .await;
    }
    #[derive(diesel::QueryableByName)]
    struct Level {
        #[diesel(sql_type = Timestamptz)]
        at: chrono::DateTime<chrono::Utc>,
        #[diesel(sql_type = BigInt)]
        bytes: i64,
    }
    let mut database = fleet.database("media").await;
    let levels: Vec<Level> = Sql::fixed(
        "SELECT occurred_at AS at, (data->>'bytes')::bigint AS bytes FROM es_contract \
         WHERE event_type = $1 ORDER BY version",
    )
    .bind::<Text>("media.storage_changed.v1")
    .load(&mut database)
    .await
    .unwrap();
    let peak = levels.iter().map(|level| level.bytes).max().unwrap();
    assert_eq!(used(&admin, "storage_bytes_peak").await, peak.to_string());
    let last = levels.last().unwrap().bytes.to_string();
    let limits = admin.get("/v1/limits").await.expect(200);
    let mut limits = limits["items"].as_array().unwrap().iter();
    let storage = limits.find(|limit| limit["key"] == "storage_bytes").unwrap();
    assert_eq!((&storage["used"], &storage["reserved"]), (&last.into(), &"0".into()));
    // Nothing is stored any more, so nothing is added any more.
    assert_eq!(levels.last().unwrap().bytes, 0);
    let (mut sum, mut clock) = (0_i128, levels[0].at);
    for pair in levels.windows(2) {
        let until = pair[1].at.max(clock);
        sum += i128::from(pair[0].bytes) * i128::from((until - clock).num_microseconds().unwrap());
        clock = until;
    }
    let value: f64 = used(&admin, "storage_gb_hours").await.parse().unwrap();
    let expected = sum as f64 / 3.6e18;
    assert!((value - expected).abs() < 1e-11 && value > 0.0, "{value} GB hours are not {expected}");
}

/// The newest window's value of a meter.
async fn used(admin: &test_kit::Client, meter: &str) -> String {
    let usage = admin.get(&format!("/v1/usage?meter={meter}")).await.expect(200);
    usage["items"].as_array().unwrap().last().unwrap()["value"].as_str().unwrap().to_owned()
}
