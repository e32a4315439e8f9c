//! A page of tasks over HTTP as an ordinary member sees it, the same SQL played raw, and how it grows.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use identity::DEFAULT_TENANT;
use serde_json::json;

use super::Run;
use crate::http::Connection;
use crate::measure::{Row, Target, alternate, fsync, median};
use crate::mesh::{Mesh, User};
use crate::pgbench::{Pgbench, begin};
use crate::world::World;

const DATABASE: &str = "annomesh_projects";
const PATH: &str = "/api/tasks?page_size=10&org=acme";
/// Tasks of the member, however many there are: half of them assigned, half in a project of their own.
const OWN: i64 = 200;
const JOBS: i64 = 5;

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let small = Place::start("tasks_1k", 1_000).await?;
    let middle = Place::start("tasks_10k", 10_000).await?;
    let large = Place::start("tasks_50k", 50_000).await?;
    let url = middle.world.runtime_url("projects")?;
    let baseline = Pgbench::new(&middle.world.folder, &url, 1, &middle.script())?;
    for place in [&small, &middle, &large] {
        place.median_ms(1)?;
    }
    let (values, baselines) = alternate(
        run.rounds,
        async || middle.median_ms(run.seconds),
        async || Ok(median(&baseline.time_each(run.seconds, None)?)),
    )
    .await?;
    let (many, few) =
        alternate(run.rounds, async || large.median_ms(run.seconds), async || small.median_ms(run.seconds))
            .await?;
    let row = |name: &str, values, baselines, most| Row {
        name: name.to_owned(),
        unit: "ms",
        values,
        baselines,
        target: Some(Target::RatioAtMost(most)),
    };
    let rows = vec![
        row("GET /api/tasks?page_size=10 of 10 k tasks with 50 k jobs, p50", values, baselines, 2.0),
        row("the same of 50 k tasks, beside 1 k", many, few, 1.3),
        fsync(middle.world.disk())?,
    ];
    for place in [small, middle, large] {
        place.mesh.running.stop().await;
        place.world.stop().await?;
    }
    Ok(rows)
}

/// An organization with so many tasks, and one of its workers.
struct Place {
    world: World,
    mesh: Mesh,
    worker: User,
    organization: i64,
    /// The tasks on the page.
    shown: Vec<i64>,
}

impl Place {
    async fn start(name: &str, tasks: i64) -> anyhow::Result<Self> {
        let world = World::start(name).await?;
        let mesh = Mesh::start(&world, vec![identity::service(), projects::service()]).await?;
        let (owner, worker) = (mesh.register()?, mesh.register_as("worker")?);
        let mut connection = Connection::open(mesh.address)?.with_token(&owner.token);
        let acme = connection.ask("POST", "/api/organizations", Some(&json!({ "slug": "acme" })))?;
        let organization = acme["id"].as_i64().context("the organization has no id")?;
        let labels = json!([{ "name": "car" }]);
        let project = json!({ "name": "streets", "labels": labels });
        connection.ask("POST", "/api/projects?org=acme", Some(&project))?;
        let task = json!({ "name": "crossing", "labels": labels });
        connection.ask("POST", "/api/tasks?org=acme", Some(&task))?;
        for statement in copies(&owner, &worker, organization, tasks) {
            world.execute(DATABASE, &statement).await?;
        }
        let mut connection = Connection::open(mesh.address)?.with_token(&worker.token);
        let page = connection.ask("GET", PATH, None)?;
        let shown = page["results"].as_array().context("the page has no results")?;
        let jobs = &shown.first().context("the page is empty")?["jobs"]["count"];
        anyhow::ensure!(
            page["count"] == OWN && shown.len() == 10 && *jobs == JOBS,
            "the page is not what was expected: {page}"
        );
        let shown = shown.iter().filter_map(|task| task["id"].as_i64()).collect();
        Ok(Self { world, mesh, worker, organization, shown })
    }

    fn median_ms(&self, seconds: u64) -> anyhow::Result<f64> {
        // A new one each time: the server closes those that were quiet while it was the other's turn.
        let mut connection = Connection::open(self.mesh.address)?.with_token(&self.worker.token);
        let request = connection.request("GET", PATH, "");
        let until = Instant::now() + Duration::from_secs(seconds);
        Ok(median(&connection.time_each(&request, until)?))
    }

