//! The thread that polls: the client library wants to be polled all the time, and calls back while it is.
//!
//! It only reads records and hands them over. When the task is slow it pauses its partitions and goes on
//! polling, so that the group keeps it. Everything that waits here waits with a limit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::context::{Context, Reading};
use super::link::{Command, Epoch, Link, Part, Record};
use super::logs;
use super::watch::Watch;
use crate::headers;

/// Records, and bytes of their data, in one batch at most.
const BATCH: (usize, usize) = (500, 4 * 1024 * 1024);
/// How long a poll waits when there is nothing to do; commands wait for it.
const IDLE: Duration = Duration::from_millis(25);
/// How long a poll waits for more while the task is still busy with the last batch.
const GATHER: Duration = Duration::from_millis(5);
/// A full batch that nobody takes for so long, and the partitions are paused. Pausing throws away what was
/// fetched ahead, so it is not done for a hiccup.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long a partition that was just assigned may refuse to be sought in.
const SEEK_LIMIT: Duration = Duration::from_secs(10);
/// How often Kafka is told how far we are.
const COMMIT_PAUSE: Duration = Duration::from_secs(5);

/// Why the thread has ended; the way out is always a new consumer.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    #[error("Kafka failed")]
    Kafka(#[from] KafkaError),
    #[error("a partition no longer has the offset that was to be read")]
    OffsetLost,
    #[error("partition {topic}/{part} stands at {at} while the topic ends at {end}")]
    Stuck { topic: String, part: i32, at: i64, end: i64 },
    #[error("the polling thread has ended")]
    Ended,
}

