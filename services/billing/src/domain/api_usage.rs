//! How often a tenant's people called the API, as processes count it: one stream in each tenant.

use std::convert::Infallible;

use chrono::{DateTime, Utc};
use event_store::Aggregate;
use serde::{Deserialize, Serialize};

/// The only stream of its kind in a tenant.
pub const STREAM: i64 = 1;

/// Calls of one service in a quarter of an hour, or in a part of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    pub service: String,
    /// Its beginning.
    pub quarter: DateTime<Utc>,
    pub reads: i64,
    pub writes: i64,
}

#[derive(Clone, Debug)]
pub enum ApiUsageCommand {
    Count(Calls),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum ApiUsageEvent {
    Counted(Calls),
}

/// Nothing is remembered: what counts is in the events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ApiUsage {}

/// Nothing is refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Never(Infallible);

impl event_store::DomainError for Never {
    fn code(&self) -> &'static str {
        match self.0 {}
    }

    fn kind(&self) -> event_store::Refused {
        match self.0 {}
    }
}

impl Aggregate for ApiUsage {
    const KIND: &'static str = "api_usage";
    type Command = ApiUsageCommand;
    type Event = ApiUsageEvent;
    type Error = Never;

    fn decide(&self, command: ApiUsageCommand) -> Result<Vec<ApiUsageEvent>, Never> {
        match command {
            ApiUsageCommand::Count(calls) if calls.reads <= 0 && calls.writes <= 0 => Ok(vec![]),
            ApiUsageCommand::Count(calls) => Ok(vec![ApiUsageEvent::Counted(calls)]),
        }
    }

    fn apply(&mut self, event: &ApiUsageEvent) {
        match event {
            ApiUsageEvent::Counted(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_and_none_are_not() {
        let calls =
            |reads, writes| Calls { service: "projects".into(), quarter: DateTime::default(), reads, writes };
        let decide = |calls| ApiUsage::default().decide(ApiUsageCommand::Count(calls)).unwrap();
        assert_eq!(decide(calls(3, 0)), [ApiUsageEvent::Counted(calls(3, 0))]);
        assert_eq!(decide(calls(0, 0)), []);
    }
}
