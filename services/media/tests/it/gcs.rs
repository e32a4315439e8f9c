//! Pictures in Google's storage, or rather in its double: no emulator answers what is asked of it.

use test_kit::gcs_double::{BUCKET, GcsDouble};

use crate::world::{OWNER, PATIENCE, World, jpeg, options};

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_a_task_in_googles_storage() {
    let folder = std::env::temp_dir().join(format!("annomesh-gcs-{}", event_store::new_id().simple()));
    let double = GcsDouble::start(&folder).await;
    let world = World::start_with(
        [
            ("STORAGE_TYPE", "gcs"),
            ("STORAGE_GCS_BUCKET_NAME", BUCKET),
            ("STORAGE_GCS_ENDPOINT", &double.endpoint),
            ("GOOGLE_APPLICATION_CREDENTIALS", double.credentials.to_str().unwrap()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
    )
    .await;
    let large = [jpeg(2), vec![2; 20 * 1024 * 1024]].concat();
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    world.send_files(&task, &[("a.jpg", &jpeg(1)), ("b.jpg", &large)]).await.expect(200);
    let begun = crate::tus::begin(&world, &task, "c.jpg", jpeg(3).len()).await.expect(201);
    let location = begun.header("location").to_owned();
    crate::tus::append(&world, &location, 0, &jpeg(3)).await.expect(204);
    world.finish(&task, options()).await.expect(202);
    assert_eq!(world.ended(&task).await["state"], "Finished");
    for (number, sent) in [jpeg(1), large.clone(), jpeg(3)].iter().enumerate() {
        let path = format!("{task}/data?type=frame&number={number}&quality=original");
        assert!(world.get(&path).await.expect(200).body == *sent, "not what was sent: {number}");
    }
    let path = format!("{task}/data?type=frame&number=1&quality=original");
    let part =
        world.send(OWNER, "GET", &path, &[("Range", "bytes=9000000-9000099")], vec![]).await.expect(206);
    assert_eq!(part.body, &large[9_000_000..9_000_100]);
    world.get(&format!("{task}/preview")).await.expect(200);
    assert!(!double.objects().is_empty());
    world.delete_task(21).await;
    test_kit::eventually("the bucket is empty", PATIENCE, async || {
        (double.objects().is_empty() && double.open_uploads() == 0).then_some(())
    })
    .await;
    world.stop().await;
    std::fs::remove_dir_all(folder).unwrap();
}
