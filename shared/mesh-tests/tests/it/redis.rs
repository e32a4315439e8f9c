//! Redis between replicas: what one has exchanged the other need not; and Redis is never the truth, whatever
//! lies in it, and whether it is there or not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, AsyncCommands};
use serde_json::json;
use service_kit::Service;
use test_kit::{Client, Redis, TestMesh, eventually};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{PATIENCE, services, unique};

/// Both replicas answer to one name, as they do behind a balancer.
const HOST: &str = "annomesh.test";
/// What an answer may take while Redis does not: two waits for it, and identity's own work.
const SLOW: Duration = Duration::from_secs(3);

/// A way to another process's port that can be cut.
struct Link {
    url: String,
    open: watch::Sender<bool>,
}

impl Link {
    #[expect(clippy::disallowed_methods, reason = "a test's own wire")]
    async fn to(address: std::net::SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (open, seen) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut open = seen.clone();
                tokio::spawn(async move {
                    let wire = async {
                        let mut far = TcpStream::connect(address).await?;
                        tokio::io::copy_bidirectional(&mut near, &mut far).await
                    };
                    // Either end may hang up; the other is told by the drop.
                    tokio::select! { _ = wire => {} _ = open.wait_for(|open| !open) => {} }
                });
            }
        });
        Self { url, open }
    }
}

/// A mesh with Redis, and what its replicas need.
struct World {
    redis: Redis,
    mesh: TestMesh,
    to_identity: Link,
}

impl World {
    /// `None` where there is no Redis.
    async fn start() -> Option<Self> {
        let redis = Redis::start()?;
        let settings = vec![("REDIS_URL".to_owned(), redis.url())];
        let mesh = TestMesh::start_with(services(), settings).await;
        let to_identity = Link::to(mesh.running.config.mesh_address).await;
        let world = Self { redis, mesh, to_identity };
        ready(&world.mesh).await;
        Some(world)
    }

    /// One more process with some of the services, which reaches identity by the link.
    async fn replica(&self, services: Vec<Service>) -> TestMesh {
        let settings = vec![
            ("REDIS_URL".to_owned(), self.redis.url()),
            ("MESH_PEERS".to_owned(), format!("identity={}", self.to_identity.url)),
        ];
        let replica = self.mesh.replica(services, settings).await;
        ready(&replica).await;
        replica
    }

    async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.redis.url()).unwrap();
        eventually("a connection to Redis", PATIENCE, async || {
            client.get_multiplexed_async_connection().await.ok()
        })
        .await
    }

    /// Somebody new, signed in; who has asked for nothing yet.
    async fn somebody(&self) -> (String, Client) {
        let name = unique("alice");
        (name.clone(), self.mesh.user(&name).await.with("host", HOST))
    }

    /// What Redis holds.
    async fn held(&self) -> BTreeMap<String, Vec<u8>> {
        let mut connection = self.connect().await;
        let mut held = BTreeMap::new();
        for key in connection.keys::<_, Vec<String>>("*").await.unwrap() {
            if let Some(value) = connection.get::<_, Option<Vec<u8>>>(&key).await.unwrap() {
                held.insert(key, value);
            }
        }
        held
    }

    /// Makes the first replica exchange a credential; returns what it shares then.
    async fn share(&self, client: &Client) -> (String, Vec<u8>) {
        let before = self.held().await;
        on(client, &self.mesh).get("/api/projects").await.expect(200);
        let mut fresh = self.held().await;
        fresh.retain(|key, _| !before.contains_key(key));
        assert_eq!(fresh.len(), 1, "one credential, one answer that is shared");
        fresh.pop_first().unwrap()
    }

    async fn put(&self, key: &str, value: &[u8]) {
        self.connect().await.set::<_, _, ()>(key, value).await.unwrap();
    }
}

/// The same client, which speaks to another replica.
fn on(client: &Client, replica: &TestMesh) -> Client {
    client.at(&replica.url)
}

/// Waits until a process knows from where on it hears of revocations; before that it trusts no shared answer.
async fn ready(mesh: &TestMesh) {
    for kit in &mesh.running.kits {
        eventually("the revocations are followed", PATIENCE, async || {
            kit.authenticator.revocations.follows_since(i64::MAX).then_some(())
        })
        .await;
    }
}

/// A client is answered by both replicas, soon enough.
async fn served(client: &Client, replicas: [&TestMesh; 2]) {
    let began = Instant::now();
    for replica in replicas {
        on(client, replica).get("/api/projects").await.expect(200);
    }
    assert!(began.elapsed() < SLOW, "{:?}", began.elapsed());
}

