//! A running media service, what projects says to it, and pictures.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use contracts::event::Example;
use contracts::projects::{Job, JobCreated, Project, ProjectCreated, Task, TaskCreated, TaskDeleted};
use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use event_store::Sql;
use image::{DynamicImage, ImageFormat, RgbImage};
use serde_json::{Value, json};
use service_kit::Service;
use test_kit::{TestMesh, eventually, fake, servers};

pub const PATIENCE: Duration = Duration::from_secs(120);
/// Owns every task unless a test says otherwise.
pub const OWNER: &str = "7.worker";
/// Of the other tenant, and its admin.
pub const STRANGER: &str = "7.admin.2";

pub struct World {
    pub mesh: TestMesh,
    /// Where a bucket's objects are, when the pictures are in one.
    bucket: Option<PathBuf>,
    events: Mutex<Vec<Value>>,
    http: reqwest::Client,
}

/// A whole response.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Response {
    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().unwrap()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

fn services() -> Vec<Service> {
    let others = ["identity", "projects", "billing", "webhooks", "analytics"].map(fake::service);
    others.into_iter().chain([media::service()]).collect()
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(vec![]).await
    }

    /// With pictures in a folder, or on the S3 server whose folder `TEST_S3` names (see `infra/s3`), each world in a
    /// part of the bucket of its own.
    pub async fn start_with(mut settings: Vec<(String, String)>) -> Self {
        let bucket = servers::bucket();
        if let Some(bucket) = &bucket {
            let missing = |name: &String| !settings.iter().any(|(known, _)| known == name);
            let missing: Vec<_> =
                bucket.variables.iter().filter(|(name, _)| missing(name)).cloned().collect();
            settings.extend(missing);
        }
        let mesh = TestMesh::start_with(services(), settings).await;
        let http = service_kit::http_client::builder().build().unwrap();
        Self { mesh, bucket: bucket.map(|bucket| bucket.objects), events: Mutex::default(), http }
    }

    pub async fn restart(self) -> Self {
        self.restart_with(&[]).await
    }

    /// Starts again, with some settings changed.
    pub async fn restart_with(self, changed: &[(&str, &str)]) -> Self {
        let Self { mesh, bucket, events, http } = self;
        let mesh = mesh.restart_with(services(), changed).await;
        let world = Self { mesh, bucket, events, http };
        world.tell().await;
        world
    }

    pub async fn stop(self) {
        let data = self.mesh.running.config.data.clone();
        self.mesh.running.stop().await;
        std::fs::remove_dir_all(data).unwrap();
    }

    /// Where objects are.
    pub fn objects(&self) -> PathBuf {
        let folder = || self.mesh.running.config.data.join("media/objects");
        self.bucket.clone().unwrap_or_else(folder)
    }

    async fn tell(&self) {
        let events = Value::from(self.events.lock().unwrap().clone());
        fake::tell(&self.mesh, "projects", Value::Null, events).await;
    }

    /// Publishes an event of projects, in a tenant.
    pub async fn publish<E: contracts::ContractEvent>(&self, tenant: u32, stream: i64, event: &E) {
        {
            let mut events = self.events.lock().unwrap();
            let position = events.len() as i64 + 1;
            let tenant = fake::tenant(tenant).to_string();
            let key = format!("{tenant}/{}/{stream}", E::KIND);
            let version = 1 + events.iter().filter(|event| event["partitionkey"] == key.as_str()).count();
            let mut event = fake::event(position, stream, version as i64, event);
            event["tenantid"] = tenant.into();
            event["partitionkey"] = key.into();
            events.push(event);
        }
        self.tell().await;
    }

    /// A personal task of user 7, in tenant 1.
    pub async fn task(&self, id: i64) -> String {
        self.task_of(1, id, 7, None).await
    }

    pub async fn task_of(&self, tenant: u32, id: i64, owner: i64, project_id: Option<i64>) -> String {
        let task = Task {
            id,
            project_id,
            owner_id: Some(owner),
            organization_id: None,
            size: None,
            overlap: None,
            ..Task::example()
        };
        self.publish(tenant, id, &TaskCreated { task }).await;
        format!("/api/tasks/{id}")
    }

    pub async fn project(&self, id: i64) {
        let project = Project { id, owner_id: Some(7), organization_id: None, ..Project::example() };
        self.publish(1, id, &ProjectCreated { project }).await;
    }

    pub async fn job(&self, id: i64, task_id: i64, frames: std::ops::RangeInclusive<i64>) -> String {
        let job = Job {
            id,
            task_id,
            project_id: None,
            organization_id: None,
            assignee_id: Some(9),
            start_frame: *frames.start(),
            stop_frame: *frames.end(),
            ..Job::example()
        };
        self.publish(1, id, &JobCreated { job }).await;
        format!("/api/jobs/{id}")
    }

    pub async fn delete_task(&self, id: i64) {
        let task = Task { id, owner_id: Some(7), organization_id: None, ..Task::example() };
        self.publish(1, id, &TaskDeleted { task }).await;
    }

    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.mesh.url) }
    }

    pub fn request(&self, who: &str, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().unwrap(), self.url(path)).basic_auth(who, Some("x"))
    }

    pub async fn send(
        &self,
        who: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response {
        let mut request = self.request(who, method, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Response::of(request.body(body).send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send(OWNER, "GET", path, &[], vec![]).await
    }

    pub async fn start_upload(&self, task: &str) -> Response {
        self.send(OWNER, "POST", &format!("{task}/data/"), &[("Upload-Start", "")], vec![]).await
    }

    pub async fn send_files(&self, task: &str, files: &[(&str, &[u8])]) -> Response {
        let (content_type, body) = form(&[("image_quality", "70")], files);
        let headers = [("Upload-Multiple", ""), ("Content-Type", content_type.as_str())];
        self.send(OWNER, "POST", &format!("{task}/data/"), &headers, body).await
    }

    pub async fn finish(&self, task: &str, options: Value) -> Response {
        let headers = [("Upload-Finish", ""), ("Content-Type", "application/json")];
        self.send(OWNER, "POST", &format!("{task}/data/"), &headers, options.to_string().into()).await
    }

    /// Waits until an import has ended; returns its status.
    pub async fn ended(&self, task: &str) -> Value {
        eventually("the import ends", PATIENCE, async || {
            let status = self.get(&format!("{task}/status")).await.expect(200).json();
            (status["state"] == "Finished" || status["state"] == "Failed").then_some(status)
        })
        .await
    }

    /// A task with these files, prepared.
    pub async fn filled(&self, id: i64, files: &[(&str, &[u8])], options: Value) -> String {
        let task = self.task(id).await;
        self.start_upload(&task).await.expect(202);
        self.send_files(&task, files).await.expect(200);
        self.finish(&task, options).await.expect(202);
        let status = self.ended(&task).await;
        assert_eq!(status["state"], "Finished", "{status}");
        task
    }

    /// Data of media's contract events of a type, in order.
    pub async fn events(&self, name: &str) -> Vec<Value> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            data: String,
        }
        let store = &self.mesh.running.kit("media").unwrap().store;
        let mut tx = store.database().tenant(fake::tenant(1)).await.unwrap();
        let rows: Vec<Row> =
            Sql::fixed("SELECT data::text AS data FROM es_contract WHERE event_type = $1 ORDER BY seq")
                .bind::<Text>(format!("media.{name}.v1"))
                .load(&mut *tx)
                .await
                .unwrap();
        tx.commit().await.unwrap();
        rows.iter().map(|row| serde_json::from_str(&row.data).unwrap()).collect()
    }

    /// How many bytes tenant 1 stores now.
    pub async fn stored(&self) -> i64 {
        self.events("storage_changed").await.last().map_or(0, |event| event["bytes"].as_i64().unwrap())
    }

    /// How many rows of a table tenant 1 has.
    pub async fn count(&self, table: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            count: i64,
        }
        let store = &self.mesh.running.kit("media").unwrap().store;
        let mut tx = store.database().tenant(fake::tenant(1)).await.unwrap();
        let sql = Sql::templated(format!("SELECT count(*) AS count FROM {table}"));
        let row: Row = sql.get_result(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        row.count
    }

    /// Files in the storage and on their way into it.
    pub fn files(&self) -> usize {
        fn below(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            // The server's own notes about objects begin with a dot.
            let entries = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
            entries.map(|entry| if entry.path().is_dir() { below(&entry.path()) } else { 1 }).sum()
        }
        let in_bucket = self.bucket.as_deref().map_or(0, below);
        below(&self.mesh.running.config.data.join("media")) + in_bucket
    }

    /// Waits until nothing is kept any more.
    pub async fn nothing_is_kept(&self) {
        eventually("nothing is kept", PATIENCE, async || {
            let rows = self.count("blob").await + self.count("upload_file").await;
            (self.stored().await == 0 && rows == 0 && self.files() == 0).then_some(())
        })
        .await;
    }
}

/// A form with fields and files.
pub fn form(fields: &[(&str, &str)], files: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let boundary = "a-boundary-that-is-in-no-picture";
    let mut body = vec![];
    for (name, value) in fields {
        let part =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.into_bytes());
    }
    for (index, (name, content)) in files.iter().enumerate() {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"client_files[{index}]\"; \
             filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        body.extend(head.into_bytes());
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").into_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// A picture that no other number gives.
pub fn picture(format: ImageFormat, width: u32, height: u32, number: u8) -> Vec<u8> {
    let pixel = |x: u32, y: u32| image::Rgb([(x * 3) as u8 ^ number, (y * 5) as u8, (x * y) as u8]);
    let image = DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, pixel));
    let mut bytes = Cursor::new(vec![]);
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn jpeg(number: u8) -> Vec<u8> {
    picture(ImageFormat::Jpeg, 64, 48, number)
}

/// What `Upload-Finish` needs at least.
pub fn options() -> Value {
    json!({ "image_quality": 70 })
}
