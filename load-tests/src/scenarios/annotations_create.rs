//! A thousand rectangles at once, beside the insert of the same rows.

use std::time::{Duration, Instant};

use identity::DEFAULT_TENANT;
use serde_json::{Value, json};

use super::Run;
use crate::http::Connection;
use crate::measure::{Row, Target, alternate, fsync};
use crate::mesh::Mesh;
use crate::pgbench::{Pgbench, begin};
use crate::upload::Task;
use crate::world::World;
use crate::{pictures, upload};

const RECTANGLES: usize = 1_000;
const FRAMES: usize = 10;
/// The job of the raw rows, and where their ids begin: both beyond ours.
const RAW_JOB: i64 = 1_000_000;
const RAW_IDS: i64 = 1_000_000_000;

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let world = World::start("annotations_create").await?;
    let (mesh, user) = Mesh::with_pictures(&world).await?;
    let mut connection = Connection::open(mesh.address)?.with_token(&user.token);
    let task = task(&mut connection)?;
    let path = format!("/api/jobs/{}/annotations/?action=create", task.job_id);
    let body = rectangles(task.label_id).to_string();
    let request = connection.request("PATCH", &path, &body);
    // The first one also leaves the rows that the baseline inserts.
    connection.time_each(&request, Instant::now() + Duration::from_millis(1))?;
    let baseline = Pgbench::new(&world.folder, &world.runtime_url("projects")?, 1, &script())?
        .beginning_with(&source(task.job_id))?;
    let mut next = RAW_IDS;
    let ours = |seconds| {
        // A new one each time: the server closes those that were quiet while it was the other's turn.
        let mut connection = Connection::open(mesh.address)?;
        let began = Instant::now();
        let took = connection.time_each(&request, began + Duration::from_secs(seconds))?;
        anyhow::Ok((took.len() * RECTANGLES) as f64 / began.elapsed().as_secs_f64())
    };
    ours(1)?;
    let (values, baselines) = alternate(
        run.rounds,
        async || ours(run.seconds),
        async || {
            // Beyond what the last round reached.
            next += 100_000_000;
            Ok(baseline.clone().with("next", next).run(run.seconds)? * RECTANGLES as f64)
        },
    )
    .await?;
    mesh.running.stop().await;
    let rows = vec![
        Row {
            name: format!("PATCH …/annotations/?action=create of {RECTANGLES} rectangles"),
            unit: "shapes/s",
            values,
            baselines,
            target: Some(Target::RatioAtLeast(0.5)),
        },
        fsync(world.disk())?,
    ];
    world.stop().await?;
    Ok(rows)
}

/// A task with a job of small frames.
pub fn task(connection: &mut Connection) -> anyhow::Result<Task> {
    let picture = pictures::jpeg(64, 48, 1)?;
    let pictures = (0..FRAMES as u64).map(|mark| pictures::marked(&picture, mark));
    upload::task(connection, &pictures.collect::<anyhow::Result<Vec<_>>>()?)
}

/// What one request sends.
pub fn rectangles(label_id: i64) -> Value {
    let shape = |index: usize| {
        let (x, y) = ((index % 37) as f64 * 16.25, (index % 23) as f64 * 20.5);
        json!({
            "type": "rectangle", "frame": index % FRAMES, "label_id": label_id, "points": [x, y, x + 41.75, y + 30.5],
            "occluded": index.is_multiple_of(7), "z_order": 0, "rotation": 0.0, "outside": false, "attributes": [],
            "group": 0, "source": "manual",
        })
    };
    json!({ "shapes": (0..RECTANGLES).map(shape).collect::<Vec<_>>(), "tags": [], "tracks": [], "version": 0 })
}

/// The rows of our first request, kept by the client and sent with every insert.
fn source(job_id: i64) -> String {
    format!(
        "SET app.tenant = '{DEFAULT_TENANT}';\n\
         SELECT array_agg(frame)::text AS frames, array_agg(label_id)::text AS labels, \
         array_agg(body)::text AS bodies FROM (SELECT * FROM annotations WHERE tenant_id = '{DEFAULT_TENANT}' \
         AND job_id = {job_id} ORDER BY id LIMIT {RECTANGLES}) AS first \\gset\n"
    )
}

fn script() -> String {
    format!(
        "{begin}INSERT INTO annotations (tenant_id, job_id, kind, id, frame, label_id, from_version, body) \
         SELECT es_tenant(), {RAW_JOB}, 'shape', :next::bigint + n, frame, label_id, 1, body \
         FROM unnest(:frames::bigint[], :labels::bigint[], :bodies::text[]) WITH ORDINALITY \
         AS t (frame, label_id, body, n);\n\
         COMMIT;\n\
         \\set next :next + {RECTANGLES}\n",
        begin = begin(DEFAULT_TENANT)
    )
}
