//! A newcomer's first five minutes: the whole mesh on a PostgreSQL of its own, and the demo.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kept::{Scratch, annomesh};

const PATIENCE: Duration = Duration::from_secs(120);

/// A mesh that runs until it is told to stop, also when a test fails.
struct Up(Child);

impl Up {
    fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Ends it as Ctrl-C does, so that PostgreSQL ends with it.
    fn stop(&mut self) -> bool {
        let told = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        let began = Instant::now();
        while told.is_ok() && began.elapsed() < Duration::from_secs(20) {
            if self.is_over() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if !self.is_over() && !self.stop() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

#[tokio::test]
async fn the_demo_plays_both_stories_and_leaves_nothing() {
    let scratch = Scratch::new("demo");
    let data = scratch.0.join("data");
    let mut mesh = annomesh(&data);
    let mut up = Up(mesh.stdout(Stdio::piped()).spawn().unwrap());
    let (sender, said) = channel();
    let lines = BufReader::new(up.0.stdout.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let url = loop {
        let line = said.recv_timeout(PATIENCE).unwrap();
        if let Some(url) = line.trim().strip_prefix("page") {
            break url.trim().to_owned();
        }
    };

    let played = annomesh(&data).arg("demo").output().unwrap();
    let text = String::from_utf8(played.stdout).unwrap();
    assert!(played.status.success(), "{text}\n{}", String::from_utf8_lossy(&played.stderr));
    for step in [
        "✓ rename it and add a label",
        "· the request is finished, 100 %",
        "✓ list its 3 jobs: frames 0–4, 4–8, 8–11",
        "✓ get street-01.jpg: the very bytes",
        "✓ get street-12.png: the very bytes",
        "✓ read the task's annotations: 36 shapes",
        "✓ see that the task is completed",
        "13 calls, each signed: 3 create:job, 1 create:task, 1 delete:task, 6 update:job, 2 update:task",
        "1 task, 3 jobs, 12 frames, 36 objects annotated, 13 webhook deliveries",
        "✓ delete the organization",
    ] {
        assert!(text.contains(step), "no `{step}` in:\n{text}");
    }

    let secrets = std::fs::read_to_string(data.join("secrets.env")).unwrap();
    let password = secrets.lines().find_map(|line| line.strip_prefix("ADMIN_PASSWORD=")).unwrap();
    let http = service_kit::http_client::builder().build().unwrap();
    for path in ["organizations", "webhooks", "projects", "tasks", "jobs"] {
        let request = http.get(format!("{url}/api/{path}")).basic_auth("admin", Some(password));
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        let page: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(page["count"], 0, "{path}: {page}");
    }
    assert!(up.stop(), "Ctrl-C stops it");
}
