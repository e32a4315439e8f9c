//! What the polling thread and the consumer's task have in common: which partitions are owned, batches on
//! their way to the task, commands on their way back.
//!
//! Neither side ever waits for the other without a bound: the thread must go on polling or the group puts it
//! out, and the task must not block its runtime. A partition has an epoch, which rises whenever it is assigned or
//! its reading begins elsewhere; records of an old epoch are thrown away.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contracts::Envelope;
use tokio::sync::Notify;

use super::poll_thread::PollError;
use crate::headers::RecordError;

/// A partition: the number of its topic among the consumer's sources, and its number there.
pub(super) type Part = (usize, i32);
/// See the module.
pub(super) type Epoch = u64;

/// Batches that may wait for the task, beside the one that the thread is filling.
const WAITING_BATCHES: usize = 2;

/// One record, read but not looked at.
pub(super) struct Record {
    pub part: Part,
    pub epoch: Epoch,
    pub offset: i64,
    pub event: Result<Envelope, RecordError>,
}

/// What the task hears from the thread.
pub(super) enum Heard {
    /// These partitions are ours now, and stand still until a [`Command::Read`].
    Assigned(Vec<(Part, Epoch)>),
    Batch(Vec<Record>),
    /// The thread has ended.
    Ended(PollError),
}

/// What the task tells the thread.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// Read a partition from an offset on.
    Read { part: Part, offset: i64, epoch: Epoch },
    /// Leave a partition alone until the next [`Command::Read`].
    Hold { part: Part },
    /// Tell Kafka how far we are, for its tools; nothing of ours looks at it.
    Commit { part: Part, offset: i64 },
}

#[derive(Default)]
struct State {
    owned: HashMap<Part, Epoch>,
    last_epoch: Epoch,
    assigned: Vec<(Part, Epoch)>,
    batches: VecDeque<Vec<Record>>,
    commands: Vec<Command>,
    /// Partitions of which something is being written to the database just now.
    busy: Vec<Part>,
    /// The task is gone.
    stopped: bool,
    /// The thread is gone, and why, until the task has heard it.
    ended: Option<PollError>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Link {
    state: Mutex<State>,
    /// Wakes the task.
    news: Notify,
    /// Wakes the thread.
    changed: Condvar,
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the thread: whether the task is gone.
    pub(super) fn stopped(&self) -> bool {
        self.state().stopped
    }

    /// For the thread: partitions were assigned to us.
    pub(super) fn assigned(&self, parts: &[Part]) {
        let mut state = self.state();
        for part in parts {
            state.last_epoch += 1;
            let epoch = state.last_epoch;
            state.owned.insert(*part, epoch);
            state.assigned.push((*part, epoch));
        }
        drop(state);
        self.news.notify_one();
    }

    /// For the thread: partitions are taken from us. Returns when nothing of theirs is being written any more, or after
    /// `limit`. What is written later is fenced by the place's compare-and-swap.
    pub(super) fn revoked(&self, parts: &[Part], limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        for part in parts {
            state.owned.remove(part);
        }
        state.assigned.retain(|(part, _)| !parts.contains(part));
        while !state.stopped && state.busy.iter().any(|part| parts.contains(part)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!("partitions were given up while something of theirs was being written");
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// For the thread: hands a batch to the task. Gives it back when the task has not made room within `limit`.
    pub(super) fn offer(&self, batch: Vec<Record>, limit: Duration) -> Result<(), Vec<Record>> {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        while state.batches.len() >= WAITING_BATCHES && !state.stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(batch);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.batches.push_back(batch);
        drop(state);
        self.news.notify_one();
        Ok(())
    }

    /// For the thread: whether the task has nothing left to take, so that even a small batch is better than none.
    pub(super) fn hungry(&self) -> bool {
        self.state().batches.is_empty()
    }

    /// For the thread: what it was told since it last asked.
    pub(super) fn commands(&self) -> Vec<Command> {
        std::mem::take(&mut self.state().commands)
    }

    /// For the thread: it has ended.
    pub(super) fn ended(&self, why: PollError) {
        self.state().ended.get_or_insert(why);
        self.news.notify_one();
    }

    /// The next news; batches only when they are wanted.
    pub(super) async fn next(&self, batches: bool) -> Heard {
        loop {
            if let Some(heard) = self.try_next(batches) {
                return heard;
            }
            self.news.notified().await;
        }
    }

    fn try_next(&self, batches: bool) -> Option<Heard> {
        let mut state = self.state();
        if let Some(why) = state.ended.take() {
            return Some(Heard::Ended(why));
        }
        if !state.assigned.is_empty() {
            return Some(Heard::Assigned(std::mem::take(&mut state.assigned)));
        }
        if !batches {
            return None;
        }
        let batch = state.batches.pop_front()?;
        self.changed.notify_all();
        Some(Heard::Batch(batch))
    }

    /// Whether a partition is still ours, and has not begun elsewhere since.
    pub(super) fn owns(&self, part: Part, epoch: Epoch) -> bool {
        self.state().owned.get(&part) == Some(&epoch)
    }

    /// Lets a partition be read from `offset` on, in a new epoch; `None` when it is no longer ours.
    pub(super) fn read(&self, part: Part, epoch: Epoch, offset: i64) -> Option<Epoch> {
        self.renew(part, epoch, |epoch| Command::Read { part, offset, epoch })
    }

    /// Lets a partition stand still, in a new epoch; `None` when it is no longer ours.
    pub(super) fn hold(&self, part: Part, epoch: Epoch) -> Option<Epoch> {
        self.renew(part, epoch, |_| Command::Hold { part })
    }

    fn renew(&self, part: Part, epoch: Epoch, command: impl FnOnce(Epoch) -> Command) -> Option<Epoch> {
        let mut state = self.state();
        if state.owned.get(&part) != Some(&epoch) {
            return None;
        }
        state.last_epoch += 1;
        let epoch = state.last_epoch;
        state.owned.insert(part, epoch);
        state.commands.push(command(epoch));
        Some(epoch)
    }

    /// Lets Kafka know how far a partition is.
    pub(super) fn commit(&self, part: Part, offset: i64) {
        self.state().commands.push(Command::Commit { part, offset });
    }

    /// Marks the partitions that are still owned as being written to, until the guard is dropped. `parts`
    /// keeps only those.
    pub(super) fn enter<T>(&self, parts: &mut Vec<T>, name: impl Fn(&T) -> (Part, Epoch)) -> Busy<'_> {
        let mut state = self.state();
        parts.retain(|part| {
            let (part, epoch) = name(part);
            state.owned.get(&part) == Some(&epoch)
        });
        let parts: Vec<Part> = parts.iter().map(|part| name(part).0).collect();
        state.busy.extend(&parts);
        Busy { link: self, parts }
    }

    /// The task is gone: the thread closes its consumer and ends.
    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }
}

/// While it lives, a revocation of its partitions waits.
pub(super) struct Busy<'a> {
    link: &'a Link,
    parts: Vec<Part>,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = self.link.state();
        for part in &self.parts {
            if let Some(index) = state.busy.iter().position(|busy| busy == part) {
                state.busy.swap_remove(index);
            }
        }
        drop(state);
        self.link.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const PART: Part = (0, 3);
    const LONG: Duration = Duration::from_secs(5);

