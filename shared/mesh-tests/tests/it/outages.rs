//! Services and the broker are away in the middle of an import, or stand still. Then they are back, and so is
//! everything: no request stays as it was, and nobody is told a thing that is not so.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::future::join;

use crate::fleet::{Fleet, send_signal};
use crate::sender::{File, Sender, data, jpeg};
use crate::support::{PATIENCE, ports, root, unique};

const SERVICES: [&str; 5] = ["identity", "projects", "media", "billing", "gateway"];
/// Longer than a claim of a job (6 s) and than a question between services is waited for (2 and 3 s): every time-out
/// that is in the saga is over, and a minute would show no more.
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

/// Asks about what was made a moment ago, until it is known: nobody may deny it, whoever is away.
async fn is_known(sender: &Sender, method: &str, path: &str, headers: &[(&str, &str)]) {
    let (mut asked, began) = (0, std::time::Instant::now());
    loop {
        let answer = sender.raw(method, path, headers, vec![]).await.unwrap();
        asked += 1;
        match answer.status {
            200 | 202 => break,
            502..=504 => assert!(began.elapsed() < PATIENCE, "{method} {path}: {}", answer.text()),
            status => panic!("{method} {path}: {status} {}", answer.text()),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eprintln!("{method} {path} was answered {:?} later, at the {asked}. time", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_in_the_middle_of_an_import_is_waited_for() {
    let mut fleet = Fleet::start(&SERVICES, vec![]).await;
    let sender = &sender(&fleet);
    for (name, how, time) in [
        ("projects", Away::Killed, Duration::from_secs(3)),
        ("media", Away::Killed, Duration::from_secs(3)),
        ("projects", Away::StandingStill, AWAY),
        ("media", Away::StandingStill, AWAY),
    ] {
        let (task, files) = (sender.task().await, &pictures());
        let request = &sender.import(task, files).await;
        let new = sender.task().await;
        let waiting = async {
            let ended = sender.ended(task, request).await;
            assert_eq!(ended["status"], "finished", "{name} {how:?}: {ended}");
            // Not a moment later.
            sender.has_all(task, files).await;
        };
        let (upload, poll) = (data(new), format!("/api/requests/{request}"));
        let knowing = join(
            is_known(sender, "POST", &upload, &[("Upload-Start", "")]),
            is_known(sender, "GET", &poll, &[]),
        );
        join(away(&mut fleet, name, how, time), join(waiting, knowing)).await;
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
async fn a_broker_that_is_away_in_the_middle_of_an_import_is_waited_for() {
    if test_kit::servers::brokers().is_none() {
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
            assert_eq!(
                (&open_ended["status"], &late_ended["status"]),
                (&"finished".into(), &"finished".into())
            );
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
