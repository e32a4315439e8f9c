//! Gives committed rows their positions.
//!
//! A sequence number is taken before its transaction commits, so a reader that follows sequence numbers
//! skips whatever commits late; a reader that follows transaction ids sees two events of one stream in the
//! wrong order (`shared/event-store/tests/it/cursors.rs` shows both). Positions are therefore given after
//! commit, by one small transaction that takes what is visible in the order of `seq`: version n + 1 of a
//! stream can only have been written by somebody who saw n committed, so the visible rows of a stream have
//! no holes and rise with `seq`. Several sequencers may compete; a lock lets one through at a time.

use std::sync::Arc;
use std::time::Duration;

use diesel::sql_types::{BigInt, Text};
use diesel_async::RunQueryDsl;
use futures::StreamExt;
use tokio::sync::{Notify, watch};

use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::Store;

/// The log of private events.
pub const EVENTS: &str = "es_event";
/// The log of contract events.
pub const CONTRACTS: &str = "es_contract";

/// How many rows one transaction numbers at most.
const BATCH: i64 = 1_000;
/// How long the sequencer sleeps at most when nothing wakes it: another process's appends wake only the
/// sequencer there, which may have died.
const IDLE_POLL: Duration = Duration::from_millis(100);

/// Who is woken by what, inside one process.
#[derive(Clone)]
pub struct Wake {
    appended: Arc<Notify>,
    queued: watch::Sender<u64>,
    numbered: watch::Sender<u64>,
    taken: watch::Sender<u64>,
}

impl Default for Wake {
    fn default() -> Self {
        Self {
            appended: Arc::default(),
            queued: watch::Sender::new(0),
            numbered: watch::Sender::new(0),
            taken: watch::Sender::new(0),
        }
    }
}

impl Wake {
    /// Rows wait for positions.
    pub fn appended(&self) {
        self.appended.notify_one();
    }

    /// A job waits.
    pub fn queued(&self) {
        self.queued.send_modify(|count| *count += 1);
    }

    /// Follows the queueing of jobs. Every worker does so for itself: a service has several, and whose job it is
    /// only a look at the queue tells.
    pub fn follow_queued(&self) -> watch::Receiver<u64> {
        self.queued.subscribe()
    }

    /// Positions were given, here or by another process.
    pub fn numbered(&self) {
        self.numbered.send_modify(|count| *count += 1);
    }

    /// A consumer has taken events in.
    pub fn taken(&self) {
        self.taken.send_modify(|count| *count += 1);
    }

    /// Follows the taking in of events.
    pub fn follow_taken(&self) -> watch::Receiver<u64> {
        self.taken.subscribe()
    }

    /// How often anything happened in this process: positions given, events taken in. Another number than
    /// before says that there is something new to see.
    pub fn changes(&self) -> u64 {
        *self.numbered.borrow() + *self.taken.borrow()
    }

    /// Follows the giving of positions; a change says that a log has grown.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.numbered.subscribe()
    }
}

/// Numbers what is committed until nothing waits, and returns how many rows that were.
///
/// Calling it before reading a head makes the answer include every commit that was acknowledged before.
pub async fn drain(store: &Store, logs: &[&'static str]) -> Result<u64, StoreError> {
    let mut total = 0;
    for log in logs {
        loop {
            let count = number(store, log).await?;
            total += count;
            if count > 0 {
                store.wake.numbered();
            }
            if count < BATCH as u64 {
                break;
            }
        }
    }
    Ok(total)
}

/// Numbers at most one batch of one log.
async fn number(store: &Store, log: &'static str) -> Result<u64, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let mut tx = store.database.kernel().await?;
    // A statement of its own: the next one must take its snapshot after the lock was given.
    Sql::fixed("SELECT pg_advisory_xact_lock(hashtext('es_sequencer'), hashtext($1))")
        .bind::<Text>(log)
        .execute(&mut *tx)
        .await?;
    let row: Row = number_statement(log).bind::<BigInt>(BATCH).get_result(&mut *tx).await?;
    if row.count == 0 {
        tx.commit().await?;
        return Ok(0);
    }
    // Once a batch, not once an append: a notification serialises commits.
    Sql::fixed("SELECT pg_notify('es_numbered', $1)").bind::<Text>(log).execute(&mut *tx).await?;
    crate::fail_point!("es.sequencer.before_commit");
    tx.commit().await?;
    crate::fail_point!("es.sequencer.after_commit");
    Ok(row.count as u64)
}

/// The log's name is one of our constants, never a client's.
fn number_statement(log: &'static str) -> Sql {
    debug_assert!(log.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{log} is not a plain name");
    Sql::templated(format!(
        "WITH taken AS (
            DELETE FROM {log}_pending WHERE seq IN (SELECT seq FROM {log}_pending ORDER BY seq LIMIT $1)
            RETURNING seq, tenant_id
        ), ordered AS (
            SELECT seq, tenant_id, row_number() OVER (ORDER BY seq) AS n FROM taken
        ), head AS (
            UPDATE es_head SET position = position + (SELECT count(*) FROM taken)
            WHERE log = '{log}' AND EXISTS (SELECT FROM taken)
            RETURNING position - (SELECT count(*) FROM taken) AS base
        ), placed AS (
            INSERT INTO {log}_position (position, seq, tenant_id)
            SELECT head.base + ordered.n, ordered.seq, ordered.tenant_id FROM ordered, head
            RETURNING 1
        )
        SELECT count(*) AS count FROM placed"
    ))
}

/// Runs until it is dropped: waits to be woken, drains, and backs off while there is nothing.
pub async fn run(store: Store, logs: Vec<&'static str>) {
    let mut pause = Duration::from_millis(5);
    loop {
        match drain(&store, &logs).await {
            Ok(0) => pause = (pause * 2).min(IDLE_POLL),
            Ok(_) => pause = Duration::from_millis(5),
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "the sequencer cannot number; trying again");
                pause = Duration::from_secs(1);
            }
        }
        tokio::select! {
            () = store.wake.appended.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Tells this process when another one has given positions; runs until it is dropped. Without it readers
/// would still find out, by polling.
pub async fn listen(store: Store) {
    loop {
        if let Err(error) = listen_once(&store).await {
            tracing::debug!(error = crate::chain(&error), "cannot listen");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn listen_once(store: &Store) -> Result<(), StoreError> {
    let mut connection = store.database.kernel_connection().await?;
    Sql::fixed("LISTEN es_numbered").execute(&mut connection).await?;
    // What was numbered before this connection could hear of it.
    store.wake.numbered();
    let mut notifications = std::pin::pin!(connection.notifications_stream());
    while let Some(notification) = notifications.next().await {
        notification?;
        store.wake.numbered();
    }
    Ok(())
}
