//! Services in processes of their own, to be killed, stopped and started again while they work. On Kafka when
//! `TEST_KAFKA_BROKERS` names one.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use test_kit::{Client, eventually};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::{PATIENCE, annomesh, ports, unique};

/// Every service of the mesh, and the front door.
pub const NAMES: [&str; 7] = ["identity", "projects", "media", "billing", "webhooks", "analytics", "gateway"];
const PASSWORD: &str = "correct horse battery";

/// Whose key and secret the operator has.
pub const OPERATOR_SETTINGS: [(&str, &str); 2] = [
    ("CLEARML__secure__credentials__supervisor__user_key", "OPERATORSKEY"),
    ("CLEARML__secure__credentials__supervisor__user_secret", "operators-secret-of-the-tests"),
];

/// A service's database has one name on a cluster, so there is one fleet at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// One service.
struct Process {
    child: Child,
    variables: Vec<(String, String)>,
    name: &'static str,
    mesh: Client,
}

impl Process {
    /// `death` is a fail point, such as `media.prepare.stored:2`.
    fn spawn(name: &'static str, variables: &[(String, String)], death: Option<&str>) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log_path(name)).unwrap();
        Command::new(annomesh())
            .args(["up", "--only", name])
            .envs(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .env_remove("ANNOMESH_FAIL_POINT")
            .envs(death.map(|death| ("ANNOMESH_FAIL_POINT", death)))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(log_path(self.name)).unwrap()
    }

    /// Whether it was killed; it must not end in any other way.
    fn was_killed(&mut self) -> bool {
        let Some(status) = self.child.try_wait().unwrap() else { return false };
        assert_eq!(status.signal(), Some(9), "{} ended, {status}: {}", self.name, self.log());
        true
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("annomesh-{}-{name}.log", std::process::id()))
}

/// Some services in processes of their own.
pub struct Fleet {
    processes: BTreeMap<&'static str, Process>,
    /// Of the front door.
    pub url: String,
    /// Where media keeps its pictures.
    pub data: PathBuf,
    on_kafka: bool,
    _turn: MutexGuard<'static, ()>,
}

impl Fleet {
    /// Starts these services with these settings besides the fleet's own; on Kafka where the tests are.
    pub async fn start(names: &[&'static str], more: Vec<(&'static str, String)>) -> Self {
        let brokers = test_kit::servers::brokers();
        // Past the harness, which keeps back what a test that passes prints.
        let source = match brokers {
            Some(_) => "Kafka",
            None => "the services' logs: set TEST_KAFKA_BROKERS for Kafka",
        };
        std::io::stderr().write_all(format!("the processes read from {source}\n").as_bytes()).unwrap();
        Self::start_on(brokers, names, more).await
    }

