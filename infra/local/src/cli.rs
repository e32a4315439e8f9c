//! What can be said on the command line.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use service_kit::run;

use crate::only::Only;
use crate::operator::events::Follow;
use crate::{demo, only, operator, reset, settings, up};

/// Annomesh: the backend of an annotation platform, as a mesh of event-sourced services.
///
/// Without a command it starts the whole mesh in this process, with a PostgreSQL of its own,
/// and prints where it listens.
#[derive(Debug, Parser)]
#[command(name = "annomesh", version, after_help = AFTER)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
}

const AFTER: &str = "With cargo, put `--` before the command: cargo run -- status\n\
    Settings are environment variables; `annomesh settings` lists them. The most used:\n  \
    HTTP_ADDRESS   front door                  127.0.0.1:8080\n  \
    MESH_ADDRESS   second port, for the mesh   127.0.0.1:8081\n  \
    ANNOMESH_DATA  where everything is kept    ./.annomesh\n  \
    DATABASE_URL   a PostgreSQL of your own    a private one\n  \
    KAFKA_BROKERS  send the events by Kafka    no broker";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the whole mesh in this process (the default)
    Up {
        /// Only identity, projects, media, billing, webhooks, analytics or gateway, by the rules of production
        #[arg(long, value_enum, value_name = "SERVICE", hide_possible_values = true)]
        only: Option<Only>,
    },
    /// Play the first story and the first task against the running mesh, with latencies
    ///
    /// A project is created, changed and deleted; then pictures are drawn, uploaded, cut into jobs, marked and
    /// accepted. Each change is followed to a webhook, whose signatures are checked, and to analytics; at the end
    /// billing says what was used. Cleans up after itself.
    Demo {
        /// The front door [default: that of the mesh which runs on the data folder]
        #[arg(long)]
        url: Option<String>,
    },
    /// Show the running mesh: log heads, readers and how far behind, parked streams
    Status {
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Print the contract events of the running mesh
    Events(Follow),
    /// Make projections anew from the whole log, while traffic goes on
    Rebuild {
        /// The service whose they are
        service: String,
        /// One of those that `status` names [default: all of them]
        projection: Option<String>,
    },
    /// Look after streams that were set aside because an event failed
    Parked {
        #[command(subcommand)]
        command: Parked,
    },
    /// Remove the data folder: database, secrets, everything
    Reset {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Print the table of settings, in Markdown
    Settings,
}

#[derive(Debug, Subcommand)]
pub enum Parked {
    /// List them, with what failed
    List,
    /// Try them again now
    Redrive {
        /// Only this one [default: all]
        name: Option<String>,
    },
    /// Drop the failing event of one, and try the events behind it
    Discard { name: String },
}

/// The `main` of the binary.
pub fn main() -> ExitCode {
    let command = Cli::parse().command.unwrap_or(Command::Up { only: None });
    match obey(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("annomesh: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command) -> anyhow::Result<()> {
    let runtime = run::runtime()?;
    let result = runtime.block_on(async {
        match command {
            Command::Up { only: None } => up::up().await,
            Command::Up { only: Some(service) } => only::only(service).await,
            Command::Demo { url } => demo::demo(url).await,
            Command::Status { json } => operator::status::status(json).await,
            Command::Events(follow) => operator::events::events(follow).await,
            Command::Rebuild { service, projection } => {
                operator::rebuild::rebuild(&service, projection).await
            }
            Command::Parked { command: Parked::List } => operator::parked::list().await,
            Command::Parked { command: Parked::Redrive { name } } => operator::parked::redrive(name).await,
            Command::Parked { command: Parked::Discard { name } } => operator::parked::discard(name).await,
            Command::Reset { yes } => reset::reset(yes).await,
            Command::Settings => {
                println!("{}", settings::table());
                Ok(())
            }
        }
    });
    // A PostgreSQL that was just starting when the signal came is waited for, and told to stop.
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}
