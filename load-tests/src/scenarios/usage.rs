//! Usage events into their sums, batch by batch, a tenth of them for the second time, beside the same rows raw.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus::log_source::BATCH;
use contracts::event::Example;
use contracts::projects::AnnotationsChanged;
use contracts::{ContractEvent, Envelope};
use event_store::inbox::{self, Handler, Move, Place};
use event_store::{Clock, Store};
use serde_json::{Value, json};

use super::Run;
use crate::bench_aggregate::TENANT;
use crate::measure::{Row, Target, alternate, aside, fsync};
use crate::pgbench::{Pgbench, begin};
use crate::world::World;

/// Events of a batch that were in the one before it.
const REPEATED: i64 = BATCH / 10;
const FRESH: i64 = BATCH - REPEATED;
/// Jobs and projects that take turns.
const JOBS: i64 = 5_000;
const PROJECTS: i64 = 20;
const SERVICE: &str = "billing";
const TOPIC: &str = "projects.log";
const CONSUMER: &str = "billing.usage@1";
const RAW_CONSUMER: &str = "billing.raw@1";

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let world = World::start("usage").await?;
    let service = billing::service();
    let (migrations, kinds) = service.schema().context("billing has no tables")?;
    let (database, urls) = world.database(SERVICE, migrations(), kinds, 4).await?;
    let store = Store::new(SERVICE, database, event_store::Registry::default(), Clock::system());
    let consumer = service.consumers().iter().find(|consumer| consumer.name() == "usage");
    let handler = consumer.context("billing measures nothing")?.handler();
    inbox::place(&store, RAW_CONSUMER, TOPIC, 0).await?;
    let mut place = inbox::place(&store, CONSUMER, TOPIC, 0).await?;
    let baseline = Pgbench::new(&world.folder, &urls.runtime, 1, &script())?.beginning_with(&source())?;
    let mut ours = async |time| {
        // As the services' consumers are.
        let (rate, to) = aside(take(store.clone(), handler.clone(), place.clone(), time)).await??;
        place = to;
        anyhow::Ok(rate)
    };
    ours(Duration::from_secs(1)).await?;
    let mut next = 0;
    let (values, baselines) = alternate(
        run.rounds,
        async || ours(Duration::from_secs(run.seconds)).await,
        async || {
            // Beyond what the last round reached.
            next += 1_000_000_000;
            let reset = format!(
                "UPDATE inbox_offset SET next_offset = {next}, position = {next} WHERE consumer = '{RAW_CONSUMER}'"
            );
            world.execute(SERVICE, &reset).await?;
            Ok(baseline.clone().with("next", next).run(run.seconds)? * BATCH as f64)
        },
    )
    .await?;
    let row = |values, baselines, target| Row {
        name: format!("usage events into sums, batches of {BATCH}, {REPEATED} of them repeated"),
        unit: "events/s",
        values,
        baselines,
        target: Some(target),
    };
    let rows = vec![
        row(values.clone(), baselines, Target::RatioAtLeast(0.5)),
        row(values, vec![], Target::ValueAtLeast(10_000.0)),
        fsync(world.disk())?,
    ];
    drop(store);
    world.stop().await?;
    Ok(rows)
}

/// Takes batches in as the log gives them, reading included; returns events a second and the new place.
async fn take(
    store: Store,
    handler: Handler,
    mut place: Place,
    time: Duration,
) -> anyhow::Result<(f64, Place)> {
    let mut spent = Duration::ZERO;
    let mut count = 0;
    while spent < time {
        let text = page(place.next_offset)?;
        let began = Instant::now();
        let events: Vec<Envelope> = serde_json::from_str(&text)?;
        let to = Place {
            next_offset: place.next_offset + FRESH,
            position: place.position + FRESH,
            event_id: events.last().map(|event| event.id),
            ..place.clone()
        };
        let moves = [Move { from: place.clone(), to: to.clone() }];
        let taken = inbox::take(&store, CONSUMER, &handler, &events, &moves).await?;
        spent += began.elapsed();
        // In the first batch there is nothing to repeat.
        let wanted = if place.next_offset == 0 { BATCH } else { FRESH };
        anyhow::ensure!(taken.handled as i64 == wanted, "not everything was handled: {taken:?}");
        count += events.len();
        place = to;
    }
    Ok((count as f64 / spent.as_secs_f64(), place))
}

