//! The worker: takes due messages and makes one attempt at each.
//!
//! At least once: an attempt is made before it is recorded. A worker that dies in between leaves a claim that
//! comes due again, and the attempt is repeated with the same `webhook-id`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use event_store::jobs::{self, Job};
use event_store::store::Context;
use event_store::{ExecuteError, Store, StoreError, Unit};
use service_kit::{Kit, telemetry};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::pace::Paces;
use super::schedule;
use super::sender::{Answer, Letter, Sender};
use super::targets::Targets;
use crate::deliveries::attempts::{self, Attempt};
use crate::deliveries::messages::{self, DELIVER, Due, Outcome};
use crate::domain::message::{Delivered, Message, MessageCommand};
use crate::domain::webhook::{UpdateWebhook, Webhook, WebhookCommand, WebhookError};
use crate::secrets::{Secrets, UNREADABLE_SECRET};

/// Attempts at the same time.
const CONCURRENCY: usize = 64;
/// How long a claim holds, and so how soon another worker goes on where one died.
const CLAIM: Duration = Duration::from_secs(6);
/// How often the claim on a slow attempt is renewed.
const RENEWAL: Duration = Duration::from_secs(2);
/// How often the queue is looked at when nothing wakes the worker: another replica's news wakes only that one.
const IDLE_POLL: Duration = Duration::from_secs(1);
/// How often an attempt's record is tried when it collides with another writer.
const RECORD_TRIES: u32 = 8;
/// The receiver says that it is gone for good.
const GONE: u16 = 410;

/// What every attempt needs.
#[derive(Clone)]
struct Worker {
    store: Store,
    sender: Sender,
    secrets: Secrets,
    paces: Paces,
}

/// Runs until it is dropped.
pub async fn run(kit: Kit) {
    let targets = Targets::parse(&kit.config.webhooks_allowed_targets);
    let sender = match targets.and_then(|targets| Sender::new(targets, kit.clock.clone())) {
        Ok(sender) => sender,
        Err(error) => return tracing::error!("webhooks cannot be delivered: {error:#}"),
    };
    let (store, secrets) = (kit.store.clone(), Secrets::new(&kit));
    let worker = Worker { store, sender, secrets, paces: Paces::default() };
    let mut running = JoinSet::new();
    let mut queued = kit.store.wake().follow_queued();
    loop {
        queued.mark_unchanged();
        while running.try_join_next().is_some() {}
        let pause = match start(&worker, &mut running).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(error = event_store::chain(&error), "the queue of deliveries cannot be read");
                IDLE_POLL
            }
        };
        let full = running.len() >= CONCURRENCY;
        tokio::select! {
            _ = queued.changed(), if !full => {}
            _ = running.join_next(), if full => {}
            () = tokio::time::sleep(pause), if !full => {}
        }
    }
}

/// Starts as many due attempts as there is room for; returns how long to wait for the next.
async fn start(worker: &Worker, running: &mut JoinSet<()>) -> Result<Duration, StoreError> {
    let room = CONCURRENCY - running.len();
    let due = jobs::claim(&worker.store, DELIVER, room as i64, CLAIM, &[]).await?;
    let more = due.len() == room;
    for job in due {
        let worker = worker.clone();
        running.spawn(async move {
            let span = tracing::info_span!(
                "deliver",
                otel.name = "POST webhook",
                otel.kind = "client",
                message.id = job.subject_id
            );
            telemetry::continue_trace(&span, job.traceparent.as_deref());
            let subject_id = job.subject_id;
            if let Err(error) = attempt(&worker, job).instrument(span).await {
                // The claim ends by itself, and the attempt is made again.
                tracing::warn!(
                    message.id = subject_id,
                    error = event_store::chain(&error),
                    "an attempt could not be made or recorded"
                );
            }
        });
    }
    if more {
        return Ok(Duration::ZERO);
    }
    Ok(jobs::next_due_in(&worker.store, DELIVER).await?.unwrap_or(IDLE_POLL).min(IDLE_POLL))
}

async fn attempt(worker: &Worker, mut job: Job) -> Result<(), StoreError> {
    let Worker { store, secrets, paces, .. } = worker;
    let context = Context { traceparent: job.traceparent.clone(), ..Context::mesh(job.tenant()) };
    let mut tx = store.database().tenant(job.tenant()).await?;
    let due = messages::due(&mut tx, job.subject_id).await?;
    tx.commit().await?;
    let Some((due, target_url)) = due.and_then(wanted) else {
        let mut unit = store.begin(context).await?;
        messages::skip(unit.tx(), job.subject_id).await?;
        jobs::finish(unit.tx(), &job).await?;
        return unit.commit().await;
    };
    let place = match paces.enter(job.tenant(), due.webhook_id, store.clock().now()) {
        Ok(place) => place,
        Err(turn) => return put_off(store, &mut job, turn).await,
    };
    let answer = match secrets.open(job.tenant(), due.webhook_id, &due.sealed_secret) {
        Ok(secret) => {
            let answer = send(worker, &mut job, &due, &target_url, &secret).await;
            place.took((answer.ended - answer.began).to_std().unwrap_or_default());
            answer
        }
        // Never without the signature that its receiver was promised.
        Err(error) => {
            tracing::warn!(webhook.id = due.webhook_id, "the secret of a webhook: {error}");
            Answer::not_sent(UNREADABLE_SECRET, store.clock().now())
        }
    };
    drop(place);
    event_store::fail_point!("webhooks.deliver.sent");
    tracing::info!(
        webhook.id = due.webhook_id,
        event = due.event,
        status = answer.status,
        attempt = due.attempts + 1,
        "{} after attempt {}",
        answer.status,
        due.attempts + 1
    );
    // What a delivery says is caused by the event that it told about; a ping tells about none.
    let context = Context { causation: due.sequence.map(|_| due.event_id), ..context };
    // Not Store::transact: its closure would make this future one that cannot move between threads.
    for _ in 1..RECORD_TRIES {
        match record(store, &context, &job, &due, &answer).await {
            Err(error) if error.is_collision() => {}
            outcome => return outcome,
        }
    }
    record(store, &context, &job, &due, &answer).await
}

