//! Running services in the test's own process, on free ports, each with a database of its own.

use std::collections::HashMap;
use std::path::PathBuf;

use event_store::{Clock, DatabaseUrls};
use service_kit::start::{Databases, Running, start};
use service_kit::{Config, Service};

use crate::client::Client;
use crate::database::TestDatabase;
use crate::servers;

/// The first admin of every test.
pub const ADMIN: (&str, &str) = ("admin", "correct horse battery");

/// A running mesh.
pub struct TestMesh {
    pub running: Running,
    pub clock: Clock,
    pub url: String,
    /// Where the databases are, to start again on them.
    pub urls: HashMap<String, DatabaseUrls>,
    settings: Vec<(String, String)>,
    /// Goes with the last mesh that was started on it.
    folder: Option<Folder>,
}

/// A folder that is removed with this.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // A mesh without pictures never made it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl TestMesh {
    /// Starts services without a broker, or on the Kafka that `TEST_KAFKA_BROKERS` names.
    pub async fn start(services: Vec<Service>) -> Self {
        let mut vars = vec![];
        if let Some(brokers) = servers::brokers() {
            vars.push(("KAFKA_BROKERS".to_owned(), brokers));
            // Each test has databases of its own, so it needs topics of its own.
            vars.push(("KAFKA_TOPIC_PREFIX".to_owned(), format!("{}.", event_store::new_id().simple())));
        }
        Self::start_with(services, vars).await
    }

    /// Starts services with these settings on top of the tests' own.
    pub async fn start_with(services: Vec<Service>, mut settings: Vec<(String, String)>) -> Self {
        let mut own = None;
        if !settings.iter().any(|(name, _)| name == "ANNOMESH_DATA") {
            // Pictures of its own; the same ones after a restart.
            let name = format!("annomesh-test-{}", event_store::new_id().simple());
            let folder = own.insert(Folder(std::env::temp_dir().join(name)));
            settings.push(("ANNOMESH_DATA".to_owned(), folder.0.display().to_string()));
        }
        let mesh = Self::start_on(services, settings, HashMap::new()).await;
        Self { folder: own, ..mesh }
    }

    /// Stops the mesh and starts services again on the same databases and topics.
    pub async fn restart(self, services: Vec<Service>) -> Self {
        self.running.stop().await;
        let mesh = Self::start_on(services, self.settings, self.urls).await;
        Self { folder: self.folder, ..mesh }
    }

    /// The same, with some settings changed.
    pub async fn restart_with(mut self, services: Vec<Service>, changed: &[(&str, &str)]) -> Self {
        for (name, value) in changed {
            self.settings.retain(|(known, _)| known != name);
            self.settings.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.restart(services).await
    }

    /// Starts services once more on the same databases: replicas of those that run.
    pub async fn replica(&self, services: Vec<Service>, settings: Vec<(String, String)>) -> Self {
        Self::start_on(services, settings, self.urls.clone()).await
    }

    async fn start_on(
        services: Vec<Service>,
        settings: Vec<(String, String)>,
        mut urls: HashMap<String, DatabaseUrls>,
    ) -> Self {
        let mut vars: HashMap<String, String> = HashMap::from_iter(
            [
                ("HTTP_ADDRESS", "127.0.0.1:0"),
                ("MESH_ADDRESS", "127.0.0.1:0"),
                ("MESH_SECRET", "a secret that only these tests know, long enough"),
                ("ADMIN_USERNAME", ADMIN.0),
                ("ADMIN_PASSWORD", ADMIN.1),
                ("RUST_LOG", "warn"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        vars.extend(settings.clone());
        let config = Config::from_vars(true, vars).unwrap();
        let telemetry = service_kit::telemetry::init(&config, "test").unwrap();
        std::mem::forget(telemetry);
        if urls.is_empty() {
            for service in &services {
                if let Some((migrations, kinds)) = service.schema() {
                    let database = TestDatabase::create(service.name(), migrations, kinds).await;
                    urls.insert(service.name().to_owned(), database.urls);
                }
            }
        }
        let clock = Clock::system();
        let databases = Databases::Prepared(urls.clone());
        let running = start(config, clock.clone(), services, databases).await.unwrap();
        let url = format!("http://{}", running.config.http_address);
        Self { running, clock, url, urls, settings, folder: None }
    }

    /// A client that is nobody.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.url)
    }

    /// The first admin, signed in by Basic.
    pub fn admin(&self) -> Client {
        self.anonymous().basic(ADMIN.0, ADMIN.1)
    }

    /// Registers a user and signs them in.
    pub async fn user(&self, name: &str) -> Client {
        let body = serde_json::json!({
            "username": name, "email": format!("{name}@example.com"), "first_name": name, "last_name": "Test",
            "password1": "correct horse battery", "password2": "correct horse battery",
        });
        self.anonymous().post("/api/auth/register", body).await.expect(201);
        self.anonymous().sign_in(name, "correct horse battery").await
    }
}
