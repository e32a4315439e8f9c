//! The broker that the Kafka tests run on, one for this process; tests use it one after the other.
//!
//! `KAFKA_BROKERS` names one that runs already; otherwise `infra/kafka/kafka.sh` starts one of our own, which a
//! small watchdog ends when this process is gone, however it went.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use bus::kafka::Settings;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::{Mutex, MutexGuard};

static BROKER: OnceLock<Option<Node>> = OnceLock::new();
/// The machine is small, and one test stops the broker.
static TURN: Mutex<()> = Mutex::const_new(());

/// What clients of the port with SCRAM have to know.
pub const SCRAM_PASSWORD: &str = "a-password-of-tests";

struct Node {
    brokers: String,
    /// Where it runs, if it is ours to stop.
    own: Option<Own>,
}

struct Own {
    run: PathBuf,
    ports: Vec<String>,
}

impl Own {
    fn pid(&self) -> u32 {
        std::fs::read_to_string(self.run.join("pid")).unwrap().trim().parse().unwrap()
    }

    /// Starts the broker, on the data that it left if it ran before.
    fn start(&self) -> bool {
        let started = Command::new(script())
            .arg("start")
            .env("BROKER_RUN_DIR", &self.run)
            .env("BROKER_PORT", &self.ports[0])
            .env("BROKER_CONTROLLER_PORT", &self.ports[1])
            .env("BROKER_SCRAM_PORT", &self.ports[2])
            .env("BROKER_SCRAM_PASSWORD", SCRAM_PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        started.is_ok_and(|status| status.success())
    }
}

fn script() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../infra/kafka/kafka.sh")
}

/// One test's turn on the broker.
pub struct Broker {
    node: &'static Node,
    _turn: MutexGuard<'static, ()>,
}

/// Waits for this test's turn; `None`, after saying so, when there is no broker.
pub async fn take_turn() -> Option<Broker> {
    let turn = TURN.lock().await;
    let node = tokio::task::spawn_blocking(|| BROKER.get_or_init(find)).await.unwrap().as_ref();
    if node.is_none() {
        skipped("no broker (set KAFKA_BROKERS, or install Java 17 and Maven)");
    }
    Some(Broker { node: node?, _turn: turn })
}

/// Says so past the test harness, which keeps back what a test that passes prints.
fn skipped(why: &str) {
    use std::io::Write;
    std::io::stderr().write_all(format!("SKIPPED a test on Kafka: {why}\n").as_bytes()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "which broker a test uses is no setting of the product")]
fn find() -> Option<Node> {
    if let Ok(brokers) = std::env::var("KAFKA_BROKERS") {
        return Some(Node { brokers, own: None });
    }
    if !script().exists() {
        return None;
    }
    let run = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kafka-{}", std::process::id()));
    // Free ports; nobody else takes them in the second that it takes.
    let listeners: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port().to_string();
    let ports: Vec<String> = listeners.iter().map(port).collect();
    drop(listeners);
    let own = Own { run, ports };
    if !own.start() {
        return None;
    }
    // In the background and in a process group of its own, so that it outlives an interrupted test run.
    let watch =
        "(while kill -0 $0; do sleep 1; done; \"$1\" stop; rm -rf \"$BROKER_RUN_DIR\") >/dev/null 2>&1 &";
    let watching = Command::new("/bin/sh")
        .args(["-c", watch])
        .arg(std::process::id().to_string())
        .arg(script())
        .env("BROKER_RUN_DIR", &own.run)
        .process_group(0)
        .stdin(Stdio::null())
        .status();
    assert!(watching.is_ok_and(|status| status.success()));
    Some(Node { brokers: format!("127.0.0.1:{}", own.ports[0]), own: Some(own) })
}

impl Broker {
    pub fn settings(&self) -> Settings {
        Settings::new(self.node.brokers.clone())
    }

    /// The same broker, for clients that prove by SCRAM who they are; `None`, after saying so, when it is not ours.
    #[cfg(feature = "kafka-tls")]
    pub fn scram(&self, password: &str) -> Option<Settings> {
        let Some(own) = &self.node.own else {
            skipped("the broker of KAFKA_BROKERS may not know SCRAM");
            return None;
        };
        let mut settings = Settings::new(format!("127.0.0.1:{}", own.ports[2]));
        settings.security.protocol = Some("sasl_plaintext".into());
        settings.security.mechanism = Some("SCRAM-SHA-512".into());
        settings.security.username = Some("annomesh".into());
        settings.security.password = Some(password.into());
        Some(settings)
    }

    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.node.brokers);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    /// Lets the broker stand still until the value is dropped; `None`, after saying so, when it is not ours.
    pub fn pause(&self) -> Option<Paused> {
        let Some(own) = &self.node.own else {
            skipped("the broker of KAFKA_BROKERS cannot be paused");
            return None;
        };
        signal(own.pid(), "STOP");
        Some(Paused { pid: own.pid() })
    }

    /// Whether the broker may be stopped; says so when not.
    pub fn is_ours(&self) -> bool {
        let ours = self.node.own.is_some();
        if !ours {
            skipped("the broker of KAFKA_BROKERS cannot be stopped");
        }
        ours
    }

    /// Kills the broker, and starts it again after `pause`; does nothing when it is not ours.
    pub async fn kill_for(&self, pause: Duration) {
        let Some(own) = &self.node.own else { return };
        signal(own.pid(), "KILL");
        tokio::time::sleep(pause).await;
        tokio::task::block_in_place(|| assert!(own.start()));
    }

    pub async fn delete_topic(&self, topic: &str) {
        let outcome = self.admin().delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
        outcome.into_iter().for_each(|outcome| {
            outcome.unwrap();
        });
        // Deleting ends after the answer; where somebody makes the topic anew, its end is not seen.
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let metadata = self.config().create::<BaseConsumer>().unwrap();
            let metadata = metadata.fetch_metadata(None, Duration::from_secs(30)).unwrap();
            if metadata.topics().iter().all(|known| known.name() != topic) {
                break;
            }
        }
    }

    /// Forgets all records of a topic, as retention does.
    pub async fn delete_records(&self, topic: &str) {
        let mut list = TopicPartitionList::new();
        for part in 0..contracts::PARTITIONS {
            list.add_partition_offset(topic, part, Offset::End).unwrap();
        }
        self.admin().delete_records(&list, &AdminOptions::new()).await.unwrap();
    }

    pub async fn create_topic(&self, topic: &str, partitions: i32) {
        let replication = rdkafka::admin::TopicReplication::Fixed(1);
        let topic = rdkafka::admin::NewTopic::new(topic, partitions, replication);
        for outcome in self.admin().create_topics([&topic], &AdminOptions::new()).await.unwrap() {
            outcome.unwrap();
        }
    }
}

/// See [`Broker::pause`].
pub struct Paused {
    pid: u32,
}

impl Drop for Paused {
    fn drop(&mut self) {
        signal(self.pid, "CONT");
    }
}

/// Sends a signal to a process of ours.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(status.success());
}
