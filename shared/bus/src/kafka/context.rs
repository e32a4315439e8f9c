//! What the client library calls back, always on the polling thread and while it polls: partitions come and go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};

use super::link::{Epoch, Link, Part};
use super::logs;
use super::look::offsets;

/// How long giving up partitions may wait for what is being written; well below the session's end.
const REVOKE_LIMIT: Duration = Duration::from_secs(4);

/// How long new partitions may wait to be told where their topics end; well below the session's end, too.
const ENDS_LIMIT: Duration = Duration::from_secs(4);

/// A partition that is being read.
pub(super) struct Reading {
    pub epoch: Epoch,
    /// The offset after the last record that was seen.
    pub next: i64,
}

/// What the client library calls back; always on the polling thread.
pub(super) struct Context {
    pub link: Arc<Link>,
    pub topics: Vec<String>,
    reading: Mutex<HashMap<Part, Reading>>,
}

impl Context {
    pub(super) fn new(link: Arc<Link>, topics: Vec<String>) -> Self {
        Self { link, topics, reading: Mutex::default() }
    }

    pub(super) fn reading(&self) -> MutexGuard<'_, HashMap<Part, Reading>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn part(&self, topic: &str, part: i32) -> Option<Part> {
        Some((self.topics.iter().position(|known| known == topic)?, part))
    }

    fn parts(&self, list: &TopicPartitionList) -> Vec<Part> {
        list.elements().iter().filter_map(|elem| self.part(elem.topic(), elem.partition())).collect()
    }

    pub(super) fn list(&self, parts: impl IntoIterator<Item = Part>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (topic, part) in parts {
            list.add_partition(&self.topics[topic], part);
        }
        list
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        logs::log(level, facility, message);
    }

    /// The same comes out of the poll, where it is judged.
    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            // Where to begin is looked up by the task, which may take its time; until then nothing is wanted.
            Rebalance::Assign(list) => begin_at_the_end(consumer, list),
            Rebalance::Revoke(list) => {
                let parts = self.parts(list);
                tracing::debug!("giving up {} partitions", parts.len());
                self.reading().retain(|part, _| !parts.contains(part));
                self.link.revoked(&parts, REVOKE_LIMIT);
            }
            Rebalance::Error(error) => tracing::warn!(error = %error, "the group could not be rebalanced"),
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance
            && list.count() > 0
        {
            if let Err(error) = consumer.pause(list) {
                tracing::warn!(error = %error, "new partitions could not be paused");
            }
            let parts = self.parts(list);
            tracing::debug!("taking over {} partitions", parts.len());
            self.link.assigned(&parts);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(error = %error, "Kafka was not told how far we are");
        }
    }
}

/// Lets partitions begin where nothing is to be fetched. As a number: the word "end" would be looked up in the
/// background, and an answer that comes late, even after a seek, sends the partition to the end once more.
fn begin_at_the_end(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) {
    let deadline = Instant::now() + ENDS_LIMIT;
    let mut ends: HashMap<String, Vec<i64>> = HashMap::new();
    for mut elem in list.elements() {
        let topic = elem.topic().to_owned();
        let ends = ends.entry(topic).or_insert_with_key(|topic| {
            offsets(consumer, topic, Offset::End, deadline).unwrap_or_else(|error| {
                tracing::debug!(error = event_store::chain(&error), "the ends of {topic} are not known");
                vec![]
            })
        });
        // Else the word must do: what it may skip is noticed, and read from the log.
        let offset = ends.get(elem.partition() as usize).map_or(Offset::End, |end| Offset::Offset(*end));
        if let Err(error) = elem.set_offset(offset) {
            tracing::warn!(error = %error, "a partition begins where Kafka thinks");
        }
    }
}
