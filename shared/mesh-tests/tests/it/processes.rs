//! Five processes, each a service of its own, the gateway in front; each is killed and started again while
//! the story goes on, and nothing is missing afterwards. On Kafka when `TEST_KAFKA_BROKERS` names one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures::future::{join, join_all};
use serde_json::{Value, json};
use test_kit::receiver::Mode;
use test_kit::{Client, Receiver, eventually};

use crate::support::{annomesh, ports, unique};

const PATIENCE: Duration = Duration::from_secs(60);
const NAMES: [&str; 7] = ["identity", "projects", "media", "billing", "webhooks", "analytics", "gateway"];

struct Process {
    child: Child,
    variables: Vec<(String, String)>,
    name: &'static str,
}

impl Process {
    fn start(name: &'static str, variables: Vec<(String, String)>) -> Self {
        let log = std::fs::File::create(log_path(name)).unwrap();
        let child = Command::new(annomesh())
            .args(["up", "--only", name])
            .envs(variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, variables, name }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(log_path(self.name)).unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        *self = Self::start(self.name, std::mem::take(&mut self.variables));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_path(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("annomesh-{name}.log"))
}

/// Drops what an earlier run left on the shared cluster.
async fn clean(admin_url: &str) {
    let mut admin = AsyncPgConnection::establish(admin_url).await.unwrap();
    for name in NAMES {
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS annomesh_{name} WITH (FORCE)")).await.unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "a switch of the test run, not a setting of the product")]
async fn mesh(allow: &str) -> (BTreeMap<&'static str, Process>, String) {
    let admin_url = test_kit::database::admin_url().await;
    clean(&admin_url).await;
    let ports = ports(2 * NAMES.len());
    let peers: Vec<String> =
        NAMES.iter().zip(&ports).map(|(name, port)| format!("{name}=http://127.0.0.1:{port}")).collect();
    let mut shared = vec![
        ("MESH_PEERS", peers.join(",")),
        ("MESH_SECRET", "the secret of five processes, long enough".to_owned()),
        ("DATABASE_URL", admin_url),
        ("ADMIN_PASSWORD", "correct horse battery".to_owned()),
        ("WEBHOOKS_ALLOWED_TARGETS", allow.to_owned()),
        ("RUST_LOG", "warn".to_owned()),
        // Where media keeps its pictures.
        ("ANNOMESH_DATA", std::env::temp_dir().join(unique("annomesh-processes")).display().to_string()),
    ];
    let brokers = std::env::var("TEST_KAFKA_BROKERS");
    // Past the harness, which keeps back what a test that passes prints.
    let source =
        if brokers.is_ok() { "Kafka" } else { "the services' logs: set TEST_KAFKA_BROKERS for Kafka" };
    std::io::stderr().write_all(format!("the processes read from {source}\n").as_bytes()).unwrap();
    if let Ok(brokers) = brokers {
        shared.push(("KAFKA_BROKERS", brokers));
        shared.push(("KAFKA_TOPIC_PREFIX", format!("{}.", unique("five"))));
    }
    let url = format!("http://127.0.0.1:{}", ports[2 * NAMES.len() - 1]);
    let processes = NAMES
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let mut variables: Vec<(String, String)> =
                shared.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            variables.push(("MESH_ADDRESS".to_owned(), format!("127.0.0.1:{}", ports[index])));
            variables.push(("HTTP_ADDRESS".to_owned(), format!("127.0.0.1:{}", ports[NAMES.len() + index])));
            (*name, Process::start(name, variables))
        })
        .collect();
    (processes, url)
}

async fn healthy(client: &Client, processes: &mut BTreeMap<&'static str, Process>) {
    let processes = std::cell::RefCell::new(processes);
    eventually("the mesh is ready", PATIENCE, async || {
        for (name, process) in processes.borrow_mut().iter_mut() {
            let ended = process.child.try_wait().unwrap();
            assert!(ended.is_none(), "{name} ended, {}: {}", ended.unwrap(), process.log());
        }
        (client.try_get("/api/server/health").await? == 200).then_some(())
    })
    .await;
}

/// Creates a project, trying again while services are away; a retry carries the same key, so it counts once.
async fn create(client: &Client, name: &str) -> i64 {
    let client = client.with("idempotency-key", name);
    let created = eventually(name, PATIENCE, async || {
        let response =
            client.try_send("POST", "/api/projects", Some(json!({ "name": name }).to_string())).await?;
        assert!(response.status < 500 || response.status == 503, "{}: {}", response.status, response.text);
        (response.status == 201).then(|| response.json())
    })
    .await;
    created["id"].as_i64().unwrap()
}

async fn stored_projects(client: &Client) -> BTreeMap<String, Vec<i64>> {
    let (mut versions, mut after) = (BTreeMap::<String, Vec<i64>>::new(), 0);
    loop {
        let page = client.get(&format!("/v1/events?after={after}&limit=500")).await.expect(200);
        for event in page["items"].as_array().unwrap() {
            let subject = event["subject"].as_str().unwrap();
            if subject.starts_with("project/") {
                versions
                    .entry(subject.to_owned())
                    .or_default()
                    .push(event["streamversion"].as_i64().unwrap());
            }
        }
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => return versions,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_may_be_killed_and_nothing_is_missing() {
    let receiver = Receiver::start(Mode::Ok);
    let (mut processes, url) = mesh("127.0.0.1/32").await;
    let admin = Client::new(&url).basic("admin", "correct horse battery");
    healthy(&admin, &mut processes).await;
    let slug = unique("o");
    admin.post("/api/organizations", json!({ "slug": slug })).await.expect(201);
    let client = admin.organization(&slug);
    let hook = json!({
        "target_url": receiver.url, "type": "organization", "content_type": "application/json",
        "events": ["create:project", "update:project"],
    });
    client.post("/api/webhooks", hook).await.expect(201);
    let mut accepted = BTreeSet::new();
    for (round, victim) in NAMES.iter().enumerate() {
        // Others go on; what needs the dead one waits for it.
        let writing = join_all((0..10).map(async |step| {
            let name = format!("{victim}-{step}");
            create(&client, &name).await
        }));
        let dying = async {
            // In the middle of their work.
            tokio::time::sleep(Duration::from_millis(15)).await;
            processes.get_mut(victim).unwrap().kill();
            tokio::time::sleep(Duration::from_millis(200)).await;
            processes.get_mut(victim).unwrap().restart();
        };
        let (made, ()) = join(writing, dying).await;
        accepted.extend(made);
        assert_eq!(accepted.len(), (round + 1) * 10, "an accepted project was accepted twice");
        healthy(&admin, &mut processes).await;
    }
    for id in &accepted {
        let path = format!("/api/projects/{id}");
        client.patch(&path, json!({ "bug_tracker": "https://example.com" })).await.expect(200);
    }
    check(&client, &receiver, &accepted).await;
}

async fn check(client: &Client, receiver: &Receiver, accepted: &BTreeSet<i64>) {
    let listed = client.get("/api/projects?page_size=all").await.expect(200);
    let listed: BTreeSet<i64> =
        listed["results"].as_array().unwrap().iter().map(|project| project["id"].as_i64().unwrap()).collect();
    assert_eq!(&listed, accepted, "the list is not what was accepted");
    let expected: BTreeMap<String, Vec<i64>> =
        accepted.iter().map(|id| (format!("project/{id}"), vec![1, 2])).collect();
    let stored = eventually("analytics has everything", PATIENCE, async || {
        let stored = stored_projects(client).await;
        (stored.values().map(Vec::len).sum::<usize>() >= expected.len() * 2).then_some(stored)
    })
    .await;
    assert_eq!(stored, expected, "analytics holds each version once and in order");
    eventually("each change was delivered", PATIENCE, async || {
        let delivered: BTreeSet<(i64, String)> = receiver
            .received()
            .iter()
            .map(|request| request.json())
            .filter_map(|body: Value| {
                Some((body["project"]["id"].as_i64()?, body["event"].as_str()?.to_owned()))
            })
            .collect();
        (delivered.len() == accepted.len() * 2).then_some(())
    })
    .await;
}
