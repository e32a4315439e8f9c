//! Counts the calls of each tenant's people to a service's API, and reports them to billing.
//!
//! Calls are counted in memory, by quarter of an hour, and sent every few seconds; a report is sent again, under the
//! same id, until billing has it, and billing takes it in once. So nothing is counted twice; what a process had
//! counted since billing last answered is lost when it is killed: that of the last [`PAUSE`], while billing answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::Method;
use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use contracts::TenantId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Node;

/// How often is reported, and so how much a kill may lose.
pub const PAUSE: Duration = Duration::from_secs(10);
/// How long billing is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Entries of one report at most: each is a transaction at billing.
const ENTRIES_MAX: usize = 500;

/// What a service tells billing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The same whenever it is sent again.
    pub id: Uuid,
    pub calls: Vec<Counted>,
}

/// Calls of one tenant in one quarter of an hour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counted {
    pub tenant: TenantId,
    /// Its beginning.
    pub quarter: DateTime<Utc>,
    pub reads: i64,
    pub writes: i64,
}

/// Reads and writes of each tenant in each quarter of an hour.
type Quarters = BTreeMap<(TenantId, DateTime<Utc>), (i64, i64)>;

/// What was counted and not reported yet.
#[derive(Default)]
pub(crate) struct ApiCalls {
    counted: Mutex<Quarters>,
}

impl ApiCalls {
    fn count(&self, tenant: TenantId, at: DateTime<Utc>, reads: i64, writes: i64) {
        let quarter = at.duration_trunc(TimeDelta::minutes(15)).unwrap_or(at);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = counted.entry((tenant, quarter)).or_default();
        *entry = (entry.0 + reads, entry.1 + writes);
    }

    /// Takes some of what was counted out, as a report.
    fn report(&self) -> Option<Report> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut calls = vec![];
        while let Some(((tenant, quarter), (reads, writes))) =
            (calls.len() < ENTRIES_MAX).then(|| counted.pop_first()).flatten()
        {
            calls.push(Counted { tenant, quarter, reads, writes });
        }
        (!calls.is_empty()).then(|| Report { id: event_store::new_id(), calls })
    }
}

impl Node {
    /// Counts a call by somebody of a tenant.
    pub(crate) fn count_call(&self, tenant: TenantId, method: &Method, path: &str) {
        // Pages are no API. ClearML's endpoints are the ones with a dot.
        let is_api = ["/api/", "/v1/", "/rest/"].iter().any(|face| path.starts_with(face))
            || path.rsplit('/').next().is_some_and(|last| last.contains('.'));
        if !is_api {
            return;
        }
        let (reads, writes) = if method.is_safe() { (1, 0) } else { (0, 1) };
        self.shared::<ApiCalls>().count(tenant, self.clock.now(), reads, writes);
    }
}

/// Reports a service's calls; runs until it is dropped.
pub(crate) async fn run(node: Node) {
    let calls = node.shared::<ApiCalls>();
    loop {
        tokio::time::sleep(PAUSE).await;
        while let Some(report) = calls.report() {
            deliver(&node, &report).await;
        }
    }
}

/// Sends a report until billing has it.
async fn deliver(node: &Node, report: &Report) {
    let Ok(billing) = node.peer("billing") else { return };
    loop {
        let call = billing.post("/internal/api-usage").json(report).timeout(PATIENCE);
        match billing.send(call).await {
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(error = event_store::chain(&error), "billing does not hear of API calls yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_holds_what_was_counted_since_the_last() {
        let (calls, tenant) = (ApiCalls::default(), TenantId(event_store::new_id()));
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        for (time, reads, writes) in
            [("2026-11-21T10:14:59Z", 1, 0), ("2026-11-21T10:00:00Z", 0, 1), ("2026-11-21T10:15:00Z", 1, 0)]
        {
            calls.count(tenant, at(time), reads, writes);
        }
        let report = calls.report().unwrap();
        let counted = |quarter, reads, writes| Counted { tenant, quarter: at(quarter), reads, writes };
        assert_eq!(
            report.calls,
            [counted("2026-11-21T10:00:00Z", 1, 1), counted("2026-11-21T10:15:00Z", 1, 0)]
        );
        assert!(calls.report().is_none());
    }
}
