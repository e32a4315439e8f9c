//! The whole mesh in this process: data folder, PostgreSQL, services; and down again, in the other order.

use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::Context;
use event_store::Clock;
use service_kit::config::Admin;
use service_kit::start::{Databases, Running, start};
use service_kit::{Config, http_client, run, telemetry};

use crate::folder::Owned;
use crate::postgres::Postgres;
use crate::progress::shown;
use crate::{secrets, services};

/// How long the services may take to stop; PostgreSQL needs the rest of the ten seconds.
const STOP_LIMIT: Duration = Duration::from_millis(8_500);

/// Starts everything, says so, and serves until a signal comes.
///
/// # Errors
/// Says in one line what is wrong and which setting to change.
pub async fn up() -> anyhow::Result<()> {
    let began = Instant::now();
    let mut stop = pin!(run::stop_signal());
    let mesh = tokio::select! {
        mesh = Mesh::start() => mesh?,
        signal = &mut stop => {
            signal?;
            println!("Stopped before it was up.");
            return Ok(());
        }
    };
    mesh.greet(began.elapsed()).await;
    stop.await?;
    mesh.stop().await
}

/// Everything that runs; stopped in this order.
struct Mesh {
    running: Running,
    postgres: Postgres,
    owned: Owned,
    _telemetry: telemetry::Telemetry,
}

impl Mesh {
    async fn start() -> anyhow::Result<Self> {
        let (config, mut owned) = secrets::config_to_start()?;
        let telemetry = telemetry::init(&config, "annomesh")?;
        let postgres = Postgres::start(&config).await?;
        let databases = Databases::Server(postgres.url());
        let services = start(config, Clock::system(), services(), databases);
        match shown("starting the services", services).await {
            Ok(running) => {
                owned.announce(&running.config.public_url, &running.config.mesh_address.to_string())?;
                Ok(Self { running, postgres, owned, _telemetry: telemetry })
            }
            Err(error) => {
                postgres.stop().await?;
                Err(error)
            }
        }
    }

    /// Says where it is and what to do with it.
    async fn greet(&self, took: Duration) {
        let config = &self.running.config;
        let url = &config.public_url;
        let Some(admin) = &config.admin else { return };
        let store = match &self.postgres {
            Postgres::Private(cluster) => format!("PostgreSQL in {}", cluster.folder().display()),
            Postgres::Elsewhere(_) => "PostgreSQL as in DATABASE_URL".to_owned(),
        };
        let events = match &config.kafka {
            Some(kafka) => format!("events through Kafka at {}", kafka.brokers),
            None => "events without a broker".to_owned(),
        };
        let password = match admin_can_sign_in(config, admin).await {
            Ok(true) => admin.password.clone(),
            Ok(false) => format!("set earlier or changed since: {} is not it", admin.password),
            Err(error) => format!("{} (not tried: {error:#})", admin.password),
        };
        // The other terminal must look into the same folder.
        let elsewhere = match config.data == Path::new("./.annomesh") {
            true => String::new(),
            false => format!("ANNOMESH_DATA={} ", config.data.display()),
        };
        // Kept beside the password, in the same file.
        let operator = match &config.supervisor {
            Some(supervisor) => format!("operator  {}:{}\n", supervisor.key, supervisor.secret),
            None => String::new(),
        };
        println!(
            "Annomesh is up after {:.1} s: {store}, {events}.\n\n  \
               page      {url}\n  \
               admin     {name}\n  \
               password  {password}\n  \
               {operator}\n\
             Try\n  \
               open {url} in a browser and sign in\n  \
               {elsewhere}cargo run -- demo\n  \
               curl -u '{name}:{first}' {url}/api/users/self\n\n\
             Ctrl-C stops it; the next start finds its data again.",
            took.as_secs_f64(),
            name = admin.username,
            first = admin.password,
        );
    }

    async fn stop(self) -> anyhow::Result<()> {
        let data = self.running.config.data.clone();
        let services = tokio::time::timeout(STOP_LIMIT, self.running.stop());
        tokio::select! {
            // Later than that, PostgreSQL cuts them off, which they must survive anyway.
            _ = shown("stopping the services (Ctrl-C again: at once)", services) => {}
            signal = run::stop_signal() => signal?,
        }
        shown("stopping PostgreSQL", self.postgres.stop()).await?;
        drop(self.owned);
        println!("Stopped. The data is in {}.", data.display());
        Ok(())
    }
}

/// Whether name and password are still good: people change passwords, and a `DATABASE_URL` may know others.
async fn admin_can_sign_in(config: &Config, admin: &Admin) -> anyhow::Result<bool> {
    let http = http_client::builder().timeout(Duration::from_secs(3)).build()?;
    // Not the public URL: that may be a proxy's, which is not up yet.
    let url = format!("http://{}/api/users/self", config.http_address);
    let request = http.get(url).basic_auth(&admin.username, Some(&admin.password));
    let response = request.send().await.context("the front door does not answer")?;
    Ok(response.status().is_success())
}
