//! What the tests have in common: users, an organization, and a media service that says what it is told to.

use std::sync::Mutex;
use std::time::Duration;

use contracts::ContractEvent;
use contracts::event::Example;
use contracts::identity::{
    Membership, MembershipCreated, Organization, OrganizationCreated, OrganizationDeleted, User,
    UserRegistered,
};
use contracts::media::{TaskData, TaskDataPrepared, TaskDataSubmitted};
use serde_json::{Value, json};
use test_kit::{Client, TestMesh, eventually, fake};

pub const PATIENCE: Duration = Duration::from_secs(120);

/// Projects among fakes.
pub struct World {
    pub mesh: TestMesh,
    identity: Mutex<Vec<Value>>,
    media: Mutex<Vec<Value>>,
}

/// Members of the organization 3, `wonderland`.
pub const MEMBERS: [(i64, &str); 5] =
    [(7, "owner"), (8, "maintainer"), (9, "supervisor"), (10, "worker"), (11, "worker")];

impl World {
    /// Users 1 to 12, and an organization.
    pub async fn start() -> Self {
        let mut services = vec![fake::service("identity"), fake::service("media")];
        services.push(projects::service());
        let mesh = TestMesh::start(services).await;
        let world = Self { mesh, identity: Mutex::default(), media: Mutex::default() };
        for id in 1..=12 {
            let user = User { id, username: format!("u{id}"), ..User::example() };
            world.note(&world.identity, id, None, &UserRegistered { user, ..UserRegistered::example() });
        }
        let organization = Organization::example();
        world.note(&world.identity, organization.id, None, &OrganizationCreated { organization });
        for (id, (user_id, role)) in (1..).zip(MEMBERS) {
            let membership = Membership { id, user_id, role: role.to_owned(), ..Membership::example() };
            world.note(&world.identity, id, None, &MembershipCreated { membership });
        }
        world.tell("identity", &world.identity).await;
        let last = world.caller("11.user").organization("wonderland");
        eventually("the directory is there", PATIENCE, async || {
            (last.get("/api/projects").await.status == 200).then_some(())
        })
        .await;
        world
    }

    /// `7.user`, signed in.
    pub fn caller(&self, name: &str) -> Client {
        self.mesh.anonymous().with("authorization", &format!("Token {name}"))
    }

    fn note<E: ContractEvent>(&self, log: &Mutex<Vec<Value>>, stream: i64, by: Option<i64>, event: &E) {
        let mut log = log.lock().unwrap();
        let subject = format!("{}/{stream}", E::KIND);
        let version = 1 + log.iter().filter(|event| event["subject"] == subject.as_str()).count();
        let position = 1 + log.len();
        let mut event = fake::event(position as i64, stream, version as i64, event);
        if let Some(by) = by {
            event["actorid"] = by.into();
        }
        log.push(event);
    }

    async fn tell(&self, service: &str, log: &Mutex<Vec<Value>>) {
        let events = json!(*log.lock().unwrap());
        fake::tell(&self.mesh, service, Value::Null, events).await;
    }

    /// The organization is gone.
    pub async fn end_organization(&self) {
        let organization = Organization::example();
        self.note(&self.identity, organization.id, None, &OrganizationDeleted { organization });
        self.tell("identity", &self.identity).await;
    }

    /// Media tells something of a task's data, which `by` caused.
    pub async fn media<E: ContractEvent>(&self, task_id: i64, by: i64, event: &E) {
        self.note(&self.media, task_id, Some(by), event);
        self.tell("media", &self.media).await;
    }

    /// Media is given data of `size` frames for a task and prepares it; returns the task's jobs.
    pub async fn attach(&self, client: &Client, by: i64, task_id: i64, size: i64) -> Vec<Value> {
        let request_id = request_id(task_id);
        self.media(task_id, by, &TaskDataSubmitted { task_id, request_id: request_id.clone() }).await;
        let data = TaskData { task_id, size, ..TaskData::example() };
        self.media(task_id, by, &TaskDataPrepared { request_id, data }).await;
        self.jobs(client, task_id).await
    }

    /// The jobs of a task, as soon as it has some; the first one first.
    pub async fn jobs(&self, client: &Client, task_id: i64) -> Vec<Value> {
        let path = format!("/api/jobs?task_id={task_id}&sort=id&page_size=all");
        eventually("the task has jobs", PATIENCE, async || {
            let jobs = client.get(&path).await.expect(200)["results"].as_array().unwrap().clone();
            (!jobs.is_empty()).then_some(jobs)
        })
        .await
    }

    pub async fn stop(self) {
        self.mesh.running.stop().await;
    }
}

/// What a client polls while a task's data is imported.
pub fn request_id(task_id: i64) -> String {
    format!("media.task-data.{task_id}.0198c0de-0000-7000-8000-000000000000")
}

/// The id of what was answered.
pub fn id(of: &Value) -> i64 {
    of["id"].as_i64().unwrap_or_else(|| panic!("{of} has no id"))
}

/// A task with a label of its own, in the personal workspace.
pub async fn task(client: &Client, fields: Value) -> Value {
    let mut body = json!({ "name": "crossings", "labels": [{ "name": "car" }] });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    client.post("/api/tasks", body).await.expect(201)
}
