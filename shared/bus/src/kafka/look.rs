//! Looking at what a topic holds, as a member of nothing.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use uuid::Uuid;

use super::Settings;
use super::admin::{LIMIT, TopicError, blocking};
use super::logs::Asking;
use crate::headers;

/// So many records from the end of a partition are looked at for the last event, in case strays follow it.
const TAIL: i64 = 10;

/// Which records to read, besides asking where partitions begin and end.
#[derive(Clone, Copy)]
pub(crate) enum Read {
    Nothing,
    /// The one at offset 0, where it still is.
    First,
    /// The last event.
    Last,
}

/// What a topic holds.
pub(crate) struct Look {
    /// First and next offset of each partition, in order.
    pub watermarks: Vec<(i64, i64)>,
    /// Of each partition that has what was wanted.
    pub found: Vec<Found>,
}

/// A record that was looked at.
#[derive(Debug)]
pub(crate) struct Found {
    pub part: i32,
    pub offset: i64,
    /// The event's position and id; `None` when it is no event at all.
    pub event: Option<(i64, Uuid)>,
}

/// A topic into which somebody writes, or wrote, what its service's log does not have: another mesh, or this
/// one before its database was replaced.
#[derive(Debug, thiserror::Error)]
#[error(
    "the topic {topic} is not this mesh's own: {what} at offset {offset} of partition {part} is not in the log of \
     {service}; set KAFKA_TOPIC_PREFIX to a name of this mesh's own, or delete the topic if nobody else needs it"
)]
pub(crate) struct Foreign {
    pub topic: String,
    pub service: String,
    pub part: i32,
    pub offset: i64,
    pub what: String,
}

impl Found {
    /// Says that the record is not of the log of `service`.
    pub(crate) fn foreign(&self, topic: &str, service: &str) -> Foreign {
        let what = match self.event {
            Some((position, id)) => format!("the event {id} of position {position}"),
            None => "what is no event".to_owned(),
        };
        let (topic, service) = (topic.to_owned(), service.to_owned());
        Foreign { topic, service, part: self.part, offset: self.offset, what }
    }
}

impl Look {
    /// What must be in its service's log if the topic is its own: the events. Strays count only where there is
    /// nothing else; a record that somebody else wrote by mistake is no reason to stop.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = &Found> {
        let any = self.found.iter().any(|found| found.event.is_some());
        self.found.iter().filter(move |found| found.event.is_some() || !any)
    }

    /// The id of the log's first event, if the topic still begins with it. Then it has all of them: a
    /// publisher sends its log without a hole.
    pub(crate) fn first_event(&self) -> Option<Uuid> {
        self.found
            .iter()
            .filter_map(|found| found.event)
            .find(|(position, _)| *position == 1)
            .map(|(_, id)| id)
    }
}

/// A client that joins no group.
fn client(settings: &Settings) -> Result<ClientConfig, TopicError> {
    let mut config = settings.client()?;
    // The library insists on a group for reading.
    config
        .set("group.id", "annomesh.look")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("enable.partition.eof", "true")
        .set("queued.max.messages.kbytes", "1024");
    Ok(config)
}

/// Asks where the partitions of a topic end.
pub(crate) async fn ends(settings: &Settings, topic: &str, limit: Duration) -> Result<Vec<i64>, TopicError> {
    let config = client(settings)?;
    let topic = topic.to_owned();
    blocking(move || {
        let consumer: BaseConsumer<Asking> = config.create_with_context(Asking::default())?;
        offsets(&consumer, &topic, Offset::End, Instant::now() + limit)
    })
    .await
}

/// Looks at a topic.
pub(crate) async fn look(settings: &Settings, topic: &str, read: Read) -> Result<Look, TopicError> {
    let config = client(settings)?;
    let topic = topic.to_owned();
    blocking(move || {
        let deadline = Instant::now() + LIMIT;
        let consumer: BaseConsumer<Asking> = config.create_with_context(Asking::default())?;
        let begins = offsets(&consumer, &topic, Offset::Beginning, deadline)?;
        let ends = offsets(&consumer, &topic, Offset::End, deadline)?;
        let watermarks: Vec<(i64, i64)> = begins.into_iter().zip(ends).collect();
        let ranges = (0..).zip(&watermarks).filter_map(|(part, (low, high))| match read {
            Read::First if *low == 0 && *high > 0 => Some((part, 0, 1)),
            Read::Last if low < high => Some((part, (*low).max(high - TAIL), *high)),
            _ => None,
        });
        let mut found = read_ranges(&consumer, &topic, ranges.collect(), deadline)?;
        // So that the same topic is always judged by the same record.
        found.sort_by_key(|found| found.part);
        Ok(Look { watermarks, found })
    })
    .await
}

/// Asks for the first or the next offset of every partition, until all have answered.
pub(super) fn offsets<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    which: Offset,
    deadline: Instant,
) -> Result<Vec<i64>, TopicError> {
    let mut question = TopicPartitionList::new();
    for part in 0..contracts::PARTITIONS {
        question.add_partition_offset(topic, part, which)?;
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = consumer.offsets_for_times(question.clone(), left)?;
        let offset = |part| {
            let found = answer.find_partition(topic, part);
            match found.map(|found| (found.error(), found.offset())) {
                Some((Ok(()), Offset::Offset(offset))) => Ok(offset),
                Some((Err(error), _)) => Err(TopicError::from(error)),
                _ => Err(TopicError::Silent(topic.to_owned())),
            }
        };
        match (0..contracts::PARTITIONS).map(offset).collect() {
            // A topic that was just created: its leaders do not know of it yet.
            Err(TopicError::Kafka(error))
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::NotLeaderForPartition)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            outcome => return outcome,
        }
    }
}

/// Reads ranges of partitions; returns the last event of each, or its last record if none is an event.
fn read_ranges(
    consumer: &BaseConsumer<Asking>,
    topic: &str,
    ranges: Vec<(i32, i64, i64)>,
    deadline: Instant,
) -> Result<Vec<Found>, TopicError> {
    let mut wanted = TopicPartitionList::new();
    for (part, from, _) in &ranges {
        wanted.add_partition_offset(topic, *part, Offset::Offset(*from))?;
    }
    consumer.assign(&wanted)?;
    let mut unfinished = ranges;
    let mut found: Vec<Found> = vec![];
    while !unfinished.is_empty() {
        if Instant::now() > deadline {
            return Err(TopicError::Silent(topic.to_owned()));
        }
        let finished = match consumer.poll(Duration::from_millis(100)) {
            None => continue,
            // What ends a partition is not always a record: a transaction leaves a mark.
            Some(Err(KafkaError::PartitionEOF(part))) => part,
            Some(record) => {
                let record = record?;
                let (part, offset) = (record.partition(), record.offset());
                let Some((_, _, until)) = unfinished.iter().find(|(unread, ..)| *unread == part) else {
                    continue;
                };
                let last = offset + 1 >= *until;
                let event = headers::read(&record).ok().map(|event| (event.position, event.id));
                match found.iter_mut().find(|known| known.part == part) {
                    Some(known) if event.is_some() || known.event.is_none() => {
                        *known = Found { part, offset, event }
                    }
                    Some(_) => {}
                    None => found.push(Found { part, offset, event }),
                }
                if !last {
                    continue;
                }
                part
            }
        };
        unfinished.retain(|(part, ..)| *part != finished);
        // What follows in it is not fetched any more.
        let mut read = TopicPartitionList::new();
        read.add_partition(topic, finished);
        consumer.pause(&read)?;
    }
    Ok(found)
}