    /// What the list asks the database for: which ten and of how many, what they show, and who they belong to. The
    /// service also asks who the caller is in the organization, in a transaction of its own; a raw client would not.
    fn script(&self) -> String {
        let (id, organization) = (self.worker.id, self.organization);
        let joined = "LEFT JOIN projects p ON p.tenant_id = t.tenant_id AND p.id = t.project_id \
             LEFT JOIN task_jobs tj ON tj.tenant_id = t.tenant_id AND tj.task_id = t.id \
             LEFT JOIN directory_users o ON o.tenant_id = t.tenant_id AND o.id = t.owner_id \
             LEFT JOIN directory_users a ON a.tenant_id = t.tenant_id AND a.id = t.assignee_id \
             WHERE t.tenant_id = es_tenant()";
        format!(
            "{begin}SELECT t.id AS id, count(*) OVER () AS count FROM tasks t {joined} AND t.id = ANY (ARRAY(\
             SELECT id FROM tasks WHERE tenant_id = es_tenant() AND owner_id = {id} \
             UNION ALL SELECT id FROM tasks WHERE tenant_id = es_tenant() AND assignee_id = {id} \
             UNION ALL SELECT s.id FROM projects q JOIN tasks s ON s.tenant_id = q.tenant_id \
             AND s.project_id = q.id WHERE q.tenant_id = es_tenant() AND (q.owner_id = {id} OR q.assignee_id = {id}))) \
             AND t.organization_id = {organization} \
             AND (t.owner_id = {id} OR t.assignee_id = {id} OR p.owner_id = {id} OR p.assignee_id = {id}) \
             ORDER BY t.id DESC LIMIT 10 OFFSET 0;\n\
             SELECT t.id, t.name, t.project_id, t.owner_id, t.assignee_id, t.assignee_updated_date, \
             t.bug_tracker, t.subset, t.status, t.organization_id, t.labels::text AS labels, t.segment_size, \
             t.overlap, t.size, t.created_date, GREATEST(t.updated_date, tj.touched_date) AS updated_date, \
             t.chunk_size, t.image_quality, t.mode, t.dimension, p.name AS project_name, \
             p.owner_id AS project_owner_id, p.assignee_id AS project_assignee_id, \
             COALESCE(tj.jobs, 0) AS jobs, COALESCE(tj.completed, 0) AS completed, \
             COALESCE(tj.in_validation, 0) AS in_validation FROM unnest(ARRAY{shown:?}::bigint[]) WITH ORDINALITY \
             AS w (id, n) JOIN tasks t ON t.id = w.id {joined} ORDER BY w.n;\n\
             SELECT id, username, first_name, last_name FROM directory_users \
             WHERE tenant_id = es_tenant() AND id = ANY(ARRAY[{id}]::bigint[]);\n\
             COMMIT;\n",
            begin = begin(DEFAULT_TENANT),
            shown = self.shown,
        )
    }
}

/// Only the read model counts here: the worker becomes a member, and tasks, jobs and their sums are copies.
fn copies(owner: &User, worker: &User, organization: i64, tasks: i64) -> [String; 6] {
    let (owner, worker) = (owner.id, worker.id);
    // Every so many belongs to the worker.
    let every = tasks / OWN;
    [
        format!(
            "INSERT INTO directory_memberships SELECT '{DEFAULT_TENANT}', 1000000, {organization}, {worker}, \
             'worker', true, now()"
        ),
        format!(
            "INSERT INTO projects SELECT tenant_id, 1000000, 'worker''s', {worker}, NULL, NULL, bug_tracker, \
             status, organization_id, labels, created_date, updated_date FROM projects"
        ),
        format!(
            "INSERT INTO tasks (tenant_id, id, name, project_id, owner_id, assignee_id, bug_tracker, subset, status, \
             organization_id, labels, segment_size, overlap, size, chunk_size, image_quality, mode, dimension, \
             created_date, updated_date) \
             SELECT tenant_id, 1000000 + n, name || ' ' || n, \
             CASE WHEN n % (2 * {every}) = 0 THEN 1000000 ELSE (SELECT min(id) FROM projects) END, {owner}, \
             CASE WHEN n % (2 * {every}) = {every} THEN {worker} END, bug_tracker, subset, status, organization_id, \
             labels, segment_size, overlap, 100, 36, 70, mode, dimension, created_date, updated_date \
             FROM tasks, generate_series(1, {tasks}) n"
        ),
        format!(
            "INSERT INTO jobs (tenant_id, id, task_id, project_id, organization_id, assignee_id, stage, state, \
             status, type, start_frame, stop_frame, created_date, updated_date) \
             SELECT tenant_id, id * {JOBS} + n, id, project_id, organization_id, assignee_id, 'annotation', 'new', \
             'annotation', 'annotation', n * 20, n * 20 + 19, created_date, updated_date \
             FROM tasks, generate_series(0, {JOBS} - 1) n WHERE id > 1000000"
        ),
        format!(
            "INSERT INTO task_jobs SELECT tenant_id, id, {JOBS}, {JOBS}, 0, 0, updated_date FROM tasks \
             WHERE id > 1000000"
        ),
        "VACUUM ANALYZE".to_owned(),
    ]
}
