//! What these tests stand on: the running service, and hands to make webhooks and events.

use std::collections::BTreeMap;

use contracts::event::Example;
use contracts::projects::{Project, ProjectCreated, ProjectDeleted, ProjectUpdated};
use contracts::{ContractEvent, Envelope, TenantId};
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use diesel_async::RunQueryDsl;
use event_store::store::Context;
use event_store::{Sql, Store, inbox};
use serde_json::value::RawValue;
use test_kit::TestMesh;
use webhooks::domain::events::WebhookType;
use webhooks::domain::webhook::{CreateWebhook, Settings, UpdateWebhook, Webhook, WebhookCommand};
use webhooks::secrets::Secrets;

/// The organization, project and user of all events here.
pub const ORGANIZATION: i64 = 3;
pub const PROJECT: i64 = 42;
pub const USER: i64 = 7;

pub struct Bench {
    pub mesh: TestMesh,
    pub tenant: TenantId,
}

/// A recorded attempt.
#[derive(Debug, diesel::QueryableByName)]
pub struct Delivery {
    #[diesel(sql_type = Integer)]
    pub status_code: i32,
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    #[diesel(sql_type = Text)]
    pub response: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub outcome: Option<String>,
    #[diesel(sql_type = Text)]
    pub changed_fields: String,
}

impl Bench {
    pub async fn start() -> Self {
        Self::start_with(vec![]).await
    }

    /// Starts with `WEBHOOKS_ALLOWED_TARGETS` or other settings.
    pub async fn start_with(mut settings: Vec<(String, String)>) -> Self {
        // The other services' logs cannot be followed here, which is no news.
        settings.push(("RUST_LOG".to_owned(), "error".to_owned()));
        let mesh = TestMesh::start_with(vec![webhooks::service()], settings).await;
        Self { mesh, tenant: TenantId(event_store::new_id()) }
    }

    pub fn store(&self) -> &Store {
        &self.mesh.running.kit("webhooks").unwrap().store
    }

    /// Makes a webhook of the organization, or of the project; events after position 0 are its own.
    pub async fn hook(&self, webhook_type: WebhookType, url: &str, events: &[&str]) -> i64 {
        let id = self.store().new_id_of("webhook").await.unwrap();
        let create = CreateWebhook {
            id,
            webhook_type,
            owner_id: USER,
            project_id: (webhook_type == WebhookType::Project).then_some(PROJECT),
            organization_id: Some(ORGANIZATION),
            settings: Settings {
                target_url: url.to_owned(),
                description: String::new(),
                events: events.iter().map(|event| (*event).to_owned()).collect(),
                sealed_secret: self.sealed(id),
                is_active: true,
                enable_ssl: true,
            },
            starts: BTreeMap::from([("projects".to_owned(), 0)]),
            at: self.mesh.clock.now(),
        };
        self.command(id, WebhookCommand::Create(Box::new(create))).await;
        id
    }

    /// The secret of a webhook as it is stored.
    pub fn sealed(&self, id: i64) -> String {
        Secrets::new(self.mesh.running.kit("webhooks").unwrap()).seal(self.tenant, id, "s").unwrap()
    }

    pub async fn set_sealed_secret(&self, id: i64, sealed_secret: String) {
        let update = UpdateWebhook {
            sealed_secret: Some(sealed_secret),
            at: self.mesh.clock.now(),
            ..Default::default()
        };
        self.command(id, WebhookCommand::Update(Box::new(update))).await;
    }

    pub async fn switch(&self, id: i64, is_active: bool) {
        let update =
            UpdateWebhook { is_active: Some(is_active), at: self.mesh.clock.now(), ..Default::default() };
        self.command(id, WebhookCommand::Update(Box::new(update))).await;
    }

    pub async fn command(&self, id: i64, command: WebhookCommand) {
        let context = Context::mesh(self.tenant);
        self.store()
            .transact(&context, async |unit| unit.execute::<Webhook>(id, command.clone()).await.map(|_| ()))
            .await
            .unwrap();
    }

    pub async fn is_active(&self, id: i64) -> bool {
        let webhook: Webhook = self.store().load(self.tenant, id).await.unwrap().unwrap();
        webhook.current.unwrap().settings.is_active
    }

    /// Hands events to the consumer of reactions, as the log of projects would.
    pub async fn take(&self, events: &[Envelope]) {
        let service = webhooks::service();
        let consumer = service.consumers().iter().find(|consumer| consumer.name() == "reactions").unwrap();
        let name = consumer.full_name("webhooks");
        inbox::take(self.store(), &name, &consumer.handler(), events, &[]).await.unwrap();
    }

    pub fn created(&self) -> Envelope {
        self.event(1, &ProjectCreated { project: Project::example() })
    }

    pub fn updated(&self) -> Envelope {
        self.event(2, &ProjectUpdated::example())
    }

    pub fn deleted(&self) -> Envelope {
        self.event(3, &ProjectDeleted::example())
    }

    pub fn event<E: ContractEvent>(&self, version: i64, event: &E) -> Envelope {
        Envelope {
            specversion: "1.0".into(),
            id: event_store::new_id(),
            source: "/mesh/projects".into(),
            event_type: E::TYPE.into(),
            subject: format!("project/{PROJECT}"),
            time: self.mesh.clock.now(),
            datacontenttype: "application/json".into(),
            dataschema: String::new(),
            tenantid: self.tenant,
            streamversion: version,
            position: version,
            partitionkey: contracts::envelope::partition_key(self.tenant, "project", PROJECT),
            correlationid: event_store::new_id(),
            causationid: None,
            actorid: Some(USER),
            impersonatorid: None,
            organizationid: Some(ORGANIZATION),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            data: RawValue::from_string(serde_json::to_string(event).unwrap()).unwrap(),
        }
    }

    /// Waits until a webhook has so many recorded attempts; the oldest comes first.
    pub async fn deliveries(&self, webhook_id: i64, count: usize) -> Vec<Delivery> {
        let what = format!("{count} deliveries of webhook {webhook_id}");
        test_kit::eventually(&what, std::time::Duration::from_secs(30), async || {
            let found = self.recorded(webhook_id).await;
            (found.len() >= count).then_some(found)
        })
        .await
    }

    pub async fn recorded(&self, webhook_id: i64) -> Vec<Delivery> {
        let mut tx = self.store().database().tenant(self.tenant).await.unwrap();
        let rows = Sql::fixed(
            "SELECT d.status_code, d.attempt, d.response, m.outcome, m.changed_fields FROM deliveries d \
             JOIN messages m ON m.tenant_id = d.tenant_id AND m.id = d.message_id \
             WHERE d.webhook_id = $1 ORDER BY d.id",
        )
        .bind::<BigInt>(webhook_id)
        .load(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        rows
    }

    /// Waits until nothing is queued any more.
    pub async fn idle(&self) {
        test_kit::eventually("an empty queue", std::time::Duration::from_secs(30), async || {
            event_store::jobs::next_due_in(self.store(), "deliver").await.unwrap().is_none().then_some(())
        })
        .await;
    }
}
