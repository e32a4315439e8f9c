//! Topics and their watermarks.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::logs::Logs;
use super::{Settings, SettingsError};

/// How long one question to the cluster may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Why a topic cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error("the topic {topic} has {found} partitions, not {expected}: keys would move; make it anew")]
    Partitions { topic: String, expected: i32, found: i32 },
    #[error("the topic {topic} cannot be created: {code}")]
    NotCreated { topic: String, code: RDKafkaErrorCode },
    #[error("Kafka failed")]
    Kafka(#[from] KafkaError),
    #[error("these settings cannot be used")]
    Settings(#[from] SettingsError),
    #[error("the question to Kafka was not finished")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Creates the topic that `service` publishes, or makes sure that it has the right partitions.
///
/// # Errors
/// When it exists with another number of partitions, or Kafka does not answer.
pub async fn ensure_topic(settings: &Settings, service: &str) -> Result<(), TopicError> {
    let topic = settings.topic(service);
    let admin = AdminClient::from_config_and_context(&settings.client()?, Logs)?;
    // Only creating tells without a race whether the topic is there; -1 leaves the copies to the cluster.
    let wanted = NewTopic::new(&topic, contracts::PARTITIONS, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT));
    let mut refused = None;
    for outcome in admin.create_topics([&wanted], &options).await? {
        match outcome {
            Ok(_) => tracing::info!("created the topic {topic}"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            // Who may not create topics may still publish to one that somebody else created.
            Err((_, code)) => refused = Some(code),
        }
    }
    let expected = contracts::PARTITIONS;
    blocking(move || {
        // The cluster may need a moment until every broker has heard of a new topic.
        let deadline = Instant::now() + LIMIT;
        loop {
            let metadata = admin.inner().fetch_metadata(Some(&topic), LIMIT)?;
            let found = metadata.topics().first().map_or(0, |known| known.partitions().len() as i32);
            if found == expected {
                return Ok(());
            }
            match refused {
                Some(code) if found == 0 => return Err(TopicError::NotCreated { topic, code }),
                _ if found > 0 || Instant::now() > deadline => {
                    return Err(TopicError::Partitions { topic, expected, found });
                }
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    })
    .await
}

/// What a topic holds, in the order of its partitions.
pub(crate) struct Extent {
    /// First and next offset of each partition.
    pub watermarks: Vec<(i64, i64)>,
    /// Whether the topic still begins with the log's first event, so that it has all of them: a publisher
    /// sends its log without a hole.
    pub complete: bool,
}

/// Asks what a topic holds; `complete` only when `thorough`, because that means reading records.
pub(crate) async fn extent(settings: &Settings, topic: &str, thorough: bool) -> Result<Extent, TopicError> {
    let mut config = settings.client()?;
    // The client insists on a group for reading, and never joins this one.
    config
        .set("group.id", "annomesh.extent")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("allow.auto.create.topics", "false")
        .set("queued.max.messages.kbytes", "1024");
    let topic = topic.to_owned();
    blocking(move || {
        let consumer: BaseConsumer<Logs> = config.create_with_context(Logs)?;
        let watermarks = (0..contracts::PARTITIONS)
            .map(|part| consumer.fetch_watermarks(&topic, part, LIMIT))
            .collect::<Result<Vec<_>, _>>()?;
        let complete = thorough && begins_with_the_first(&consumer, &topic, &watermarks)?;
        Ok(Extent { watermarks, complete })
    })
    .await
}

/// Whether some partition's record at offset 0 is the event at position 1.
fn begins_with_the_first(
    consumer: &BaseConsumer<Logs>,
    topic: &str,
    watermarks: &[(i64, i64)],
) -> Result<bool, KafkaError> {
    let mut unread = TopicPartitionList::new();
    for (part, (low, high)) in watermarks.iter().enumerate() {
        if *low == 0 && *high > 0 {
            unread.add_partition_offset(topic, part as i32, Offset::Offset(0))?;
        }
    }
    let mut left = unread.count();
    consumer.assign(&unread)?;
    let deadline = Instant::now() + LIMIT;
    while left > 0 && Instant::now() < deadline {
        let Some(record) = consumer.poll(Duration::from_millis(100)) else { continue };
        let record = record?;
        if record.offset() > 0 {
            continue;
        }
        if crate::headers::read(&record).is_ok_and(|envelope| envelope.position == 1) {
            return Ok(true);
        }
        left -= 1;
        let mut read = TopicPartitionList::new();
        read.add_partition(topic, record.partition());
        consumer.pause(&read)?;
    }
    Ok(false)
}

/// The client library waits on its thread, and must not do so on the runtime's.
async fn blocking<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, TopicError> + Send + 'static,
) -> Result<T, TopicError> {
    tokio::task::spawn_blocking(question).await?
}
