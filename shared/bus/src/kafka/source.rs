//! A consumer that is fed from Kafka, as a whole.
//!
//! One task, in which everything happens side by side: looking up where partitions begin, reading the log for
//! those that Kafka cannot serve, and taking batches, one at a time. All of it is polled together: a job that
//! stood still while another runs could hold a lock that the other waits for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use event_store::inbox::Handler;
use event_store::{Store, StoreError};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use super::admin::TopicError;
use super::backfill::backfill;
use super::link::{Epoch, Heard, Link, Part, Record};
use super::look::Foreign;
use super::place::{Behind, Start, place};
use super::poll_thread::{self, PollError};
use super::sift::{Reader, Sifted, sift};
use super::taking::{Outcome, Portion, take};
use super::{Settings, SettingsError};
use crate::consumer::{Consumer, OtherLog};
use crate::peer::{Peer, PeerError};
use crate::retry::Backoff;

/// Why a consumer has to pause, or to begin again.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("a batch was not taken")]
    Take(#[from] event_store::inbox::TakeError),
    #[error("the producer failed")]
    Peer(#[from] PeerError),
    #[error("no peer called {0} is known, whose log could be read")]
    NoPeer(String),
    #[error(transparent)]
    OtherLog(#[from] OtherLog),
    #[error(transparent)]
    Foreign(#[from] Foreign),
    #[error("the topic cannot be used")]
    Topic(#[from] TopicError),
    #[error("polling failed")]
    Poll(#[from] PollError),
    #[error("these settings cannot be used")]
    Settings(#[from] SettingsError),
    #[error("there is no thread to poll on")]
    Thread(#[from] std::io::Error),
}

/// How long partitions are gathered before their producer's log is read.
const GATHER: Duration = Duration::from_millis(100);

/// One service whose events are read.
pub(super) struct Source {
    pub service: String,
    pub topic: String,
    pub peer: Option<Peer>,
}

/// What every part of a running consumer needs.
pub(super) struct Feed {
    pub store: Store,
    pub name: String,
    pub handler: Handler,
    pub settings: Settings,
    pub sources: Vec<Source>,
    pub link: Arc<Link>,
}

/// Feeds `consumer` from the topics of its sources; `peers` are asked for their logs. Runs until it is dropped,
/// which also ends its thread, soon but not at once; see [`super::closed`].
pub async fn run(store: Store, consumer: Consumer, peers: Vec<Peer>, settings: Settings) {
    let name = consumer.full_name(store.service());
    let sources = || {
        let source = |service: &&'static str| Source {
            service: (*service).to_owned(),
            topic: settings.topic(service),
            peer: peers.iter().find(|peer| peer.service == *service).cloned(),
        };
        consumer.sources().iter().map(source).collect()
    };
    let mut backoff = Backoff::default();
    loop {
        let began = tokio::time::Instant::now();
        let feed = Feed {
            store: store.clone(),
            name: name.clone(),
            handler: consumer.handler(),
            settings: settings.clone(),
            sources: sources(),
            link: Arc::default(),
        };
        let Err(error) = session(&feed).await;
        tracing::warn!(
            consumer = name,
            error = event_store::chain(&error),
            "cannot go on with this Kafka consumer; making a new one"
        );
        if began.elapsed() > Duration::from_secs(60) {
            backoff = Backoff::default();
        }
        backoff.pause().await;
    }
}

/// Stops the thread when the task ends or is dropped.
struct Stop(Arc<Link>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// What one of the jobs that go on side by side has found.
enum Done {
    Placed(usize, Vec<Start>, Vec<Behind>),
    Gathered(usize),
    Backfilled(usize, Vec<Start>),
    Taken(Vec<(Portion, Outcome)>),
}

/// The life of one Kafka consumer.
async fn session(feed: &Feed) -> Result<Infallible, SourceError> {
    let _stop = Stop(feed.link.clone());
    let topics = feed.sources.iter().map(|source| source.topic.clone()).collect();
    poll_thread::start(config(feed)?, &feed.name, topics, feed.link.clone())?;
    let mut session = Session {
        feed,
        jobs: FuturesUnordered::new(),
        readers: HashMap::new(),
        taking: false,
        behind: HashMap::new(),
    };
    loop {
        tokio::select! {
            heard = feed.link.next(!session.taking) => match heard {
                Heard::Assigned(parts) => session.place(parts),
                Heard::Batch(records) => session.batch(records),
                Heard::Ended(error) => return Err(error.into()),
            },
            Some(done) = session.jobs.next(), if !session.jobs.is_empty() => session.done(done),
        }
    }
}

fn config(feed: &Feed) -> Result<rdkafka::ClientConfig, SettingsError> {
    let mut config = feed.settings.client()?;
    config
        .set("group.id", format!("{}{}", feed.settings.prefix, feed.name))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "2000")
        .set("allow.auto.create.topics", "false")
        // A topic that its producer creates after we have subscribed is noticed within a second.
        .set("topic.metadata.refresh.interval.ms", "1000")
        .set("queued.max.messages.kbytes", "16384")
        .set("queued.min.messages", "1000")
        .set("fetch.wait.max.ms", "100");
    Ok(config)
}

struct Session<'a> {
    feed: &'a Feed,
    jobs: FuturesUnordered<BoxFuture<'a, Done>>,
    readers: HashMap<Part, Reader>,
    /// A batch is being taken; the next one waits.
    taking: bool,
    /// Sources whose log is being read, with the partitions that wait for the next pass over it.
    behind: HashMap<usize, Vec<Behind>>,
}

impl Session<'_> {
    fn done(&mut self, done: Done) {
        match done {
            Done::Placed(source, starts, behind) => {
                self.start(starts);
                self.backfill(source, behind);
            }
            Done::Gathered(source) => self.backfill_together(source),
            Done::Backfilled(source, starts) => {
                self.start(starts);
                if self.behind.get(&source).is_some_and(|waiting| !waiting.is_empty()) {
                    self.backfill_together(source);
                } else {
                    self.behind.remove(&source);
                }
            }
            Done::Taken(outcomes) => self.taken(outcomes),
        }
    }

    /// Looks up where partitions begin.
    fn place(&mut self, parts: Vec<(Part, Epoch)>) {
        let feed = self.feed;
        for source in 0..feed.sources.len() {
            let own: Vec<_> = parts.iter().filter(|(part, _)| part.0 == source).copied().collect();
            if !own.is_empty() {
                self.jobs.push(Box::pin(async move {
                    let (starts, behind) = place(feed, source, own).await;
                    Done::Placed(source, starts, behind)
                }));
            }
        }
    }

    /// Lets partitions be read from their producer's log. What is wrong with one is often wrong with all, and
    /// shows one by one, so they are gathered for one pass.
    fn backfill(&mut self, source: usize, behind: Vec<Behind>) {
        if behind.is_empty() {
            return;
        }
        match self.behind.entry(source) {
            Entry::Occupied(mut waiting) => waiting.get_mut().extend(behind),
            Entry::Vacant(none) => {
                none.insert(behind);
                self.jobs.push(Box::pin(async move {
                    tokio::time::sleep(GATHER).await;
                    Done::Gathered(source)
                }));
            }
        }
    }

    fn backfill_together(&mut self, source: usize) {
        let feed = self.feed;
        let behind = self.behind.get_mut(&source).map(std::mem::take).unwrap_or_default();
        self.jobs
            .push(Box::pin(async move { Done::Backfilled(source, backfill(feed, source, behind).await) }));
    }

    fn start(&mut self, starts: Vec<Start>) {
        for Start { part, epoch, place, offset, verify } in starts {
            if let Some(epoch) = self.feed.link.read(part, epoch, offset) {
                self.readers.insert(part, Reader { epoch, place, verify });
            }
        }
    }

    /// Takes what is good of a batch, and reads the log for partitions that look wrong.
    fn batch(&mut self, records: Vec<Record>) {
        let mut portions: Vec<Portion> = vec![];
        for record in records {
            let part = record.part;
            let Some(reader) = self.readers.get_mut(&part).filter(|reader| reader.epoch == record.epoch)
            else {
                continue;
            };
            let known = portions.iter().position(|portion| portion.part == part);
            let next = known.map_or(reader.place.next_offset, |index| portions[index].to.next_offset);
            match sift(reader, next, &self.feed.sources[part.0].service, record) {
                Sifted::Nothing => {}
                Sifted::Event(event) => {
                    let index = known.unwrap_or(portions.len());
                    if known.is_none() {
                        portions.push(Portion::begin(part, reader.epoch, &reader.place));
                    }
                    portions[index].add(event);
                }
                Sifted::Doubt(reason) => {
                    // What came before the doubt is read again, from the log.
                    portions.retain(|portion| portion.part != part);
                    if let Some(reader) = self.readers.remove(&part) {
                        self.distrust(part, reader, reason);
                    }
                }
            }
        }
        if !portions.is_empty() {
            let feed = self.feed;
            self.taking = true;
            self.jobs.push(Box::pin(async move { Done::Taken(take(feed, portions).await) }));
        }
    }

    fn taken(&mut self, outcomes: Vec<(Portion, Outcome)>) {
        self.taking = false;
        for (Portion { part, epoch, to, .. }, outcome) in outcomes {
            if self.readers.get(&part).is_none_or(|reader| reader.epoch != epoch) {
                continue;
            }
            match outcome {
                Outcome::Taken => {
                    self.feed.link.commit(part, to.next_offset);
                    if let Some(reader) = self.readers.get_mut(&part) {
                        reader.place = to;
                    }
                }
                Outcome::Fenced => {
                    self.readers.remove(&part);
                    tracing::info!(consumer = self.feed.name, "another owner moved {}/{}", to.topic, to.part);
                    if let Some(epoch) = self.feed.link.hold(part, epoch) {
                        self.place(vec![(part, epoch)]);
                    }
                }
                Outcome::Gap => {
                    if let Some(reader) = self.readers.remove(&part) {
                        self.distrust(part, reader, "a stream has a gap");
                    }
                }
            }
        }
    }

    /// Stops reading a partition from Kafka until the log has been read.
    fn distrust(&mut self, part: Part, reader: Reader, reason: &'static str) {
        if let Some(epoch) = self.feed.link.hold(part, reader.epoch) {
            self.backfill(part.0, vec![Behind { part, epoch, place: reader.place, reason }]);
        }
    }
}
