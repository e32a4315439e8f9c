//! Taking batches in with a projection, and the same statements played raw.

use std::time::{Duration, Instant};

use bus::Consumer;
use contracts::{ContractEvent, Envelope};
use event_store::inbox::{self, Handler, Move, Place};
use event_store::{Clock, Store};
use serde_json::value::RawValue;

use super::Run;
use crate::bench_aggregate::{self, MeterRead, NOTE, SERVICE, TENANT, UPSERT};
use crate::measure::{Row, Target, alternate, aside, fsync};
use crate::pgbench::{Pgbench, begin, play};
use crate::world::World;

/// Events in one transaction, as [`bus::log_source::BATCH`].
const BATCH: i64 = bus::log_source::BATCH;
/// Streams that take turns; each batch has as many different ones as it has events.
const STREAMS: i64 = 5_000;
/// Without a colon, which pgbench takes for the beginning of a variable.
const TOPIC: &str = "bench.log";
const CONSUMER: &str = "bench.meters@1";
const RAW_CONSUMER: &str = "bench.raw@1";

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let world = World::start("consumer").await?;
    let bench = world.bench(false, 4).await?;
    let consumer = Consumer::new("meters", 1).on::<MeterRead>(|unit, envelope, event| {
        Box::pin(async move {
            let id = envelope.stream_id().unwrap_or_default();
            Ok(bench_aggregate::upsert(unit.tx(), id, envelope.streamversion, event.total, &event.note)
                .await?)
        })
    });
    let handler = consumer.handler();
    inbox::place(&bench.store, RAW_CONSUMER, TOPIC, 0).await?;
    let mut place = inbox::place(&bench.store, CONSUMER, TOPIC, 0).await?;
    let baseline = Pgbench::new(&world.folder, &bench.urls.runtime, 1, &script())?.with("next", 0);
    let mut ours = async |time| {
        // As the services' consumers are.
        let (rate, to) = aside(take(bench.store.clone(), handler.clone(), place.clone(), time)).await??;
        place = to;
        anyhow::Ok(rate)
    };
    ours(Duration::from_secs(1)).await?;
    let (values, baselines) = alternate(
        run.rounds,
        async || ours(Duration::from_secs(run.seconds)).await,
        async || {
            let back = format!(
                "UPDATE inbox_offset SET next_offset = 0, position = 0 WHERE consumer = '{RAW_CONSUMER}'"
            );
            world.execute(SERVICE, &back).await?;
            Ok(baseline.run(run.seconds)? * BATCH as f64)
        },
    )
    .await?;
    let rows = vec![
        Row {
            name: format!("consumer with a projection, batches of {BATCH}"),
            unit: "events/s",
            values,
            baselines,
            target: Some(Target::RatioAtLeast(0.6)),
        },
        fsync(world.disk())?,
    ];
    drop(bench);
    world.stop().await?;
    Ok(rows)
}

/// Takes batches in; returns events a second, not counting the time to make them up, and the new place.
async fn take(
    store: Store,
    handler: Handler,
    mut place: Place,
    time: Duration,
) -> anyhow::Result<(f64, Place)> {
    let mut spent = Duration::ZERO;
    let mut count = 0;
    while spent < time {
        let events = batch(place.next_offset)?;
        let to = Place {
            next_offset: place.next_offset + BATCH,
            position: place.position + BATCH,
            event_id: events.last().map(|event| event.id),
            ..place.clone()
        };
        let began = Instant::now();
        let moves = [Move { from: place.clone(), to: to.clone() }];
        let taken = inbox::take(&store, CONSUMER, &handler, &events, &moves).await?;
        spent += began.elapsed();
        anyhow::ensure!(taken.handled == events.len(), "not everything was handled: {taken:?}");
        count += taken.handled;
        place = to;
    }
    Ok((count as f64 / spent.as_secs_f64(), place))
}

/// The events after a position.
fn batch(after: i64) -> anyhow::Result<Vec<Envelope>> {
    let (event_type, now) = (MeterRead::TYPE, Clock::system().now());
    (after..after + BATCH)
        .map(|index| {
            let (id, version) = (index % STREAMS + 1, index / STREAMS + 1);
            let data = serde_json::to_string(&MeterRead { total: version * 5, note: NOTE.to_owned() })?;
            Ok(Envelope {
                specversion: "1.0".to_owned(),
                id: event_store::new_id(),
                source: format!("/mesh/{SERVICE}"),
                event_type: event_type.to_owned(),
                subject: format!("meter/{id}"),
                time: now,
                datacontenttype: "application/json".to_owned(),
                dataschema: format!("/schemas/{event_type}.json"),
                tenantid: TENANT,
                streamversion: version,
                position: index + 1,
                partitionkey: contracts::envelope::partition_key(TENANT, "meter", id),
                correlationid: event_store::new_id(),
                causationid: None,
                actorid: None,
                impersonatorid: None,
                organizationid: None,
                traceparent: None,
                data: RawValue::from_string(data)?,
            })
        })
        .collect()
}

/// What [`inbox::take`] sends. pgbench knows no loops, so there is a line for each event; and because it takes
/// them for 500 different statements, each is planned once instead of six times.
fn script() -> String {
    let keys = format!(
        "ARRAY(SELECT 'bench'::text FROM generate_series(1, {BATCH})), \
         ARRAY(SELECT 'meter'::text FROM generate_series(1, {BATCH})), \
         ARRAY(SELECT (:next::bigint + s) % {STREAMS} + 1 FROM generate_series(0, {BATCH} - 1) s)"
    );
    let begin_batch = format!(
        "{begin}\
         SET LOCAL plan_cache_mode = force_generic_plan;\n\
         UPDATE inbox_offset SET next_offset = :next::bigint + {BATCH}, position = :next::bigint + {BATCH}, \
         event_id = gen_random_uuid() WHERE consumer = '{RAW_CONSUMER}' AND topic = '{TOPIC}' AND part = 0 \
         AND next_offset = :next AND position = :next;\n\
         SET LOCAL app.tenant = '{TENANT}';\n\
         SELECT i.source, i.kind, i.stream_id, i.last_version, i.parked \
         FROM unnest({keys}) AS t (source, kind, stream_id) \
         CROSS JOIN LATERAL (SELECT * FROM inbox_stream WHERE tenant_id = '{TENANT}' \
         AND consumer = '{RAW_CONSUMER}' AND source = t.source AND kind = t.kind AND stream_id = t.stream_id \
         FOR UPDATE) AS i;\n",
        begin = begin(contracts::TenantId::DEPLOYMENT),
    );
    let version = format!(":next::bigint / {STREAMS} + 1");
    let event = |index| {
        let id = format!("(:next::bigint + {index}) % {STREAMS} + 1");
        play(UPSERT, &[&id, &version, &format!("{version} * 5"), &format!("'{NOTE}'")])
    };
    let events: String = (0..BATCH).map(event).collect();
    let end_batch = format!(
        "INSERT INTO inbox_stream (tenant_id, consumer, source, kind, stream_id, last_version, parked) \
         SELECT '{TENANT}', '{RAW_CONSUMER}', * FROM unnest({keys}, \
         ARRAY(SELECT {version} FROM generate_series(1, {BATCH})), \
         ARRAY(SELECT false FROM generate_series(1, {BATCH}))) \
         ON CONFLICT (tenant_id, consumer, source, kind, stream_id) \
         DO UPDATE SET last_version = excluded.last_version, parked = excluded.parked;\n\
         COMMIT;\n\
         \\set next :next + {BATCH}\n"
    );
    format!("{begin_batch}{events}{end_batch}")
}
