//! "May I?" from memory, and places under hard caps over HTTP, a thousand a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use billing::domain::entitlement::{Entitlement, EntitlementCommand, Grant};
use contracts::TenantId;
use event_store::store::Context;
use rust_decimal::Decimal;
use service_kit::Kit;
use service_kit::entitlements::reservations::{ReservationAnswer, ReservationRequest};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::Run;
use crate::measure::{Row, Target, fsync, percentile};
use crate::mesh::Mesh;
use crate::pgbench::Pgbench;
use crate::world::World;

const TENANTS: u64 = 50;
/// How their ids begin.
const TENANT: &str = "0000a110-0000-4000-8000-";
const KEY: &str = "storage_bytes";
/// Reservations a second.
const RATE: u32 = 1_000;
/// How often a cap changes while "may I?" is asked.
const NEWS: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let world = World::start("allowance").await?;
    let services = vec![identity::service(), projects::service(), media::service(), billing::service()];
    let mesh = Mesh::start(&world, services).await?;
    let kit = |name: &str| mesh.running.kit(name).cloned().with_context(|| format!("{name} does not run"));
    let (media, billing) = (kit("media")?, kit("billing")?);
    let tenants: Arc<[TenantId]> = (1..=TENANTS)
        .map(|n| Ok(TenantId(format!("{TENANT}{n:012x}").parse()?)))
        .collect::<anyhow::Result<_>>()?;
    for tenant in tenants.iter() {
        cap(&billing, *tenant, 1_000_000_000_000).await?;
    }
    let began = Instant::now();
    while media.entitlement(tenants[tenants.len() - 1], KEY).await?.is_none() {
        ensure!(began.elapsed() < PATIENCE, "media does not hear of the caps");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let raw = Pgbench::new(&world.folder, &world.runtime_url("billing")?, 8, &script())?;
    let (mut may, mut p50, mut p99) = (vec![], vec![], vec![]);
    let (mut raw_p50, mut raw_p99) = (vec![], vec![]);
    for round in 0..run.rounds {
        may.push(percentile(&ask(&media, &billing, &tenants, run.seconds).await?, 99));
        let took = reserve(&media, &tenants, round, run.seconds).await?;
        eprintln!(
            "  round {} of {}: {:.2} us; {:.2} ms, at most {:.2} ms",
            round + 1,
            run.rounds,
            may[round],
            percentile(&took, 99),
            percentile(&took, 100)
        );
        p50.push(percentile(&took, 50));
        p99.push(percentile(&took, 99));
        let took = raw.time_each(run.seconds, Some(RATE))?;
        raw_p50.push(percentile(&took, 50));
        raw_p99.push(percentile(&took, 99));
    }
    drop((media, billing));
    mesh.running.stop().await;
    let row = |name: String, unit, values, baselines, target| Row { name, unit, values, baselines, target };
    let name = format!("a reservation over HTTP, {RATE}/s of {TENANTS} tenants, p50");
    let (most_us, most_ms) = (Some(Target::ValueAtMost(50.0)), Some(Target::ValueAtMost(5.0)));
    let rows = vec![
        row("\"may I?\" in process, p99".into(), "us", may, vec![], most_us),
        row(name, "ms", p50, raw_p50, None),
        row("the same, p99".into(), "ms", p99, raw_p99, most_ms),
        fsync(world.disk())?,
    ];
    world.stop().await?;
    Ok(rows)
}

/// The least that a promise is: a place counted in its tenant's row, and noted; eight clients, because one would not
/// manage so many a second.
fn script() -> String {
    format!(
        "\\set n random(1, {TENANTS})\n\
         BEGIN;\n\
         SELECT set_config('app.tenant', '{}' || lpad(to_hex(:n::bigint), 12, '0'), true);\n\
         UPDATE quota SET reserved = reserved + 1000 WHERE tenant_id = es_tenant() AND key = '{KEY}';\n\
         INSERT INTO reservation (tenant_id, id, key, amount, owner, log_position, idempotency_key, state, expires_at) \
         SELECT es_tenant(), id, '{KEY}', 1000, 'raw', 0, id::text, 'held', now() + interval '2 minutes' \
         FROM (SELECT gen_random_uuid() AS id) AS new;\n\
         COMMIT;\n",
        TENANT
    )
}

/// Sets a tenant's cap, as an operator does.
async fn cap(billing: &Kit, tenant: TenantId, limit: i64) -> anyhow::Result<()> {
    let context = Context::mesh(tenant);
    billing
        .store
        .transact(&context, async |unit| {
            let grant = Some(Grant::capped(Decimal::from(limit)));
            let command = EntitlementCommand::Override { key: KEY.to_owned(), grant };
            unit.execute::<Entitlement>(Entitlement::id(KEY), command).await.map(|_| ())
        })
        .await?;
    Ok(())
}

/// Microseconds that each question took, tenant after tenant, while now and then a cap changes, which makes all
/// copies void.
async fn ask(
    media: &Kit,
    billing: &Kit,
    tenants: &Arc<[TenantId]>,
    seconds: u64,
) -> anyhow::Result<Vec<f64>> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let (media, all) = (media.clone(), tenants.clone());
    let mut asking = JoinSet::new();
    asking.spawn(async move {
        let mut took = vec![];
        for tenant in all.iter().cycle() {
            let began = Instant::now();
            if began >= until {
                break;
            }
            ensure!(media.may(*tenant, "compute").await?, "nobody forbade it");
            took.push(began.elapsed().as_secs_f64() * 1e6);
            // Others on this thread have their turn.
            if took.len() % 1_000 == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(took)
    });
    for round in 0.. {
        if Instant::now() >= until {
            break;
        }
        cap(billing, tenants[round % tenants.len()], 1_000_000_000_000 + round as i64).await?;
        tokio::time::sleep(NEWS).await;
    }
    asking.join_next().await.context("nobody asked")??
}

/// Milliseconds that each reservation took since it was due, whether or not those before it were answered.
async fn reserve(
    media: &Kit,
    tenants: &Arc<[TenantId]>,
    round: usize,
    seconds: u64,
) -> anyhow::Result<Vec<f64>> {
    let mut asking = JoinSet::new();
    let began = tokio::time::Instant::now() + Duration::from_millis(100);
    let count = RATE * u32::try_from(seconds)?;
    let mut took = vec![];
    for number in 0..count {
        let due = began + Duration::from_secs(1) / RATE * number;
        sleep_until(due).await;
        let request = ReservationRequest {
            tenant: tenants[number as usize % tenants.len()],
            key: KEY.to_owned(),
            amount: "1000".to_owned(),
            idempotency_key: format!("load {round} {number}"),
            log_position: 0,
            basis: None,
            ttl_s: None,
        };
        let media = media.clone();
        asking.spawn(async move {
            let billing = media.peer("billing")?;
            let call = billing.post("/internal/reservations").json(&request).timeout(PATIENCE);
            let answer: ReservationAnswer = billing.json(call).await?;
            ensure!(answer.id.is_some(), "no place was promised");
            anyhow::Ok(due.elapsed().as_secs_f64() * 1e3)
        });
        while let Some(one) = asking.try_join_next() {
            took.push(one??);
        }
    }
    while let Some(one) = asking.join_next().await {
        took.push(one??);
    }
    Ok(took)
}
