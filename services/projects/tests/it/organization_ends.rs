//! The directory and the reactions are two consumers and hear of an organization's end in either order; what is
//! created in between is swept or refused.

use std::time::Duration;

use bus::Consumer;
use chrono::DateTime;
use contracts::Envelope;
use contracts::event::Example;
use contracts::identity::{
    Membership, MembershipCreated, Organization, OrganizationCreated, OrganizationDeleted,
    OrganizationUpdated,
};
use diesel_async::SimpleAsyncConnection;
use event_store::inbox::{self, Taken};
use event_store::store::Context;
use event_store::{Aggregate, Store};
use projects::domain::project::{CreateProject, Project, ProjectCommand};
use projects::domain::task::Task;
use serde_json::{Map, Value, json};
use service_kit::directory;
use test_kit::{Client, TestMesh, fake};

const DIRECTORY: &str = "directory";
const REACTIONS: &str = "reactions";

/// Projects alone, and identity's news as the test gives them to each consumer.
struct World {
    mesh: TestMesh,
    store: Store,
    consumers: Vec<Consumer>,
}

impl World {
    async fn new() -> Self {
        let service = projects::service();
        let consumers = service.consumers().to_vec();
        let mesh = TestMesh::start(vec![fake::service("identity"), fake::service("media"), service]).await;
        let store = mesh.running.kit("projects").unwrap().store.clone();
        Self { mesh, store, consumers }
    }

    /// The owner of the organization, who speaks in it.
    fn owner(&self) -> Client {
        let client = self.mesh.anonymous().with("authorization", "Token 7.user");
        client.organization(&Organization::example().slug)
    }

    async fn create(&self) -> (u16, Value) {
        let response = self.owner().post("/api/projects", json!({ "name": "streets" })).await;
        (response.status, response.json())
    }

    /// A task in the project, and one of its own in the organization; what was answered to each.
    async fn create_tasks(&self, project: &Value) -> [(u16, Value); 2] {
        let inside = json!({ "name": "inside", "project_id": project["id"] });
        let inside = self.owner().post("/api/tasks", inside).await;
        let alone = json!({ "name": "alone", "labels": [{ "name": "car" }] });
        let alone = self.owner().post("/api/tasks", alone).await;
        [inside, alone].map(|response| (response.status, response.json()))
    }

    async fn organization_of_task(&self, task: &Value) -> Option<i64> {
        let state: Task =
            self.store.load(fake::tenant(1), task["id"].as_i64().unwrap()).await.unwrap().unwrap();
        state.current.unwrap().organization_id
    }

    /// Gives news to one consumer.
    async fn hear(&self, consumer: &str, news: &Value) {
        hear(&self.store, &self.consumers, consumer, news).await;
    }

    async fn organization_of(&self, project: &Value) -> Option<i64> {
        let state: Project =
            self.store.load(fake::tenant(1), project["id"].as_i64().unwrap()).await.unwrap().unwrap();
        state.current.unwrap().organization_id
    }
}

async fn hear(store: &Store, consumers: &[Consumer], consumer: &str, news: &Value) {
    let consumer = consumers.iter().find(|known| known.name() == consumer).unwrap();
    let envelope: Envelope = serde_json::from_value(news.clone()).unwrap();
    let taken =
        inbox::take(store, &consumer.full_name("projects"), &consumer.handler(), &[envelope], &[]).await;
    assert_eq!(taken.unwrap(), Taken { handled: 1, ..Taken::default() });
}

