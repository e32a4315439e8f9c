//! Files that lie, are cut off or have names that lead elsewhere: each is a 400 that names it, and nothing is kept.

use image::ImageFormat;
use serde_json::json;

use crate::world::{OWNER, World, jpeg, options, picture};

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_file_is_named_and_nothing_is_kept() {
    let world = World::start().await;
    let task = world.task(21).await;
    let mut bomb = picture(ImageFormat::Png, 8, 8, 1);
    bomb[16..20].copy_from_slice(&40_000u32.to_be_bytes());
    bomb[20..24].copy_from_slice(&40_000u32.to_be_bytes());
    let whole = picture(ImageFormat::Jpeg, 400, 300, 1);
    let cut = &whole[..whole.len() / 2];
    // JPEG's own largest numbers; a kilobyte of archive that would be a gigabyte; headers that speak of more than there is.
    let mut huge = picture(ImageFormat::Jpeg, 64, 48, 1);
    let frame = huge.windows(2).position(|bytes| bytes == [0xff, 0xc0]).unwrap();
    huge[frame + 5..frame + 9].fill(0xff);
    let archive = [b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0".as_slice(), &[0xff; 1024]].concat();
    let webp = picture(ImageFormat::WebP, 90, 90, 1);
    let mut nothing = picture(ImageFormat::Png, 8, 8, 1);
    nothing[16..20].fill(0);
    let long = format!("{}.jpg", "n".repeat(296));
    let cases: [(&str, &[u8], &str); 13] = [
        ("huge.jpg", &huge, "huge.jpg: a picture of 65535"),
        ("archive.zip", &archive, "archive.zip: it is not a picture"),
        ("archive.jpg", &archive, "archive.jpg: it is not a picture"),
        ("short.webp", &webp[..webp.len() - 40], "short.webp: the picture ends"),
        ("nothing.png", &nothing, "nothing.png: "),
        (&long, &whole, &long),
        ("text.jpg", b"this is a text that calls itself a picture", "text.jpg"),
        ("bomb.png", &bomb, "bomb.png: a picture of 40000"),
        ("cut.jpg", cut, "cut.jpg: the picture ends"),
        ("empty.jpg", b"", "empty.jpg: the file is empty"),
        ("../etc/passwd.jpg", &whole, "../etc/passwd.jpg"),
        ("page.png", b"<html><script>alert(1)</script></html>", "page.png"),
        ("good.jpg", &whole, "good.jpg: two files"),
    ];
    for (name, content, expected) in cases {
        world.start_upload(&task).await.expect(202);
        let answer = world.send_files(&task, &[("good.jpg", &jpeg(1)), (name, content)]).await;
        let answer = answer.expect(400).json();
        let text = answer["client_files"][0].as_str().unwrap_or_default();
        assert!(text.contains(expected), "{name}: {answer}");
        world.nothing_is_kept().await;
        world.finish(&task, options()).await.expect(400);
    }
    // The extension may lie as long as the bytes are a picture.
    world.send_files(&task, &[("really-a-png.jpg", &picture(ImageFormat::Png, 9, 9, 1))]).await.expect(200);
    world.finish(&task, options()).await.expect(202);
    assert_eq!(world.ended(&task).await["state"], "Finished");
    let frame = world.get(&format!("{task}/data?type=frame&number=0&quality=original")).await.expect(200);
    assert_eq!(frame.header("content-type"), "image/png");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_picture_may_not_hide_a_large_file() {
    let world = World::start().await;
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    let small = picture(ImageFormat::Png, 8, 8, 1);
    let tail = 64 * 1024 * 1024 + 4096;
    let long = [&small[..], &vec![0; tail]].concat();
    let answer = world.send_files(&task, &[("good.jpg", &jpeg(1)), ("long.png", &long)]).await;
    let answer = answer.expect(400).json();
    let text = answer["client_files"][0].as_str().unwrap_or_default();
    assert!(text.starts_with("long.png: the file is far larger than its picture"), "{answer}");
    world.nothing_is_kept().await;
    // A camera's remarks are fine.
    let short = [&small[..], &vec![0; 1024 * 1024]].concat();
    world.send_files(&task, &[("short.png", &short)]).await.expect(200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_that_came_in_pieces_fails_the_import() {
    let world = World::start().await;
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    world.send_files(&task, &[("good.jpg", &jpeg(1))]).await.expect(200);
    let whole = picture(ImageFormat::Jpeg, 200, 100, 1);
    crate::tus::send_whole(&world, &task, "cut.jpg", &whole[..whole.len() - 10]).await;
    assert!(world.stored().await > 0);
    world.finish(&task, options()).await.expect(202);
    let status = world.ended(&task).await;
    assert_eq!(status["state"], "Failed");
    assert_eq!(status["message"], "cut.jpg: the picture ends before its data does");
    let failed = &world.events("task_data_failed").await[0];
    assert_eq!(failed["message"], status["message"]);
    world.nothing_is_kept().await;
    world.get(&format!("{task}/data/meta")).await.expect(404);
    // And again, rightly.
    world.start_upload(&task).await.expect(202);
    world.send_files(&task, &[("good.jpg", &jpeg(1))]).await.expect(200);
    world.finish(&task, options()).await.expect(202);
    assert_eq!(world.ended(&task).await["state"], "Finished");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_make_no_sense_are_refused() {
    let world = World::start().await;
    let task = world.task(21).await;
    world.finish(&task, options()).await.expect(400);
    world.start_upload(&task).await.expect(202);
    world.finish(&task, options()).await.expect(400);
    world.send_files(&task, &[("a.jpg", &jpeg(1))]).await.expect(200);
    for (field, bad) in [
        ("image_quality", json!({})),
        ("image_quality", json!({ "image_quality": 0 })),
        ("image_quality", json!({ "image_quality": "high" })),
        ("chunk_size", json!({ "image_quality": 70, "chunk_size": -1 })),
        ("chunk_size", json!({ "image_quality": 70, "chunk_size": 1001 })),
        ("chunk_size", json!({ "image_quality": 70, "chunk_size": i32::MAX })),
        ("frame_filter", json!({ "image_quality": 70, "frame_filter": "step=0" })),
        ("frame_filter", json!({ "image_quality": 70, "frame_filter": "every third" })),
        ("sorting_method", json!({ "image_quality": 70, "sorting_method": "best" })),
        ("upload_file_order", json!({ "image_quality": 70, "upload_file_order": ["a.jpg"] })),
        (
            "upload_file_order",
            json!({ "image_quality": 70, "sorting_method": "predefined", "upload_file_order": ["b.jpg"] }),
        ),
        (
            "upload_file_order",
            json!({ "image_quality": 70, "sorting_method": "predefined", "upload_file_order": ["a\0"] }),
        ),
        ("server_files", json!({ "image_quality": 70, "server_files": ["/etc"] })),
        ("remote_files", json!({ "image_quality": 70, "remote_files": ["http://169.254.169.254/"] })),
        ("cloud_storage_id", json!({ "image_quality": 70, "cloud_storage_id": 1 })),
    ] {
        let answer = world.finish(&task, bad.clone()).await.expect(400).json();
        assert!(answer[field].is_array(), "{bad}: {answer}");
    }
    let nobody = json!({ "image_quality": 70, "start_frame": 5 });
    world.finish(&task, nobody).await.expect(202);
    let status = world.ended(&task).await;
    assert!(status["message"].as_str().unwrap().starts_with("None of the 1 pictures"), "{status}");
    let broken = [("Upload-Finish", ""), ("content-type", "application/json")];
    world.send(OWNER, "POST", &format!("{task}/data"), &broken, b"{".to_vec()).await.expect(400);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_a_large_task_may_be_named_in_the_order_wanted() {
    let world = World::start().await;
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    world.send_files(&task, &[("0.jpg", &jpeg(1))]).await.expect(200);
    let order = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("{number}.jpg")).collect();
        json!({ "image_quality": 70, "sorting_method": "predefined", "upload_file_order": names })
    };
    assert!(order(200_000).to_string().len() > 2 * 1024 * 1024);
    let answer = world.finish(&task, order(200_000)).await.expect(400).json();
    assert_eq!(answer["upload_file_order"][0], "1.jpg: no file with this name was sent.");
    let answer = world.finish(&task, order(200_001)).await.expect(400).json();
    assert_eq!(answer["upload_file_order"][0], "Ensure this list has no more than 200000 names.");
    world.finish(&task, order(1)).await.expect(202);
    assert_eq!(world.ended(&task).await["state"], "Finished");
    world.stop().await;
}
