//! What the mesh is doing, kept in memory while somebody looks.
//!
//! [`follow`] reads each service's state and contract log and writes [`Watch`]; [`view`] makes of it what the
//! page shows. Nothing is read when nobody looks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use contracts::Envelope;
use service_kit::start::SERVICES;
use service_kit::status::{ConsumerStatus as Consumer, Status};
use tokio::sync::watch;

use crate::domain::task_way::Reached;
use crate::domain::task_ways::TaskWays;

pub mod event_view;
pub mod follow;
pub mod picture;
pub mod view;
pub mod way_view;

/// Events that are kept.
pub const KEPT: usize = 200;

/// What all viewers of one gateway share.
pub struct Watch {
    viewers: watch::Sender<usize>,
    changed: watch::Sender<u64>,
    seen: Mutex<Seen>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { viewers: watch::Sender::new(0), changed: watch::Sender::new(0), seen: Mutex::default() }
    }
}

/// Everything that was seen.
#[derive(Default)]
pub struct Seen {
    /// Counts changes; each part remembers the count of its last one.
    pub serial: u64,
    /// Serial of the last change of a service.
    pub mesh_serial: u64,
    pub services: BTreeMap<&'static str, Look>,
    /// The newest last.
    pub events: VecDeque<Passing>,
    /// The same events and earlier ones, task by task.
    pub ways: TaskWays,
}

/// What the last look at a service showed.
#[derive(Clone, Debug)]
pub enum Look {
    Here(Box<Status>),
    /// It did not answer, for this reason.
    Away(String),
}

impl Look {
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Here(status) => Some(status),
            Self::Away(_) => None,
        }
    }
}

/// An event on its way through the mesh.
pub struct Passing {
    pub serial: u64,
    pub envelope: Envelope,
    /// Whether it happened while somebody looked, so that its way was timed.
    pub timed: bool,
    /// The consumers that have it, with the milliseconds from the command to the moment when that was seen.
    pub taken: BTreeMap<String, Option<i64>>,
}

/// Services with a log of their own.
pub fn publishers() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().copied().filter(|service| *service != "gateway")
}

/// Somebody who looks, until dropped.
pub struct Viewer {
    watch: Arc<Watch>,
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.watch.viewers.send_modify(|count| *count -= 1);
    }
}

impl Watch {
    /// Looks, from now on.
    pub fn look(self: &Arc<Self>) -> Viewer {
        self.viewers.send_modify(|count| *count += 1);
        Viewer { watch: self.clone() }
    }

    /// Follows changes.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// What was seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a look at a service.
    pub fn note(&self, service: &'static str, look: Look, now: DateTime<Utc>) {
        let mut seen = self.seen();
        seen.serial += 1;
        seen.mesh_serial = seen.serial;
        seen.services.insert(service, look);
        seen.mark_taken(now);
        self.announce(seen);
    }

    /// Notes new events of one log.
    pub fn pass(&self, events: Vec<Envelope>, timed: bool, now: DateTime<Utc>) {
        let mut seen = self.seen();
        seen.serial += 1;
        let serial = seen.serial;
        for envelope in events {
            seen.ways.take(&envelope, timed);
            // Histories of several logs arrive one after the other; together they are shown by time.
            let place = seen.events.iter().rposition(|other| timed || other.envelope.time <= envelope.time);
            let passing = Passing { serial, envelope, timed, taken: BTreeMap::new() };
            seen.events.insert(place.map_or(0, |index| index + 1), passing);
        }
        while seen.events.len() > KEPT {
            seen.events.pop_front();
        }
        seen.mark_taken(now);
        self.announce(seen);
    }

    /// Forgets everything, before a new beginning.
    fn forget(&self) {
        let mut seen = self.seen();
        seen.events.clear();
        seen.services.clear();
        seen.ways = TaskWays::default();
    }

    fn announce(&self, seen: MutexGuard<'_, Seen>) {
        let serial = seen.serial;
        drop(seen);
        self.changed.send_replace(serial);
    }
}

