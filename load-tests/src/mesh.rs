//! Services in this process, as the local mesh runs them, and somebody who is signed in.

use std::net::SocketAddr;

use anyhow::Context as _;
use event_store::Clock;
use serde_json::json;
use service_kit::start::{Databases, Running, start};
use service_kit::{Config, Service};

use crate::http::Connection;
use crate::measure::aside;
use crate::world::World;

const PASSWORD: &str = "correct horse battery";

/// Running services.
pub struct Mesh {
    pub running: Running,
    pub address: SocketAddr,
}

/// A registered user.
pub struct User {
    pub id: i64,
    pub token: String,
}

impl Mesh {
    /// Starts services on a world's cluster, each with a database of its own, on free ports of loopback.
    pub async fn start(world: &World, services: Vec<Service>) -> anyhow::Result<Self> {
        let settings = [
            ("HTTP_ADDRESS", "127.0.0.1:0"),
            ("MESH_ADDRESS", "127.0.0.1:0"),
            ("MESH_SECRET", "a secret that only the load tests know"),
            ("ADMIN_PASSWORD", PASSWORD),
            ("ANNOMESH_DATA", &world.folder.display().to_string()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::from_vars(true, settings)?;
        let databases = Databases::Server(world.url("postgres"));
        // A task of its own, because a migration blocks the thread that it is polled on, and a wake-up for what
        // else is polled there would be lost on the main thread.
        let running = aside(start(config, Clock::system(), services, databases)).await??;
        let address = running.config.http_address;
        Ok(Self { running, address })
    }

    /// The services that bring pictures into a task, and somebody who is signed in.
    pub async fn with_pictures(world: &World) -> anyhow::Result<(Self, User)> {
        let services = vec![identity::service(), projects::service(), media::service()];
        let mesh = Self::start(world, services).await?;
        let user = mesh.register()?;
        Ok((mesh, user))
    }

    /// Registers a user and signs them in. Waits on the calling thread, which must not be the runtime's.
    pub fn register(&self) -> anyhow::Result<User> {
        self.register_as("alice")
    }

    /// The same for somebody of another name.
    pub fn register_as(&self, name: &str) -> anyhow::Result<User> {
        let mut anonymous = Connection::open(self.address)?;
        let account = json!({
            "username": name, "email": format!("{name}@example.com"), "first_name": name, "last_name": "Test",
            "password1": PASSWORD, "password2": PASSWORD,
        });
        anonymous.ask("POST", "/api/auth/register", Some(&account))?;
        let credentials = json!({ "username": name, "password": PASSWORD });
        let login = anonymous.ask("POST", "/api/auth/login", Some(&credentials))?;
        let token = login["key"].as_str().context("the login gave no key")?.to_owned();
        let own = Connection::open(self.address)?.with_token(&token).ask("GET", "/api/users/self", None)?;
        Ok(User { id: own["id"].as_i64().context("the user has no id")?, token })
    }
}
