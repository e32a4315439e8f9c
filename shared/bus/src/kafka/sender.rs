//! Sending in order, and knowing how far everything has arrived.
//!
//! Acknowledgements come from twelve partitions in any order; what counts is the longest run from the front
//! that is acknowledged without a hole. Only that may become a checkpoint.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contracts::Envelope;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, NoCustomPartitioner, ProducerContext, ThreadedProducer};
use tokio::sync::watch;

use super::{Settings, SettingsError, logs};
use crate::{headers, partition};

/// Data that may be on its way unacknowledged: a broker that stalls must not fill our memory.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// What a record takes beside its value, roughly.
const RECORD_OVERHEAD: usize = 512;
/// After so many acknowledgements whoever waits is told, even while more are outstanding.
const TELL_EVERY: usize = 256;
/// No acknowledgement for so long, with something outstanding, and the producer is given up.
const STALL: Duration = Duration::from_secs(30);

/// Why sending cannot go on; the way out is always to start again from the checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("a record was not delivered")]
    NotDelivered(#[source] KafkaError),
    #[error("no acknowledgement for {} s with {outstanding} records outstanding", STALL.as_secs())]
    Stalled { outstanding: usize },
    #[error("Kafka failed")]
    Kafka(#[from] KafkaError),
    #[error("these settings cannot be used")]
    Settings(#[from] SettingsError),
}

/// One producer, from its start until something goes wrong.
pub(crate) struct Sender {
    /// Present until it is dropped.
    producer: Option<ThreadedProducer<Acks>>,
    acks: Acks,
    topic: String,
}

impl Sender {
    /// Makes a producer that is idempotent and never gives a record up by itself: a record that is given up
    /// would be a hole in the run of its successors.
    pub(crate) fn new(settings: &Settings, topic: String) -> Result<Self, SendError> {
        let acks = Acks {
            window: Arc::new(Mutex::new(Window::default())),
            progress: Arc::new(watch::Sender::new(())),
        };
        let mut config = settings.client()?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "2")
            .set("compression.codec", "lz4")
            .set("queue.buffering.max.kbytes", "65536")
            // A deleted topic becomes a delivery error after so long, and is then made anew.
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("topic.metadata.refresh.interval.ms", "5000");
        let producer = config.create_with_context(acks.clone())?;
        Ok(Self { producer: Some(producer), acks, topic })
    }

    /// Hands one event to the producer; waits while too much is on its way.
    pub(crate) async fn send(&self, envelope: &Envelope) -> Result<(), SendError> {
        let Some(producer) = &self.producer else { unreachable!("the producer leaves only in drop") };
        let bytes = envelope.data.get().len() + RECORD_OVERHEAD;
        self.wait_for_room(bytes).await?;
        let mut record = BaseRecord::with_opaque_to(&self.topic, 0_usize)
            .key(&envelope.partitionkey)
            .payload(envelope.data.get())
            .partition(partition::of(&envelope.partitionkey, contracts::PARTITIONS))
            .headers(headers::write(envelope));
        loop {
            record.delivery_opaque = self.acks.window().push(envelope.position, bytes);
            match producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.acks.window().pop();
                    record = back;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err((error, _)) => return Err(SendError::NotDelivered(error)),
            }
        }
    }

    async fn wait_for_room(&self, bytes: usize) -> Result<(), SendError> {
        // Subscribed only when it must wait, which is rare.
        let mut progress = None;
        loop {
            {
                let mut window = self.acks.window();
                if let Some(error) = window.failed.take() {
                    return Err(SendError::NotDelivered(error));
                }
                if window.bytes + bytes <= WINDOW_BYTES || window.entries.is_empty() {
                    return Ok(());
                }
            }
            let progress = progress.get_or_insert_with(|| self.acks.progress.subscribe());
            // The limit stands in for a notification that was sent just before the subscription.
            let _ = tokio::time::timeout(Duration::from_millis(100), progress.changed()).await;
        }
    }

    /// Waits until everything up to a position behind `position` is acknowledged, and returns that position.
    ///
    /// # Errors
    /// When a record was not delivered, or nothing is acknowledged for too long.
    pub(crate) async fn acked_after(&self, position: i64) -> Result<i64, SendError> {
        let mut progress = self.acks.progress.subscribe();
        let mut last = self.acks.window().acked;
        let mut moved = Instant::now();
        loop {
            let outstanding = {
                let mut window = self.acks.window();
                if let Some(error) = window.failed.take() {
                    return Err(SendError::NotDelivered(error));
                }
                if window.acked > position {
                    return Ok(window.acked);
                }
                if window.acked != last || window.entries.is_empty() {
                    (last, moved) = (window.acked, Instant::now());
                }
                window.entries.len()
            };
            if moved.elapsed() > STALL {
                return Err(SendError::Stalled { outstanding });
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), progress.changed()).await;
        }
    }
}

