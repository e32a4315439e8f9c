//! A frame that is in memory, 32 connections, beside nginx with the same file.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::Run;
use crate::http::{Connection, rate};
use crate::measure::{Row, Target, alternate};
use crate::mesh::Mesh;
use crate::world::World;
use crate::{pictures, upload};

const CLIENTS: usize = 32;
/// What a middling frame of the reference's measurements takes.
const FRAME_BYTES: usize = 243_000;
const START_LIMIT: Duration = Duration::from_secs(5);

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let world = World::start("frame").await?;
    let (mesh, user) = Mesh::with_pictures(&world).await?;
    let picture = pictures::jpeg_of(FRAME_BYTES, 1)?;
    let mut connection = Connection::open(mesh.address)?.with_token(&user.token);
    let task = upload::task(&mut connection, std::slice::from_ref(&picture))?;
    let path = format!("/api/tasks/{}/data?number=0&quality=original&type=frame", task.id);
    let nginx = Nginx::start(&world.folder, &picture)?;
    let time = |seconds| Duration::from_secs(seconds);
    let ours = |seconds| rate(CLIENTS, (mesh.address, Some(&user.token)), &path, time(seconds));
    let raw = |seconds| rate(CLIENTS, (nginx.address, None), "/frame.jpg", time(seconds));
    let _warm = (ours(1)?, raw(1)?);
    let (values, baselines) =
        alternate(run.rounds, async || ours(run.seconds), async || raw(run.seconds)).await?;
    drop(nginx);
    mesh.running.stop().await;
    world.stop().await?;
    Ok(vec![Row {
        name: format!("a frame of {} kB from memory, {CLIENTS} connections", picture.len() / 1000),
        unit: "requests/s",
        values,
        baselines,
        target: Some(Target::RatioAtLeast(0.4)),
    }])
}

/// nginx with one file, on loopback; ends when it is dropped.
struct Nginx {
    child: Child,
    address: SocketAddr,
}

impl Nginx {
    fn start(folder: &Path, file: &[u8]) -> anyhow::Result<Self> {
        let folder = folder.join("nginx");
        std::fs::create_dir_all(folder.join("html"))?;
        std::fs::write(folder.join("html/frame.jpg"), file)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        std::fs::write(folder.join("nginx.conf"), configuration(&folder, address))?;
        let mut command = Command::new(program());
        command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
        command.args(["-e", "stderr"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("cannot run nginx (Debian: nginx-light)")?;
        let mut started = Self { child, address };
        let began = Instant::now();
        loop {
            let shown = Connection::open(address).and_then(|mut one| one.ask("GET", "/frame.jpg", None));
            if shown.is_ok() {
                return Ok(started);
            }
            ensure!(started.child.try_wait()?.is_none(), "nginx ended while starting");
            ensure!(began.elapsed() < START_LIMIT, "nginx did not start within {START_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // As its master ends its workers; killed, it would leave them.
        let id = self.child.id().to_string();
        if !Command::new("kill").args(["-TERM", &id]).status().is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Debian keeps it out of the path of those who are not root.
fn program() -> &'static str {
    let debian = "/usr/sbin/nginx";
    if Path::new(debian).exists() { debian } else { "nginx" }
}

/// As fast as it goes: a worker a core, `sendfile`, the open file remembered, no log.
fn configuration(folder: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off; worker_processes 2; user root; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000;
    open_file_cache max=16; types {{ image/jpeg jpg; }}
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen {address}; root {folder}/html; }}
}}
"
    )
}
