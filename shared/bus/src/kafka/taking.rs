//! Taking a batch in: records of several partitions in one transaction, and only one at a time.
//!
//! A batch is tried until it is taken, or its partitions are no longer ours. What is wrong with one partition
//! does not hold up the others.

use contracts::Envelope;
use event_store::StoreError;
use event_store::inbox::{self, Move, Place, TakeError};

use super::link::{Epoch, Part};
use super::source::Feed;
use crate::retry::Backoff;

/// One partition's share of a batch.
pub(super) struct Portion {
    pub part: Part,
    pub epoch: Epoch,
    pub from: Place,
    pub to: Place,
    pub events: Vec<Envelope>,
}

impl Portion {
    /// An empty portion, from where its partition is.
    pub(super) fn begin(part: Part, epoch: Epoch, place: &Place) -> Self {
        Self { part, epoch, from: place.clone(), to: place.clone(), events: vec![] }
    }

    /// Adds the next event.
    pub(super) fn add(&mut self, event: Envelope) {
        self.to.next_offset += 1;
        // These two belong together, so that the producer's log can be recognised by them. After an event that
        // was sent again the position goes back, and a backfill begins with duplicates.
        self.to.position = event.position;
        self.to.event_id = Some(event.id);
        self.events.push(event);
    }
}

/// What became of a portion.
pub(super) enum Outcome {
    Taken,
    /// Somebody else moved the place, or an earlier attempt of ours did without our hearing of it.
    Fenced,
    /// The topic left something out.
    Gap,
}

/// Takes portions in until each has an outcome; a portion whose partition is given up has none.
pub(super) async fn take(feed: &Feed, portions: Vec<Portion>) -> Vec<(Portion, Outcome)> {
    let mut outcomes = vec![];
    let mut backoff = Backoff::default();
    let mut waiting = vec![portions];
    while let Some(mut portions) = waiting.pop() {
        let busy = feed.link.enter(&mut portions, |portion| (portion.part, portion.epoch));
        if portions.is_empty() {
            continue;
        }
        let error = match attempt(feed, &mut portions).await {
            Ok(()) => {
                outcomes.extend(portions.into_iter().map(|portion| (portion, Outcome::Taken)));
                continue;
            }
            Err(error) => error,
        };
        drop(busy);
        match error {
            TakeError::Gap { ref partition_key, found, .. } => {
                let cut = portions.iter().position(|portion| {
                    portion
                        .events
                        .iter()
                        .any(|event| event.partitionkey == *partition_key && event.streamversion == found)
                });
                tracing::warn!(consumer = feed.name, error = %error, "the topic left something out");
                outcomes.push((portions.swap_remove(cut.unwrap_or(0)), Outcome::Gap));
                waiting.push(portions);
            }
            TakeError::Store(StoreError::Fenced(_)) if portions.len() == 1 => {
                outcomes.extend(portions.into_iter().map(|portion| (portion, Outcome::Fenced)));
            }
            // It does not say whose place was moved, so each is tried alone.
            TakeError::Store(StoreError::Fenced(_)) => {
                waiting.extend(portions.into_iter().map(|portion| vec![portion]));
            }
            TakeError::Store(StoreError::Collision(_)) => waiting.push(portions),
            TakeError::Store(error) => {
                tracing::warn!(
                    consumer = feed.name,
                    error = event_store::chain(&error),
                    "a batch could not be taken in; trying again"
                );
                backoff.pause().await;
                waiting.push(portions);
            }
        }
    }
    outcomes
}

async fn attempt(feed: &Feed, portions: &mut [Portion]) -> Result<(), TakeError> {
    let moves: Vec<Move> =
        portions.iter().map(|portion| Move { from: portion.from.clone(), to: portion.to.clone() }).collect();
    // One slice for all; each gets its events back, for the next attempt.
    let mut events = Vec::with_capacity(portions.iter().map(|portion| portion.events.len()).sum());
    let mut counts = Vec::with_capacity(portions.len());
    for portion in portions.iter_mut() {
        counts.push(portion.events.len());
        events.append(&mut portion.events);
    }
    let outcome = inbox::take(&feed.store, &feed.name, &feed.handler, &events, &moves).await;
    let mut events = events.into_iter();
    for (portion, count) in portions.iter_mut().zip(counts) {
        portion.events.extend(events.by_ref().take(count));
    }
    outcome.map(|_| ())
}
