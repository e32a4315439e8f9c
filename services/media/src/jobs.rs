//! What is done after commit, again and again until it is done.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use contracts::TenantId;
use event_store::jobs::{self, Job};
use event_store::store::Context;
use event_store::{ExecuteError, StoreError, Tx, Unit};
use futures::future::BoxFuture;
use service_kit::{Kit, telemetry};
use tokio::task::{self, JoinSet};
use tracing::Instrument;

use crate::keeping::KeepError;
use crate::storage::StorageError;

mod assemble;
pub mod expire;
pub mod prepare;
pub mod release;
pub mod sweep;

/// How long a claim holds, and so how soon another worker goes on where one died.
const CLAIM: Duration = Duration::from_secs(6);
/// How often the claim of a slow job is renewed.
const RENEWAL: Duration = Duration::from_secs(2);
/// How often the queue is looked at when nothing wakes the worker: another replica's news wakes only that one.
const IDLE_POLL: Duration = Duration::from_secs(1);
/// The longest pause before a failed job is tried again.
const PAUSE_MAX: TimeDelta = TimeDelta::seconds(30);

/// Why a job is not done.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("not stored")]
    Store(#[from] StoreError),
    #[error("the storage failed")]
    Storage(#[from] StorageError),
    #[error("refused: {0}")]
    Refused(String),
}

impl<E: std::error::Error> From<ExecuteError<E>> for JobError {
    fn from(error: ExecuteError<E>) -> Self {
        match error {
            ExecuteError::Refused(refusal) => Self::Refused(refusal.to_string()),
            ExecuteError::Store(error) => Self::Store(error),
        }
    }
}

impl From<KeepError> for JobError {
    fn from(error: KeepError) -> Self {
        match error {
            KeepError::Store(error) => Self::Store(error),
            KeepError::Storage(error) => Self::Storage(error),
        }
    }
}

impl From<service_kit::Refusal> for JobError {
    fn from(refusal: service_kit::Refusal) -> Self {
        Self::Refused(refusal.cvat_body().to_string())
    }
}

/// A job that this worker has.
pub struct Claim {
    job: Mutex<Job>,
    pub tenant: TenantId,
    pub subject_id: i64,
    /// This attempt's number, from 1.
    pub attempts: i32,
    traceparent: Option<String>,
}

impl Claim {
    /// A unit in the job's tenant.
    async fn unit(&self, kit: &Kit) -> Result<Unit, StoreError> {
        let context = Context { traceparent: self.traceparent.clone(), ..Context::mesh(self.tenant) };
        kit.store.begin(context).await
    }

    /// The job as it is claimed now.
    fn job(&self) -> Job {
        self.job.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the job, in the transaction that records what came of it. If the claim was renewed at that very moment,
    /// the job comes due again and finds nothing to do.
    async fn finish(&self, tx: &mut Tx) -> Result<(), StoreError> {
        jobs::finish(tx, &self.job()).await
    }

    /// Lets the job come due again.
    async fn again_at(&self, tx: &mut Tx, due_at: chrono::DateTime<chrono::Utc>) -> Result<(), StoreError> {
        jobs::retry(tx, &self.job(), due_at).await
    }

    /// Keeps the job, until it is dropped.
    async fn keep(&self, kit: &Kit) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            // Without it another worker may do the same, which is better than to break this one off.
            if let Err(error) = self.renew(kit).await {
                tracing::warn!(error = event_store::chain(&error), "a claim could not be renewed");
            }
        }
    }

    async fn renew(&self, kit: &Kit) -> Result<(), StoreError> {
        let until = kit.clock.now() + TimeDelta::from_std(CLAIM).unwrap_or_default();
        let mut tx = kit.store.database().tenant(self.tenant).await?;
        jobs::retry(&mut tx, &self.job(), until).await?;
        tx.commit().await?;
        self.job.lock().unwrap_or_else(PoisonError::into_inner).claimed_until = until;
        Ok(())
    }
}

/// Does one job.
type Work = for<'a> fn(&'a Kit, &'a Claim) -> BoxFuture<'a, Result<(), JobError>>;

/// A kind of job: its name, how many are done at a time, and how.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// At least 2.
    at_once: usize,
    work: Work,
}

/// Prepares what was submitted; runs until it is dropped.
pub async fn prepare_all(kit: Kit) {
    work(kit, Kind { name: prepare::JOB, at_once: 4, work: |kit, claim| Box::pin(prepare::run(kit, claim)) })
        .await;
}

/// Gives back what removed tasks used; runs until it is dropped.
pub async fn release_all(kit: Kit) {
    work(kit, Kind { name: release::JOB, at_once: 2, work: |kit, claim| Box::pin(release::run(kit, claim)) })
        .await;
}

/// Forgets uploads that nobody goes on with; runs until it is dropped.
pub async fn expire_all(kit: Kit) {
    work(kit, Kind { name: expire::JOB, at_once: 2, work: |kit, claim| Box::pin(expire::run(kit, claim)) })
        .await;
}

