//! Frees places that nobody took. Not when their time is over, but when their owner's log has been read past that
//! end and no event names them: an owner appends nothing under a reservation that has less than half a minute left,
//! so what is not in its log by then never will be. An owner that does not answer keeps its places.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bus::Peer;
use chrono::TimeDelta;
use contracts::{ContractEvent, TenantId, identity, media};
use event_store::jobs::{self, Job};
use event_store::log::LogFilter;
use event_store::store::Context;
use event_store::{StoreError, Unit};
use serde::Deserialize;
use service_kit::Kit;
use uuid::Uuid;

use crate::quotas::{QUOTAS, places, reservations};

/// The job's name; each tenant has one.
pub const EXPIRE: &str = "expire";
/// Its subject: all reservations of the tenant.
pub const SUBJECT: i64 = 0;

/// Events that can take a reserved place.
const TAKING: [&str; 3] =
    [identity::UserRegistered::TYPE, identity::UserUpdated::TYPE, media::StorageChanged::TYPE];
/// How long a claim holds, and so how soon another worker goes on where one died.
const CLAIM: Duration = Duration::from_secs(60);
/// How often the queue is looked at when nothing wakes the worker.
const IDLE_POLL: Duration = Duration::from_secs(1);
/// Tenants that are looked after in one turn, and reservations of each.
const TURN: i64 = 16;
const PLACES: i64 = 500;
/// Seconds after which an owner that did not answer is asked again.
const AGAIN_S: i64 = 5;
/// Events on one page of an owner's log.
const PAGE: i64 = 1_000;

/// Why a turn came to nothing.
#[derive(Debug, thiserror::Error)]
enum ExpireError {
    #[error("not stored")]
    Store(#[from] StoreError),
    #[error("an owner does not answer")]
    Owner(#[from] bus::peer::PeerError),
    #[error("{0} is not deployed")]
    Nobody(String),
}

/// Runs until it is dropped.
pub async fn run(kit: Kit) {
    loop {
        match turn(&kit).await {
            Ok(0) => {
                let due = jobs::next_due_in(&kit.store, EXPIRE).await.ok().flatten().unwrap_or(IDLE_POLL);
                tokio::time::sleep(due.clamp(Duration::from_millis(50), IDLE_POLL)).await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = event_store::chain(&error), "overdue places cannot be looked for");
                tokio::time::sleep(IDLE_POLL).await;
            }
        }
    }
}

/// Looks after the tenants that are due; returns how many there were.
async fn turn(kit: &Kit) -> Result<usize, StoreError> {
    let due = jobs::claim(&kit.store, EXPIRE, TURN, CLAIM, &[]).await?;
    for job in &due {
        if let Err(error) = expire(kit, job).await {
            tracing::warn!(error = event_store::chain(&error), "overdue places stay reserved for now");
            let mut tx = kit.store.database().tenant(job.tenant()).await?;
            jobs::retry(&mut tx, job, kit.store.clock().now() + TimeDelta::seconds(AGAIN_S)).await?;
            tx.commit().await?;
        }
    }
    Ok(due.len())
}

async fn expire(kit: &Kit, job: &Job) -> Result<(), ExpireError> {
    let tenant = job.tenant();
    let mut tx = kit.store.database().tenant(tenant).await?;
    let overdue = reservations::overdue(&mut tx, PLACES).await?;
    tx.commit().await?;
    let mut by_owner: BTreeMap<String, (i64, BTreeSet<Uuid>)> = BTreeMap::new();
    for held in overdue {
        let (from, ids) = by_owner.entry(held.owner).or_insert((held.log_position, BTreeSet::new()));
        *from = held.log_position.min(*from);
        ids.insert(held.id);
    }
    let mut free = BTreeSet::new();
    for (owner, (from, ids)) in by_owner {
        let peer = kit.peer(&owner).map_err(|_| ExpireError::Nobody(owner))?;
        let taken = taken_since(peer, tenant, from).await?;
        // What was taken is in the log, so the consumer will find it there.
        free.extend(ids.difference(&taken));
    }
    let mut unit = kit.store.begin(Context::mesh(tenant)).await?;
    settle(&mut unit, job, free).await?;
    Ok(unit.commit().await?)
}

/// Frees places and says when to look again.
async fn settle(unit: &mut Unit, job: &Job, free: BTreeSet<Uuid>) -> Result<(), StoreError> {
    if !free.is_empty() {
        for quota in QUOTAS {
            places::lock(unit.tx(), quota.key).await?;
        }
        tracing::info!(places = free.len(), "reserved places that nobody took are free again");
        let freed = reservations::end(unit.tx(), free, "expired").await?;
        places::unreserve(unit.tx(), freed).await?;
    }
    match reservations::next_due_in(unit.tx()).await? {
        // What is overdue still has been taken, and waits for the consumer.
        Some(seconds) => {
            let due_at = unit.store().clock().now() + TimeDelta::seconds(seconds.max(1));
            jobs::retry(unit.tx(), job, due_at).await
        }
        None => jobs::finish(unit.tx(), job).await,
    }
}

/// The reservations that an owner's log names after a position, in one tenant.
async fn taken_since(peer: &Peer, tenant: TenantId, from: i64) -> Result<BTreeSet<Uuid>, ExpireError> {
    #[derive(Deserialize)]
    struct Taking {
        #[serde(default)]
        reservation_id: Option<Uuid>,
    }
    // Whoever is asked for a stream first numbers everything that is committed; there is no such stream.
    peer.stream(tenant, "reservation", 0).await?;
    let filter = LogFilter { types: TAKING.map(str::to_owned).into(), tenant: Some(tenant) };
    let (mut after, mut taken) = (from, BTreeSet::new());
    loop {
        let page = peer.log(after, PAGE, Duration::ZERO, &filter).await?;
        for event in &page.events {
            let taking: Taking = serde_json::from_str(event.data.get()).map_err(StoreError::from)?;
            taken.extend(taking.reservation_id);
        }
        if page.next >= page.head {
            return Ok(taken);
        }
        after = page.next;
    }
}
