//! A job with 100,000 shapes, beside the same rows streamed by the database; and the memory that it takes.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use futures::TryStreamExt;
use identity::DEFAULT_TENANT;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

use super::Run;
use super::annotations_create::{rectangles, task};
use crate::http::Connection;
use crate::measure::{Row, Target, alternate};
use crate::mesh::Mesh;
use crate::upload::Task;
use crate::world::World;

const SHAPES: i64 = 100_000;
const DATABASE: &str = "annomesh_projects";

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let world = World::start("annotations_read").await?;
    let (mesh, user) = Mesh::with_pictures(&world).await?;
    let mut connection = Connection::open(mesh.address)?.with_token(&user.token);
    let task = task(&mut connection)?;
    fill(&world, &mut connection, &task).await?;
    let path = format!("/api/jobs/{}/annotations/", task.job_id);
    let request = connection.request("GET", &path, "");
    let mut buffer = vec![0; 256 * 1024];
    // The very first one, so that nothing that was used before and is free now hides what it takes.
    let mut memory = Memory::watch()?;
    let length = connection.drain(request.as_bytes(), &mut buffer)?;
    let grown = memory.grown()?;
    let mut raw = Raw::connect(&world, &task).await?;
    let sent = raw.copy().await?;
    ensure!(sent.abs_diff(length) < length / 10, "{length} bytes beside {sent}");
    let megabytes = length as f64 / 1e6;
    let (values, baselines) = alternate(
        run.rounds,
        async || {
            // A new one each time: the server closes those that were quiet while it was the other's turn.
            let mut connection = Connection::open(mesh.address)?;
            let began = Instant::now();
            let mut count = 0.0;
            while began.elapsed().as_secs() < run.seconds {
                connection.drain(request.as_bytes(), &mut buffer)?;
                count += 1.0;
            }
            Ok(count * megabytes / began.elapsed().as_secs_f64())
        },
        async || {
            let began = Instant::now();
            let mut count = 0.0;
            while began.elapsed().as_secs() < run.seconds {
                raw.copy().await?;
                count += 1.0;
            }
            Ok(count * megabytes / began.elapsed().as_secs_f64())
        },
    )
    .await?;
    memory = Memory::watch()?;
    Connection::open(mesh.address)?.drain(request.as_bytes(), &mut buffer)?;
    let later = memory.grown()?;
    drop(raw);
    mesh.running.stop().await;
    world.stop().await?;
    Ok(vec![
        Row {
            name: format!("GET …/annotations/ of {SHAPES} shapes, {megabytes:.1} MB"),
            unit: "MB/s",
            values,
            baselines,
            target: Some(Target::RatioAtLeast(0.4)),
        },
        Row {
            name: "memory that the first of them takes, beside its body".to_owned(),
            unit: "MB",
            values: vec![grown / 1e6],
            baselines: vec![megabytes],
            target: Some(Target::RatioAtMost(3.0)),
        },
        Row {
            name: "memory that the last of them takes, beside its body".to_owned(),
            unit: "MB",
            values: vec![later / 1e6],
            baselines: vec![megabytes],
            target: Some(Target::RatioAtMost(3.0)),
        },
    ])
}

/// A thousand shapes as people make them, and the others as copies of their rows.
async fn fill(world: &World, connection: &mut Connection, task: &Task) -> anyhow::Result<()> {
    let path = format!("/api/jobs/{}/annotations/?action=create", task.job_id);
    connection.ask("PATCH", &path, Some(&rectangles(task.label_id)))?;
    let copies = format!(
        "INSERT INTO annotations (tenant_id, job_id, kind, id, frame, label_id, from_version, body) \
         SELECT tenant_id, job_id, kind, id + n * 1000000, frame, label_id, from_version, \
         '{{\"id\":' || id + n * 1000000 || substr(body, strpos(body, ',')) \
         FROM annotations, generate_series(1, {SHAPES} / 1000 - 1) n; VACUUM ANALYZE annotations"
    );
    for statement in copies.split("; ") {
        world.execute(DATABASE, statement).await?;
    }
    Ok(())
}

/// A connection of the service's runtime role, which asks for the same rows in the same order.
struct Raw {
    client: tokio_postgres::Client,
    query: String,
    /// Ends with the value.
    _driver: JoinSet<()>,
}

impl Raw {
    async fn connect(world: &World, task: &Task) -> anyhow::Result<Self> {
        let (client, connection) = tokio_postgres::connect(&world.runtime_url("projects")?, NoTls).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // It ends with its client.
            let _ = connection.await;
        });
        client.batch_execute(&format!("SET app.tenant = '{DEFAULT_TENANT}'")).await?;
        let query = format!(
            "COPY (SELECT body FROM annotations WHERE tenant_id = es_tenant() AND job_id = {} AND kind = 'shape' \
             AND to_version IS NULL ORDER BY frame, id) TO STDOUT",
            task.job_id
        );
        Ok(Self { client, query, _driver: driver })
    }

    /// Returns how many bytes came.
    async fn copy(&mut self) -> anyhow::Result<usize> {
        let rows = self.client.copy_out(&self.query).await?;
        Ok(rows.try_fold(0, |sum, piece| async move { Ok(sum + piece.len()) }).await?)
    }
}

/// The memory of this process, which the client and all services are in.
struct Memory {
    before: f64,
}

impl Memory {
    fn watch() -> anyhow::Result<Self> {
        // Forgets the highest so far.
        std::fs::write("/proc/self/clear_refs", "5")?;
        Ok(Self { before: bytes("VmRSS:")? })
    }

    /// By how many bytes it was higher since then, at most.
    fn grown(&self) -> anyhow::Result<f64> {
        Ok((bytes("VmHWM:")? - self.before).max(0.0))
    }
}

fn bytes(name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}
