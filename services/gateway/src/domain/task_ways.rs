//! The ways of the tasks that were heard of last; never more than so many, however much happens.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use contracts::webhooks::MessageDelivered;
use contracts::{ContractEvent, Envelope};
use uuid::Uuid;

use super::task_way::{Reached, TaskKey, TaskWay, told};

/// Ways that are kept; beyond, the one that was quiet for longest is forgotten.
const KEPT: usize = 60;
/// Events whose task is remembered, because what they cause names them as its cause.
const CAUSES: usize = 4_096;
/// Calls that are remembered until the event that they tell about has been read from its own log.
const EARLY: usize = 512;

/// All ways.
#[derive(Default)]
pub struct TaskWays {
    ways: HashMap<TaskKey, Kept>,
    causes: HashMap<Uuid, TaskKey>,
    /// The ids in `causes`, the oldest first.
    order: VecDeque<Uuid>,
    early: VecDeque<(Uuid, DateTime<Utc>)>,
}

struct Kept {
    way: TaskWay,
    serial: u64,
}

impl TaskWays {
    /// Takes in an event; `serial` marks the ways that change by it.
    pub fn take(&mut self, envelope: &Envelope, timed: bool, serial: u64) {
        if envelope.event_type == MessageDelivered::TYPE {
            if let Some(cause) = envelope.causationid {
                self.delivered(cause, envelope.time, serial);
            }
            return;
        }
        let Some((key, told)) = told(envelope) else { return };
        let new = || Kept { way: TaskWay::new(key, envelope.time), serial };
        let kept = self.ways.entry(key).or_insert_with(new);
        kept.way.take(envelope, told, timed);
        kept.serial = serial;
        self.remember(envelope.id, key);
        let (known, early): (VecDeque<_>, _) =
            self.early.drain(..).partition(|(cause, _)| *cause == envelope.id);
        self.early = early;
        for (cause, at) in known {
            self.delivered(cause, at, serial);
        }
        if self.ways.len() > KEPT
            && let Some(quiet) = self.ways.values().min_by_key(|kept| kept.way.changed)
        {
            let quiet = quiet.way.key;
            self.ways.remove(&quiet);
        }
    }

    /// Counts a call with the task that it told about.
    fn delivered(&mut self, cause: Uuid, at: DateTime<Utc>, serial: u64) {
        match self.causes.get(&cause) {
            Some(key) => {
                if let Some(kept) = self.ways.get_mut(key) {
                    kept.way.calls.add(1, at);
                    kept.serial = serial;
                }
            }
            None => {
                self.early.push_back((cause, at));
                self.early.drain(..self.early.len().saturating_sub(EARLY));
            }
        }
    }

    fn remember(&mut self, event: Uuid, key: TaskKey) {
        if self.causes.insert(event, key).is_none() {
            self.order.push_back(event);
        }
        while self.order.len() > CAUSES {
            if let Some(oldest) = self.order.pop_front() {
                self.causes.remove(&oldest);
            }
        }
    }

    /// Notes how far everybody is.
    pub fn reach(&mut self, reached: &[Reached<'_>], now: DateTime<Utc>, serial: u64) {
        for kept in self.ways.values_mut() {
            if kept.way.reach(reached, now) {
                kept.serial = serial;
            }
        }
    }

    /// The ways that began last, the newest last, with the serial of their last change.
    pub fn newest(&self, count: usize) -> Vec<(&TaskWay, u64)> {
        let mut ways: Vec<_> = self.ways.values().map(|kept| (&kept.way, kept.serial)).collect();
        ways.sort_by_key(|(way, _)| (way.begun, way.key));
        ways.split_off(ways.len().saturating_sub(count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::task_way::tests::{at, caused, created, event};
    use super::*;

    fn delivered(position: i64, by: i64) -> Envelope {
        let event = event(
            position,
            50,
            &MessageDelivered { webhook_id: 1, event: "create:task".into(), attempts: 1 },
        );
        caused(by, event)
    }

    fn calls(ways: &TaskWays) -> Vec<i64> {
        ways.newest(100).into_iter().map(|(way, _)| way.calls.number).collect()
    }

    #[test]
    fn a_call_is_counted_with_the_task_that_it_told_about_even_when_it_is_read_first() {
        let mut ways = TaskWays::default();
        ways.take(&delivered(1, 7), true, 1);
        ways.take(&created(7, 10, 21), true, 2);
        ways.take(&created(8, 20, 22), true, 3);
        ways.take(&delivered(2, 8), true, 4);
        ways.take(&delivered(3, 8), true, 5);
        ways.take(&delivered(4, 99), true, 6);
        assert_eq!(calls(&ways), [1, 2]);
        let serials: Vec<u64> = ways.newest(100).into_iter().map(|(_, serial)| serial).collect();
        assert_eq!(serials, [2, 5]);
    }

    #[test]
    fn ways_and_what_is_remembered_for_them_stay_bounded() {
        let mut ways = TaskWays::default();
        for n in 1..=10_000 {
            ways.take(&created(n, n, n), true, 1);
            ways.take(&delivered(n, -n), true, 1);
        }
        assert_eq!((ways.ways.len(), ways.causes.len(), ways.order.len()), (KEPT, CAUSES, CAUSES));
        assert_eq!(ways.early.len(), EARLY);
        let newest: Vec<i64> = ways.newest(3).into_iter().map(|(way, _)| way.key.task).collect();
        assert_eq!(newest, [9_998, 9_999, 10_000]);
    }

    #[test]
    fn only_ways_that_a_reader_moves_on_change() {
        let mut ways = TaskWays::default();
        ways.take(&created(1, 10, 21), true, 1);
        ways.take(&created(2, 20, 22), true, 2);
        let reached = |position| Reached { service: "billing", source: "projects", position };
        ways.reach(&[reached(1)], at(30), 3);
        ways.reach(&[reached(2)], at(40), 4);
        let serials: Vec<u64> = ways.newest(9).into_iter().map(|(_, serial)| serial).collect();
        assert_eq!(serials, [3, 4]);
    }
}
