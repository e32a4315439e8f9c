//! Pictures in a bucket: every test of this crate runs on a real S3 server when `TEST_S3` names its folder and the
//! product's own variables say where it is (`infra/s3`). Those in here are about a server that says no, hangs or dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use test_kit::servers::bucket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::world::{OWNER, World, jpeg, options};

/// Every byte passes.
const OPEN: i64 = i64::MAX / 2;
/// Connections are taken and nothing more happens.
const SILENT: i64 = i64::MIN;

/// The cable to the server: it can be cut, at once or after so many bytes, and held.
struct Cable {
    port: u16,
    /// Bytes that may still pass to the server; below nothing it is cut.
    left: Arc<AtomicI64>,
    _laid: JoinSet<()>,
}

impl Cable {
    async fn lay(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, left) = (listener.local_addr().unwrap().port(), Arc::new(AtomicI64::new(OPEN)));
        let mut laid = JoinSet::new();
        let seen = left.clone();
        laid.spawn(async move {
            let mut pairs = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                pairs.spawn(join(near, server.clone(), seen.clone()));
            }
        });
        Self { port, left, _laid: laid }
    }

    fn set(&self, left: i64) {
        self.left.store(left, Ordering::SeqCst);
    }
}

async fn join(mut near: TcpStream, server: String, left: Arc<AtomicI64>) {
    let Ok(mut far) = TcpStream::connect(server).await else { return };
    let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            count = near.read(&mut up) => {
                let Ok(count @ 1..) = count else { return };
                while left.load(Ordering::SeqCst) == SILENT {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                if left.fetch_sub(count as i64, Ordering::SeqCst) < count as i64 { return }
                if far.write_all(&up[..count]).await.is_err() { return }
            }
            count = far.read(&mut down) => {
                let Ok(count @ 1..) = count else { return };
                if near.write_all(&down[..count]).await.is_err() { return }
            }
        }
    }
}

/// A world behind a cable; none without a server.
async fn behind_a_cable() -> Option<(World, Cable)> {
    let Some(bucket) = bucket() else {
        println!("skipped: TEST_S3 names no server (infra/s3)");
        return None;
    };
    let cable = Cable::lay(bucket.variable("STORAGE_AWS_ENDPOINT_URL").replace("http://", "")).await;
    let endpoint = format!("http://127.0.0.1:{}", cable.port);
    Some((World::start_with(vec![("STORAGE_AWS_ENDPOINT_URL".into(), endpoint)]).await, cable))
}

/// A picture that goes to a bucket in several parts.
fn large(number: u8) -> Vec<u8> {
    [jpeg(number), vec![number; 20 * 1024 * 1024]].concat()
}

fn health(world: &World, path: &str) -> String {
    format!("http://{}/media/health/{path}", world.mesh.running.config.mesh_address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_goes_away_and_comes_back() {
    let Some((world, cable)) = behind_a_cable().await else { return };
    let task = world.filled(21, &[("a.jpg", &jpeg(1))], options()).await;
    let frame = format!("{task}/data?type=frame&number=0&quality=original");
    let other = world.task(22).await;
    world.start_upload(&other).await.expect(202);
    world.send_files(&other, &[("kept.jpg", &jpeg(2))]).await.expect(200);
    let begun = crate::tus::begin(&world, &other, "pieces.jpg", jpeg(3).len()).await.expect(201);
    let location = begun.header("location").to_owned();
    let (stored, files) = (world.stored().await, world.files());
    world.get(&frame).await.expect(200);
    world.get(&health(&world, "writes")).await.expect(200);

    for cut in [0, 11_000_000] {
        // Between two requests, and in the middle of a large file.
        cable.set(cut);
        let refused =
            world.send_files(&other, &[("b.jpg", &jpeg(4)), ("c.jpg", &large(5))]).await.expect(503);
        assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
        assert!(refused.json()["detail"].as_str().unwrap().contains("storage"), "{refused:?}");
        cable.set(0);
        crate::tus::append(&world, &location, 0, &jpeg(3)).await.expect(503);
        world.get(&health(&world, "writes")).await.expect(503);
        world.get(&health(&world, "ready")).await.expect(200);
        // What is in memory is read all the same.
        world.get(&frame).await.expect(200);
        assert_eq!(world.stored().await, stored);
    }
    // The rest of it: prepared while the bucket is away, and done when it is back.
    cable.set(OPEN);
    crate::tus::append(&world, &location, 0, &jpeg(3)).await.expect(204);
    cable.set(0);
    world.finish(&other, options()).await.expect(202);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_ne!(world.get(&format!("{other}/status")).await.json()["state"], "Finished");
    cable.set(OPEN);
    world.get(&health(&world, "writes")).await.expect(200);
    assert_eq!(world.ended(&other).await["state"], "Finished");
    // One more than before: what came in pieces. Nothing of what was refused.
    test_kit::eventually("what was refused is swept", Duration::from_secs(60), async || {
        (world.files() == files + 1).then_some(())
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_silent_is_waited_for_but_not_for_ever() {
    let Some((world, cable)) = behind_a_cable().await else { return };
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    cable.set(SILENT);
    let began = std::time::Instant::now();
    world.get(&health(&world, "writes")).await.expect(503);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    world.send_files(&task, &[("a.jpg", &jpeg(1))]).await.expect(503);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    cable.set(OPEN);
    world.send_files(&task, &[("a.jpg", &jpeg(1)), ("b.jpg", &large(2))]).await.expect(200);
    world.finish(&task, options()).await.expect(202);
    assert_eq!(world.ended(&task).await["state"], "Finished");
    let large = large(2);
    let frame = world.get(&format!("{task}/data?type=frame&number=1&quality=original")).await.expect(200);
    assert!(frame.body == large, "not what was sent");
    let path = format!("{task}/data?type=frame&number=1&quality=original");
    let part =
        world.send(OWNER, "GET", &path, &[("Range", "bytes=9000000-9000099")], vec![]).await.expect(206);
    assert_eq!(part.body, &large[9_000_000..9_000_100]);
    world.stop().await;
}
