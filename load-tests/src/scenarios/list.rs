//! A page of projects over HTTP, and the same SQL played raw.

use std::time::Duration;

use anyhow::Context as _;
use identity::DEFAULT_TENANT;
use serde_json::json;

use super::Run;
use crate::http::{Connection, rate};
use crate::measure::{Row, Target, alternate, fsync};
use crate::mesh::{Mesh, User};
use crate::pgbench::{Pgbench, begin};
use crate::world::World;

const CLIENTS: usize = 8;
const PROJECTS: i64 = 10_000;
const DATABASE: &str = "annomesh_projects";
const PATH: &str = "/api/projects?page_size=10";

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let world = World::start("list").await?;
    let mesh = Mesh::start(&world, vec![identity::service(), projects::service()]).await?;
    let user = mesh.register()?;
    fill(&world, &mesh, &user).await?;
    let baseline =
        Pgbench::new(&world.folder, &world.runtime_url("projects")?, CLIENTS as u32, &script(&user))?;
    let ours = |seconds| rate(CLIENTS, (mesh.address, Some(&user.token)), PATH, Duration::from_secs(seconds));
    ours(1)?;
    let (values, baselines) =
        alternate(run.rounds, async || ours(run.seconds), async || baseline.run(run.seconds)).await?;
    mesh.running.stop().await;
    let rows = vec![
        Row {
            name: format!("GET {PATH} of {PROJECTS}"),
            unit: "requests/s",
            values,
            baselines,
            target: Some(Target::RatioAtLeast(0.5)),
        },
        fsync(world.disk())?,
    ];
    world.stop().await?;
    Ok(rows)
}

/// Makes one project as people do, and the others as copies of its row: only the read model counts here.
async fn fill(world: &World, mesh: &Mesh, user: &User) -> anyhow::Result<()> {
    let mut connection = Connection::open(mesh.address)?.with_token(&user.token);
    let labels = json!([{ "name": "car" }, { "name": "tree" }]);
    connection.ask("POST", "/api/projects", Some(&json!({ "name": "streets", "labels": labels })))?;
    let copies = format!(
        "INSERT INTO projects SELECT tenant_id, 1000000 + n, name || ' ' || n, owner_id, assignee_id, \
         assignee_updated_date, bug_tracker, status, organization_id, labels, created_date, updated_date \
         FROM projects, generate_series(1, {PROJECTS} - 1) n; ANALYZE"
    );
    world.execute(DATABASE, &copies).await?;
    let page = connection.ask("GET", PATH, None)?;
    let shown = page["results"].as_array().context("the page has no results")?.len();
    anyhow::ensure!(page["count"] == PROJECTS && shown == 10, "the page is not what was expected: {page}");
    Ok(())
}

/// What the list asks the database for: how many, which ten, and who they belong to. The service also asks for
/// the caller's memberships, in a transaction of its own; a raw client would not.
fn script(user: &User) -> String {
    let from = format!(
        "FROM projects p LEFT JOIN directory_users o ON o.tenant_id = p.tenant_id AND o.id = p.owner_id \
         LEFT JOIN directory_users a ON a.tenant_id = p.tenant_id AND a.id = p.assignee_id \
         WHERE p.tenant_id = es_tenant() AND (p.owner_id = {id} OR p.assignee_id = {id})",
        id = user.id
    );
    format!(
        "{begin}SELECT count(*) AS count {from};\n\
         SELECT p.id, p.name, p.owner_id, p.assignee_id, p.assignee_updated_date, p.bug_tracker, p.status, \
         p.organization_id, p.labels::text AS labels, p.created_date, p.updated_date {from} \
         ORDER BY p.id DESC LIMIT 10 OFFSET 0;\n\
         SELECT id, username, first_name, last_name FROM directory_users \
         WHERE tenant_id = es_tenant() AND id = ANY(ARRAY[{id}]::bigint[]);\n\
         COMMIT;\n",
        begin = begin(DEFAULT_TENANT),
        id = user.id
    )
}
