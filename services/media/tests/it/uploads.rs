//! Sending pictures in forms.

use image::ImageFormat;
use serde_json::json;
use test_kit::fake;

use crate::world::{OWNER, STRANGER, World, form, jpeg, options, picture};

#[tokio::test(flavor = "multi_thread")]
async fn pictures_become_frames() {
    let world = World::start().await;
    let (first, second, third) = (
        picture(ImageFormat::Jpeg, 64, 48, 1),
        picture(ImageFormat::Png, 32, 16, 2),
        picture(ImageFormat::WebP, 20, 40, 3),
    );
    // As cvat-sdk sends names: with the path on the client's machine.
    let files: [(&str, &[u8]); 3] =
        [("/home/me/c.webp", &third), ("/home/me/a.jpg", &first), ("/home/me/b.png", &second)];
    let task = world.filled(21, &files, options()).await;

    let meta = world.get(&format!("{task}/data/meta")).await.expect(200).json();
    assert_eq!(meta["size"], 3);
    assert_eq!(meta["frames"][0]["name"], "a.jpg");
    assert_eq!((&meta["frames"][2]["width"], &meta["frames"][2]["height"]), (&json!(20), &json!(40)));
    assert_eq!((&meta["start_frame"], &meta["stop_frame"]), (&json!(0), &json!(2)));
    assert_eq!(meta["deleted_frames"], json!([]));
    for (number, (bytes, mime)) in
        [(&first, "image/jpeg"), (&second, "image/png"), (&third, "image/webp")].into_iter().enumerate()
    {
        let path = format!("{task}/data/?type=frame&number={number}&quality=original");
        let frame = world.get(&path).await.expect(200);
        assert_eq!(frame.body, *bytes, "frame {number} is not what was sent");
        assert_eq!(frame.header("content-type"), mime);
        assert_eq!(frame.header("x-content-type-options"), "nosniff");
        assert!(frame.header("cache-control").contains("private"));
    }

    let submitted = &world.events("task_data_submitted").await[0];
    let prepared = &world.events("task_data_prepared").await[0];
    assert_eq!(submitted["request_id"], prepared["request_id"]);
    assert!(submitted["request_id"].as_str().unwrap().starts_with("media.task-data.21."));
    let bytes = (first.len() + second.len() + third.len()) as i64;
    assert_eq!(prepared["data"]["size"], 3);
    assert_eq!(prepared["data"]["bytes"], bytes);
    assert_eq!(world.stored().await, bytes);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_does_it_all() {
    let world = World::start().await;
    let task = world.task(21).await;
    let (one, two) = (jpeg(1), jpeg(2));
    let fields = [("image_quality", "50"), ("sorting_method", "predefined"), ("frame_filter", "step=1")];
    let (content_type, body) = form(&fields, &[("z.jpg", &one), ("a.jpg", &two)]);
    let answer =
        world.send(OWNER, "POST", &format!("{task}/data"), &[("content-type", &content_type)], body).await;
    assert!(answer.expect(202).json()["rq_id"].is_string());
    assert_eq!(world.ended(&task).await["state"], "Finished");
    let meta = world.get(&format!("{task}/data/meta")).await.expect(200).json();
    assert_eq!(meta["frames"][0]["name"], "z.jpg");
    assert_eq!(meta["image_quality"], 50);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_stored_once_and_go_with_their_last_task() {
    let world = World::start().await;
    let (one, two) = (jpeg(1), jpeg(2));
    world.filled(21, &[("a.jpg", &one), ("b.jpg", &one), ("c.jpg", &two)], options()).await;
    world.filled(22, &[("x.jpg", &one)], options()).await;
    assert_eq!(world.stored().await, (one.len() + two.len()) as i64);
    world.delete_task(21).await;
    test_kit::eventually("the first task's own picture is gone", crate::world::PATIENCE, async || {
        (world.stored().await == one.len() as i64 && world.count("blob").await == 1).then_some(())
    })
    .await;
    assert_eq!(world.events("task_data_removed").await, [json!({ "task_id": 21 })]);
    let frame = world.get("/api/tasks/22/data?type=frame&number=0&quality=original").await.expect(200);
    assert_eq!(frame.body, one);
    world.delete_task(22).await;
    world.nothing_is_kept().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_not_used_are_not_kept() {
    let world = World::start().await;
    let pictures: Vec<Vec<u8>> = (0..10).map(jpeg).collect();
    let names: Vec<String> = (0..10).map(|number| format!("f{number}.jpg")).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(pictures.iter().map(Vec::as_slice)).collect();
    let chosen = json!({
        "image_quality": 70, "start_frame": 1, "stop_frame": 8, "frame_filter": "step=3", "chunk_size": 2,
        "sorting_method": "natural", "use_cache": true, "copy_data": false,
    });
    let task = world.filled(21, &files, chosen).await;
    let meta = world.get(&format!("{task}/data/meta")).await.expect(200).json();
    let names: Vec<_> = meta["frames"].as_array().unwrap().iter().map(|frame| &frame["name"]).collect();
    assert_eq!(names, ["f1.jpg", "f4.jpg", "f7.jpg"]);
    assert_eq!((&meta["start_frame"], &meta["stop_frame"]), (&json!(1), &json!(7)));
    assert_eq!((&meta["frame_filter"], &meta["chunk_size"]), (&json!("step=3"), &json!(2)));
    let kept: usize = [1, 4, 7].iter().map(|number| pictures[*number].len()).sum();
    assert_eq!(world.stored().await, kept as i64);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_data_takes_no_more() {
    let world = World::start().await;
    let task = world.filled(21, &[("a.jpg", &jpeg(1))], options()).await;
    world.start_upload(&task).await.expect(400);
    world.send_files(&task, &[("b.jpg", &jpeg(2))]).await.expect(400);
    let headers = [("Content-Type", "application/json")];
    let more = options().to_string().into_bytes();
    world.send(OWNER, "POST", &format!("{task}/data"), &headers, more).await.expect(400);
    assert_eq!(world.stored().await, jpeg(1).len() as i64);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_got_lost_do_no_harm() {
    let world = World::start().await;
    let task = world.task(21).await;
    let one = jpeg(1);
    world.start_upload(&task).await.expect(202);
    world.send_files(&task, &[("a.jpg", &one)]).await.expect(200);
    // The client sends again what it believes lost.
    world.send_files(&task, &[("a.jpg", &one)]).await.expect(200);
    let other = world.send_files(&task, &[("a.jpg", &jpeg(2))]).await.expect(400).json();
    assert!(other["client_files"][0].as_str().unwrap().starts_with("a.jpg"), "{other}");
    let request = world.finish(&task, options()).await.expect(202).json();
    world.ended(&task).await;
    // Also when everything is done by then.
    assert_eq!(world.finish(&task, options()).await.expect(202).json(), request);
    assert_eq!(world.events("task_data_submitted").await.len(), 1);
    assert_eq!(world.events("task_data_prepared").await[0]["data"]["size"], 1);
    // And when it failed, which the request says.
    let bad = world.task(22).await;
    world.start_upload(&bad).await.expect(202);
    crate::tus::send_whole(&world, &bad, "a.jpg", b"no picture").await;
    let request = world.finish(&bad, options()).await.expect(202).json();
    assert_eq!(world.ended(&bad).await["state"], "Failed");
    assert_eq!(world.finish(&bad, options()).await.expect(202).json(), request);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_can_send_and_see() {
    let world = World::start().await;
    let task = world.filled(21, &[("a.jpg", &jpeg(1))], options()).await;
    let fresh = world.task(22).await;
    for (path, method, headers) in [
        (format!("{task}/data/meta"), "GET", vec![]),
        (format!("{task}/data?type=frame&number=0"), "GET", vec![]),
        (format!("{task}/preview"), "GET", vec![]),
        (format!("{task}/status"), "GET", vec![]),
        (format!("{task}/data/meta"), "PATCH", vec![]),
        (format!("{fresh}/data"), "POST", vec![("Upload-Start", "")]),
        (format!("{fresh}/data"), "POST", vec![("Upload-Length", "5")]),
    ] {
        // Another tenant's, and none at all, look alike.
        let theirs = world.send(STRANGER, method, &path, &headers, vec![]).await.expect(404);
        let none = path.replace("/21/", "/999/").replace("/22/", "/999/");
        let none = world.send(STRANGER, method, &none, &headers, vec![]).await.expect(404);
        assert_eq!(theirs.body, none.body, "{method} {path}");
        // A colleague who has nothing to do with it.
        world.send("8.user", method, &path, &headers, vec![]).await.expect(403);
    }
    // One tenant's bytes do not help another.
    world.task_of(2, 23, 7, None).await;
    let (content_type, body) = form(&[("image_quality", "70")], &[("a.jpg", &jpeg(1))]);
    world
        .send("7.worker.2", "POST", "/api/tasks/23/data", &[("content-type", &content_type)], body)
        .await
        .expect(202);
    let tenant = fake::tenant(2).to_string();
    let of_other = world.objects().join("t").join(tenant);
    assert!(of_other.exists(), "each tenant has its own");
    world.stop().await;
}