/// Sends a message, and keeps the claim on it as long as that takes.
async fn send(worker: &Worker, job: &mut Job, due: &Due, target_url: &str, secret: &str) -> Answer {
    let Worker { store, sender, .. } = worker;
    let letter = Letter {
        target_url,
        enable_ssl: due.enable_ssl,
        secret,
        event_id: due.event_id,
        sequence: due.sequence,
        attempt: due.attempts + 1,
        traceparent: telemetry::traceparent().or_else(|| job.traceparent.clone()),
        body: &due.body,
    };
    let mut sending = std::pin::pin!(sender.send(&letter));
    loop {
        match tokio::time::timeout(RENEWAL, &mut sending).await {
            Ok(answer) => return answer,
            // Without it another worker may make the same attempt, which is better than to break this one off.
            Err(_) => {
                if let Err(error) = put_off(store, job, store.clock().now() + CLAIM).await {
                    tracing::warn!(error = event_store::chain(&error), "a claim could not be renewed");
                }
            }
        }
    }
}

/// Lets a claimed job come due again at another time.
async fn put_off(store: &Store, job: &mut Job, due_at: DateTime<Utc>) -> Result<(), StoreError> {
    let mut tx = store.database().tenant(job.tenant()).await?;
    jobs::retry(&mut tx, job, due_at).await?;
    tx.commit().await?;
    job.claimed_until = due_at;
    Ok(())
}

async fn record(
    store: &Store,
    context: &Context,
    job: &Job,
    due: &Due,
    answer: &Answer,
) -> Result<(), StoreError> {
    let mut unit = store.begin(context.clone()).await?;
    match write(&mut unit, job, due, answer).await {
        // Deleted meanwhile: then there is nothing to switch off.
        Ok(()) | Err(ExecuteError::Refused(_)) => unit.commit().await,
        Err(ExecuteError::Store(error)) => Err(error),
    }
}

/// A message that is still to be delivered, with its target. A person who asks for a redelivery gets one
/// attempt even from a webhook that is switched off.
fn wanted(due: Due) -> Option<(Due, String)> {
    let asked_for = due.redelivery && due.attempts == 0;
    if due.ended || !(due.is_active || asked_for) {
        return None;
    }
    due.target_url.clone().map(|target_url| (due, target_url))
}

/// Writes down what came of an attempt and decides what is next.
async fn write(
    unit: &mut Unit,
    job: &Job,
    due: &Due,
    answer: &Answer,
) -> Result<(), ExecuteError<WebhookError>> {
    let attempt = Attempt {
        message_id: due.id,
        webhook_id: due.webhook_id,
        attempt: due.attempts + 1,
        status: answer.status,
        response: answer.response.clone(),
        began: answer.began,
        ended: answer.ended,
    };
    attempts::record(unit, &attempt).await?;
    let (outcome, pause) = next(due.id, attempt.attempt, answer);
    if !messages::advance(unit.tx(), due.id, attempt.attempt, outcome).await? {
        return Ok(());
    }
    if outcome == Some(Outcome::Delivered) {
        delivered(unit, due, attempt.attempt).await?;
    }
    match pause {
        Some(pause) => {
            let pause = TimeDelta::from_std(pause).unwrap_or(TimeDelta::days(1));
            jobs::retry(unit.tx(), job, answer.ended + pause).await?;
        }
        None => jobs::finish(unit.tx(), job).await?,
    }
    if answer.status == GONE {
        let at = unit.store().clock().now();
        let switch_off = UpdateWebhook { is_active: Some(false), at, ..Default::default() };
        unit.execute::<Webhook>(due.webhook_id, WebhookCommand::Update(Box::new(switch_off))).await?;
    }
    Ok(())
}

/// Makes it known that a message has arrived; usage is counted by that.
async fn delivered(unit: &mut Unit, due: &Due, attempts: i32) -> Result<(), StoreError> {
    let delivered =
        Delivered { webhook_id: due.webhook_id, event: due.event.clone(), attempts: i64::from(attempts) };
    match unit.execute::<Message>(due.id, MessageCommand::Deliver(delivered)).await {
        Ok(_) => Ok(()),
        Err(ExecuteError::Refused(never)) => match never.0 {},
        Err(ExecuteError::Store(error)) => Err(error),
    }
}

/// How a message stands after an attempt: ended, or due again after a pause.
fn next(message_id: i64, attempt: i32, answer: &Answer) -> (Option<Outcome>, Option<Duration>) {
    match answer.status {
        200..=299 => (Some(Outcome::Delivered), None),
        status if answer.forbidden || !schedule::is_worth_retrying(status) => (Some(Outcome::Refused), None),
        _ => match schedule::pause(message_id, attempt, answer.retry_after) {
            Some(pause) => (None, Some(pause)),
            None => (Some(Outcome::Exhausted), None),
        },
    }
}
