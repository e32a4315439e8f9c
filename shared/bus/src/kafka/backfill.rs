//! Reading the producer's log where Kafka cannot help: it has forgotten, or lost, or never had the events.
//!
//! Partitions of one topic go together, in one pass over the log; each takes the events whose key it is and
//! that lie behind its position. The topic's end is asked for before the log is read: whatever is published
//! below that end has its position by then, so the log up to its head covers it, and what comes twice is
//! recognised as such.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use event_store::StoreError;
use event_store::inbox::{self, Move, Place, TakeError};
use event_store::log::{LogFilter, LogPage};
use prometheus::{IntCounterVec, Opts};

use super::link::{Epoch, Part};
use super::look::{Read, look};
use super::place::{Behind, Start};
use super::source::{Feed, Source, SourceError};
use crate::consumer::OtherLog;
use crate::log_source::BATCH;
use crate::partition;
use crate::retry::{Backoff, Said};

/// How often a partition was read from its producer's log; registered with prometheus' default registry.
static BACKFILLS: LazyLock<Option<IntCounterVec>> = LazyLock::new(|| {
    let options = Opts::new("kafka_backfills_total", "Partitions that were read from their producer's log.");
    let counter = IntCounterVec::new(options, &["consumer", "topic", "reason"]).ok()?;
    prometheus::register(Box::new(counter.clone())).ok()?;
    Some(counter)
});

/// A partition on its way through the log.
struct Course {
    part: Part,
    epoch: Epoch,
    place: Place,
    /// It was sent back to the log's beginning once; a second time would go on for ever.
    rewound: bool,
}

/// Reads partitions of one source up to now; tries until it is done, or none is left to us.
pub(super) async fn backfill(feed: &Feed, source: usize, behind: Vec<Behind>) -> Vec<Start> {
    let topic = &feed.sources[source].topic;
    announce(feed, topic, &behind);
    let mut courses: Vec<Course> = behind
        .into_iter()
        .map(|Behind { part, epoch, place, .. }| Course { part, epoch, place, rewound: false })
        .collect();
    let mut backoff = Backoff::default();
    let mut said = Said::default();
    loop {
        match run(feed, source, &mut courses).await {
            Ok(starts) => return starts,
            Err(error) => {
                let error = event_store::chain(&error);
                if said.is_news(&error) {
                    tracing::warn!(
                        consumer = feed.name,
                        topic,
                        error,
                        "the backfill stopped; going on where it stands"
                    );
                }
                backoff.pause().await;
            }
        }
    }
}

/// Says why, once for partitions that have the same reason, and counts.
fn announce(feed: &Feed, topic: &str, behind: &[Behind]) {
    let mut reasons: BTreeMap<&str, Vec<&Behind>> = BTreeMap::new();
    for one in behind {
        reasons.entry(one.reason).or_default().push(one);
    }
    for (reason, behind) in reasons {
        let parts: Vec<i32> = behind.iter().map(|one| one.part.1).collect();
        let position = behind.iter().map(|one| one.place.position).min();
        if behind.iter().any(|one| one.is_odd()) {
            tracing::warn!(consumer = feed.name, topic, ?parts, position, "switching to backfill: {reason}");
        } else {
            tracing::info!(consumer = feed.name, topic, ?parts, position, "beginning with the log: {reason}");
        }
        if let Some(counter) = &*BACKFILLS {
            counter.with_label_values(&[feed.name.as_str(), topic, reason]).inc_by(behind.len() as u64);
        }
    }
}

