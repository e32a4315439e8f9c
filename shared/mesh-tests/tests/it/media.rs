//! Pictures into a task, over media and projects: the saga from the first byte to the jobs, and back.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::{Value, json};
use test_kit::mesh::ADMIN;
use test_kit::{TestMesh, eventually};

use crate::sender::{FORM, JSON, Sender, begin, data, form};
use crate::support::{PATIENCE, mesh, unique};

pub fn picture(format: ImageFormat, number: u8) -> Vec<u8> {
    let pixel = |x: u32, y: u32| image::Rgb([(x * 3) as u8 ^ number, (y * 5) as u8, (x * y) as u8]);
    let mut bytes = Cursor::new(vec![]);
    DynamicImage::ImageRgb8(RgbImage::from_fn(60, 40, pixel)).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// The first admin, who sends and gets each thing once and waits for nothing: what is not there yet fails the test.
pub struct Person {
    sender: Sender,
}

impl Person {
    pub fn new(mesh: &TestMesh) -> Self {
        Self { sender: Sender::new(&mesh.url, ADMIN.0, ADMIN.1) }
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (u16, Vec<u8>) {
        let answer = self.sender.raw(method, path, headers, body).await.unwrap();
        (answer.status, answer.body)
    }

    pub async fn json(&self, method: &str, path: &str, body: Value, status: u16) -> Value {
        let (seen, body) = self.send(method, path, &[JSON], body.to_string().into()).await;
        assert_eq!(seen, status, "{method} {path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or(Value::Null)
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, &[], vec![]).await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// Sends files and says so; returns the request's id. No pause anywhere: media hears of the task when it must.
    pub async fn upload(&self, task: i64, files: &[(&str, Vec<u8>)]) -> String {
        let path = data(task);
        assert_eq!(self.send("POST", &path, &[("Upload-Start", "")], vec![]).await.0, 202);
        let headers = [("Upload-Multiple", ""), FORM];
        let (status, answer) = self.send("POST", &path, &headers, form(files)).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        let headers = [("Upload-Finish", ""), JSON];
        let options = json!({ "image_quality": 70, "chunk_size": 2 }).to_string();
        let (status, answer) = self.send("POST", &path, &headers, options.into()).await;
        assert_eq!(status, 202, "{}", String::from_utf8_lossy(&answer));
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["rq_id"].as_str().unwrap().to_owned()
    }

    /// Polls a request, which must never be unknown, until it has ended.
    pub async fn ended(&self, request: &str) -> Value {
        eventually("the request ends", PATIENCE, async || {
            let request = self.get(&format!("/api/requests/{request}")).await;
            ["finished", "failed"].contains(&request["status"].as_str().unwrap()).then_some(request)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_become_jobs_and_go_with_their_task() {
    let mesh = mesh().await;
    let person = Person::new(&mesh);
    let body = json!({ "name": unique("task"), "labels": [{ "name": "car" }], "segment_size": 2 });
    let task = person.json("POST", "/api/tasks", body, 201).await["id"].as_i64().unwrap();
    let files = [
        ("a.jpg", picture(ImageFormat::Jpeg, 1)),
        ("b.png", picture(ImageFormat::Png, 2)),
        ("c.webp", picture(ImageFormat::WebP, 3)),
    ];
    let request = person.upload(task, &files).await;
    let ended = person.ended(&request).await;
    assert_eq!(ended["status"], "finished", "{ended}");
    // What the client sees next is all there: no waiting from here on.
    let shown = person.get(&format!("/api/tasks/{task}")).await;
    assert_eq!(shown["size"], 3, "{shown}");
    let jobs = person.get(&format!("/api/jobs?task_id={task}")).await;
    assert_eq!(jobs["count"], 2, "{jobs}");
    let job = jobs["results"].as_array().unwrap().iter().find(|job| job["start_frame"] == 2).unwrap();
    let (status, frame) = person
        .send(
            "GET",
            &format!("/api/jobs/{}/data?type=frame&number=2&quality=original", job["id"]),
            &[],
            vec![],
        )
        .await;
    assert_eq!((status, &frame), (200, &files[2].1));
    let meta = person.get(&format!("/api/jobs/{}/data/meta", job["id"])).await;
    assert_eq!(meta["frames"][0]["name"], "c.webp");
    let (status, _) = person.send("GET", &format!("/api/tasks/{task}/preview"), &[], vec![]).await;
    assert_eq!(status, 200);

    let objects = mesh.running.config.data.join("media/objects");
    assert!(std::fs::read_dir(objects.join("t")).unwrap().next().is_some());
    person.json("DELETE", &format!("/api/tasks/{task}"), json!({}), 204).await;
    eventually("the pictures are gone", PATIENCE, async || {
        let tenants = std::fs::read_dir(objects.join("t")).unwrap().flatten();
        let left: usize =
            tenants.map(|tenant| std::fs::read_dir(tenant.path().join("blob")).unwrap().count()).sum();
        (left == 0).then_some(())
    })
    .await;
    mesh.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_fails_says_why_and_may_be_sent_again() {
    let mesh = mesh().await;
    let person = Person::new(&mesh);
    let body = json!({ "name": unique("task"), "labels": [{ "name": "car" }] });
    let task = person.json("POST", "/api/tasks", body, 201).await["id"].as_i64().unwrap();
    let path = data(task);
    let text = b"a text that calls itself a picture";
    assert_eq!(person.send("POST", &path, &[("Upload-Start", "")], vec![]).await.0, 202);
    let begun = person.sender.raw("POST", &path, &begin("cat.jpg", text.len()).each(), vec![]).await.unwrap();
    let location = begun.headers["location"].to_str().unwrap().to_owned();
    let piece = [("Upload-Offset", "0"), ("Content-Type", "application/offset+octet-stream")];
    assert_eq!(person.send("PATCH", &location, &piece, text.to_vec()).await.0, 204);
    let headers = [("Upload-Finish", ""), JSON];
    let (_, answer) = person.send("POST", &path, &headers, br#"{"image_quality":70}"#.to_vec()).await;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let ended = person.ended(answer["rq_id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "failed", "{ended}");
    assert!(ended["message"].as_str().unwrap().starts_with("cat.jpg: it is not a picture"), "{ended}");
    assert_eq!(person.get(&format!("/api/jobs?task_id={task}")).await["count"], 0);

    let request = person.upload(task, &[("a.jpg", picture(ImageFormat::Jpeg, 1))]).await;
    assert_eq!(person.ended(&request).await["status"], "finished");
    assert_eq!(person.get(&format!("/api/jobs?task_id={task}")).await["count"], 1);
    mesh.running.stop().await;
}
