//! The scenarios, a file each; every one returns the rows of its table.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::measure::Row;

mod allowance;
mod annotations_create;
mod annotations_read;
mod append;
mod append1;
mod append10;
mod build;
mod chunk;
mod consumer;
mod frame;
mod import;
mod list;
mod mesh_idle;
mod publisher;
mod tasks_list;
mod usage;
mod webhook_latency;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Scenario {
    /// One event with its projection, 32 clients, beside the same statements played by pgbench.
    Append1,
    /// Ten events at once, beside a multi-row insert of the same.
    Append10,
    /// A backlog on its way to Kafka, beside a bare rdkafka producer.
    Publisher,
    /// Batches taken in with a projection, beside the same statements played by pgbench.
    Consumer,
    /// `GET /api/projects`, beside the same SQL played by pgbench.
    List,
    /// `GET /api/tasks` as an ordinary member, beside the same SQL; 50 k tasks beside 1 k.
    TasksList,
    /// A thousand rectangles in one request, beside a multi-row insert of the same rows.
    AnnotationsCreate,
    /// A job of 100 k shapes, beside the same rows by COPY; and its memory.
    AnnotationsRead,
    /// A frame from memory, 32 connections, beside nginx.
    Frame,
    /// A chunk of 36 JPEGs as they are, beside a bare handler that sends the same bytes.
    Chunk,
    /// 2,000 JPEGs to a task with its job, beside `cp` and reading their headers.
    Import,
    /// Usage events into sums, a tenth of them repeated, beside the same statements played by pgbench.
    Usage,
    /// "May I?" in process, and reservations over HTTP.
    Allowance,
    /// From a commit to the first byte at a webhook's receiver.
    WebhookLatency,
    /// Start and memory of the built local mesh.
    MeshIdle,
    /// A clean build, beside the same third-party crates alone; takes minutes.
    Build,
}

/// How a scenario is run.
pub struct Run {
    pub rounds: usize,
    /// Length of one half of a round.
    pub seconds: u64,
    pub kafka_brokers: Option<String>,
    /// The folder of the built programs: `target/release`.
    pub programs: PathBuf,
}

impl Scenario {
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Measures.
    ///
    /// # Errors
    /// When something that it needs is missing or fails.
    pub async fn run(self, run: &Run) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Append1 => append1::run(run).await,
            Self::Append10 => append10::run(run).await,
            Self::Publisher => publisher::run(run).await,
            Self::Consumer => consumer::run(run).await,
            Self::List => list::run(run).await,
            Self::TasksList => tasks_list::run(run).await,
            Self::AnnotationsCreate => annotations_create::run(run).await,
            Self::AnnotationsRead => annotations_read::run(run).await,
            Self::Frame => frame::run(run).await,
            Self::Chunk => chunk::run(run).await,
            Self::Import => import::run(run).await,
            Self::Usage => usage::run(run).await,
            Self::Allowance => allowance::run(run).await,
            Self::WebhookLatency => webhook_latency::run(run).await,
            Self::MeshIdle => mesh_idle::run(run),
            Self::Build => build::run(run).await,
        }
    }
}