/// A page of the log: the last events of the page before it, and new ones.
fn page(after: i64) -> anyhow::Result<String> {
    let now = Clock::system().now();
    let events: Vec<Value> = (after - REPEATED..after + FRESH)
        .map(|index| {
            let index = index + REPEATED;
            let (job, version) = (index % JOBS + 1, index / JOBS + 1);
            let example = AnnotationsChanged::example();
            let data = AnnotationsChanged { job_id: job, project_id: Some(job % PROJECTS), ..example };
            // The same event has the same id, and younger ones follow older ones, as everywhere.
            let id = uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | index as u128);
            json!({
                "specversion": "1.0", "id": id, "source": "/mesh/projects", "type": AnnotationsChanged::TYPE,
                "subject": format!("annotations/{job}"), "time": now, "datacontenttype": "application/json",
                "dataschema": format!("/schemas/{}.json", AnnotationsChanged::TYPE), "tenantid": TENANT,
                "streamversion": version, "position": index + 1,
                "partitionkey": contracts::envelope::partition_key(TENANT, "annotations", job),
                "correlationid": id, "actorid": 7, "data": data,
            })
        })
        .collect();
    Ok(serde_json::to_string(&events)?)
}

/// What the events of a batch say, kept by the client and sent with each batch.
fn source() -> String {
    format!(
        "SELECT array_agg('{{\"project\":\"' || n % {PROJECTS} || '\",\"type\":\"shape\"}}')::text AS dims, \
         array_agg('/mesh/projects'::text)::text AS sources, array_agg(now())::text AS times, \
         array_agg('12'::text)::text AS amounts FROM generate_series(1, {BATCH}) n \\gset\n"
    )
}

/// The facts with what is repeated, their sums, and the offset: what somebody would write who has no inbox.
fn script() -> String {
    format!(
        "{begin}\
         UPDATE inbox_offset SET next_offset = :next::bigint + {FRESH}, position = :next::bigint + {FRESH}, \
         event_id = gen_random_uuid() WHERE consumer = '{RAW_CONSUMER}' AND topic = '{TOPIC}' AND part = 0 \
         AND next_offset = :next AND position = :next;\n\
         SET LOCAL app.tenant = '{TENANT}';\n\
         WITH fresh AS (\
         INSERT INTO usage_fact (tenant_id, fact_id, meter, dims, source, occurred_at, value) \
         SELECT es_tenant(), lpad(to_hex(:next::bigint - {REPEATED} + n), 32, '0')::uuid, 'objects_annotated', dims, \
         source, at, amount::numeric \
         FROM unnest(:dims::text[], :sources::text[], :times::timestamptz[], :amounts::text[]) WITH ORDINALITY \
         AS t (dims, source, at, amount, n) \
         ON CONFLICT DO NOTHING RETURNING meter, dims, occurred_at, value) \
         INSERT INTO usage_quarter (tenant_id, meter, quarter, dims, value, facts) \
         SELECT es_tenant(), meter, date_bin('15 minutes', occurred_at, 'epoch'), dims, sum(value), count(*) \
         FROM fresh GROUP BY 2, 3, 4 ORDER BY 2, 3, 4 \
         ON CONFLICT (tenant_id, meter, quarter, dims) DO UPDATE \
         SET value = usage_quarter.value + excluded.value, facts = usage_quarter.facts + excluded.facts;\n\
         COMMIT;\n\
         \\set next :next + {FRESH}\n",
        begin = begin(contracts::TenantId::DEPLOYMENT),
    )
}
