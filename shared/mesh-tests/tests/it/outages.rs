//! Services and the broker are away in the middle of an import, or stand still. Then they are back, and so is
//! everything: no request stays as it was, and nobody is told a thing that is not so.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::future::join;

use crate::fleet::{Fleet, send_signal};
use crate::sender::{File, Sender, data, jpeg};
use crate::support::{ports, root, unique};

const SERVICES: [&str; 5] = ["identity", "projects", "media", "billing", "gateway"];
/// Longer than a claim of a job (6 s), than a question between services is waited for (2 and 3 s), and than a
/// member of a group may be silent on Kafka (see the broker's own test for that); a minute would show no more.
const AWAY: Duration = Duration::from_secs(8);

fn sender(fleet: &Fleet) -> Sender {
    Sender::new(&fleet.url, "admin", "correct horse battery")
}

/// Files of a task, the last of which is sent in pieces, so that there is something to prepare.
fn pictures() -> [File; 3] {
    let name = unique("picture");
    [
        ("a.jpg", jpeg(&format!("{name} a"), 0)),
        ("b.jpg", jpeg(&format!("{name} b"), 0)),
        ("c.jpg", jpeg(&format!("{name} c"), 300_000)),
    ]
}

/// How a service is away.
#[derive(Clone, Copy, Debug)]
enum Away {
    Killed,
    StandingStill,
}

async fn away(fleet: &mut Fleet, name: &str, how: Away, time: Duration) {
    match how {
        Away::Killed => fleet.kill(name),
        Away::StandingStill => fleet.signal(name, "STOP"),
    }
    tokio::time::sleep(time).await;
    match how {
        Away::Killed => fleet.revive(name, None),
        Away::StandingStill => fleet.signal(name, "CONT"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_in_the_middle_of_an_import_is_waited_for() {
    let mut fleet = Fleet::start(&SERVICES, vec![]).await;
    let sender = sender(&fleet);
    for (name, how) in [
        ("projects", Away::Killed),
        ("media", Away::Killed),
        ("projects", Away::StandingStill),
        ("media", Away::StandingStill),
    ] {
        let (task, files) = (sender.task().await, pictures());
        let request = sender.import(task, &files).await;
        let (ended, ()) = join(
            async {
                let ended = sender.ended(task, &request).await;
                // Not a moment later.
                sender.has_all(task, &files).await;
                ended
            },
            away(&mut fleet, name, how, AWAY),
        )
        .await;
        assert_eq!(ended["status"], "finished", "{name} {how:?}: {ended}");
    }
    fleet.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_made_a_moment_ago_is_never_unknown() {
    let mut fleet = Fleet::start(&SERVICES, vec![]).await;
    let sender = sender(&fleet);
    for how in [Away::Killed, Away::StandingStill] {
        let task = sender.task().await;
        let poll = async {
            // Whether media has heard of the task by now is left to chance; that it does not know is no answer.
            for _ in 0..4 {
                let answer = sender.raw("POST", &data(task), &[("Upload-Start", "")], vec![]).await.unwrap();
                assert!([202, 503].contains(&answer.status), "{how:?}: {} {}", answer.status, answer.text());
            }
        };
        join(poll, away(&mut fleet, "projects", how, Duration::from_secs(4))).await;
        fleet.ready().await;
        // And the other way round: what media has taken, projects may not deny.
        let files = pictures();
        let request = sender.import(task, &files).await;
        let path = format!("/api/requests/{request}");
        let poll = async {
            for _ in 0..4 {
                let answer = sender.raw("GET", &path, &[], vec![]).await.unwrap();
                assert!([200, 503].contains(&answer.status), "{how:?}: {} {}", answer.status, answer.text());
            }
        };
        join(poll, away(&mut fleet, "media", how, Duration::from_secs(4))).await;
        assert_eq!(sender.ended(task, &request).await["status"], "finished");
        sender.has_all(task, &files).await;
        fleet.ready().await;
    }
}

/// A broker of this test's own, because others would miss it.
struct Broker {
    run: PathBuf,
    ports: Vec<u16>,
}

impl Broker {
    fn start() -> Self {
        let broker = Self { run: std::env::temp_dir().join(unique("broker")), ports: ports(2) };
        assert!(broker.call("start"), "no broker can be started");
        broker
    }

    fn call(&self, what: &str) -> bool {
        let mut command = Command::new(root().join("infra/kafka/kafka.sh"));
        command.arg(what).env("BROKER_RUN_DIR", &self.run).stdin(Stdio::null()).stdout(Stdio::null());
        for (name, port) in ["BROKER_PORT", "BROKER_CONTROLLER_PORT"].into_iter().zip(&self.ports) {
            command.env(name, port.to_string());
        }
        command.status().is_ok_and(|status| status.success())
    }

    fn signal(&self, name: &str) {
        send_signal(std::fs::read_to_string(self.run.join("pid")).unwrap().trim().parse().unwrap(), name);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.call("stop");
        let _ = std::fs::remove_dir_all(&self.run);
    }
}

/// Longer than a request to the broker may take and than a member of a group may be silent.
const BROKER_AWAY: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a switch of the test run, not a setting of the product")]
async fn a_broker_that_is_away_in_the_middle_of_an_import_is_waited_for() {
    if std::env::var_os("TEST_KAFKA_BROKERS").is_none() {
        // Said by the fleets of the other tests.
        return;
    }
    let broker = tokio::task::spawn_blocking(Broker::start).await.unwrap();
    let address = format!("127.0.0.1:{}", broker.ports[0]);
    let fleet = Fleet::start_on(Some(address), &SERVICES, vec![]).await;
    let sender = sender(&fleet);
    let (task, files) = (sender.task().await, pictures());
    let request = sender.import(task, &files).await;
    sender.ended(task, &request).await;
    for killed in [false, true] {
        // One whose request is open, and one that is made while the broker is away: the pictures are taken in.
        let (open, late) = (sender.task().await, sender.task().await);
        let (of_open, of_late) = (pictures(), pictures());
        sender.start(late).await;
        let request = sender.import(open, &of_open).await;
        broker.signal(if killed { "KILL" } else { "STOP" });
        let importing = async {
            let late_request = sender.import(late, &of_late).await;
            let (open_ended, late_ended) =
                join(sender.ended(open, &request), sender.ended(late, &late_request)).await;
            assert_eq!((&open_ended["status"], &late_ended["status"]), (&"finished".into(), &"finished".into()));
            sender.has_all(open, &of_open).await;
            sender.has_all(late, &of_late).await;
        };
        let away = async {
            tokio::time::sleep(BROKER_AWAY).await;
            match killed {
                true => assert!(tokio::task::block_in_place(|| broker.call("start"))),
                false => broker.signal("CONT"),
            }
        };
        join(importing, away).await;
    }
}