async fn run(feed: &Feed, source: usize, courses: &mut Vec<Course>) -> Result<Vec<Start>, SourceError> {
    let Source { topic, service, peer } = &feed.sources[source];
    let Some(peer) = peer else { return Err(SourceError::NoPeer(service.clone())) };
    let look = look(&feed.settings, topic, Read::Last).await?;
    for course in courses.iter() {
        if !peer.is_known_at(&course.place).await? {
            return Err(OtherLog::new(peer, &course.place).into());
        }
    }
    loop {
        courses.retain(|course| feed.link.owns(course.part, course.epoch));
        let Some(after) = courses.iter().map(|course| course.place.position).min() else {
            return Ok(vec![]);
        };
        let page = peer.log(after, BATCH, Duration::ZERO, &LogFilter::default()).await?;
        let head = page.next >= page.head;
        match take(feed, courses, &page).await {
            // Somebody who was still at it, or our own attempt whose answer was lost.
            Err(TakeError::Store(StoreError::Fenced(_))) => {
                for course in courses.iter_mut() {
                    course.place = inbox::place(&feed.store, &feed.name, topic, course.part.1).await?;
                }
            }
            Err(TakeError::Store(StoreError::Collision(_))) => {}
            Err(error @ TakeError::Gap { .. }) => rewind(feed, courses, &page, error).await?,
            Err(error) => return Err(error.into()),
            Ok(()) if head => break,
            Ok(()) => {}
        }
    }
    // A topic that is not of this log is left alone; until it is settled, each attempt reads the log further.
    for found in look.evidence().filter(|found| courses.iter().any(|course| course.part.1 == found.part)) {
        let ours = match found.event {
            Some((position, id)) => peer.has(position, Some(id)).await?,
            None => false,
        };
        if !ours {
            return Err(found.foreign(topic, service).into());
        }
    }
    let mut starts = vec![];
    for Course { part, epoch, place, .. } in courses.drain(..) {
        let end = look.watermarks.get(part.1 as usize).map_or(0, |(_, high)| *high);
        let to = Place { next_offset: end, event_id: None, ..place.clone() };
        match inbox::move_place(&feed.store, &feed.name, &place, &to).await {
            Ok(()) => starts.push(Start { part, epoch, place: to, offset: end, verify: None }),
            // Read from the wrong place it will be fenced, and then looked up again.
            Err(error) => {
                tracing::warn!(
                    consumer = feed.name,
                    error = event_store::chain(&error),
                    "a place was not moved"
                );
                starts.push(Start { part, epoch, place: to, offset: end, verify: None });
            }
        }
    }
    tracing::info!(consumer = feed.name, topic, "back from the log to Kafka");
    Ok(starts)
}

/// Takes a page: every course what is its own.
async fn take(feed: &Feed, courses: &mut Vec<Course>, page: &LogPage) -> Result<(), TakeError> {
    let _busy = feed.link.enter(courses, |course| (course.part, course.epoch));
    let events: Vec<_> = page
        .events
        .iter()
        .filter(|event| {
            let part = partition::of(&event.partitionkey, contracts::PARTITIONS);
            courses.iter().any(|course| course.part.1 == part && event.position > course.place.position)
        })
        .cloned()
        .collect();
    let moves: Vec<Move> = courses
        .iter()
        .filter(|course| page.next > course.place.position)
        .map(|course| Move {
            from: course.place.clone(),
            // No event to recognise: whoever begins here must ask the log again.
            to: Place { position: page.next, event_id: None, ..course.place.clone() },
        })
        .collect();
    if moves.is_empty() {
        return Ok(());
    }
    inbox::take(&feed.store, &feed.name, &feed.handler, &events, &moves).await?;
    for Move { from, to } in moves {
        if let Some(course) = courses.iter_mut().find(|course| course.place == from) {
            course.place = to;
        }
    }
    Ok(())
}

/// Sends the partition in which the log itself seems to have a gap back to the log's beginning: its position
/// is ahead of what was taken in.
async fn rewind(
    feed: &Feed,
    courses: &mut [Course],
    page: &LogPage,
    gap: TakeError,
) -> Result<(), SourceError> {
    let TakeError::Gap { ref partition_key, .. } = gap else { return Err(gap.into()) };
    let part = partition::of(partition_key, contracts::PARTITIONS);
    let Some(course) = courses.iter_mut().find(|course| course.part.1 == part && !course.rewound) else {
        return Err(gap.into());
    };
    tracing::warn!(consumer = feed.name, part, next = page.next, error = %gap, "going back to the log's beginning");
    let to = Place { position: 0, event_id: None, ..course.place.clone() };
    inbox::move_place(&feed.store, &feed.name, &course.place, &to).await?;
    course.place = to;
    course.rewound = true;
    Ok(())
}
