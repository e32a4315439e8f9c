//! Processes of their own, to be killed, stopped and weighed: this test program, started once more to play a part.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bus::kafka::Settings;
use event_store::{DatabaseUrls, Store};

use crate::kafka_broker::signal;
use crate::kafka_world::{connect, dawdling_of, peer, urls_of};

/// The part, and what it is played with, one `name=value` a line.
const PART: &str = "BUS_TEST_PART";
/// How long a child may take to come to its fail point.
const LIMIT: Duration = Duration::from_secs(120);

/// A child; killed when it is dropped.
pub struct Child(std::process::Child);

impl Child {
    /// Starts a publisher of `store`, which dies at a fail point such as `bus.publisher.after_ack:2`.
    pub fn publisher(store: &Store, settings: &Settings, death: Option<&str>) -> Self {
        Self::start("publish", store, settings, death, &[])
    }

    /// Starts a member of the consumer that notes what `producer` says, and takes its time, so that it can be
    /// stopped in the middle; `base` is its mesh port.
    pub fn member(store: &Store, settings: &Settings, producer: &Store, base: &str) -> Self {
        Self::start("consume", store, settings, None, &[("producer", producer.service()), ("base", base)])
    }

    fn start(
        part: &str,
        store: &Store,
        settings: &Settings,
        death: Option<&str>,
        more: &[(&str, &str)],
    ) -> Self {
        let DatabaseUrls { owner, runtime, kernel } = urls_of(store);
        let urls = [("owner", owner), ("runtime", runtime), ("kernel", kernel)]
            .map(|(name, url)| format!("{name}={url}?application_name=child\n"));
        let more: String = more.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let given = format!(
            "part={part}\nservice={}\nbrokers={}\n{}{more}",
            store.service(),
            settings.brokers,
            urls.concat()
        );
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child::play_a_part", "--nocapture"]).env(PART, given);
        command.env_remove("ANNOMESH_FAIL_POINT").envs(death.map(|death| ("ANNOMESH_FAIL_POINT", death)));
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    pub fn is_dead(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Waits until it has killed itself at its fail point.
    pub async fn until_dead(mut self) {
        let began = Instant::now();
        while !self.is_dead() {
            assert!(began.elapsed() < LIMIT, "it does not come to its end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let status = self.0.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{status}");
    }

    /// Lets it stand still, in the middle of whatever it does.
    pub fn pause(&self) {
        signal(self.0.id(), "STOP");
    }

    /// Lets it go on after [`Child::pause`].
    pub fn go_on(&self) {
        signal(self.0.id(), "CONT");
    }

    /// What it takes of the machine's memory, in MiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Already dead, it cannot be killed, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test of its own: what a child does until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn play_a_part() {
    let Some(given) = std::env::var_os(PART) else { return };
    let given = given.into_string().unwrap();
    let given: BTreeMap<&str, &str> = given.lines().filter_map(|line| line.split_once('=')).collect();
    let url = |role: &str| given[role].to_owned();
    let urls = DatabaseUrls { owner: url("owner"), runtime: url("runtime"), kernel: url("kernel") };
    let leaked = |name: &str| -> &'static str { given[name].to_owned().leak() };
    let store = connect(leaked("service"), urls).await;
    let settings = Settings::new(given["brokers"]);
    match given["part"] {
        "publish" => bus::publisher::run(store, settings, "child".into()).await,
        "consume" => {
            let producer = leaked("producer");
            let peers = vec![peer(producer, given["base"])];
            bus::kafka::run(store, dawdling_of(&[producer]), peers, settings).await;
        }
        other => panic!("{other}"),
    }
}
