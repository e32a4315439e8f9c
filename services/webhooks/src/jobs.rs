//! What this service does in the outside world: one POST an attempt.

use service_kit::Kit;

pub mod deliver;
pub mod pace;
pub mod resolver;
pub mod schedule;
pub mod sender;
pub mod signature;
pub mod targets;

/// Refuses to start with a list of targets that cannot be read.
///
/// # Errors
/// Names the entry of `WEBHOOKS_ALLOWED_TARGETS` that is wrong.
pub async fn check_settings(kit: Kit) -> anyhow::Result<()> {
    targets::Targets::parse(&kit.config.webhooks_allowed_targets).map(|_| ())
}