    async fn assigned(link: &Link) -> Epoch {
        link.assigned(&[PART]);
        match link.next(true).await {
            Heard::Assigned(parts) => parts[0].1,
            _ => panic!("an assignment is heard first"),
        }
    }

    #[tokio::test]
    async fn giving_up_waits_until_nothing_is_being_written() {
        let link = Arc::new(Link::default());
        let epoch = assigned(&link).await;
        let busy = link.enter(&mut vec![(PART, epoch)], |part| *part);
        let revoking = std::thread::spawn({
            let link = link.clone();
            move || link.revoked(&[PART], LONG)
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!revoking.is_finished() && !link.owns(PART, epoch));
        drop(busy);
        revoking.join().unwrap();
        let mut late = vec![(PART, epoch)];
        drop(link.enter(&mut late, |part| *part));
        assert!(late.is_empty(), "what is not ours any more is not begun");
    }

    #[tokio::test]
    async fn giving_up_has_a_limit_and_ends_at_once_when_the_task_is_gone() {
        let link = Link::default();
        let epoch = assigned(&link).await;
        let _busy = link.enter(&mut vec![(PART, epoch)], |part| *part);
        link.revoked(&[PART], Duration::from_millis(20));
        link.stop();
        let began = Instant::now();
        link.revoked(&[PART], LONG);
        assert!(began.elapsed() < LONG);
    }

    #[test]
    fn a_batch_for_which_there_is_no_room_comes_back() {
        let link = Link::default();
        let batch = || vec![Record { part: PART, epoch: 1, offset: 0, event: Err(RecordError::NoValue) }];
        for _ in 0..WAITING_BATCHES {
            assert!(link.offer(batch(), Duration::ZERO).is_ok());
        }
        assert_eq!(link.offer(batch(), Duration::from_millis(5)).unwrap_err().len(), 1);
        assert!(link.try_next(false).is_none(), "batches are heard only when they are wanted");
        assert!(matches!(link.try_next(true), Some(Heard::Batch(_))));
        assert!(link.offer(batch(), Duration::ZERO).is_ok());
    }

    #[tokio::test]
    async fn only_the_newest_epoch_commands() {
        let link = Link::default();
        let old = assigned(&link).await;
        let new = link.hold(PART, old).unwrap();
        assert_eq!(link.read(PART, old, 5), None);
        let reading = link.read(PART, new, 5).unwrap();
        assert!(link.owns(PART, reading) && !link.owns(PART, new));
        assert_eq!(link.commands().len(), 2);
        link.revoked(&[PART], Duration::ZERO);
        assert_eq!(link.hold(PART, reading), None);
    }
}