async fn is(client: &Client, name: &str) {
    let answer = client.get("/api/users/self").await.expect(200);
    assert_eq!(answer["username"], name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_uses_what_another_has_exchanged() {
    let Some(world) = World::start().await else { return };
    let second = world.replica(vec![projects::service()]).await;
    let (_, bob) = world.somebody().await;
    // Bob is there for the keys that statements are verified with.
    on(&bob, &second).get("/api/projects").await.expect(200);
    let (alice_name, alice) = world.somebody().await;
    let (key, value) = world.share(&alice).await;
    let (_, carol) = world.somebody().await;
    world.to_identity.open.send_replace(false);
    on(&carol, &second).get("/api/projects").await.expect(503);
    on(&alice, &second).get("/api/projects").await.expect(200);
    world.to_identity.open.send_replace(true);

    let shared = format!("{key} {}", String::from_utf8_lossy(&value));
    let header = "eyJ";
    assert!(!shared.contains(header) && !shared.contains(&alice_name), "a statement can be read: {shared}");
    let life: i64 = world.connect().await.ttl(&key).await.unwrap();
    assert!((1..=60).contains(&life), "it stays for {life} s");
    second.running.stop().await;
    world.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_counts_although_redis_holds_an_older_answer() {
    let Some(world) = World::start().await else { return };
    let second = world.replica(vec![projects::service()]).await;
    let (_, alice) = world.somebody().await;
    let (key, older) = world.share(&alice).await;
    on(&alice, &second).get("/api/projects").await.expect(200);
    on(&alice, &world.mesh).post("/api/auth/logout", json!({})).await.expect(200);
    for replica in [&world.mesh, &second] {
        eventually("the session is over", Duration::from_secs(30), async || {
            world.put(&key, &older).await;
            (on(&alice, replica).get("/api/projects").await.status == 401).then_some(())
        })
        .await;
    }
    // One that has not heard of it, because it was not there.
    let third = world.replica(vec![projects::service()]).await;
    world.put(&key, &older).await;
    on(&alice, &third).get("/api/projects").await.expect(401);
    for replica in [third, second] {
        replica.running.stop().await;
    }
    world.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_lies_in_redis_is_believed_unseen() {
    let Some(world) = World::start().await else { return };
    let second = world.replica(vec![identity::service(), projects::service()]).await;
    let (alice_name, alice) = world.somebody().await;
    let (bob_name, bob) = world.somebody().await;
    let (_, bobs) = world.share(&bob).await;
    let (key, alices) = world.share(&alice).await;
    // A good answer, but somebody else's.
    world.put(&key, &bobs).await;
    is(&on(&alice, &second), &alice_name).await;

    // Each of these for a credential that no replica has seen, in memory or in Redis.
    let open =
        serde_json::to_vec(&json!({ "token": "eyJhbGciOiJub25lIn0.e30.", "position": i64::MAX })).unwrap();
    let changed = [&alices[..alices.len() - 1], &[alices[alices.len() - 1] ^ 1]].concat();
    for garbage in [&b""[..], b"garbage", b"\xff\xfe\0", &open, &changed, &alices[..20]] {
        let (name, client) = world.somebody().await;
        let (key, _) = world.share(&client).await;
        world.put(&key, garbage).await;
        is(&on(&client, &second), &name).await;
    }
    // Another type of value than ours makes Redis refuse the command.
    let (name, client) = world.somebody().await;
    let (key, _) = world.share(&client).await;
    let mut connection = world.connect().await;
    connection.del::<_, ()>(&key).await.unwrap();
    connection.lpush::<_, _, ()>(&key, "a list").await.unwrap();
    is(&on(&client, &second), &name).await;

    is(&on(&bob, &second), &bob_name).await;
    second.running.stop().await;
    world.mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_on_whatever_becomes_of_redis() {
    let Some(mut world) = World::start().await else { return };
    let second = world.replica(vec![projects::service()]).await;
    let (_, old) = world.somebody().await;
    served(&old, [&world.mesh, &second]).await;

    // Emptied: nobody is signed out, and it fills again.
    let mut connection = world.connect().await;
    redis::cmd("FLUSHALL").exec_async(&mut connection).await.unwrap();
    served(&old, [&world.mesh, &second]).await;
    world.share(&world.somebody().await.1).await;

    // Silent: connections stand, and nothing comes.
    redis::cmd("CLIENT").arg(&["PAUSE", "4000", "ALL"]).exec_async(&mut connection).await.unwrap();
    served(&old, [&world.mesh, &second]).await;
    served(&world.somebody().await.1, [&world.mesh, &second]).await;

    // Gone.
    drop(connection);
    world.redis.stop();
    served(&old, [&world.mesh, &second]).await;
    served(&world.somebody().await.1, [&world.mesh, &second]).await;

    // Back: it is used again, by both.
    world.redis.start_again();
    eventually("answers are shared again", PATIENCE, async || {
        let (_, client) = world.somebody().await;
        let before = world.held().await.len();
        on(&client, &world.mesh).get("/api/projects").await.expect(200);
        (world.held().await.len() > before).then_some(())
    })
    .await;
    let (_, dave) = world.somebody().await;
    world.share(&dave).await;
    world.to_identity.open.send_replace(false);
    eventually("the other replica reads them again", PATIENCE, async || {
        (on(&dave, &second).get("/api/projects").await.status == 200).then_some(())
    })
    .await;
    world.to_identity.open.send_replace(true);
    second.running.stop().await;
    world.mesh.running.stop().await;
}