/// Removes bytes that nobody uses; runs until it is dropped.
pub async fn sweep_all(kit: Kit) {
    work(kit, Kind { name: sweep::JOB, at_once: 2, work: |kit, claim| Box::pin(sweep::run(kit, claim)) })
        .await;
}

/// Jobs under way, and whose they are.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    tenants: HashMap<task::Id, TenantId>,
}

impl Running {
    fn spawn(&mut self, tenant: TenantId, work: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(work).id();
        self.tenants.insert(id, tenant);
    }

    /// Waits until one has ended; for ever when there is none.
    async fn ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => self.tenants.remove(&id),
            Some(Err(error)) => self.tenants.remove(&error.id()),
            None => std::future::pending().await,
        };
    }

    /// The tenants that have at least so many.
    fn tenants_with(&self, least: usize) -> Vec<TenantId> {
        let mut counts: HashMap<TenantId, usize> = HashMap::new();
        for tenant in self.tenants.values() {
            *counts.entry(*tenant).or_default() += 1;
        }
        counts.into_iter().filter(|(_, count)| *count >= least).map(|(tenant, _)| tenant).collect()
    }
}

async fn work(kit: Kit, kind: Kind) {
    let mut running = Running::default();
    let mut queued = kit.store.wake().follow_queued();
    loop {
        queued.mark_unchanged();
        let pause = match start(&kit, kind, &mut running).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(
                    job = kind.name,
                    error = event_store::chain(&error),
                    "the queue cannot be read"
                );
                IDLE_POLL
            }
        };
        let full = running.tasks.len() >= kind.at_once;
        tokio::select! {
            _ = queued.changed(), if !full => {}
            () = running.ended() => {}
            () = tokio::time::sleep(pause), if !full => {}
        }
    }
}

/// Starts due jobs while there is room: first those of tenants that have none under way, then of others, but of no
/// tenant so many that nobody else's could begin. Returns how long to wait for the next.
async fn start(kit: &Kit, kind: Kind, running: &mut Running) -> Result<Duration, StoreError> {
    let share = kind.at_once - 1;
    let mut least = 1;
    while running.tasks.len() < kind.at_once {
        let passed_over = running.tenants_with(least);
        match jobs::claim(&kit.store, kind.name, 1, CLAIM, &passed_over).await?.pop() {
            Some(job) => {
                let span = tracing::info_span!("job", otel.name = kind.name, subject = job.subject_id);
                telemetry::continue_trace(&span, job.traceparent.as_deref());
                running.spawn(job.tenant(), attempt(kit.clone(), kind, job).instrument(span));
            }
            None if least < share && !passed_over.is_empty() => least = share,
            None => break,
        }
    }
    if !running.tenants_with(share).is_empty() {
        // What is due may be theirs; it begins when something of theirs has ended.
        return Ok(IDLE_POLL);
    }
    Ok(jobs::next_due_in(&kit.store, kind.name).await?.unwrap_or(IDLE_POLL).min(IDLE_POLL))
}

async fn attempt(kit: Kit, kind: Kind, job: Job) {
    let claim = Claim {
        tenant: job.tenant(),
        subject_id: job.subject_id,
        attempts: job.attempts,
        traceparent: job.traceparent.clone(),
        job: Mutex::new(job),
    };
    // Side by side: a renewal may have to wait for the work's own transaction.
    let outcome = tokio::select! {
        outcome = (kind.work)(&kit, &claim) => outcome,
        () = claim.keep(&kit) => return,
    };
    if let Err(error) = outcome {
        tracing::warn!(
            job = kind.name,
            subject = claim.subject_id,
            attempt = claim.attempts,
            error = event_store::chain(&error),
            "a job is not done; it is tried again"
        );
        if let Err(error) = put_off(&kit, &claim).await {
            // Then the claim ends by itself.
            tracing::warn!(error = event_store::chain(&error), "a job could not be put off");
        }
    }
}

/// Longer from attempt to attempt.
async fn put_off(kit: &Kit, claim: &Claim) -> Result<(), StoreError> {
    let doublings = u32::try_from(claim.attempts.clamp(1, 10) - 1).unwrap_or(0);
    let pause = (TimeDelta::milliseconds(200) * 2_i32.pow(doublings)).min(PAUSE_MAX);
    let mut tx = kit.store.database().tenant(claim.tenant).await?;
    claim.again_at(&mut tx, kit.clock.now() + pause).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tenants_are_counted_by_what_they_have_under_way() {
        let [many, one] = [1, 2].map(|number| TenantId(uuid::Uuid::from_u128(number)));
        let mut running = Running::default();
        for tenant in [many, one, many] {
            running.spawn(tenant, std::future::pending());
        }
        running.spawn(one, async { panic!("a job may") });
        running.ended().await;
        assert_eq!(running.tenants_with(2), [many]);
        assert_eq!(running.tenants_with(1).len(), 2);
        assert!(running.tenants_with(3).is_empty());
    }
}