impl Drop for Sender {
    /// Purging waits for the producer's threads; that is no business of the runtime's.
    fn drop(&mut self) {
        let producer = self.producer.take();
        let started = std::thread::Builder::new().name("kafka purge".into()).spawn(move || drop(producer));
        if let Err(error) = started {
            tracing::warn!(error = %error, "a producer was closed on the runtime's thread");
        }
    }
}

/// What is on its way, in the order in which it was sent.
#[derive(Default)]
struct Window {
    /// Number of the record at the front.
    first: usize,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Position of the last event of the run that is acknowledged without a hole; `0` before the first.
    acked: i64,
    /// Acknowledged since the last notification.
    quiet: usize,
    failed: Option<KafkaError>,
}

struct Entry {
    position: i64,
    bytes: usize,
    acked: bool,
}

impl Window {
    fn push(&mut self, position: i64, bytes: usize) -> usize {
        self.entries.push_back(Entry { position, bytes, acked: false });
        self.bytes += bytes;
        self.first + self.entries.len() - 1
    }

    /// Takes the last record back: the producer's queue was full.
    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_back() {
            self.bytes -= entry.bytes;
        }
    }

    /// Notes an acknowledgement; returns whether whoever waits should be told.
    fn ack(&mut self, number: usize) -> bool {
        if let Some(entry) = number.checked_sub(self.first).and_then(|index| self.entries.get_mut(index)) {
            entry.acked = true;
        }
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.acked) {
            self.first += 1;
            self.bytes -= entry.bytes;
            self.acked = entry.position;
            self.quiet += 1;
        }
        let tell = self.quiet > 0 && (self.entries.is_empty() || self.quiet >= TELL_EVERY);
        if tell {
            self.quiet = 0;
        }
        tell
    }
}

/// Takes the acknowledgements, on the producer's own thread.
#[derive(Clone)]
struct Acks {
    window: Arc<Mutex<Window>>,
    progress: Arc<watch::Sender<()>>,
}

impl Acks {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Acks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        logs::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        logs::trouble(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Acks {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let tell = {
            let mut window = self.window();
            match result {
                Ok(_) => window.ack(number),
                Err((error, _)) => {
                    window.failed.get_or_insert_with(|| error.clone());
                    true
                }
            }
        };
        if tell {
            self.progress.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_without_a_hole_counts() {
        let mut window = Window::default();
        let numbers: Vec<_> = (10..14).map(|position| window.push(position, 100)).collect();
        assert!(!window.ack(numbers[1]));
        assert!(!window.ack(numbers[3]));
        assert_eq!((window.acked, window.bytes), (0, 400));
        window.ack(numbers[0]);
        assert_eq!((window.acked, window.bytes), (11, 200));
        assert!(window.ack(numbers[2]), "nothing is outstanding, so whoever waits is told");
        assert_eq!((window.acked, window.bytes, window.entries.len()), (13, 0, 0));
    }

    #[test]
    fn a_record_that_is_taken_back_leaves_no_trace() {
        let mut window = Window::default();
        let first = window.push(1, 100);
        window.push(2, 100);
        window.pop();
        assert_eq!(window.push(2, 100), first + 1);
        window.ack(first + 1);
        window.ack(first);
        assert_eq!((window.acked, window.bytes), (2, 0));
    }

    #[test]
    fn a_late_or_unknown_acknowledgement_is_harmless() {
        let mut window = Window::default();
        let number = window.push(1, 100);
        window.ack(number);
        window.ack(number);
        window.ack(number + 5);
        assert_eq!((window.acked, window.first), (1, 1));
    }
}