impl Seen {
    /// Marks which consumers are past which events.
    fn mark_taken(&mut self, now: DateTime<Utc>) {
        let serial = self.serial;
        let consumers: Vec<_> =
            self.services.values().filter_map(Look::status).flat_map(|s| &s.consumers).collect();
        for passing in &mut self.events {
            for consumer in &consumers {
                let past = consumer.source == passing.envelope.service()
                    && consumer.position >= passing.envelope.position
                    && !passing.taken.contains_key(&consumer.name);
                if past {
                    let took = (now - passing.envelope.time).num_milliseconds().max(0);
                    passing.taken.insert(consumer.name.clone(), passing.timed.then_some(took));
                    passing.serial = serial;
                }
            }
        }
        let statuses =
            self.services.iter().filter_map(|(service, look)| Some((*service, &look.status()?.consumers)));
        let reached: Vec<_> = statuses
            .flat_map(|(service, consumers)| {
                consumers.iter().map(move |Consumer { source, position, .. }| Reached {
                    service,
                    source,
                    position: *position,
                })
            })
            .collect();
        self.ways.reach(&reached, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_kit::status::ConsumerStatus;

    pub fn envelope(position: i64, at_ms: i64) -> Envelope {
        let json = serde_json::json!({
            "specversion": "1.0", "id": format!("00000000-0000-7000-8000-{position:012}"),
            "source": "/mesh/projects", "type": "projects.project_created.v1", "subject": "project/42",
            "time": DateTime::from_timestamp_millis(at_ms).unwrap(), "datacontenttype": "application/json",
            "dataschema": "/schemas/projects.project_created.v1.json",
            "tenantid": "00000000-0000-0000-0000-000000000001", "streamversion": 1, "position": position,
            "partitionkey": "t/project/42", "correlationid": "00000000-0000-0000-0000-000000000002", "data": {},
        });
        serde_json::from_str(&json.to_string()).unwrap()
    }

    pub fn status(service: &str, head: i64, position: i64) -> Status {
        let consumer = ConsumerStatus { name: format!("{service}.x@1"), source: "projects".into(), position };
        Status {
            service: service.into(),
            ready: true,
            head,
            pending: 0,
            published: None,
            consumers: vec![consumer],
            parked: vec![],
            projections: vec![],
            changes: 0,
        }
    }

    #[test]
    fn an_event_is_timed_on_its_way_to_each_consumer() {
        let watch = Watch::default();
        let at = |ms| DateTime::from_timestamp_millis(ms).unwrap();
        watch.pass(vec![envelope(7, 1_000)], true, at(1_004));
        watch.note("webhooks", Look::Here(Box::new(status("webhooks", 0, 6))), at(1_005));
        assert!(watch.seen().events[0].taken.is_empty());
        watch.note("webhooks", Look::Here(Box::new(status("webhooks", 0, 7))), at(1_012));
        watch.note("webhooks", Look::Here(Box::new(status("webhooks", 0, 9))), at(1_900));
        assert_eq!(watch.seen().events[0].taken, BTreeMap::from([("webhooks.x@1".to_owned(), Some(12))]));
    }

    #[test]
    fn histories_are_merged_by_time_and_not_timed() {
        let watch = Watch::default();
        let at = |ms| DateTime::from_timestamp_millis(ms).unwrap();
        watch.note("webhooks", Look::Here(Box::new(status("webhooks", 0, 9))), at(5_000));
        watch.pass(vec![envelope(1, 1_000), envelope(2, 3_000)], false, at(5_000));
        watch.pass(vec![envelope(3, 2_000)], false, at(5_000));
        let seen = watch.seen();
        assert_eq!(seen.events.iter().map(|event| event.envelope.position).collect::<Vec<_>>(), [1, 3, 2]);
        assert!(seen.events.iter().all(|event| event.taken.values().all(Option::is_none)));
    }

    #[test]
    fn only_the_newest_are_kept_and_viewers_are_counted() {
        let watch = Arc::new(Watch::default());
        watch.pass((1..=KEPT as i64 + 5).map(|n| envelope(n, n)).collect(), true, DateTime::UNIX_EPOCH);
        assert_eq!(watch.seen().events.len(), KEPT);
        let viewer = watch.look();
        assert_eq!(*watch.viewers.borrow(), 1);
        drop(viewer);
        assert_eq!(*watch.viewers.borrow(), 0);
    }
}
