//! A service as a process of its own: `serve` (the default), `migrate`, `health`, `openapi`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use event_store::Clock;

use crate::mesh_token::MeshSecret;
use crate::start::{Databases, prepare, start};
use crate::{Config, Service, telemetry};

/// How long `health` waits.
const HEALTH_LIMIT: Duration = Duration::from_secs(2);

/// How long a process takes to stop, at most, and threads that do not listen. With the two seconds in which the last
/// traces are sent that makes ten.
const STOP: Duration = Duration::from_millis(7_500);
const STRAGGLERS: Duration = Duration::from_millis(500);

/// The `main` of a service's binary.
///
/// # Errors
/// Says in one line what is wrong and which setting to change.
pub fn run(service: Service) -> anyhow::Result<()> {
    let command = std::env::args().nth(1).unwrap_or_else(|| "serve".to_owned());
    if command == "openapi" {
        println!("{}", service.openapi().to_pretty_json()?);
        return Ok(());
    }
    let config = Config::from_env(false)?;
    if command == "health" {
        return health(&config, service.name());
    }
    let _telemetry = telemetry::init(&config, service.name())?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        match command.as_str() {
            "serve" => serve(config, service).await,
            "migrate" => migrate(config, service).await,
            other => bail!("{other}? serve, migrate, health or openapi"),
        }
    });
    // Threads that wait in a library, for a broker that is away for instance, have nothing left to do.
    runtime.shutdown_timeout(STRAGGLERS);
    // In one line, causes and all.
    outcome.map_err(|error| anyhow!("{error:#}"))
}

/// The runtime of a process: two threads are enough, web workers have their own.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Asks the process that serves with the same settings whether it is ready: what a container's health check runs,
/// because its image has no HTTP client.
fn health(config: &Config, service: &str) -> anyhow::Result<()> {
    let mut address = config.mesh_address;
    if address.ip().is_unspecified() {
        let loopback = match address.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        address.set_ip(loopback);
    }
    let mut connection = TcpStream::connect_timeout(&address, HEALTH_LIMIT)
        .with_context(|| format!("{service} does not listen on {address}"))?;
    connection.set_read_timeout(Some(HEALTH_LIMIT))?;
    connection.set_write_timeout(Some(HEALTH_LIMIT))?;
    write!(
        connection,
        "GET /{service}/health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer)?;
    if answer.split(' ').nth(1) != Some("200") {
        bail!("{service} is not ready: {}", answer.trim_end());
    }
    Ok(())
}

async fn migrate(config: Config, service: Service) -> anyhow::Result<()> {
    let secret = MeshSecret::new(&config.mesh_secret, Clock::system());
    let url = database_url(&config)?;
    prepare(&url, &event_store::bootstrap::database_name(service.name()), &service, &secret).await?;
    Ok(())
}

/// Serves until a signal comes, then stops within ten seconds.
///
/// # Errors
/// When the start fails.
pub async fn serve(config: Config, service: Service) -> anyhow::Result<()> {
    let databases =
        Databases::Server(if service.has_store() { database_url(&config)? } else { String::new() });
    let name = service.name();
    // Heard from the first moment on: to a process that is alone in its container, SIGTERM does nothing by itself.
    let mut stop = std::pin::pin!(stop_signal());
    let running = tokio::select! {
        biased;
        stopped = &mut stop => return stopped,
        running = start(config, Clock::system(), vec![service], databases) => running?,
    };
    tracing::info!(
        "{name} answers on {} and on {} for the mesh",
        running.config.http_address,
        running.config.mesh_address
    );
    stop.await?;
    tracing::info!("{name} stops");
    if tokio::time::timeout(STOP, running.stop()).await.is_err() {
        tracing::warn!("{name} took too long to stop; what it was at is broken off");
    }
    Ok(())
}

fn database_url(config: &Config) -> anyhow::Result<String> {
    config
        .database_url
        .clone()
        .context("DATABASE_URL is not set: name a PostgreSQL server, version 15 or newer")
}

/// Completes on Ctrl-C or SIGTERM.
///
/// # Errors
/// When signals cannot be received.
pub async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => Ok(result?),
        _ = terminate.recv() => Ok(()),
    }
}