/// How many polling threads this process has.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// Waits until every consumer that was dropped has left its group, so that others take its partitions over at
/// once instead of after its session; returns whether they have within `limit`.
pub async fn closed(limit: Duration) -> bool {
    let deadline = tokio::time::Instant::now() + limit;
    while THREADS.load(Ordering::SeqCst) > 0 {
        if tokio::time::Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

/// Starts the thread; it ends soon after [`Link::stop`], and says so by [`Link::ended`] when it ends before.
pub(super) fn start(
    config: ClientConfig,
    name: &str,
    topics: Vec<String>,
    link: Arc<Link>,
) -> std::io::Result<()> {
    /// Says that the thread has ended, even when it panics.
    struct Ending(Arc<Link>);
    impl Drop for Ending {
        fn drop(&mut self) {
            self.0.ended(PollError::Ended);
            THREADS.fetch_sub(1, Ordering::SeqCst);
        }
    }
    THREADS.fetch_add(1, Ordering::SeqCst);
    let ending = Ending(link.clone());
    std::thread::Builder::new().name(format!("kafka {name}")).spawn(move || {
        let ending = ending;
        let context = Context::new(link, topics);
        let outcome = config
            .create_with_context::<_, BaseConsumer<Context>>(context)
            .map_err(PollError::from)
            .and_then(|consumer| {
                let topics: Vec<&str> = consumer.context().topics.iter().map(String::as_str).collect();
                consumer.subscribe(&topics)?;
                Poll::new(&consumer).run()
                // The consumer is closed here, on this thread: its callbacks run until it has left the group.
            });
        if let Err(error) = outcome {
            ending.0.ended(error);
        }
    })?;
    Ok(())
}

/// The loop of the thread.
struct Poll<'a> {
    consumer: &'a BaseConsumer<Context>,
    context: &'a Context,
    batch: Vec<Record>,
    bytes: usize,
    paused: bool,
    /// Partitions that could not be sought in yet, and until when it is tried.
    late: Vec<(Command, Instant)>,
    commits: HashMap<Part, i64>,
    committed: Instant,
    watch: Watch,
}

impl<'a> Poll<'a> {
    fn new(consumer: &'a BaseConsumer<Context>) -> Self {
        let now = Instant::now();
        Self {
            consumer,
            context: consumer.context(),
            batch: Vec::new(),
            bytes: 0,
            paused: false,
            late: Vec::new(),
            commits: HashMap::new(),
            committed: now,
            watch: Watch::new(),
        }
    }

    fn run(mut self) -> Result<(), PollError> {
        while !self.context.link.stopped() {
            self.obey()?;
            if self.batch.len() >= BATCH.0 || self.bytes >= BATCH.1 {
                self.hand_over()?;
            }
            let wait = match (self.batch.is_empty(), self.paused) {
                (true, _) => IDLE,
                // The waiting was done while handing over.
                (false, true) => Duration::ZERO,
                (false, false) if self.context.link.hungry() => Duration::ZERO,
                (false, false) => GATHER,
            };
            match self.consumer.poll(wait) {
                Some(Ok(message)) => self.collect(&message),
                Some(Err(error)) => self.judge(error)?,
                None if !self.batch.is_empty() && self.context.link.hungry() => {
                    // There is room, because the task has nothing left.
                    self.hand_over()?;
                }
                None => {}
            }
            self.commit();
            self.watch()?;
        }
        Ok(())
    }

    fn collect(&mut self, message: &BorrowedMessage<'_>) {
        let Some(part) = self.context.part(message.topic(), message.partition()) else { return };
        let epoch = match self.context.reading().get_mut(&part) {
            Some(reading) => {
                reading.next = message.offset() + 1;
                reading.epoch
            }
            // Fetched before it was paused.
            None => return,
        };
        self.bytes += message.payload_len();
        self.batch.push(Record { part, epoch, offset: message.offset(), event: headers::read(message) });
    }

    /// Hands the batch over, and lets the partitions rest while the task cannot take it.
    fn hand_over(&mut self) -> Result<(), PollError> {
        let limit = if self.paused { IDLE } else { PATIENCE };
        match self.context.link.offer(std::mem::take(&mut self.batch), limit) {
            Ok(()) => {
                self.bytes = 0;
                if std::mem::take(&mut self.paused) {
                    self.consumer.resume(&self.all_read())?;
                }
            }
            Err(back) => {
                self.batch = back;
                if !std::mem::replace(&mut self.paused, true) {
                    self.consumer.pause(&self.all_read())?;
                }
            }
        }
        Ok(())
    }

    fn all_read(&self) -> TopicPartitionList {
        self.context.list(self.context.reading().keys().copied())
    }

    /// Carries the task's commands out.
    fn obey(&mut self) -> Result<(), PollError> {
        let now = Instant::now();
        let mut commands = std::mem::take(&mut self.late);
        commands.extend(self.context.link.commands().into_iter().map(|command| (command, now + SEEK_LIMIT)));
        for (command, until) in commands {
            match command {
                Command::Read { part, offset, epoch } => {
                    if !self.context.link.owns(part, epoch) {
                        continue;
                    }
                    match self.begin(part, offset, epoch) {
                        Ok(()) => {}
                        // A partition that was just assigned is not ready for it at once.
                        Err(KafkaError::Seek(_)) if now < until => self.late.push((command, until)),
                        Err(error) => return Err(error.into()),
                    }
                }
                Command::Hold { part } => {
                    if self.context.reading().remove(&part).is_some() {
                        self.consumer.pause(&self.context.list([part]))?;
                    }
                }
                Command::Commit { part, offset } => {
                    self.commits.insert(part, offset);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, part: Part, offset: i64, epoch: Epoch) -> KafkaResult<()> {
        let topic = &self.context.topics[part.0];
        self.consumer.seek(topic, part.1, Offset::Offset(offset), Duration::from_secs(1))?;
        self.context.reading().insert(part, Reading { epoch, next: offset });
        if !self.paused {
            self.consumer.resume(&self.context.list([part]))?;
        }
        Ok(())
    }

    /// Tells what needs a new consumer from what passes.
    fn judge(&self, error: KafkaError) -> Result<(), PollError> {
        let code = match &error {
            KafkaError::MessageConsumptionFatal(_) => return Err(error.into()),
            KafkaError::MessageConsumption(code) => *code,
            _ => return Ok(()),
        };
        match code {
            // It does not say which partition. The fetching of that one has ended and cannot be begun again
            // without a new assignment; a new consumer finds out which it is by asking for the watermarks.
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange
                if !self.context.reading().is_empty() =>
            {
                return Err(PollError::OffsetLost);
            }
            // `UnknownTopicOrPartition` among them: a producer that has not started yet.
            _ => logs::trouble(&error, &format!("reading {:?}", self.context.topics)),
        }
        Ok(())
    }

    fn commit(&mut self) {
        if self.commits.is_empty() || self.committed.elapsed() < COMMIT_PAUSE {
            return;
        }
        self.committed = Instant::now();
        let mut list = TopicPartitionList::new();
        let reading = self.context.reading();
        for ((topic, part), offset) in self.commits.drain().filter(|(part, _)| reading.contains_key(part)) {
            // An offset that cannot be said is not worth a word: nothing of ours reads it.
            let _ = list.add_partition_offset(&self.context.topics[topic], part, Offset::Offset(offset));
        }
        drop(reading);
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(error = %error, "Kafka was not told how far we are");
        }
    }

    /// Looks from time to time whether fetching is stuck.
    fn watch(&mut self) -> Result<(), PollError> {
        if !self.watch.is_due() {
            return Ok(());
        }
        let standing = match self.paused || !self.batch.is_empty() {
            // The task is what is slow.
            true => vec![],
            false => self.context.reading().iter().map(|(part, reading)| (*part, reading.next)).collect(),
        };
        match self.watch.compare(&standing, |(topic, part)| {
            let topic = &self.context.topics[topic];
            self.consumer.fetch_watermarks(topic, part, Duration::from_secs(1)).map(|(_, end)| end)
        }) {
            Some(((topic, part), at, end)) => {
                Err(PollError::Stuck { topic: self.context.topics[topic].clone(), part, at, end })
            }
            None => Ok(()),
        }
    }
}
