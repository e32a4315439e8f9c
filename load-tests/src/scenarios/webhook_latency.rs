//! From a commit to the first byte at a webhook's receiver, in an idle local mesh.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use event_store::ExecuteError;
use event_store::store::Context;
use identity::DEFAULT_TENANT;
use projects::domain::project::{Project, ProjectCommand, ProjectError, UpdateProject};
use serde_json::json;
use service_kit::Kit;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Run;
use crate::http::{Connection, receive};
use crate::measure::{Row, Target, fsync, percentile};
use crate::mesh::{Mesh, User};
use crate::world::World;

const SAMPLES: usize = 200;
/// Rounds of so many samples; more would take longer than a minute.
const ROUNDS_MAX: usize = 3;
/// Idle means that nothing else happens: long enough for the last attempt to be recorded.
const PAUSE: Duration = Duration::from_millis(40);

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let world = World::start("webhooks").await?;
    let services = vec![
        identity::service(),
        projects::service(),
        media::service(),
        billing::service(),
        webhooks::service(),
        analytics::service(),
    ];
    let mesh = Mesh::start(&world, services).await?;
    let user = mesh.register()?;
    let (address, mut arrivals) = receive()?;
    let mut connection = Connection::open(mesh.address)?.with_token(&user.token);
    let project = connection.ask("POST", "/api/projects", Some(&json!({ "name": "streets" })))?;
    let project = project["id"].as_i64().context("the project has no id")?;
    let webhook = json!({
        "type": "project", "project_id": project, "target_url": format!("http://{address}/"),
        "secret": "secret", "events": ["update:project"],
    });
    connection.ask("POST", "/api/webhooks", Some(&webhook))?;
    let kit = mesh.running.kit("projects").context("projects does not run")?.clone();
    // The first one finds nothing warm: connections, plans, keys.
    sample(&kit, &user, project, 0, &mut arrivals).await?;
    let (mut p50, mut p99) = (vec![], vec![]);
    for round in 1..=run.rounds.min(ROUNDS_MAX) {
        let mut samples = vec![];
        for number in 0..SAMPLES {
            tokio::time::sleep(PAUSE).await;
            samples.push(sample(&kit, &user, project, round * SAMPLES + number, &mut arrivals).await?);
        }
        p50.push(percentile(&samples, 50));
        p99.push(percentile(&samples, 99));
    }
    mesh.running.stop().await;
    let row = |name: &str, values, most| Row {
        name: format!("commit to the webhook's first byte, {name} of {SAMPLES}"),
        unit: "ms",
        values,
        baselines: vec![],
        target: Some(Target::ValueAtMost(most)),
    };
    let rows = vec![row("p50", p50, 15.0), row("p99", p99, 75.0), fsync(world.disk())?];
    world.stop().await?;
    Ok(rows)
}

/// Renames the project; returns the milliseconds from when the commit is known to when the receiver hears of it.
async fn sample(
    kit: &Kit,
    user: &User,
    project: i64,
    number: usize,
    arrivals: &mut UnboundedReceiver<Instant>,
) -> anyhow::Result<f64> {
    let context = Context { actor: Some(user.id), ..Context::mesh(DEFAULT_TENANT) };
    kit.store
        .transact(&context, async |unit| {
            let name = Some(format!("streets {number}"));
            let update = UpdateProject { name, at: kit.clock.now(), ..UpdateProject::default() };
            unit.execute::<Project>(project, ProjectCommand::Update(Box::new(update))).await?;
            Ok::<_, ExecuteError<ProjectError>>(())
        })
        .await?;
    let committed = Instant::now();
    let arrived = tokio::time::timeout(Duration::from_secs(5), arrivals.recv()).await;
    let arrived = arrived.context("no delivery within 5 s")?.context("the receiver is gone")?;
    Ok(arrived.saturating_duration_since(committed).as_secs_f64() * 1e3)
}
