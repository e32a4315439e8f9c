//! The kit's table `entitlement`: here it is made of billing's own events, so that it means the same everywhere.

use event_store::{Applied, Change, Tx};
use service_kit::entitlements;

use crate::domain::entitlement::Entitlement;

/// Takes a change in.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Entitlement>) -> Applied<'a> {
    Box::pin(async move { entitlements::put(tx, &change.after.fact()).await })
}
