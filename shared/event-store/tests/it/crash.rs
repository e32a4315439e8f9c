//! Processes that are killed, as by a power cut, at named places and at any time: what was acknowledged is
//! stored, what is stored was wanted, and whoever comes next goes on from there.
//!
//! The process that dies is this test program, started once more to play a part (see [`play_a_part`]).

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use event_store::lease::Lease;
use event_store::log::{self, LogFilter};
use event_store::{DatabaseUrls, Store};
use futures::future::join_all;

use crate::account::{AccountCommand, registry};
use crate::check::assert_consistent;
use crate::consumer::Consumer;
use crate::inbox::a_log;
use crate::world::{Dice, World, connect, execute, open, sequencers};
use test_kit::eventually::eventually;

/// Set for a child: its part, and the database's URLs.
const PART: &str = "EVENT_STORE_TEST_PART";
const URLS: &str = "EVENT_STORE_TEST_URLS";

const CONSUMER: &str = "tests.seen@1";
const WRITERS: i64 = 4;

/// What a child said before it died.
struct Said(Vec<(String, String)>);

impl Said {
    fn all(&self, word: &str) -> BTreeSet<String> {
        self.0.iter().filter(|(said, _)| said == word).map(|(_, what)| what.clone()).collect()
    }
}

fn say(word: &str, what: &str) {
    println!("{word} {what}");
}

/// How a child ends.
#[derive(Clone, Copy, Debug)]
enum Death {
    At(&'static str),
    /// When so much of what it did was accepted, and so long afterwards.
    After(usize, Duration),
}

/// Starts a child in a part and waits for its death; returns when none of its sessions is left.
async fn play(world: &World, part: &str, death: Death) -> Said {
    let DatabaseUrls { owner, runtime, kernel } = &world.database.urls;
    let urls = [owner, runtime, kernel].map(|url| format!("{url}?application_name=child")).join(" ");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::play_a_part", "--nocapture"]).env(PART, part).env(URLS, urls);
    if let Death::At(place) = death {
        command.env("ANNOMESH_FAIL_POINT", place);
    }
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let watched = tokio::task::spawn_blocking(move || {
        let (mut said, mut accepted) = (vec![], 0);
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            said.extend(line.split_once(' ').map(|(word, what)| (word.to_owned(), what.to_owned())));
            accepted += usize::from(line.starts_with("took "));
            if let Death::After(enough, pause) = death
                && accepted == enough
                && line.starts_with("took ")
            {
                std::thread::sleep(pause);
                child.kill().unwrap();
            }
        }
        (said, child.wait().unwrap().signal())
    });
    let (said, signal) = tokio::time::timeout(Duration::from_secs(30), watched).await.unwrap().unwrap();
    assert_eq!(signal, Some(9), "{part} did not come to {death:?}");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'child' AND datname = current_database()";
    eventually("its sessions end", Duration::from_secs(30), async || {
        (world.number(sessions).await == 0).then_some(())
    })
    .await;
    Said(said)
}

/// Not a test of its own: what a child does until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn play_a_part() {
    let Some(part) = std::env::var_os(PART) else { return };
    let urls = std::env::var_os(URLS).unwrap().into_string().unwrap();
    let [owner, runtime, kernel] = urls.split(' ').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
    let store = connect(&DatabaseUrls { owner, runtime, kernel }, 8, registry()).await;
    match part.to_str().unwrap() {
        "write" => {
            let _running = sequencers([store.clone()]);
            join_all((1..=WRITERS).map(|writer| write_for_ever(&store, writer))).await;
        }
        "consume" => consume(&store).await,
        "rebuild" => {
            store.rebuild("accounts").await.unwrap();
        }
        "lease" => {
            let _lease = Lease::acquire(&store, "publisher", "child").await.unwrap();
            say("took", "the lease");
            std::future::pending::<()>().await;
        }
        other => panic!("{other}"),
    }
}

async fn write_for_ever(store: &Store, id: i64) {
    for n in 0.. {
        let text = format!("{}-{id}-{n}", std::process::id());
        say("sent", &text);
        execute(store, id, AccountCommand::Note(text.clone())).await.unwrap();
        say("took", &text);
    }
}