    /// As [`Fleet::start`], on these brokers or on none.
    pub async fn start_on(
        brokers: Option<String>,
        names: &[&'static str],
        more: Vec<(&'static str, String)>,
    ) -> Self {
        let turn = TURN.lock().await;
        let admin_url = test_kit::database::admin_url().await;
        clean(&admin_url).await;
        let ports = ports(2 * NAMES.len());
        let address = |index: usize| format!("127.0.0.1:{}", ports[index]);
        let peers: Vec<String> = NAMES
            .iter()
            .enumerate()
            .map(|(index, name)| format!("{name}=http://{}", address(index)))
            .collect();
        let data = std::env::temp_dir().join(unique("annomesh-fleet"));
        let mut shared = vec![
            ("MESH_PEERS", peers.join(",")),
            ("MESH_SECRET", "the secret of several processes, long enough".to_owned()),
            ("DATABASE_URL", admin_url),
            ("ADMIN_PASSWORD", PASSWORD.to_owned()),
            ("RUST_LOG", "warn".to_owned()),
            ("ANNOMESH_DATA", data.display().to_string()),
        ];
        shared.extend(OPERATOR_SETTINGS.map(|(name, value)| (name, value.to_owned())));
        shared.extend(more);
        let on_kafka = brokers.is_some();
        if let Some(brokers) = brokers {
            shared.push(("KAFKA_BROKERS", brokers));
            shared.push(("KAFKA_TOPIC_PREFIX", format!("{}.", unique("fleet"))));
        }
        let start = |(index, name): (usize, &&'static str)| {
            let _ = std::fs::remove_file(log_path(name));
            let mut variables: Vec<(String, String)> =
                shared.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            variables.push(("MESH_ADDRESS".to_owned(), address(index)));
            variables.push(("HTTP_ADDRESS".to_owned(), address(NAMES.len() + index)));
            let mesh = Client::new(&format!("http://{}/{name}", address(index)));
            (*name, Process { child: Process::spawn(name, &variables, None), variables, name, mesh })
        };
        let processes =
            NAMES.iter().enumerate().filter(|(_, name)| names.contains(name)).map(start).collect();
        let url = format!("http://{}", address(2 * NAMES.len() - 1));
        let mut fleet = Self { processes, url, data, on_kafka, _turn: turn };
        fleet.ready().await;
        fleet
    }

    /// The first admin at the front door.
    pub fn admin(&self) -> Client {
        Client::new(&self.url).basic("admin", PASSWORD)
    }

    /// The operator, who sees all tenants.
    pub fn operator(&self) -> Client {
        Client::new(&self.url).basic(OPERATOR_SETTINGS[0].1, OPERATOR_SETTINGS[1].1)
    }

    /// Waits until every service that was started is ready; none may have ended.
    pub async fn ready(&mut self) {
        for (name, process) in &mut self.processes {
            let process = std::cell::RefCell::new(process);
            eventually(&format!("{name} is ready"), PATIENCE, async || {
                let ended = process.borrow_mut().child.try_wait().unwrap();
                assert!(ended.is_none(), "{name} ended, {}: {}", ended.unwrap(), process.borrow().log());
                let mesh = process.borrow().mesh.clone();
                (mesh.try_get("/health/ready").await? == 200).then_some(())
            })
            .await;
        }
    }

    /// Whether services read from Kafka.
    pub fn on_kafka(&self) -> bool {
        self.on_kafka
    }

    fn process(&mut self, name: &str) -> &mut Process {
        self.processes.get_mut(name).unwrap()
    }

    /// Kills a service, as a power cut would.
    pub fn kill(&mut self, name: &str) {
        self.process(name).kill();
    }

    /// Starts a service that is dead. It may be armed with a fail point, at which it will die.
    pub fn revive(&mut self, name: &str, death: Option<&str>) {
        let process = self.process(name);
        process.child = Process::spawn(process.name, &process.variables, death);
    }

    /// Kills a service and starts it again.
    pub fn restart(&mut self, name: &str, death: Option<&str>) {
        self.kill(name);
        self.revive(name, death);
    }

    /// Waits until a service has come to its fail point.
    pub async fn until_dead(&mut self, name: &str, death: &str) {
        let process = std::cell::RefCell::new(self.process(name));
        eventually(&format!("{name} comes to {death}"), PATIENCE, async || {
            process.borrow_mut().was_killed().then_some(())
        })
        .await;
    }

    /// Lets a service die at one fail point after the other, and live at last.
    pub async fn die_at(&mut self, name: &str, deaths: &[&str]) {
        for (index, death) in deaths.iter().enumerate() {
            match index {
                0 => self.restart(name, Some(death)),
                _ => self.revive(name, Some(death)),
            }
            let began = std::time::Instant::now();
            self.until_dead(name, death).await;
            eprintln!("{name} died at {death} after {:?}", began.elapsed());
        }
        self.revive(name, None);
        self.ready().await;
    }

    /// Sends a signal to a service: `STOP` and `CONT` let it stand still and go on.
    pub fn signal(&mut self, name: &str, signal: &str) {
        send_signal(self.process(name).child.id(), signal);
    }

    /// A service's database, past its own walls.
    pub async fn database(&self, service: &str) -> AsyncPgConnection {
        let url = test_kit::database::cluster().await.url(&format!("annomesh_{service}"));
        AsyncPgConnection::establish(&url).await.unwrap()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.processes.clear();
        // There is none when media was not part of it.
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// Sends a signal to a process of ours.
pub fn send_signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Drops what an earlier run left on the shared cluster.
async fn clean(admin_url: &str) {
    let mut admin = AsyncPgConnection::establish(admin_url).await.unwrap();
    for name in NAMES {
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS annomesh_{name} WITH (FORCE)")).await.unwrap();
    }
}
