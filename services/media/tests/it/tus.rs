//! Files that are sent piece by piece.

use base64::Engine;
use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;
use event_store::Sql;
use serde_json::json;
use test_kit::fake;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{OWNER, Response, World, jpeg, options};

const PIECE: &str = "application/offset+octet-stream";

pub async fn begin(world: &World, task: &str, name: &str, length: usize) -> Response {
    let metadata = format!("filename {}", base64::engine::general_purpose::STANDARD.encode(name));
    let length = length.to_string();
    let headers =
        [("Upload-Length", length.as_str()), ("Upload-Metadata", &metadata), ("Tus-Resumable", "1.0.0")];
    world.send(OWNER, "POST", &format!("{task}/data/"), &headers, vec![]).await
}

pub async fn append(world: &World, location: &str, offset: usize, bytes: &[u8]) -> Response {
    let offset = offset.to_string();
    let headers = [("Upload-Offset", offset.as_str()), ("Content-Type", PIECE)];
    world.send(OWNER, "PATCH", location, &headers, bytes.to_vec()).await
}

/// Sends a file in one piece.
pub async fn send_whole(world: &World, task: &str, name: &str, bytes: &[u8]) {
    let begun = begin(world, task, name, bytes.len()).await.expect(201);
    append(world, begun.header("location"), 0, bytes).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_on_where_it_was_cut_off_even_after_a_restart() {
    let world = World::start().await;
    let task = world.task(21).await;
    let picture = crate::world::picture(image::ImageFormat::Jpeg, 300, 200, 1);
    let (half, length) = (picture.len() / 2, picture.len());
    world.start_upload(&task).await.expect(202);
    let begun = begin(&world, &task, "cats/cat.jpg", length).await.expect(201);
    assert_eq!(begun.header("upload-filename"), "cats/cat.jpg");
    assert_eq!(begun.header("tus-resumable"), "1.0.0");
    let location = begun.header("location").to_owned();
    assert!(location.starts_with(&world.mesh.url), "{location} is not absolute");
    // It counts from now on.
    assert_eq!(world.stored().await, length as i64);

    let moved = append(&world, &location, 0, &picture[..half]).await.expect(204);
    assert_eq!(moved.header("upload-offset"), half.to_string());
    let path = location.replace(&world.mesh.url, "");
    let world = world.restart().await;
    let head = world.send(OWNER, "HEAD", &path, &[], vec![]).await.expect(200);
    assert_eq!(head.header("upload-offset"), half.to_string());
    assert_eq!(head.header("upload-length"), length.to_string());
    let wrong = append(&world, &path, 0, &picture).await.expect(409);
    assert_eq!(wrong.header("upload-offset"), half.to_string());
    let early = world.finish(&task, options()).await.expect(400).json();
    assert!(early["client_files"][0].as_str().unwrap().contains("cats/cat.jpg: only"), "{early}");
    append(&world, &path, half, &[&picture[half..], b"more"].concat()).await.expect(413);
    append(&world, &path, half, &picture[half..]).await.expect(204);

    world.send_files(&task, &[("dog.jpg", &jpeg(1))]).await.expect(200);
    world.finish(&task, json!({ "image_quality": 70 })).await.expect(202);
    assert_eq!(world.ended(&task).await["state"], "Finished");
    let frame = world.get(&format!("{task}/data?type=frame&number=0&quality=original")).await.expect(200);
    assert_eq!(frame.body, picture);
    assert_eq!(world.stored().await, (length + jpeg(1).len()) as i64);
    test_kit::eventually("the pieces are gone", crate::world::PATIENCE, async || {
        (world.files() == 2).then_some(())
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    let world = World::start().await;
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    begin(&world, &task, "../cat.jpg", 10).await.expect(400);
    begin(&world, &task, "/cat.jpg", 10).await.expect(400);
    begin(&world, &task, "", 10).await.expect(400);
    begin(&world, &task, "cat.jpg", 0).await.expect(400);
    begin(&world, &task, "cat.jpg", 26_843_545_601).await.expect(413);
    let data = format!("{task}/data");
    world.send(OWNER, "POST", &data, &[("Upload-Length", "x")], vec![]).await.expect(400);
    world.send(OWNER, "POST", &data, &[("Upload-Length", "5")], vec![]).await.expect(400);
    let unknown = format!("{data}/0198c0de-0000-7000-8000-000000000000");
    world.send(OWNER, "HEAD", &unknown, &[], vec![]).await.expect(404);
    append(&world, &unknown, 0, b"x").await.expect(404);
    assert_eq!(world.stored().await, 0);

    let begun = begin(&world, &task, "cat.jpg", 10).await.expect(201);
    let location = begun.header("location").to_owned();
    world.send(OWNER, "PATCH", &location, &[("Upload-Offset", "0")], b"x".to_vec()).await.expect(415);
    world.send("8.user", "HEAD", &location, &[], vec![]).await.expect(403);
    world.send(crate::world::STRANGER, "HEAD", &location, &[], vec![]).await.expect(404);
    // Begun anew under the same name: the first gives way.
    let again = begin(&world, &task, "cat.jpg", 20).await.expect(201);
    assert_ne!(again.header("location"), location);
    world.send(OWNER, "HEAD", &location, &[], vec![]).await.expect(404);
    assert_eq!(world.stored().await, 20);
    // A new start forgets all of it.
    world.start_upload(&task).await.expect(202);
    world.nothing_is_kept().await;
    let options = world.send(OWNER, "OPTIONS", &data, &[], vec![]).await.expect(204);
    assert_eq!(options.header("tus-max-size"), "26843545600");
    world.stop().await;
}

/// Sends bytes in HTTP chunks of one byte; returns the status line.
async fn trickle(world: &World, location: &str, bytes: &[u8]) -> String {
    let host = world.mesh.url.strip_prefix("http://").unwrap();
    let path = location.strip_prefix(&world.mesh.url).unwrap();
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{OWNER}:x"));
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {login}\r\nContent-Type: {PIECE}\r\n\
         Upload-Offset: 0\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    let chunks: Vec<u8> = bytes.iter().flat_map(|byte| [b'1', b'\r', b'\n', *byte, b'\r', b'\n']).collect();
    let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
    for part in [head.as_bytes(), &chunks, b"0\r\n\r\n"] {
        socket.write_all(part).await.unwrap();
    }
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_may_arrive_byte_by_byte() {
    let world = World::start().await;
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    let picture = crate::world::picture(image::ImageFormat::Png, 300, 200, 1);
    let begun = begin(&world, &task, "a.png", picture.len()).await.expect(201);
    let status = trickle(&world, begun.header("location"), &picture).await;
    assert!(status.contains("204"), "{status}");
    assert_eq!(world.files(), 1, "it is one piece");
    world.finish(&task, options()).await.expect(202);
    assert_eq!(world.ended(&task).await["state"], "Finished");
    let frame = world.get(&format!("{task}/data?type=frame&number=0&quality=original")).await.expect(200);
    assert_eq!(frame.body, picture);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_does_not_come_in_crumbs() {
    let world = World::start().await;
    let task = world.task(21).await;
    world.start_upload(&task).await.expect(202);
    let begun = begin(&world, &task, "a.jpg", 100).await.expect(201);
    let location = begun.header("location");
    append(&world, location, 0, b"x").await.expect(204);
    // As if it had come in so many.
    let pieces_are = async |count: usize| {
        let store = &world.mesh.running.kit("media").unwrap().store;
        let mut tx = store.database().tenant(fake::tenant(1)).await.unwrap();
        let pieces: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let sql = Sql::fixed("UPDATE upload_file SET pieces = $1").bind::<Array<Text>>(pieces);
        assert_eq!(sql.execute(&mut *tx).await.unwrap(), 1);
        tx.commit().await.unwrap();
    };
    pieces_are(19_999).await;
    append(&world, location, 1, b"x").await.expect(204);
    let refused = append(&world, location, 2, b"x").await.expect(413).json();
    assert!(refused["detail"].as_str().unwrap().contains("20000 pieces"), "{refused}");
    // Another offset is still told apart.
    append(&world, location, 1, b"x").await.expect(409);
    // Begun anew it goes on.
    let again = begin(&world, &task, "a.jpg", 100).await.expect(201);
    append(&world, again.header("location"), 0, b"x").await.expect(204);
    world.stop().await;
}
