//! One service alone in this process, by the rules of production: no secret and no database of its own making.

use clap::ValueEnum;
use service_kit::{Config, Service, run, telemetry};

/// The services that can run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Only {
    Identity,
    Projects,
    Media,
    Billing,
    Webhooks,
    Analytics,
    Gateway,
}

impl Only {
    fn service(self) -> Service {
        match self {
            Self::Identity => identity::service(),
            Self::Projects => projects::service(),
            Self::Media => media::service(),
            Self::Billing => billing::service(),
            Self::Webhooks => webhooks::service(),
            Self::Analytics => analytics::service(),
            Self::Gateway => gateway::service(),
        }
    }
}

/// Serves until a signal comes.
///
/// # Errors
/// Names the setting that is missing or wrong.
pub async fn only(which: Only) -> anyhow::Result<()> {
    let config = Config::from_env(false)?;
    let service = which.service();
    let _telemetry = telemetry::init(&config, service.name())?;
    run::serve(config, service).await
}
