//! Consuming without a broker: one loop for each producer, which long-polls the producer's log.
//!
//! The producer's log is one partition, `log:<service>`; an offset is a position. Of several replicas one
//! holds the lease and reads; the compare-and-swap of the offset keeps out one that lost it unnoticed.

use std::convert::Infallible;
use std::time::Duration;

use event_store::Store;
use event_store::inbox::{self, Handler, Move, Place};
use event_store::lease::Lease;
use event_store::log::LogFilter;

use crate::consumer::{ConsumeError, Consumer, OtherLog};
use crate::peer::Peer;
use crate::retry::Said;

/// How long a poll waits for the first event.
const WAIT: Duration = Duration::from_secs(20);
/// Events in one batch at most.
pub const BATCH: i64 = 500;

/// The partition that stands for a producer's log.
pub fn topic(service: &str) -> String {
    format!("log:{service}")
}

/// Feeds `consumer` from one producer; runs until it is dropped.
pub async fn run(store: Store, consumer: Consumer, peer: Peer, owner: String) {
    let name = consumer.full_name(store.service());
    let lease_name = format!("{name}/{}", peer.service);
    let handler = consumer.handler();
    let mut said = Said::default();
    loop {
        let began = tokio::time::Instant::now();
        let outcome = async {
            let mut lease = Lease::acquire(&store, &lease_name, &owner).await?;
            tokio::select! {
                error = lease.lost() => Err(error.into()),
                outcome = follow(&store, &name, &handler, &peer) => outcome,
            }
        }
        .await;
        let Err(error) = outcome;
        if began.elapsed() > WAIT {
            said = Said::default();
        }
        let error = event_store::chain(&error);
        if said.is_news(&error) {
            tracing::warn!(
                consumer = name,
                source = peer.service,
                error,
                "cannot follow the log; trying again"
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn follow(
    store: &Store,
    name: &str,
    handler: &Handler,
    peer: &Peer,
) -> Result<Infallible, ConsumeError> {
    let mut place = inbox::place(store, name, &topic(&peer.service), 0).await?;
    if !peer.is_known_at(&place).await? {
        return Err(OtherLog::new(peer, &place).into());
    }
    loop {
        place = step(store, name, handler, peer, place, WAIT).await?.0;
    }
}

/// Reads one page from `place` on and takes it in; returns the new place and how many events there were.
pub async fn step(
    store: &Store,
    name: &str,
    handler: &Handler,
    peer: &Peer,
    place: Place,
    wait: Duration,
) -> Result<(Place, usize), ConsumeError> {
    let page = peer.log(place.next_offset, BATCH, wait, &LogFilter::default()).await?;
    let Some(last) = page.events.last() else {
        return Ok((place, 0));
    };
    let to = Place {
        next_offset: page.next,
        position: last.position,
        event_id: Some(last.id),
        topic: place.topic.clone(),
        part: place.part,
    };
    let moves = [Move { from: place, to: to.clone() }];
    inbox::take(store, name, handler, &page.events, &moves).await?;
    Ok((to, page.events.len()))
}
