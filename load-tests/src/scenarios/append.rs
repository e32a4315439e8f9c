//! Appending through the store, and the same statements played raw. `append1` and `append10` are this with
//! different numbers.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use event_store::sequencer::{self, CONTRACTS, EVENTS};
use event_store::{ExecuteError, Store};
use futures::stream::{FuturesUnordered, TryStreamExt};
use tokio::task::JoinSet;

use super::Run;
use crate::bench_aggregate::{ACTOR, Meter, NOTE, Never, Read, TENANT, UPSERT, context};
use crate::measure::{Row, Target, alternate, fsync};
use crate::pgbench::{Pgbench, begin, play};
use crate::world::World;

const CLIENTS: usize = 32;
/// Threads of clients, as many as a service has web workers; pgbench has as many.
const THREADS: usize = 2;
/// Streams that the clients choose among, so that two rarely want the same one.
const STREAMS: i64 = 10_000;

/// What one transaction does.
pub struct Shape {
    pub name: &'static str,
    pub events: usize,
    pub projected: bool,
    pub target: f64,
}

/// Measures events a second.
pub async fn measure(run: &Run, shape: &Shape) -> anyhow::Result<Vec<Row>> {
    let world = World::start("append").await?;
    let bench = world.bench(shape.projected, CLIENTS).await?;
    let store = bench.store;
    seed(&store).await?;
    let baseline = Pgbench::new(&world.folder, &bench.urls.runtime, CLIENTS as u32, &script(shape)?)?;
    // It numbers what either side appends.
    let mut background = JoinSet::new();
    background.spawn(sequencer::run(store.clone(), vec![CONTRACTS, EVENTS]));
    let per_second = shape.events as f64;
    ours(&store, shape, Duration::from_secs(1))?;
    let (values, baselines) = alternate(
        run.rounds,
        async || Ok(ours(&store, shape, Duration::from_secs(run.seconds))? * per_second),
        async || Ok(baseline.run(run.seconds)? * per_second),
    )
    .await?;
    sequencer::drain(&store, &[CONTRACTS, EVENTS]).await?;
    background.shutdown().await;
    let rows = vec![
        Row {
            name: shape.name.to_owned(),
            unit: "events/s",
            values,
            baselines,
            target: Some(Target::RatioAtLeast(shape.target)),
        },
        fsync(world.disk())?,
    ];
    drop(store);
    world.stop().await?;
    Ok(rows)
}

/// Gives every stream its first event.
async fn seed(store: &Store) -> anyhow::Result<()> {
    let ids: Vec<i64> = (1..=STREAMS).collect();
    for some in ids.chunks(250) {
        store
            .transact(&context(), async |unit| {
                for id in some {
                    unit.execute::<Meter>(*id, Read { times: 1 }).await?;
                }
                Ok::<_, ExecuteError<Never>>(())
            })
            .await?;
    }
    Ok(())
}

/// Transactions a second of all clients. They live on threads of their own, like the requests of a web worker.
fn ours(store: &Store, shape: &Shape, time: Duration) -> anyhow::Result<f64> {
    let began = Instant::now();
    let count = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || clients(store, shape.events, thread, began + time)))
            .collect();
        let counts = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread of clients panicked")))
        });
        counts.sum::<anyhow::Result<u64>>()
    })?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

fn clients(store: &Store, events: usize, thread: usize, until: Instant) -> anyhow::Result<u64> {
    let clients: FuturesUnordered<_> = (thread..CLIENTS)
        .step_by(THREADS)
        .map(|client| append(store, events, client as i64, until))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(clients.try_fold(0, async |sum, count| Ok(sum + count)))
}

async fn append(store: &Store, events: usize, client: i64, until: Instant) -> anyhow::Result<u64> {
    let mut count = 0;
    let mut id = client;
    while Instant::now() < until {
        // Visits the streams in an order that looks random.
        id = (id * 7_919 + 104_729 + client) % STREAMS;
        store
            .transact(&context(), async |unit| unit.execute::<Meter>(id + 1, Read { times: events }).await)
            .await?;
        count += 1;
    }
    Ok(count)
}

/// The statement that the store appends with, from its source: the baseline cannot be another one.
fn append_statement() -> anyhow::Result<&'static str> {
    let source = include_str!("../../../shared/event-store/src/append.rs");
    let found = source.split_once("const APPEND: &str = \"\\\n").and_then(|(_, rest)| rest.split_once("\";"));
    found.map(|(statement, _)| statement).context("event-store/src/append.rs has no constant APPEND any more")
}

/// What [`append`] makes the store send, statement by statement.
fn script(shape: &Shape) -> anyhow::Result<String> {
    let statement = append_statement()?;
    let row = |value: &str| format!("ARRAY[{value}]");
    let each = |value: &str| format!("ARRAY[{}]", vec![value; shape.events].join(", "));
    let rising = |from: &str| {
        let values: Vec<_> = (1..=shape.events).map(|step| format!(":{from}::bigint + {step}")).collect();
        format!("ARRAY[{}]", values.join(", "))
    };
    let after = |from: &str| format!("ARRAY[:{from}::bigint + {}]", shape.events);
    let tenant = format!("'{TENANT}'::uuid");
    // A blank after each colon, else pgbench takes what follows for a variable.
    let private = format!("'{{\"note\": \"{NOTE}\", \"value\": 5}}'");
    let contract = format!("'{{\"total\": 5, \"note\": \"{NOTE}\"}}'");
    let (actor, kind, id, new_id) = (ACTOR.to_string(), "'meter'", ":id::bigint", "gen_random_uuid()");
    let values = [
        // The stream.
        tenant.clone(),
        row(kind),
        row(id),
        after("version"),
        after("contract_version"),
        row("1"),
        row(":state::text"),
        // Its private events.
        each(kind),
        each(id),
        rising("version"),
        each("'Read'"),
        each("1"),
        each(&private),
        each(&actor),
        each("NULL"),
        each(new_id),
        each("now()"),
        // Its contract events.
        each(kind),
        each(id),
        rising("contract_version"),
        each(new_id),
        each("'bench.meter_read.v1'"),
        each(&contract),
        each("NULL"),
        each(&actor),
        each(new_id),
        each("NULL"),
        each("NULL"),
        each("now()"),
    ];
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut script = format!("\\set id random(1, {STREAMS})\n{}", begin(TENANT));
    script += &format!(
        "SELECT version, contract_version, state_rev, state::text AS state FROM es_stream \
         WHERE tenant_id = {tenant} AND kind = 'meter' AND stream_id = :id FOR UPDATE \\gset\n"
    );
    if shape.projected {
        script +=
            &play(UPSERT, &[":id", ":version::bigint + 1", ":version::bigint * 5", &format!("'{NOTE}'")]);
    }
    script += &play(&statement.replace('\n', " "), &values);
    script += "COMMIT;\n";
    Ok(script)
}
