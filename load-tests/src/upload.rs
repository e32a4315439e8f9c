//! A task with pictures, made as `cvat-sdk` makes one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use crate::http::Connection;

/// How long an import may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is asked for; the SDK does so every five seconds.
const POLL: Duration = Duration::from_millis(4);
const BOUNDARY: &str = "annomesh-load-test-boundary";

/// A task with its label, and its only job.
pub struct Task {
    pub id: i64,
    pub job_id: i64,
    pub label_id: i64,
}

/// Makes a task and sends it pictures.
pub fn task(connection: &mut Connection, pictures: &[Vec<u8>]) -> anyhow::Result<Task> {
    let id = create(connection)?;
    let files = pictures.iter().enumerate().map(|(index, bytes)| (format!("{index:06}.jpg"), bytes));
    let job_id = send(connection, id, &form(files))?;
    let labels = connection.ask("GET", &format!("/api/labels?task_id={id}"), None)?;
    let label_id = labels["results"][0]["id"].as_i64().context("the task has no label")?;
    Ok(Task { id, job_id, label_id })
}

/// Makes a task without data.
pub fn create(connection: &mut Connection) -> anyhow::Result<i64> {
    let task = json!({ "name": "streets", "labels": [{ "name": "car" }] });
    let task = connection.ask("POST", "/api/tasks", Some(&task))?;
    task["id"].as_i64().context("the task has no id")
}

/// A form with files.
pub fn form<'a>(files: impl Iterator<Item = (String, &'a Vec<u8>)>) -> Vec<u8> {
    let mut form = vec![];
    for (index, (name, bytes)) in files.enumerate() {
        form.extend(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"client_files[{index}]\"; \
                 filename=\"{name}\"\r\nContent-Type: image/jpeg\r\n\r\n"
            )
            .as_bytes(),
        );
        form.extend(bytes);
        form.extend(b"\r\n");
    }
    form.extend(format!("--{BOUNDARY}--\r\n").as_bytes());
    form
}

/// Sends a form's files to a task and waits until its job is listed; returns the job.
pub fn send(connection: &mut Connection, task_id: i64, form: &[u8]) -> anyhow::Result<i64> {
    let path = format!("/api/tasks/{task_id}/data");
    let json = "application/json";
    let multipart = format!("multipart/form-data; boundary={BOUNDARY}");
    connection.send("POST", &path, &[("upload-start", "")], (json, b""))?;
    connection.send("POST", &path, &[("upload-multiple", "")], (&multipart, form))?;
    let options = json!({ "image_quality": 70 }).to_string();
    let finished = connection.send("POST", &path, &[("upload-finish", "")], (json, options.as_bytes()))?;
    let request = finished["rq_id"].as_str().context("no request to wait for")?;
    finish(connection, request)?;
    let jobs = connection.ask("GET", &format!("/api/jobs?task_id={task_id}"), None)?;
    ensure!(jobs["count"] == 1, "the request is finished, and these are the jobs: {jobs}");
    jobs["results"][0]["id"].as_i64().context("the job has no id")
}

fn finish(connection: &mut Connection, request: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let now: Value = connection.ask("GET", &format!("/api/requests/{request}"), None)?;
        match now["status"].as_str() {
            Some("finished") => return Ok(()),
            Some("failed") => bail!("the import failed: {now}"),
            _ => std::thread::sleep(POLL),
        }
    }
    bail!("the import did not end within {PATIENCE:?}")
}
