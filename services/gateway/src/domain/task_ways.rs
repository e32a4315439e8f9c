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
    ways: HashMap<TaskKey, TaskWay>,
    causes: HashMap<Uuid, TaskKey>,
    /// The ids in `causes`, the oldest first.
    order: VecDeque<Uuid>,
    early: VecDeque<(Uuid, DateTime<Utc>)>,
}

impl TaskWays {
    /// Takes in an event; `timed` says that it happened while somebody looked.
    pub fn take(&mut self, envelope: &Envelope, timed: bool) {
        if envelope.event_type == MessageDelivered::TYPE {
            if let Some(cause) = envelope.causationid {
                self.delivered(cause, envelope.time);
            }
            return;
        }
        let Some((key, told)) = told(envelope) else { return };
        let way = self.ways.entry(key).or_insert_with(|| TaskWay::new(key, envelope.time));
        way.take(envelope, told, timed);
        self.remember(envelope.id, key);
        let (known, early): (VecDeque<_>, _) =
            self.early.drain(..).partition(|(cause, _)| *cause == envelope.id);
        self.early = early;
        for (cause, at) in known {
            self.delivered(cause, at);
        }
        if self.ways.len() > KEPT
            && let Some(quiet) = self.ways.values().min_by_key(|way| way.changed)
        {
            let quiet = quiet.key;
            self.ways.remove(&quiet);
        }
    }

    /// Counts a call with the task that it told about.
    fn delivered(&mut self, cause: Uuid, at: DateTime<Utc>) {
        match self.causes.get(&cause) {
            Some(key) => {
                if let Some(way) = self.ways.get_mut(key) {
                    way.calls.add(1, at);
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
    pub fn reach(&mut self, reached: &[Reached<'_>], now: DateTime<Utc>) {
        for way in self.ways.values_mut() {
            way.reach(reached, now);
        }
    }

    /// The ways that began last, the newest last. Left out is what was over before anybody looked and is known in
    /// part only.
    pub fn newest(&self, count: usize) -> Vec<&TaskWay> {
        let worth = |way: &&TaskWay| way.created.is_some() || way.marks.values().any(|mark| mark.timed);
        let mut ways: Vec<_> = self.ways.values().filter(worth).collect();
        ways.sort_by_key(|way| (way.begun, way.key));
        ways.split_off(ways.len().saturating_sub(count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::task_way::tests::{caused, created, event};
    use super::*;
    use contracts::event::Example;
    use contracts::projects::{Task, TaskDeleted};

    fn delivered(position: i64, by: i64) -> Envelope {
        let event = event(
            position,
            50,
            &MessageDelivered { webhook_id: 1, event: "create:task".into(), attempts: 1 },
        );
        caused(by, event)
    }

    fn calls(ways: &TaskWays) -> Vec<i64> {
        ways.newest(100).into_iter().map(|way| way.calls.number).collect()
    }

    #[test]
    fn a_call_is_counted_with_the_task_that_it_told_about_even_when_it_is_read_first() {
        let mut ways = TaskWays::default();
        ways.take(&delivered(1, 7), true);
        ways.take(&created(7, 10, 21), true);
        ways.take(&created(8, 20, 22), true);
        ways.take(&delivered(2, 8), true);
        ways.take(&delivered(3, 8), true);
        ways.take(&delivered(4, 99), true);
        assert_eq!(calls(&ways), [1, 2]);
    }

    #[test]
    fn ways_and_what_is_remembered_for_them_stay_bounded() {
        let mut ways = TaskWays::default();
        for n in 1..=5_000 {
            ways.take(&created(n, n, n), true);
            ways.take(&delivered(n, -n), true);
        }
        assert_eq!((ways.ways.len(), ways.causes.len(), ways.order.len()), (KEPT, CAUSES, CAUSES));
        assert_eq!(ways.early.len(), EARLY);
        let newest: Vec<i64> = ways.newest(3).into_iter().map(|way| way.key.task).collect();
        assert_eq!(newest, [4_998, 4_999, 5_000]);
    }

    #[test]
    fn what_is_left_of_a_way_that_is_over_is_no_way() {
        let mut ways = TaskWays::default();
        let deleted = |position| event(position, 10, &TaskDeleted { task: Task::example() });
        ways.take(&deleted(5), false);
        assert!(calls(&ways).is_empty());
        ways.take(&deleted(6), true);
        assert_eq!(calls(&ways), [0]);
    }
}
