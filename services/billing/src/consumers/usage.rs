//! Feeds the tables of usage from every event that a meter names.

use bus::Consumer;
use contracts::Envelope;
use contracts::billing::ApiUsageCounted;
use contracts::identity::{UserDeleted, UserRegistered, UserUpdated};
use contracts::media::{StorageChanged, TaskDataPrepared};
use contracts::projects::{AnnotationsChanged, JobCreated, TaskCreated};
use contracts::webhooks::MessageDelivered;
use event_store::Unit;
use event_store::inbox::Handled;

use crate::usage::{TABLES, batch};

/// The consumer. What is read of each event is said in `meters.rs`.
pub fn consumer() -> Consumer {
    Consumer::new("usage", 1)
        .feeds(TABLES)
        .on_written::<UserRegistered>(meter)
        .on_written::<UserUpdated>(meter)
        .on_written::<UserDeleted>(meter)
        .on_written::<TaskCreated>(meter)
        .on_written::<JobCreated>(meter)
        .on_written::<AnnotationsChanged>(meter)
        .on_written::<TaskDataPrepared>(meter)
        .on_written::<StorageChanged>(meter)
        .on_written::<ApiUsageCounted>(meter)
        .on_written::<MessageDelivered>(meter)
}

fn meter<'a>(unit: &'a mut Unit, envelope: &'a Envelope) -> Handled<'a> {
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
