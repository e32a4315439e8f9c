//! The built local mesh: how long until it is ready, and how much memory it takes when nothing happens.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::Run;
use crate::http::Connection;
use crate::measure::{Row, Target, fsync};

/// Fresh folders; each is started on twice.
const STARTS_MAX: usize = 3;
/// How long nothing happens before the memory is read.
const IDLE: Duration = Duration::from_secs(20);
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);

pub fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    build()?;
    let program = run.programs.join("annomesh");
    let (mut first, mut second, mut memory) = (vec![], vec![], vec![]);
    let rounds = run.rounds.min(STARTS_MAX);
    let mut disk = None;
    for round in 0..rounds {
        let folder = Folder::new(round)?;
        let mut started = Started::begin(&program, &folder.0)?;
        first.push(started.ready_after()?);
        started.stop()?;
        let mut started = Started::begin(&program, &folder.0)?;
        second.push(started.ready_after()?);
        if round + 1 == rounds {
            std::thread::sleep(IDLE);
            for _ in 0..3 {
                memory.push(started.resident_mb()?);
                std::thread::sleep(Duration::from_millis(500));
            }
        }
        started.stop()?;
        disk = Some(fsync(&folder.0)?);
    }
    let row = |name: &str, unit, values, most| Row {
        name: name.to_owned(),
        unit,
        values,
        baselines: vec![],
        target: Some(Target::ValueAtMost(most)),
    };
    let mut rows = vec![
        row("first start of the mesh to ready", "s", first, 3.0),
        row("second start of the mesh to ready", "s", second, 3.0),
        row("memory of the idle mesh without PostgreSQL", "MB", memory, 150.0),
    ];
    rows.extend(disk);
    Ok(rows)
}

/// Makes sure that what is measured is what the sources say.
fn build() -> anyhow::Result<()> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--quiet", "--package", "annomesh", "--manifest-path", manifest]);
    ensure!(command.status().context("cannot run cargo")?.success(), "annomesh does not build");
    Ok(())
}

/// A data folder, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(round: usize) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("annomesh-load-{}-mesh-{round}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A mesh in a process of its own.
struct Started {
    child: Child,
    began: Instant,
    address: SocketAddr,
}

impl Started {
    fn begin(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let (address, mesh_address) = (free_address()?, free_address()?);
        let began = Instant::now();
        let child = Command::new(program)
            .arg("up")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("ANNOMESH_DATA", folder)
            .env("HTTP_ADDRESS", address.to_string())
            .env("MESH_ADDRESS", mesh_address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("mesh.log"))?)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        Ok(Self { child, began, address })
    }

    /// Seconds until it answers that it is healthy.
    fn ready_after(&mut self) -> anyhow::Result<f64> {
        let healthy = |address| Connection::open(address)?.ask("GET", "/api/server/health/", None);
        while healthy(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the mesh ended while starting: {status}");
            }
            ensure!(self.began.elapsed() < START_LIMIT, "the mesh was not ready within {START_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(self.began.elapsed().as_secs_f64())
    }

    fn resident_mb(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kilobytes / 1024.0)
    }

    /// As Ctrl-C does.
    fn stop(mut self) -> anyhow::Result<()> {
        let status = Command::new("kill").arg("-INT").arg(self.child.id().to_string()).status()?;
        ensure!(status.success(), "the mesh is gone already");
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(began.elapsed() < STOP_LIMIT, "the mesh did not stop within {STOP_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Only after a failure: otherwise it has ended.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
