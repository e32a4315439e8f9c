//! Private events to contract events: what leaves this service.

use contracts::billing::{ApiUsageCounted, EntitlementChanged};
use event_store::{Change, Outgoing};

use crate::domain::api_usage::{ApiUsage, ApiUsageEvent};
use crate::domain::entitlement::{Entitlement, EntitlementEvent};

/// An entitlement's events: who granted what stays inside, what holds now leaves when it is another than before.
/// The first word about a key always does: where nobody has spoken of a feature, `features` speaks for it.
pub fn entitlement(change: &Change<'_, Entitlement>) -> Vec<Outgoing> {
    match change.event {
        EntitlementEvent::GrantedByTenant { .. } | EntitlementEvent::Overridden { .. } => {
            let is_first = change.before.key.is_empty();
            if !is_first && change.before.grant() == change.after.grant() {
                return vec![];
            }
            vec![Outgoing::new(&EntitlementChanged { entitlement: change.after.fact() }, None)]
        }
    }
}

/// Calls of the API.
pub fn api_usage(change: &Change<'_, ApiUsage>) -> Vec<Outgoing> {
    match change.event {
        ApiUsageEvent::Counted(calls) => {
            let counted = ApiUsageCounted {
                service: calls.service.clone(),
                quarter: calls.quarter,
                reads: calls.reads,
                writes: calls.writes,
            };
            vec![Outgoing::new(&counted, None)]
        }
    }
}