/// The news of the organization's stream, and of its owner's membership.
fn news() -> ([Value; 3], Value) {
    let organization = Organization::example();
    let created = OrganizationCreated { organization: organization.clone() };
    let updated = OrganizationUpdated { organization: organization.clone(), before_update: Map::new() };
    let deleted = OrganizationDeleted { organization: organization.clone() };
    let membership = Membership {
        organization_id: organization.id,
        user_id: 7,
        role: "owner".into(),
        ..Membership::example()
    };
    let stream = [
        fake::event(1, organization.id, 1, &created),
        fake::event(3, organization.id, 2, &updated),
        fake::event(4, organization.id, 3, &deleted),
    ];
    (stream, fake::event(2, membership.id, 1, &MembershipCreated { membership }))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reactions_may_be_first() {
    let world = World::new().await;
    let ([created, updated, deleted], membership) = news();
    world.hear(DIRECTORY, &created).await;
    world.hear(DIRECTORY, &membership).await;
    let (status, project) = world.create().await;
    assert_eq!(status, 201, "{project}");
    assert!(world.organization_of(&project).await.is_some());
    let tasks = world.create_tasks(&project).await;
    for (status, task) in &tasks {
        assert_eq!(*status, 201, "{task}");
        assert!(world.organization_of_task(task).await.is_some());
    }
    for event in [&created, &updated, &deleted] {
        world.hear(REACTIONS, event).await;
    }
    assert_eq!(world.organization_of(&project).await, None);
    for (_, task) in &tasks {
        assert_eq!(world.organization_of_task(task).await, None);
    }
    assert_eq!(world.create().await.0, 404);
    assert_eq!(world.create_tasks(&project).await[1].0, 404);
    // Late news do not bring it back.
    world.hear(DIRECTORY, &updated).await;
    assert_eq!(world.create().await.0, 404);
    world.hear(DIRECTORY, &deleted).await;
    assert_eq!(world.create().await.0, 404);
    world.owner().get("/api/projects").await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_may_be_first() {
    let world = World::new().await;
    let ([created, updated, deleted], membership) = news();
    world.hear(DIRECTORY, &created).await;
    world.hear(DIRECTORY, &membership).await;
    let (_, project) = world.create().await;
    world.hear(DIRECTORY, &updated).await;
    world.hear(DIRECTORY, &deleted).await;
    assert_eq!(world.create().await.0, 404);
    // The project is still to be taken out; a task that is put into it now is out already.
    let [(status, inside), alone] = world.create_tasks(&project).await;
    assert_eq!((status, alone.0), (201, 404), "{inside}");
    assert_eq!(world.organization_of_task(&inside).await, None);
    for event in [&created, &updated, &deleted] {
        world.hear(REACTIONS, event).await;
    }
    assert_eq!(world.organization_of(&project).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_may_be_heard_of_before_the_beginning() {
    let world = World::new().await;
    let ([created, updated, deleted], membership) = news();
    for event in [&created, &updated, &deleted] {
        world.hear(REACTIONS, event).await;
    }
    world.hear(DIRECTORY, &created).await;
    world.hear(DIRECTORY, &membership).await;
    assert_eq!(world.create().await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_waits_for_what_is_being_created() {
    for consumer in [REACTIONS, DIRECTORY] {
        let world = World::new().await;
        let ([created, updated, deleted], membership) = news();
        world.hear(DIRECTORY, &created).await;
        world.hear(DIRECTORY, &membership).await;
        world.hear(consumer, if consumer == REACTIONS { &created } else { &updated }).await;
        if consumer == REACTIONS {
            world.hear(REACTIONS, &updated).await;
        }
        let organization_id = Organization::example().id;
        let mut unit = world.store.begin(Context::mesh(fake::tenant(1))).await.unwrap();
        assert!(directory::hold_organization(unit.tx(), organization_id).await.unwrap());
        let (store, consumers) = (world.store.clone(), world.consumers.clone());
        let mut ending = std::pin::pin!(hear(&store, &consumers, consumer, &deleted));
        let early = tokio::time::timeout(Duration::from_millis(300), &mut ending).await;
        assert!(early.is_err(), "{consumer} did not wait");
        let id = unit.new_ids_of(Project::KIND, 1).await.unwrap()[0];
        let create = CreateProject {
            id,
            name: "streets".into(),
            owner_id: 7,
            assignee_id: None,
            bug_tracker: String::new(),
            organization_id: Some(organization_id),
            labels: vec![],
            at: DateTime::default(),
        };
        unit.execute::<Project>(id, ProjectCommand::Create(Box::new(create))).await.unwrap();
        unit.commit().await.unwrap();
        ending.await;
        if consumer == REACTIONS {
            assert_eq!(world.organization_of(&json!({ "id": id })).await, None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_waits_for_a_request_that_is_under_way() {
    let world = World::new().await;
    let ([created, updated, deleted], membership) = news();
    world.hear(DIRECTORY, &created).await;
    world.hear(DIRECTORY, &membership).await;
    world.hear(REACTIONS, &created).await;
    world.hear(REACTIONS, &updated).await;
    // The request gets as far as the table of projects.
    let mut barrier = world.store.database().tenant(fake::tenant(1)).await.unwrap();
    barrier.batch_execute("LOCK TABLE projects IN EXCLUSIVE MODE").await.unwrap();
    let mut creating = std::pin::pin!(world.create());
    let early = tokio::time::timeout(Duration::from_millis(500), &mut creating).await;
    assert!(early.is_err(), "{early:?}");
    let mut ending = std::pin::pin!(world.hear(REACTIONS, &deleted));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut ending).await;
    assert!(early.is_err(), "the end did not wait");
    barrier.rollback().await.unwrap();
    let ((status, project), ()) = tokio::join!(creating, ending);
    assert_eq!(status, 201, "{project}");
    assert_eq!(world.organization_of(&project).await, None);
}