async fn consume(store: &Store) {
    let consumer = Consumer::new(store.clone(), CONSUMER);
    loop {
        let after = consumer.place().await.position;
        let page = log::read(store, after, 5, &LogFilter::default()).await.unwrap();
        consumer.take(&page.events).await.unwrap();
    }
}

/// A world with an account for each writer.
async fn with_accounts() -> World {
    let world = World::new().await;
    for id in 1..=WRITERS {
        execute(&world.store, id, AccountCommand::Open(format!("account {id}"))).await.unwrap();
    }
    world
}

async fn assert_nothing_missing_and_nothing_invented(world: &World, said: &[Said]) {
    assert_consistent(world).await;
    let stored: BTreeSet<String> = world
        .rows("SELECT data ->> 'text' AS text FROM es_event WHERE event_type = 'noted'")
        .await
        .iter()
        .map(|row| row["text"].as_str().unwrap().to_owned())
        .collect();
    let accepted: BTreeSet<_> = said.iter().flat_map(|said| said.all("took")).collect();
    let sent: BTreeSet<_> = said.iter().flat_map(|said| said.all("sent")).collect();
    assert!(accepted.len() > 5, "it died before it did anything");
    assert_eq!(accepted.difference(&stored).collect::<Vec<_>>(), Vec::<&String>::new(), "lost");
    assert_eq!(stored.difference(&sent).collect::<Vec<_>>(), Vec::<&String>::new(), "invented");
    assert!(stored.len() - accepted.len() <= said.len() * WRITERS as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_killed_at_any_named_place_loses_no_accepted_command_and_stores_no_half_of_one() {
    for place in [
        "es.append.before_rows:20",
        "es.append.before_commit:20",
        "es.append.after_commit:20",
        "es.sequencer.before_commit:12",
        "es.sequencer.after_commit:12",
    ] {
        let world = with_accounts().await;
        let said = play(&world, "write", Death::At(place)).await;
        assert_nothing_missing_and_nothing_invented(&world, &[said]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_killed_at_any_time_one_after_the_other_lose_and_invent_nothing() {
    let world = with_accounts().await;
    let mut dice = Dice::new(3);
    let mut all = vec![];
    for _ in 0..6 {
        let pause = Duration::from_micros(dice.below(20_000));
        all.push(play(&world, "write", Death::After(25, pause)).await);
    }
    assert_nothing_missing_and_nothing_invented(&world, &all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_killed_between_its_handlers_and_its_commit_reads_the_batch_again() {
    for (place, taken) in [("bus.consumer.before_commit:3", 10), ("bus.consumer.after_commit:3", 15)] {
        let world = World::new().await;
        let log = a_log(&world).await;
        play(&world, "consume", Death::At(place)).await;
        let consumer = Consumer::new(world.store.clone(), CONSUMER);
        let position = consumer.place().await.position;
        assert_eq!((position, consumer.seen(&world).await.len()), (taken, taken as usize), "{place}");
        consumer.take(&log[taken as usize..]).await.unwrap();
        consumer.assert_has_seen(&world, &log).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_killed_before_its_swap_leaves_the_live_table_and_the_next_one_succeeds() {
    for place in ["es.rebuild.locked", "es.rebuild.before_commit"] {
        let world = World::new().await;
        let id = open(&world.store, "alice").await;
        execute(&world.store, id, AccountCommand::DepositEach(50)).await.unwrap();
        play(&world, "rebuild", Death::At(place)).await;
        let leftovers = "SELECT count(*) FROM pg_class WHERE relname = 'accounts' AND relnamespace = 'rebuild'::regnamespace";
        assert_eq!(world.number(leftovers).await, 1, "{place} proves nothing");
        assert_consistent(&world).await;
        execute(&world.store, id, AccountCommand::Deposit(1)).await.unwrap();
        assert_eq!(world.store.rebuild("accounts").await.unwrap(), Some(52));
        assert_consistent(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_killed_process_is_free_at_once() {
    let world = World::new().await;
    play(&world, "lease", Death::After(1, Duration::ZERO)).await;
    let began = Instant::now();
    let lease = Lease::acquire(&world.store, "publisher", "heir").await.unwrap();
    assert_eq!(lease.fence, 2);
    assert!(began.elapsed() < Duration::from_secs(5));
}
