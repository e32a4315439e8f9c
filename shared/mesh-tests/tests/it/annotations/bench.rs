//! A task with jobs and no pictures: annotations ask for neither bytes nor sizes.

use contracts::event::Example;
use contracts::media::{TaskData, TaskDataPrepared};
use contracts::projects::AnnotationsChanged;
use contracts::{ContractEvent, Envelope, TenantId};
use event_store::log::{self, LogFilter};
use event_store::sequencer::{self, CONTRACTS};
use event_store::{Store, inbox};
use serde_json::{Value, json};
use test_kit::{Client, TestMesh};

use crate::support::{mesh, unique};

pub struct Bench {
    pub mesh: TestMesh,
    pub client: Client,
    pub tenant: TenantId,
    pub project: i64,
    /// A label with an attribute that is not mutable and one that is, and one with none.
    pub car: i64,
    pub tree: i64,
    pub colour: i64,
    pub speed: i64,
}

/// A task and its jobs.
pub struct Cut {
    pub task: i64,
    pub jobs: Vec<i64>,
}

impl Bench {
    pub async fn start() -> Self {
        let mesh = mesh().await;
        let client = mesh.user(&unique("alice")).await;
        let attribute = |name: &str, mutable: bool| json!({ "name": name, "mutable": mutable, "input_type": "text", "default_value": "none", "values": [] });
        let car =
            json!({ "name": "car", "attributes": [attribute("colour", false), attribute("speed", true)] });
        let body = json!({ "name": "streets", "labels": [car, { "name": "tree" }] });
        let project = client.post("/api/projects", body).await.expect(201)["id"].as_i64().unwrap();
        let labels = client.get(&format!("/api/labels?project_id={project}")).await.expect(200);
        let label = |name: &str| {
            labels["results"].as_array().unwrap().iter().find(|label| label["name"] == name).unwrap().clone()
        };
        let id = |value: &Value| value["id"].as_i64().unwrap();
        let (car, tree) = (label("car"), label("tree"));
        let store = &mesh.running.kit("projects").unwrap().store;
        sequencer::drain(store, &[CONTRACTS]).await.unwrap();
        let page = log::read(store, 0, 1_000, &LogFilter::default()).await.unwrap();
        let created = page.events.iter().find(|event| event.subject == format!("project/{project}")).unwrap();
        Self {
            tenant: created.tenantid,
            client,
            project,
            car: id(&car),
            tree: id(&tree),
            colour: id(&car["attributes"][0]),
            speed: id(&car["attributes"][1]),
            mesh,
        }
    }

    pub fn store(&self) -> &Store {
        &self.mesh.running.kit("projects").unwrap().store
    }

    /// A task of so many frames, cut into jobs as if media had its data.
    pub async fn task(&self, size: i64, segment_size: i64, overlap: i64) -> Cut {
        let body = json!({
            "name": unique("task"), "project_id": self.project, "segment_size": segment_size, "overlap": overlap,
        });
        let task = self.client.post("/api/tasks", body).await.expect(201)["id"].as_i64().unwrap();
        let data =
            TaskData { task_id: task, size, start_frame: 0, stop_frame: size - 1, ..TaskData::example() };
        let prepared = TaskDataPrepared { data, ..TaskDataPrepared::example() };
        let service = projects::service();
        let consumer = service.consumers().iter().find(|consumer| consumer.name() == "reactions").unwrap();
        let events = [self.event(task, &prepared)];
        inbox::take(self.store(), &consumer.full_name("projects"), &consumer.handler(), &events, &[])
            .await
            .unwrap();
        let jobs = self.client.get(&format!("/api/jobs?task_id={task}&sort=id")).await.expect(200);
        let jobs =
            jobs["results"].as_array().unwrap().iter().map(|job| job["id"].as_i64().unwrap()).collect();
        Cut { task, jobs }
    }

    /// The first event of a stream of media.
    fn event<E: ContractEvent>(&self, id: i64, event: &E) -> Envelope {
        Envelope {
            specversion: "1.0".into(),
            id: event_store::new_id(),
            source: format!("/mesh/{}", E::SERVICE),
            event_type: E::TYPE.into(),
            subject: format!("{}/{id}", E::KIND),
            time: self.mesh.clock.now(),
            datacontenttype: "application/json".into(),
            dataschema: String::new(),
            tenantid: self.tenant,
            streamversion: 1,
            position: 1,
            partitionkey: contracts::envelope::partition_key(self.tenant, E::KIND, id),
            correlationid: event_store::new_id(),
            causationid: None,
            actorid: None,
            impersonatorid: None,
            organizationid: None,
            traceparent: None,
            data: serde_json::value::to_raw_value(event).unwrap(),
        }
    }

    /// One job of so many frames.
    pub async fn job(&self, size: i64) -> i64 {
        self.task(size, 0, 0).await.jobs[0]
    }

    pub fn rectangle(&self, frame: i64, left: f64) -> Value {
        json!({
            "type": "rectangle", "frame": frame, "label_id": self.tree, "group": 0, "source": "manual",
            "occluded": false, "outside": false, "z_order": 0, "rotation": 0.0, "score": 1.0,
            "points": [left, 1.5, left + 10.25, 20.0], "attributes": [], "elements": [],
        })
    }

    /// What others were told of a job's annotations, in order.
    pub async fn told(&self, job: i64) -> Vec<AnnotationsChanged> {
        sequencer::drain(self.store(), &[CONTRACTS]).await.unwrap();
        let filter = LogFilter { types: vec!["projects.annotations_changed.v1".into()], tenant: None };
        let (mut told, mut after) = (vec![], 0);
        loop {
            let page = log::read(self.store(), after, 1_000, &filter).await.unwrap();
            let of_job = page.events.iter().filter(|event| event.subject == format!("annotations/{job}"));
            for (event, version) in of_job.zip(told.len() as i64 + 1..) {
                assert_eq!(event.streamversion, version, "contract versions have a hole");
                told.push(serde_json::from_str(event.data.get()).unwrap());
            }
            if page.next >= page.head {
                return told;
            }
            after = page.next;
        }
    }

    pub async fn get(&self, job: i64) -> Value {
        self.client.get(&path(job)).await.expect(200)
    }

    pub async fn put(&self, job: i64, data: Value) -> Value {
        self.client.send("PUT", &path(job), Some(data.to_string())).await.expect(200)
    }

    pub async fn patch(&self, job: i64, action: &str, data: Value) -> Value {
        self.client.patch(&format!("{}?action={action}", path(job)), data).await.expect(200)
    }
}

pub fn path(job: i64) -> String {
    format!("/api/jobs/{job}/annotations/")
}
