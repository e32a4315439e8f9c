//! Frames, chunks and previews.

use std::io::Read;

use image::ImageFormat;
use serde_json::{Value, json};

use crate::world::{OWNER, World, jpeg, options, picture};

fn entries(zip: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(zip.to_vec())).unwrap();
    (0..archive.len())
        .map(|index| {
            let mut entry = archive.by_index(index).unwrap();
            let mut content = vec![];
            entry.read_to_end(&mut content).unwrap();
            (entry.name().unwrap().into_owned(), content)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_archives_of_what_is_stored() {
    let world = World::start().await;
    let (one, two, three) = (jpeg(1), picture(ImageFormat::Png, 40, 30, 2), jpeg(3));
    let files: [(&str, &[u8]); 3] = [("1.jpg", &one), ("2.png", &two), ("3.JPG", &three)];
    let task = world.filled(21, &files, json!({ "image_quality": 70, "chunk_size": 2 })).await;

    let path = format!("{task}/data/?type=chunk&number=0&quality=original");
    let chunk = world.get(&path).await.expect(200);
    assert_eq!(chunk.header("content-type"), "application/zip");
    assert_eq!(chunk.header("content-length"), chunk.body.len().to_string());
    let content = |name: &str, bytes: &[u8]| (name.to_owned(), bytes.to_vec());
    assert_eq!(entries(&chunk.body), [content("000000.jpg", &one), content("000001.png", &two)]);

    // Any part of it, and nothing when the client has it.
    let etag = chunk.header("etag").to_owned();
    for (range, from, to) in [
        ("bytes=0-9", 0, 10),
        ("bytes=30-400", 30, 401),
        ("bytes=-50", chunk.body.len() - 50, chunk.body.len()),
    ] {
        let part = world.send(OWNER, "GET", &path, &[("Range", range)], vec![]).await.expect(206);
        assert_eq!(part.body, &chunk.body[from..to], "{range}");
        assert_eq!(part.header("etag"), etag);
        let shown = format!("bytes {from}-{}/{}", to - 1, chunk.body.len());
        assert_eq!(part.header("content-range"), shown);
    }
    world.send(OWNER, "GET", &path, &[("Range", "bytes=9999999-")], vec![]).await.expect(416);
    let head = world.send(OWNER, "HEAD", &path, &[("Range", "bytes=0-9")], vec![]).await.expect(200);
    assert_eq!(head.header("content-length"), chunk.body.len().to_string());
    let same = world.send(OWNER, "GET", &path, &[("If-None-Match", &etag)], vec![]).await.expect(304);
    assert!(same.body.is_empty());

    // Compressed: a small upright JPEG is passed on, a PNG becomes a JPEG.
    let compressed = world.get(&format!("{task}/data?type=chunk&number=0")).await.expect(200);
    let compressed = entries(&compressed.body);
    assert_eq!(compressed[0], content("000000.jpeg", &one));
    assert_eq!(compressed[1].0, "000001.jpeg");
    let decoded = image::load_from_memory_with_format(&compressed[1].1, ImageFormat::Jpeg).unwrap();
    assert_eq!((decoded.width(), decoded.height()), (40, 30));
    let last = world.get(&format!("{task}/data?type=chunk&number=1&quality=original")).await.expect(200);
    assert_eq!(entries(&last.body), [content("000000.JPG", &three)]);
    let beyond = world.get(&format!("{task}/data?type=chunk&number=2")).await.expect(400);
    assert_eq!(beyond.json()[0], "The chunk number should be in the [0, 1] range");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_has_its_part_of_the_task() {
    let world = World::start().await;
    let pictures: Vec<Vec<u8>> = (0..6).map(jpeg).collect();
    let names: Vec<String> = (0..6).map(|number| format!("f{number}.jpg")).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().map(String::as_str).zip(pictures.iter().map(Vec::as_slice)).collect();
    world.filled(21, &files, json!({ "image_quality": 70, "chunk_size": 2 })).await;
    let job = world.job(33, 21, 3..=5).await;
    let meta = world.get(&format!("{job}/data/meta")).await.expect(200).json();
    assert_eq!((&meta["size"], &meta["start_frame"], &meta["stop_frame"]), (&json!(3), &json!(3), &json!(5)));
    assert_eq!(meta["frames"][0]["name"], "f3.jpg");
    let frame = |number: i64| format!("{job}/data?type=frame&number={number}&quality=original");
    assert_eq!(world.get(&frame(4)).await.expect(200).body, pictures[4]);
    let beyond = world.get(&frame(2)).await.expect(400).json();
    assert_eq!(beyond[0], "The frame number should be in the [3, 5] range");
    let by_index = world.get(&format!("{job}/data?type=chunk&index=0&quality=original")).await.expect(200);
    let contents: Vec<_> = entries(&by_index.body).into_iter().map(|(_, content)| content).collect();
    assert_eq!(contents, [pictures[3].clone(), pictures[4].clone()]);
    let by_number = world.get(&format!("{job}/data?type=chunk&number=1&quality=original")).await.expect(200);
    assert_eq!(entries(&by_number.body)[0].1, pictures[3]);
    // Its assignee sees it, and only it.
    world.send("9.worker", "GET", &frame(3), &[], vec![]).await.expect(200);
    world.send("9.worker", "GET", &format!("{job}/preview"), &[], vec![]).await.expect(200);
    world.send("9.worker", "GET", "/api/tasks/21/data?type=frame&number=3", &[], vec![]).await.expect(403);
    world.send("8.worker", "GET", &frame(3), &[], vec![]).await.expect(403);

    // Deleted frames: the job changes its own.
    let patch = async |path: &str, frames: Value| {
        let body = json!({ "deleted_frames": frames }).to_string().into_bytes();
        world.send(OWNER, "PATCH", path, &[("content-type", "application/json")], body).await
    };
    let all = patch("/api/tasks/21/data/meta", json!([1, 4])).await.expect(200).json();
    assert_eq!(all["deleted_frames"], json!([1, 4]));
    let own = patch(&format!("{job}/data/meta"), json!([5])).await.expect(200).json();
    assert_eq!(own["deleted_frames"], json!([5]));
    let meta = world.get("/api/tasks/21/data/meta").await.expect(200).json();
    assert_eq!(meta["deleted_frames"], json!([1, 5]));
    patch(&format!("{job}/data/meta"), json!([1])).await.expect(400);
    patch("/api/tasks/21/data/meta", json!([6])).await.expect(400);
    patch("/api/tasks/21/data/meta", json!(["x"])).await.expect(400);
    let deleted = world.events("task_data_frames_deleted").await;
    assert_eq!(deleted.iter().map(|event| event["deleted"].as_i64().unwrap()).collect::<Vec<_>>(), [2, 2]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_made_once_for_many() {
    let world = World::start().await;
    world.project(5).await;
    let large = picture(ImageFormat::Png, 1200, 600, 1);
    let task = world.task_of(1, 21, 7, Some(5)).await;
    world.get(&format!("{task}/preview")).await.expect(404);
    world.get("/api/projects/5/preview").await.expect(404);
    world.start_upload(&task).await.expect(202);
    world.send_files(&task, &[("a.png", &large)]).await.expect(200);
    world.finish(&task, options()).await.expect(202);
    world.ended(&task).await;
    let path = format!("{task}/preview");
    let asked = (0..24).map(|_| world.get(&path));
    let answers = futures::future::join_all(asked).await;
    let first = &answers[0].body;
    let preview = image::load_from_memory_with_format(first, ImageFormat::Jpeg).unwrap();
    assert_eq!((preview.width(), preview.height()), (256, 128));
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (200, first));
    }
    assert_eq!(world.count("derived").await, 1);
    let of_project = world.get("/api/projects/5/preview").await.expect(200);
    assert_eq!(of_project.body, *first);
    let etag = of_project.header("etag").to_owned();
    world.send(OWNER, "GET", &path, &[("If-None-Match", &etag)], vec![]).await.expect(304);
    let typed = world.get(&format!("{task}/data?type=preview")).await.expect(200);
    assert_eq!(typed.body, *first);
    // It goes with its picture.
    world.delete_task(21).await;
    world.nothing_is_kept().await;
    assert_eq!(world.count("derived").await, 0);
    world.get(&path).await.expect(404);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_makes_no_sense_gets_a_clear_answer() {
    let world = World::start().await;
    let empty = world.task(20).await;
    world.get(&format!("{empty}/data/meta")).await.expect(404);
    world.get(&format!("{empty}/data?type=frame&number=0")).await.expect(404);
    world.get(&format!("{empty}/data?type=chunk&number=0")).await.expect(404);
    let task = world.filled(21, &[("a.jpg", &jpeg(1))], options()).await;
    for query in [
        "",
        "type=frame",
        "type=video&number=1",
        "type=frame&number=-1",
        "type=frame&number=1",
        "type=frame&number=x",
        "type=frame&number=0&quality=best",
        "type=chunk&number=99999999999999999999",
    ] {
        world.get(&format!("{task}/data?{query}")).await.expect(400);
    }
    let beyond = world.get(&format!("{task}/data?type=frame&number=1")).await.json();
    assert_eq!(beyond[0], "The frame number should be in the [0, 0] range");
    world.get(&format!("{task}/data?type=context_image&number=0")).await.expect(404);
    world.get("/api/tasks/999999/data/meta").await.expect(404);
    world.get("/api/jobs/999999/data/meta").await.expect(404);
    world.get("/api/tasks/x/data/meta").await.expect(404);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_cannot_be_shown_are_said_to_be_once_and_for_all() {
    let world = World::start().await;
    let wide = picture(ImageFormat::Png, 70_000, 1, 1);
    let mut vast = picture(ImageFormat::Png, 8, 8, 2);
    vast[16..20].copy_from_slice(&16_384u32.to_be_bytes());
    vast[20..24].copy_from_slice(&16_384u32.to_be_bytes());
    let mut damaged = picture(ImageFormat::Png, 300, 200, 3);
    let middle = damaged.len() / 2;
    damaged[middle..middle + 40].fill(0x55);
    let files: [(&str, &[u8]); 3] = [("a.png", &wide), ("b.png", &vast), ("c.png", &damaged)];
    let task = world.filled(21, &files, options()).await;
    let frame = |number: usize| format!("{task}/data?type=frame&number={number}&quality=compressed");
    let refused = async |path: &str, text: &str| {
        let answer = world.get(path).await.expect(400).json();
        assert!(answer["detail"].as_str().unwrap().contains(text), "{path}: {answer}");
    };
    // No JPEG is so wide, but its preview is.
    refused(&frame(0), "too large to be shown").await;
    world.get(&format!("{task}/preview")).await.expect(200);
    refused(&frame(1), "too large to be shown").await;
    refused(&frame(2), "damaged").await;
    // It is not read again for whoever asks next.
    std::fs::remove_dir_all(world.objects()).unwrap();
    refused(&frame(2), "damaged").await;
    for number in 0..2 {
        refused(&frame(number), "too large to be shown").await;
    }
    world.stop().await;
}
