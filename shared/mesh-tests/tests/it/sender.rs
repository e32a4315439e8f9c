//! A client that sends pictures by CVAT's protocol and does not give up: what it gets no answer to, it sends again.

use std::time::Duration;

use base64::Engine;
use image::ImageFormat;
use serde_json::{Value, json};
use test_kit::eventually;

use crate::media::picture;
use crate::support::{PATIENCE, unique};

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// A file that is sent: its name and its bytes.
pub type File = (&'static str, Vec<u8>);

/// A JPEG that no other name gives, and that is as long as this when it would be shorter.
pub fn jpeg(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = picture(ImageFormat::Jpeg, 1);
    // What follows the end of a picture belongs to the file.
    bytes.extend(name.as_bytes());
    bytes.resize(length.max(bytes.len()), b' ');
    bytes
}

/// A form with these files.
pub fn form(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![];
    for (index, (name, content)) in files.iter().enumerate() {
        let head = format!(
            "--b-o-u-n-d\r\nContent-Disposition: form-data; name=\"client_files[{index}]\"; \
             filename=\"{name}\"\r\n\r\n"
        );
        body.extend(head.into_bytes());
        body.extend(content);
        body.extend(b"\r\n");
    }
    body.extend(b"--b-o-u-n-d--\r\n");
    body
}

/// The content type of [`form`].
pub const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=b-o-u-n-d");
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// A person at the front door.
#[derive(Clone)]
pub struct Sender {
    http: reqwest::Client,
    base: String,
    name: String,
    password: String,
}

impl Sender {
    pub fn new(base: &str, name: &str, password: &str) -> Self {
        let http = service_kit::http_client::builder().timeout(Duration::from_secs(15)).build().unwrap();
        Self { http, base: base.to_owned(), name: name.to_owned(), password: password.to_owned() }
    }

    /// Sends something once. `None` when nobody answers.
    pub async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<Answer> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request =
            self.http.request(method.parse().unwrap(), url).basic_auth(&self.name, Some(&self.password));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body).send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Some(Answer { status, headers, body: response.bytes().await.ok()?.to_vec() })
    }

    /// Sends something once. `None` when nobody answers who could; nothing else may be the server's fault.
    pub async fn attempt(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<Answer> {
        let answer = self.raw(method, path, headers, body).await?;
        // 408: who stood still takes a request for slow that it has not read meanwhile (RFC 9110 §15.5.9: ask again).
        let away = [408, 502, 503, 504].contains(&answer.status);
        assert!(answer.status < 500 || away, "{method} {path}: {} {}", answer.status, answer.text());
        (!away).then_some(answer)
    }

    /// Sends something until it is answered.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        eventually(&format!("{method} {path} is answered"), PATIENCE, async || {
            self.attempt(method, path, headers, body.clone()).await
        })
        .await
    }

    pub async fn get(&self, path: &str) -> Value {
        self.send("GET", path, &[], vec![]).await.expect(200).json()
    }

    /// A new task, which exists once however often it is asked for.
    pub async fn task(&self) -> i64 {
        let name = unique("task");
        let body = json!({ "name": name, "labels": [{ "name": "car" }], "segment_size": 2 });
        let headers = [JSON, ("idempotency-key", name.as_str())];
        let made = self.send("POST", "/api/tasks", &headers, body.to_string().into()).await.expect(201);
        made.json()["id"].as_i64().unwrap()
    }

    pub async fn start(&self, task: i64) {
        self.send("POST", &data(task), &[("Upload-Start", "")], vec![]).await.expect(202);
    }

    pub async fn send_form(&self, task: i64, files: &[File]) {
        let headers = [("Upload-Multiple", ""), FORM];
        self.send("POST", &data(task), &headers, form(files)).await.expect(200);
    }

    /// Sends a file in two pieces, and goes on where it was cut off.
    pub async fn send_pieces(&self, task: i64, (name, content): &File) {
        let location = self.begin_pieces(task, name, content.len()).await;
        loop {
            let head = self.send("HEAD", &location, &[], vec![]).await.expect(200);
            let at = head.headers["upload-offset"].to_str().unwrap().to_owned();
            let from: usize = at.parse().unwrap();
            if from == content.len() {
                return;
            }
            let to = if from < content.len() / 2 { content.len() / 2 } else { content.len() };
            let headers =
                [("Upload-Offset", at.as_str()), ("Content-Type", "application/offset+octet-stream")];
            // Whatever came of it is asked first.
            let sent = self.attempt("PATCH", &location, &headers, content[from..to].to_vec()).await;
            if let Some(sent) = sent {
                sent.expect(204);
            }
        }
    }

    /// Begins a file that is sent in pieces; returns where.
    pub async fn begin_pieces(&self, task: i64, name: &str, length: usize) -> String {
        let begun = self.send("POST", &data(task), &begin(name, length).each(), vec![]).await.expect(201);
        begun.headers["location"].to_str().unwrap().to_owned()
    }

    /// Says that everything was sent; returns the request to poll.
    pub async fn finish(&self, task: i64) -> String {
        let headers = [("Upload-Finish", ""), JSON];
        let body = json!({ "image_quality": 70, "chunk_size": 2 }).to_string();
        let answer = self.send("POST", &data(task), &headers, body.into()).await.expect(202).json();
        answer["rq_id"].as_str().unwrap().to_owned()
    }

    /// Sends files, the last of them in pieces; returns the request to poll.
    pub async fn import(&self, task: i64, files: &[File]) -> String {
        self.start(task).await;
        let (last, others) = files.split_last().unwrap();
        self.send_form(task, others).await;
        self.send_pieces(task, last).await;
        self.finish(task).await
    }

    /// Polls a request until it has ended. Meanwhile neither it nor its task may be unknown.
    pub async fn ended(&self, task: i64, request: &str) -> Value {
        eventually(&format!("{request} ends"), PATIENCE, async || {
            if let Some(seen) = self.attempt("GET", &format!("/api/tasks/{task}"), &[], vec![]).await {
                seen.expect(200);
            }
            let seen = self.attempt("GET", &format!("/api/requests/{request}"), &[], vec![]).await?;
            let seen = seen.expect(200).json();
            ["finished", "failed"].contains(&seen["status"].as_str().unwrap()).then_some(seen)
        })
        .await
    }

    /// Insists that a task has these frames, in jobs of two, and nothing else: without waiting for anything but an
    /// answer.
    pub async fn has_all(&self, task: i64, files: &[File]) {
        let frames = i64::try_from(files.len()).unwrap();
        let jobs = self.get(&format!("/api/jobs?task_id={task}&sort=id&page_size=100")).await;
        let of = |job: &Value| (job["start_frame"].as_i64().unwrap(), job["stop_frame"].as_i64().unwrap());
        let ranges: Vec<_> = jobs["results"].as_array().unwrap().iter().map(of).collect();
        let expected: Vec<_> =
            (0..frames).step_by(2).map(|first| (first, (first + 1).min(frames - 1))).collect();
        assert_eq!(ranges, expected, "{jobs}");
        assert_eq!(self.get(&format!("/api/tasks/{task}")).await["size"], frames);
        assert_eq!(self.get(&format!("{}/meta", data(task).trim_end_matches('/'))).await["size"], frames);
        for (index, (name, content)) in files.iter().enumerate() {
            let job = &jobs["results"][index / 2]["id"];
            let path = format!("/api/jobs/{job}/data?type=frame&number={index}&quality=original");
            let frame = self.send("GET", &path, &[], vec![]).await.expect(200);
            assert!(frame.body == *content, "{name} of task {task} is not what was sent");
        }
        let requests = self.get(&format!("/api/requests?task_id={task}")).await;
        assert_eq!((&requests["count"], &requests["results"][0]["status"]), (&json!(1), &json!("finished")));
    }

    /// Insists that a task has neither frames nor jobs.
    pub async fn has_nothing(&self, task: i64) {
        assert_eq!(self.get(&format!("/api/jobs?task_id={task}")).await["count"], 0);
        assert!(self.get(&format!("/api/tasks/{task}")).await.get("size").is_none());
        let meta = format!("{}/meta", data(task).trim_end_matches('/'));
        self.send("GET", &meta, &[], vec![]).await.expect(404);
    }

    /// Deletes a task; 404 is as good when it was answered before and nobody heard it.
    pub async fn delete(&self, task: i64) {
        let answer = self.send("DELETE", &format!("/api/tasks/{task}"), &[], vec![]).await;
        assert!([204, 404].contains(&answer.status), "{}", answer.text());
    }
}

/// Where a task's data is sent to.
pub fn data(task: i64) -> String {
    format!("/api/tasks/{task}/data/")
}

/// The headers that begin a file which is sent in pieces.
pub struct Begin {
    length: String,
    metadata: String,
}

pub fn begin(name: &str, length: usize) -> Begin {
    let encoded = base64::engine::general_purpose::STANDARD.encode(name);
    Begin { length: length.to_string(), metadata: format!("filename {encoded}") }
}

impl Begin {
    pub fn each(&self) -> [(&str, &str); 2] {
        [("Upload-Length", &self.length), ("Upload-Metadata", &self.metadata)]
    }
}
