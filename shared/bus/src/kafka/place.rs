//! Where the reading of a partition begins.
//!
//! The database says where it ended. Whether the topic is still the one that it was is another question: the
//! last record is read again, and only if it is the same event does the reading go on behind it. Without
//! such a proof the producer's log is read instead.

use event_store::inbox::{self, Place};
use uuid::Uuid;

use super::link::{Epoch, Part};
use super::look::{Look, Read, look};
use super::source::{Feed, Source, SourceError};
use crate::retry::Backoff;

/// A partition that can be read from Kafka.
pub(super) struct Start {
    pub part: Part,
    pub epoch: Epoch,
    pub place: Place,
    /// The first record to read.
    pub offset: i64,
    /// That record must be this event, and was taken before.
    pub verify: Option<Uuid>,
}

/// A partition whose producer's log must be read first.
pub(super) struct Behind {
    pub part: Part,
    pub epoch: Epoch,
    pub place: Place,
    pub reason: &'static str,
}

/// Looks up where partitions of one source begin; tries until it knows, or none is left to us.
pub(super) async fn place(
    feed: &Feed,
    source: usize,
    mut parts: Vec<(Part, Epoch)>,
) -> (Vec<Start>, Vec<Behind>) {
    let mut backoff = Backoff::default();
    loop {
        parts.retain(|(part, epoch)| feed.link.owns(*part, *epoch));
        if parts.is_empty() {
            return (vec![], vec![]);
        }
        match try_place(feed, source, &parts).await {
            Ok(placed) => return placed,
            Err(error) => {
                tracing::warn!(
                    consumer = feed.name,
                    topic = feed.sources[source].topic,
                    error = event_store::chain(&error),
                    "cannot look up where to begin; trying again"
                );
                backoff.pause().await;
            }
        }
    }
}

async fn try_place(
    feed: &Feed,
    source: usize,
    parts: &[(Part, Epoch)],
) -> Result<(Vec<Start>, Vec<Behind>), SourceError> {
    let topic = &feed.sources[source].topic;
    let mut places = Vec::with_capacity(parts.len());
    for (part, epoch) in parts {
        places.push((*part, *epoch, inbox::place(&feed.store, &feed.name, topic, part.1).await?));
    }
    let read = if places.iter().any(|(_, _, place)| is_new(place)) { Read::First } else { Read::Nothing };
    let look = look(&feed.settings, topic, read).await?;
    let complete = holds_the_log(&feed.sources[source], &look).await;
    let (mut starts, mut behind) = (vec![], vec![]);
    for (part, epoch, place) in places {
        let watermarks = look.watermarks.get(part.1 as usize).copied().unwrap_or((0, 0));
        match beginning(&place, watermarks, complete) {
            Beginning::Read { offset, verify } => starts.push(Start { part, epoch, place, offset, verify }),
            Beginning::Backfill(reason) => behind.push(Behind { part, epoch, place, reason }),
        }
    }
    Ok((starts, behind))
}

/// Whether the topic holds the producer's log from its first event on. Without an answer the log is read, and
/// partitions that have a place need not wait for one.
async fn holds_the_log(source: &Source, look: &Look) -> bool {
    let (Some(first), Some(peer)) = (look.first_event(), &source.peer) else { return false };
    match peer.has(1, Some(first)).await {
        Ok(has) => has,
        Err(error) => {
            tracing::debug!(
                error = event_store::chain(&error),
                "{} is not asked for its first event",
                source.service
            );
            false
        }
    }
}

/// The reason of a consumer that has nothing yet.
const NEW: &str = "the topic is not known to hold the log from its beginning";
/// The reason of one that has read nothing from Kafka since its last backfill.
const UNPROVEN: &str = "there is no record to recognise the topic by";

impl Behind {
    /// Whether something went wrong, and it is not just caution.
    pub(super) fn is_odd(&self) -> bool {
        self.reason != NEW && self.reason != UNPROVEN
    }
}

#[derive(Debug, PartialEq)]
enum Beginning {
    Read { offset: i64, verify: Option<Uuid> },
    Backfill(&'static str),
}

fn is_new(place: &Place) -> bool {
    place.next_offset == 0 && place.position == 0
}

fn beginning(place: &Place, (low, high): (i64, i64), complete: bool) -> Beginning {
    match place.event_id {
        Some(id) if place.next_offset > low && place.next_offset <= high => {
            Beginning::Read { offset: place.next_offset - 1, verify: Some(id) }
        }
        Some(_) => Beginning::Backfill("the topic no longer has the last record that was read"),
        None if is_new(place) && complete && low == 0 => Beginning::Read { offset: 0, verify: None },
        None if is_new(place) => Beginning::Backfill(NEW),
        // After a backfill that no record has followed yet: nothing tells whether this is the same topic.
        None => Beginning::Backfill(UNPROVEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(next_offset: i64, position: i64, event_id: Option<Uuid>) -> Place {
        Place { topic: "projects.events".into(), part: 3, next_offset, position, event_id }
    }

    #[test]
    fn the_last_record_is_read_again() {
        let id = Uuid::from_u128(1);
        for watermarks in [(0, 10), (9, 10), (0, 99)] {
            let expected = Beginning::Read { offset: 9, verify: Some(id) };
            assert_eq!(beginning(&at(10, 40, Some(id)), watermarks, false), expected);
        }
    }

    #[test]
    fn a_topic_without_the_last_record_means_backfill() {
        for watermarks in [(10, 10), (11, 50), (0, 9), (0, 0)] {
            let beginning = beginning(&at(10, 40, Some(Uuid::nil())), watermarks, true);
            assert!(matches!(beginning, Beginning::Backfill(_)), "{watermarks:?}");
        }
    }

    #[test]
    fn a_new_consumer_reads_the_topic_only_if_it_holds_everything() {
        let read = Beginning::Read { offset: 0, verify: None };
        assert_eq!(beginning(&at(0, 0, None), (0, 7), true), read);
        assert_eq!(beginning(&at(0, 0, None), (0, 0), true), read);
        assert_eq!(beginning(&at(0, 0, None), (0, 7), false), Beginning::Backfill(NEW));
        assert_eq!(beginning(&at(0, 0, None), (3, 7), true), Beginning::Backfill(NEW));
    }

    #[test]
    fn after_a_backfill_the_log_is_asked_again() {
        assert!(matches!(beginning(&at(0, 12, None), (0, 7), true), Beginning::Backfill(_)));
        assert!(matches!(beginning(&at(7, 12, None), (0, 9), true), Beginning::Backfill(_)));
    }
}
