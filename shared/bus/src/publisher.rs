//! Sends a service's contract log to its topic, in the order of positions.
//!
//! Of several replicas one holds the lease and sends. Its checkpoint moves only over what the broker has
//! acknowledged without a hole; whatever goes wrong, the next attempt begins at the checkpoint, so an event
//! may be sent twice and is never left out. A paused holder that still sends after it lost the lease does no
//! harm: every producer's run is free of holes and begins at a checkpoint, so the first occurrences are in order.

use std::convert::Infallible;
use std::time::Duration;

use contracts::Envelope;
use event_store::lease::{self, Lease};
use event_store::log::{self, LogFilter};
use event_store::sequencer::CONTRACTS;
use event_store::{Store, StoreError};
use tokio::sync::mpsc;

use crate::kafka::Settings;
use crate::kafka::admin::{self, TopicError};
use crate::kafka::look::{Foreign, Read, look};
use crate::kafka::sender::{SendError, Sender};
use crate::retry::{Backoff, Said};

/// The name of the lease, and of the checkpoint that is moved under it.
pub const LEASE: &str = "publisher";

/// Events in one page of the log.
const PAGE: i64 = 1_000;
/// Pages that are read ahead of what is sent.
const AHEAD: usize = 2;
/// How long a read waits for an event: another replica's appends do not wake this process.
const IDLE_POLL: Duration = Duration::from_millis(100);
/// The checkpoint moves at most once in so long; what is sent twice after a crash is bounded by it.
const CHECKPOINT_PAUSE: Duration = Duration::from_millis(50);
/// How often a topic that is somebody else's is looked at again.
const FOREIGN_PAUSE: Duration = Duration::from_secs(5);
/// After a run of so long an error is the first again.
const RUNS_WELL: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("the topic cannot be used")]
    Topic(#[from] TopicError),
    #[error("the events cannot be sent")]
    Send(#[from] SendError),
    /// The log has a hole; sending on would make it one for ever.
    #[error("the log continues at position {found} after {after}")]
    Hole { after: i64, found: i64 },
    #[error("the log's reader has ended")]
    ReaderEnded,
}

/// Publishes; runs until it is dropped.
pub async fn run(store: Store, settings: Settings, owner: String) {
    let (mut backoff, mut said) = (Backoff::default(), Said::default());
    loop {
        let began = tokio::time::Instant::now();
        let Err(error) = hold(&store, &settings, &owner).await;
        if began.elapsed() > RUNS_WELL {
            (backoff, said) = (Backoff::default(), Said::default());
        }
        let error = event_store::chain(&error);
        if said.is_news(&error) {
            let service = store.service();
            tracing::warn!(service, error, "publishing stopped; trying again from the checkpoint");
        }
        backoff.pause().await;
    }
}

/// How many events wait to be published.
///
/// # Errors
/// When the database does not answer.
pub async fn lag(store: &Store) -> Result<i64, StoreError> {
    // The checkpoint first: read the other way round, the difference could be negative.
    let published = lease::checkpoint(store, LEASE).await?;
    Ok(log::head(store, CONTRACTS).await? - published)
}

/// Waits for the lease and publishes for as long as it holds.
async fn hold(store: &Store, settings: &Settings, owner: &str) -> Result<Infallible, PublishError> {
    let mut lease = Lease::acquire(store, LEASE, owner).await?;
    let fence = lease.fence;
    tokio::select! {
        error = lease.lost() => Err(error.into()),
        outcome = publish(store, settings, fence) => outcome,
    }
}

/// One producer's run.
async fn publish(store: &Store, settings: &Settings, fence: i64) -> Result<Infallible, PublishError> {
    claim_topic(store, settings).await?;
    let checkpoint = lease::checkpoint(store, LEASE).await?;
    let sender = Sender::new(settings, settings.topic(store.service()))?;
    tracing::info!(service = store.service(), position = checkpoint, "publishing from position {checkpoint}");
    let (pages, arriving) = mpsc::channel(AHEAD);
    tokio::select! {
        outcome = read(store, checkpoint, pages) => outcome,
        outcome = send(&sender, checkpoint, arriving) => outcome,
        outcome = move_checkpoint(store, &sender, fence, checkpoint) => outcome,
    }
}

/// Makes the topic, and waits for as long as it is somebody else's: records of two logs in one topic could not
/// be told apart by anybody who reads it.
async fn claim_topic(store: &Store, settings: &Settings) -> Result<(), PublishError> {
    let mut said = Said::default();
    loop {
        admin::ensure_topic(settings, store.service()).await?;
        let Some(foreign) = find_foreign(store, settings).await? else { return Ok(()) };
        let foreign = foreign.to_string();
        if said.is_news(&foreign) {
            tracing::error!(service = store.service(), "nothing is published: {foreign}");
        }
        tokio::time::sleep(FOREIGN_PAUSE).await;
    }
}

/// Finds a partition whose last event is not in this log. An event behind the checkpoint that is there is none:
/// it was acknowledged just before a crash.
async fn find_foreign(store: &Store, settings: &Settings) -> Result<Option<Foreign>, PublishError> {
    let topic = settings.topic(store.service());
    for found in look(settings, &topic, Read::Last).await?.evidence() {
        let ours = match found.event {
            Some((position, id)) => {
                let page = log::read(store, position.saturating_sub(1), 1, &LogFilter::default()).await?;
                page.events.first().is_some_and(|event| event.id == id)
            }
            None => false,
        };
        if !ours {
            return Ok(Some(found.foreign(&topic, store.service())));
        }
    }
    Ok(None)
}

/// Reads the log ahead of the sending.
async fn read(
    store: &Store,
    mut after: i64,
    pages: mpsc::Sender<Vec<Envelope>>,
) -> Result<Infallible, PublishError> {
    let everything = LogFilter::default();
    loop {
        // Room first: what is read too early is only held in memory.
        let Ok(room) = pages.reserve().await else { return Err(PublishError::ReaderEnded) };
        let page = log::read_waiting(store, after, PAGE, &everything, IDLE_POLL).await?;
        if !page.events.is_empty() {
            after = page.next;
            room.send(page.events);
        }
    }
}

/// Sends what was read, in order.
async fn send(
    sender: &Sender,
    mut after: i64,
    mut arriving: mpsc::Receiver<Vec<Envelope>>,
) -> Result<Infallible, PublishError> {
    while let Some(events) = arriving.recv().await {
        for event in &events {
            if event.position != after + 1 {
                return Err(PublishError::Hole { after, found: event.position });
            }
            event_store::fail_point!("bus.publisher.before_send");
            sender.send(event).await?;
            after = event.position;
        }
    }
    Err(PublishError::ReaderEnded)
}

/// Moves the checkpoint behind the acknowledgements.
async fn move_checkpoint(
    store: &Store,
    sender: &Sender,
    fence: i64,
    mut checkpoint: i64,
) -> Result<Infallible, PublishError> {
    loop {
        checkpoint = sender.acked_after(checkpoint).await?;
        event_store::fail_point!("bus.publisher.after_ack");
        lease::move_checkpoint(store, LEASE, fence, checkpoint).await?;
        tokio::time::sleep(CHECKPOINT_PAUSE).await;
    }
}
