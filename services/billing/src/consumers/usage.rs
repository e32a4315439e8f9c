//! Feeds the tables of usage from every event that a meter names.

use bus::Consumer;
use contracts::billing::ApiUsageCounted;
use contracts::identity::{UserDeleted, UserRegistered, UserUpdated};
use contracts::media::{StorageChanged, TaskDataPrepared};
use contracts::projects::{AnnotationsChanged, JobCreated, TaskCreated};
use contracts::webhooks::MessageDelivered;
use contracts::{ContractEvent, Envelope};
use event_store::Unit;
use event_store::inbox::Handled;

use crate::usage::{TABLES, batch};

/// The consumer. The types make sure that each event can be read; what is read is said in `meters.rs`.
pub fn consumer() -> Consumer {
    Consumer::new("usage", 1)
        .feeds(TABLES)
        .on::<UserRegistered>(meter)
        .on::<UserUpdated>(meter)
        .on::<UserDeleted>(meter)
        .on::<TaskCreated>(meter)
        .on::<JobCreated>(meter)
        .on::<AnnotationsChanged>(meter)
        .on::<TaskDataPrepared>(meter)
        .on::<StorageChanged>(meter)
        .on::<ApiUsageCounted>(meter)
        .on::<MessageDelivered>(meter)
}

fn meter<'a, E: ContractEvent>(unit: &'a mut Unit, envelope: &'a Envelope, _: E) -> Handled<'a> {
    Box::pin(async move { batch::take(unit, envelope) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::meters::{FACTS, LEVELS};

    #[test]
    fn it_takes_what_meters_name_and_nothing_else() {
        let facts = FACTS.iter().map(|fact| fact.event);
        let named: BTreeSet<_> = facts.chain(LEVELS.iter().map(|level| level.event)).collect();
        assert_eq!(consumer().types(), named.into_iter().collect::<Vec<_>>());
    }
}
