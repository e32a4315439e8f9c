//! Disks without room: nothing is taken in, nothing half is kept, and everything can be read.

use std::process::Command;

use crate::world::{OWNER, World, jpeg, options, picture};
use image::ImageFormat;

fn health(world: &World, path: &str) -> String {
    format!("http://{}/media/health/{path}", world.mesh.running.config.mesh_address)
}

/// What is there can be read, and what is not is refused.
async fn reads_go_on(world: &World, task: &str) {
    for path in
        ["data/meta", "data?type=frame&number=0&quality=original", "data?type=chunk&number=0", "preview"]
    {
        world.get(&format!("{task}/{path}")).await.expect(200);
    }
    world.get(&health(world, "ready")).await.expect(200);
    world.get(&health(world, "writes")).await.expect(507);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_nearly_full_takes_nothing_and_gives_all() {
    let world = World::start().await;
    // Its preview and its compressed form are not made yet.
    let large = picture(ImageFormat::Png, 1200, 600, 1);
    let task = world.filled(21, &[("a.png", &large)], options()).await;
    world.get(&health(&world, "writes")).await.expect(200);
    let (stored, world) =
        (world.stored().await, world.restart_with(&[("STORAGE_FREE_MIB_MIN", "999999999999")]).await);
    reads_go_on(&world, &task).await;
    let other = world.task(22).await;
    world.start_upload(&other).await.expect(202);
    let answer = world.send_files(&other, &[("a.jpg", &jpeg(1))]).await.expect(507);
    assert_eq!(answer.header("retry-after"), "60");
    let answer = answer.json();
    assert!(answer["detail"].as_str().unwrap().contains("full"), "{answer}");
    let headers = [("Upload-Length", "5"), ("Upload-Metadata", "filename YS5qcGc=")];
    world.send(OWNER, "POST", &format!("{other}/data"), &headers, vec![]).await.expect(507);
    assert_eq!(world.stored().await, stored);
    let world = world.restart_with(&[("STORAGE_FREE_MIB_MIN", "0")]).await;
    world.get(&health(&world, "writes")).await.expect(200);
    world.send_files(&other, &[("a.jpg", &jpeg(1))]).await.expect(200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_waits_for_room() {
    let world = World::start().await;
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    crate::tus::send_whole(&world, &task, "a.jpg", &jpeg(1)).await;
    let world = world.restart_with(&[("STORAGE_FREE_MIB_MIN", "999999999999")]).await;
    world.finish(&task, options()).await.expect(202);
    test_kit::eventually("it was tried", crate::world::PATIENCE, async || {
        (world.count("es_job WHERE name = 'media.prepare' AND attempts > 1").await == 1).then_some(())
    })
    .await;
    assert_eq!((world.files(), world.count("blob").await), (1, 0));
    let world = world.restart_with(&[("STORAGE_FREE_MIB_MIN", "0")]).await;
    assert_eq!(world.ended(&task).await["state"], "Finished");
    world.stop().await;
}

/// A small disk of its own, where this user may have one.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(size: &str) -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("annomesh-disk-{}", event_store::new_id().simple()));
        std::fs::create_dir(&folder).unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&folder).output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(folder));
        }
        std::fs::remove_dir(&folder).unwrap();
        println!("skipped: a disk of its own cannot be mounted here (root can)");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} is still mounted", self.0.display());
        std::fs::remove_dir(&self.0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_while_files_arrive_keeps_none_of_them() {
    if test_kit::servers::bucket().is_some() {
        println!("skipped: the pictures are in a bucket");
        return;
    }
    let Some(disk) = Disk::mount("8m") else { return };
    let settings =
        [("ANNOMESH_DATA", disk.0.join("data").display().to_string()), ("STORAGE_FREE_MIB_MIN", "0".into())];
    let world = World::start_with(settings.map(|(name, value)| (name.to_owned(), value)).into()).await;
    let one = picture(ImageFormat::Png, 1200, 600, 1);
    let task = world.filled(21, &[("a.png", &one)], options()).await;
    let (stored, files) = (world.stored().await, world.files());
    let other = world.task(22).await;
    world.start_upload(&other).await.expect(202);
    // Announced in chunks, so that only the disk itself says how much there is room for.
    let large = [jpeg(2), vec![7; 3_000_000]].concat();
    let many: Vec<(String, Vec<u8>)> =
        (0..4).map(|number| (format!("{number}.jpg"), [&large[..], &[number]].concat())).collect();
    let many: Vec<(&str, &[u8])> =
        many.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    world.send_files(&other, &many).await.expect(507);
    let begun = crate::tus::begin(&world, &other, "pieces.jpg", 100).await.expect(201);
    let location = begun.header("location").to_owned();
    test_kit::eventually("nothing of it is kept", crate::world::PATIENCE, async || {
        (world.files() == files).then_some(())
    })
    .await;
    // To the last byte.
    let ballast = disk.0.join("ballast");
    let filled = std::fs::write(&ballast, vec![1; 20_000_000]);
    assert!(filled.is_err());
    crate::tus::append(&world, &location, 0, &jpeg(3)[..100]).await.expect(507);
    reads_go_on(&world, &task).await;
    assert_eq!((world.files(), world.stored().await), (files, stored + 100));
    std::fs::remove_file(ballast).unwrap();
    world.get(&health(&world, "writes")).await.expect(200);
    world.send_files(&other, &[("b.jpg", &jpeg(4))]).await.expect(200);
    world.stop().await;
}
