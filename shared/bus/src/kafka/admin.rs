//! The topic that a service publishes.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::logs::Asking;
use super::{Settings, SettingsError};

/// How long one question to the cluster may take.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// How soon a cluster says that it does not take who we are.
const REFUSAL: Duration = Duration::from_secs(2);

/// Why a topic cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error(
        "the topic {topic} has {found} partitions, not {expected}: keys would move; make it anew, or take another name \
         by KAFKA_TOPIC_PREFIX"
    )]
    Partitions { topic: String, expected: i32, found: i32 },
    #[error("the topic {topic} cannot be created: {code}")]
    NotCreated { topic: String, code: RDKafkaErrorCode },
    #[error("Kafka does not let us in: set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD to what it knows")]
    Refused,
    #[error("the topic {0} is made, but not every broker has heard of it yet")]
    Unheard(String),
    #[error("the records of the topic {0} do not arrive")]
    Silent(String),
    #[error("Kafka failed")]
    Kafka(#[from] KafkaError),
    #[error("these settings cannot be used")]
    Settings(#[from] SettingsError),
    #[error("the question to Kafka was not finished")]
    Stopped(#[from] tokio::task::JoinError),
}

impl TopicError {
    /// Whether waiting does not help: somebody has to change a setting or the topic.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::Partitions { .. } | Self::Refused)
    }
}

/// Creates the topic that `service` publishes, or makes sure that it has the right partitions.
///
/// # Errors
/// When it exists with another number of partitions, or Kafka refuses us or does not answer.
pub async fn ensure_topic(settings: &Settings, service: &str) -> Result<(), TopicError> {
    let topic = settings.topic(service);
    let admin = AdminClient::from_config_and_context(&settings.client()?, Asking::default())?;
    // Only creating tells without a race whether the topic is there; -1 leaves the copies to the cluster.
    let wanted = NewTopic::new(&topic, contracts::PARTITIONS, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT));
    let mut not_created = None;
    let outcomes = match admin.create_topics([&wanted], &options).await {
        Err(_) if is_refused(settings).await? => return Err(TopicError::Refused),
        outcomes => outcomes?,
    };
    for outcome in outcomes {
        match outcome {
            Ok(_) => tracing::info!("created the topic {topic}"),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            // Who may not create topics may still publish to one that somebody else created.
            Err((_, code)) => not_created = Some(code),
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
            match not_created {
                Some(code) if found == 0 => return Err(TopicError::NotCreated { topic, code }),
                _ if found > 0 => return Err(TopicError::Partitions { topic, expected, found }),
                _ if Instant::now() > deadline => return Err(TopicError::Unheard(topic)),
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    })
    .await
}

/// Whether the brokers do not take who we are. An `AdminClient` is not told.
async fn is_refused(settings: &Settings) -> Result<bool, TopicError> {
    let config = settings.client()?;
    blocking(move || {
        let consumer: BaseConsumer<Asking> = config.create_with_context(Asking::default())?;
        if consumer.fetch_metadata(None, REFUSAL).is_ok() {
            return Ok(false);
        }
        // The errors of its connections wait in its queue.
        let deadline = Instant::now() + REFUSAL;
        while !consumer.context().is_refused() && Instant::now() < deadline {
            if consumer.poll(Duration::from_millis(50)).is_none() {
                break;
            }
        }
        Ok(consumer.context().is_refused())
    })
    .await
}

/// The client library waits on its thread, and must not do so on the runtime's.
pub(super) async fn blocking<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, TopicError> + Send + 'static,
) -> Result<T, TopicError> {
    tokio::task::spawn_blocking(question).await?
}
