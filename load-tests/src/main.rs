//! Each number beside its raw baseline, measured in the same run. See README.md.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use service_kit::{Config, telemetry};

use crate::measure::Row;
use crate::scenarios::{Run, Scenario};

mod bench_aggregate;
mod http;
mod measure;
mod mesh;
mod pgbench;
mod pictures;
mod scenarios;
mod upload;
mod world;

/// Measures Annomesh beside raw baselines; writes `<target>/load-tests/<scenario>.json`.
#[derive(Parser)]
struct Arguments {
    /// A scenario, or `all` of them.
    #[arg(value_parser = names())]
    scenario: String,
    /// Lets `all` include `build`, which takes minutes.
    #[arg(long)]
    with_build: bool,
    /// How often each side is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=20))]
    rounds: u8,
    /// How long each side of a round takes, where it is a matter of time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=30))]
    seconds: u64,
    /// A Kafka for `publisher`; without it one is started by infra/kafka/kafka.sh.
    #[arg(long, env = "KAFKA_BROKERS")]
    kafka_brokers: Option<String>,
}

fn names() -> clap::builder::PossibleValuesParser {
    let scenarios = Scenario::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    scenarios
        .chain([clap::builder::PossibleValue::new("all").help("Every scenario but `build`")])
        .collect::<Vec<_>>()
        .into()
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // Spans are made as in production; lines are written only when something is wrong.
    let quiet = ("RUST_LOG".to_owned(), "warn,service_kit=info,bus=error".to_owned());
    let _telemetry = telemetry::init(&Config::from_vars(true, [quiet])?, "load-tests")?;
    let program = std::env::current_exe()?;
    let programs = program.parent().context("the program is in no folder")?.to_owned();
    let results = programs.parent().context("the program is not in a target folder")?.join("load-tests");
    let run = Run {
        rounds: arguments.rounds.into(),
        seconds: arguments.seconds,
        kafka_brokers: arguments.kafka_brokers,
        programs,
    };
    let chosen: Vec<Scenario> = match Scenario::from_str(&arguments.scenario, false) {
        Ok(one) => vec![one],
        Err(_) => Scenario::value_variants()
            .iter()
            .copied()
            .filter(|scenario| arguments.with_build || *scenario != Scenario::Build)
            .collect(),
    };
    let mut failed = vec![];
    for scenario in chosen {
        let name = scenario.name();
        eprintln!("{name} …");
        // A runtime of its own: nothing that a scenario left running disturbs the next one.
        match service_kit::run::runtime()?.block_on(measured(scenario, &run)) {
            Ok(None) => anyhow::bail!("interrupted"),
            Ok(Some(rows)) => {
                measure::print(&name, &rows);
                measure::write(&results, &name, &rows)?;
            }
            Err(error) => {
                eprintln!("{name} failed: {error:#}");
                failed.push(name);
            }
        }
    }
    anyhow::ensure!(failed.is_empty(), "not measured: {}", failed.join(", "));
    Ok(())
}

/// The rows of a scenario; none when a signal ends it half-way, which removes what it made all the same.
async fn measured(scenario: Scenario, run: &Run) -> anyhow::Result<Option<Vec<Row>>> {
    tokio::select! {
        rows = scenario.run(run) => rows.map(Some),
        signal = service_kit::run::stop_signal() => signal.map(|()| None),
    }
}
