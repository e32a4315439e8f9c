//! A task's way through the mesh, as its events tell it: created, its data sent, looked at and ready or refused, cut
//! into jobs, marked, completed; and who has taken notice.
//!
//! Logs are read one by one, so events of different logs come in any order: each tells of its own step, and a step
//! is placed by the time of its event.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contracts::media::{TaskDataFailed, TaskDataPrepared, TaskDataProgressed, TaskDataSubmitted};
use contracts::projects::{
    AnnotationsChanged, JobCreated, JobDeleted, JobUpdated, RequestCancelled, TaskCreated, TaskDeleted,
    TaskUpdated,
};
use contracts::{ContractEvent, Envelope, TenantId};
use serde::de::DeserializeOwned;

/// Whose way it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskKey {
    pub tenant: TenantId,
    pub task: i64,
}

/// What an event says about a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Created {
        name: String,
    },
    Submitted,
    Progressed {
        done: i64,
        total: i64,
    },
    Prepared {
        frames: i64,
        bytes: i64,
    },
    Failed {
        message: String,
    },
    Cancelled,
    /// The task changed; with its data attached, its request is finished.
    Updated {
        name: String,
        attached: bool,
    },
    JobCreated,
    /// A job was completed (1), or is not any more (-1), or neither.
    JobUpdated {
        completed: i64,
    },
    /// A job is gone; how many there were, and were completed, stays true.
    JobDeleted,
    /// Objects that were marked, less those that were taken away.
    Annotated {
        objects: i64,
    },
    Deleted,
}

/// The task that an event is about and what it says; `None` for an event of something else.
pub fn told(envelope: &Envelope) -> Option<(TaskKey, Told)> {
    let (task, told) = match envelope.event_type.as_str() {
        TaskCreated::TYPE => {
            let TaskCreated { task } = data(envelope)?;
            (task.id, Told::Created { name: task.name })
        }
        TaskUpdated::TYPE => {
            let TaskUpdated { task, .. } = data(envelope)?;
            // What people change has no cause among the events; the data comes from media's.
            let attached = task.data.is_some() && envelope.causationid.is_some();
            (task.id, Told::Updated { name: task.name, attached })
        }
        TaskDeleted::TYPE => (data::<TaskDeleted>(envelope)?.task.id, Told::Deleted),
        TaskDataSubmitted::TYPE => (data::<TaskDataSubmitted>(envelope)?.task_id, Told::Submitted),
        TaskDataProgressed::TYPE => {
            let TaskDataProgressed { task_id, done, total, .. } = data(envelope)?;
            (task_id, Told::Progressed { done, total })
        }
        TaskDataPrepared::TYPE => {
            let TaskDataPrepared { data, .. } = data(envelope)?;
            (data.task_id, Told::Prepared { frames: data.size, bytes: data.bytes })
        }
        TaskDataFailed::TYPE => {
            let TaskDataFailed { task_id, message, .. } = data(envelope)?;
            (task_id, Told::Failed { message })
        }
        RequestCancelled::TYPE => (data::<RequestCancelled>(envelope)?.task_id?, Told::Cancelled),
        JobCreated::TYPE => (data::<JobCreated>(envelope)?.job.task_id, Told::JobCreated),
        JobUpdated::TYPE => {
            let JobUpdated { job, before_update } = data(envelope)?;
            let is = i64::from(job.state == COMPLETED);
            let was = match before_update.get("state") {
                Some(state) => i64::from(state == COMPLETED),
                None => is,
            };
            (job.task_id, Told::JobUpdated { completed: is - was })
        }
        JobDeleted::TYPE => (data::<JobDeleted>(envelope)?.job.task_id, Told::JobDeleted),
        AnnotationsChanged::TYPE => {
            let AnnotationsChanged { task_id, created, deleted, .. } = data(envelope)?;
            let made = created.tags + created.shapes + created.tracks;
            let gone = deleted.tags + deleted.shapes + deleted.tracks;
            (task_id, Told::Annotated { objects: made - gone })
        }
        _ => return None,
    };
    Some((TaskKey { tenant: envelope.tenantid, task }, told))
}

const COMPLETED: &str = "completed";

fn data<E: DeserializeOwned>(envelope: &Envelope) -> Option<E> {
    serde_json::from_str(envelope.data.get()).ok()
}

/// A way, as far as it was seen.
#[derive(Clone, Debug)]
pub struct TaskWay {
    pub key: TaskKey,
    /// The task's name, once an event has said it.
    pub name: String,
    /// Time of its first event.
    pub begun: DateTime<Utc>,
    /// Time of its last event.
    pub changed: DateTime<Utc>,
    pub created: Option<DateTime<Utc>>,
    /// When the data of the last import was sent.
    pub submitted: Option<DateTime<Utc>>,
    /// Pictures that were looked at, of how many, and when.
    pub progress: Option<(i64, i64, DateTime<Utc>)>,
    /// Frames and bytes of the data, and when they were ready.
    pub prepared: Option<(i64, i64, DateTime<Utc>)>,
    /// Why the import failed, and when.
    pub failed: Option<(String, DateTime<Utc>)>,
    pub cancelled: Option<DateTime<Utc>>,
    /// When the jobs were there and the request was finished.
    pub finished: Option<DateTime<Utc>>,
    pub jobs: i64,
    pub completed: Count,
    pub objects: Count,
    /// Calls that subscribers have taken.
    pub calls: Count,
    pub deleted: Option<DateTime<Utc>>,
    /// Its newest event in each log.
    pub marks: BTreeMap<String, Mark>,
    /// Services that follow those logs and do nothing to the task themselves.
    pub readers: BTreeMap<&'static str, Reader>,
}

/// How many there are, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    pub number: i64,
    pub at: Option<DateTime<Utc>>,
}

impl Count {
    /// Counts more, or less.
    pub fn add(&mut self, number: i64, at: DateTime<Utc>) {
        self.number += number;
        self.at = self.at.max(Some(at));
    }
}

/// An event's place in its log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    pub position: i64,
    pub time: DateTime<Utc>,
    /// Whether it happened while somebody looked.
    pub timed: bool,
}

/// How far a reader is with a way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reader {
    /// It has not taken this event yet.
    Behind(Mark),
    /// It has everything; after so many milliseconds, if they were measured.
    Taken(Option<i64>),
}

/// How far one consumer is in one log.
pub struct Reached<'a> {
    pub service: &'static str,
    pub source: &'a str,
    pub position: i64,
}

/// Services whose events are a way; everybody else only reads.
const ACTORS: [&str; 2] = ["projects", "media"];

impl TaskWay {
    /// A way that begins with an event of this time.
    pub fn new(key: TaskKey, at: DateTime<Utc>) -> Self {
        Self {
            key,
            name: String::new(),
            begun: at,
            changed: at,
            created: None,
            submitted: None,
            progress: None,
            prepared: None,
            failed: None,
            cancelled: None,
            finished: None,
            jobs: 0,
            completed: Count::default(),
            objects: Count::default(),
            calls: Count::default(),
            deleted: None,
            marks: BTreeMap::new(),
            readers: BTreeMap::new(),
        }
    }

    /// Takes in what an event tells.
    pub fn take(&mut self, envelope: &Envelope, told: Told, timed: bool) {
        let at = envelope.time;
        self.begun = self.begun.min(at);
        self.changed = self.changed.max(at);
        let mark = Mark { position: envelope.position, time: at, timed };
        let newest = self.marks.entry(envelope.service().to_owned()).or_insert(mark);
        if newest.position < mark.position {
            *newest = mark;
        }
        match told {
            Told::Created { name } => {
                self.created = Some(at);
                if self.name.is_empty() {
                    self.name = name;
                }
            }
            Told::Submitted if self.submitted < Some(at) => self.begin_import(at),
            Told::Submitted => {}
            Told::Progressed { done, total } => self.progress = Some((done, total, at)),
            Told::Prepared { frames, bytes } => self.prepared = Some((frames, bytes, at)),
            Told::Failed { message } => self.failed = Some((message, at)),
            Told::Cancelled => self.cancelled = Some(at),
            Told::Updated { name, attached } => {
                self.name = name;
                if attached && self.finished.is_none() {
                    self.finished = Some(at);
                }
            }
            Told::JobCreated => self.jobs += 1,
            Told::JobUpdated { completed: 0 } | Told::JobDeleted => {}
            Told::JobUpdated { completed } => self.completed.add(completed, at),
            Told::Annotated { objects } => self.objects.add(objects, at),
            Told::Deleted => self.deleted = Some(at),
        }
    }

    /// Forgets an earlier import, which failed; what is later is of the new one.
    fn begin_import(&mut self, at: DateTime<Utc>) {
        self.submitted = Some(at);
        self.progress = self.progress.take_if(|(.., time)| *time >= at);
        self.prepared = self.prepared.take_if(|(.., time)| *time >= at);
        self.failed = self.failed.take_if(|(_, time)| *time >= at);
        self.cancelled = self.cancelled.take_if(|time| *time >= at);
    }

    /// Notes how far everybody is.
    pub fn reach(&mut self, reached: &[Reached<'_>], now: DateTime<Utc>) {
        let mut waits: BTreeMap<&'static str, Option<Mark>> = BTreeMap::new();
        for Reached { service, source, position } in reached {
            let Some(mark) = self.marks.get(*source).filter(|_| !ACTORS.contains(service)) else { continue };
            let waits_for = waits.entry(service).or_default();
            if *position < mark.position && waits_for.is_none_or(|other| other.time < mark.time) {
                *waits_for = Some(*mark);
            }
        }
        let newest = self.marks.values().max_by_key(|mark| mark.time).copied();
        for (service, waits_for) in waits {
            let taken = |mark: Mark| Reader::Taken(mark.timed.then(|| took(mark.time, now)));
            let reader = match (waits_for, self.readers.get(service)) {
                (Some(mark), _) => Reader::Behind(mark),
                (None, Some(Reader::Behind(mark))) => taken(*mark),
                (None, Some(before)) => *before,
                (None, None) => newest.map_or(Reader::Taken(None), taken),
            };
            self.readers.insert(service, reader);
        }
    }
}

fn took(began: DateTime<Utc>, ended: DateTime<Utc>) -> i64 {
    (ended - began).num_milliseconds().max(0)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use contracts::event::Example;
    use contracts::media::TaskData;
    use contracts::projects::{AnnotationCounts, Job, Task};
    use serde_json::{Map, Value, json};
    use uuid::Uuid;

    pub fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(ms).unwrap()
    }

    /// An event of tenant 1; its id is its position.
    pub fn event<E: ContractEvent>(position: i64, ms: i64, data: &E) -> Envelope {
        let json = json!({
            "specversion": "1.0", "id": Uuid::from_u128(position as u128), "source": format!("/mesh/{}", E::SERVICE),
            "type": E::TYPE, "subject": format!("{}/21", E::KIND), "time": at(ms),
            "datacontenttype": "application/json", "dataschema": "/schemas/x.json",
            "tenantid": Uuid::from_u128(1), "streamversion": 1, "position": position,
            "partitionkey": "t/task/21", "correlationid": Uuid::from_u128(2), "data": data,
        });
        serde_json::from_str(&json.to_string()).unwrap()
    }

    pub fn caused(by: i64, event: Envelope) -> Envelope {
        Envelope { causationid: Some(Uuid::from_u128(by as u128)), ..event }
    }

    pub fn created(position: i64, ms: i64, task: i64) -> Envelope {
        event(position, ms, &TaskCreated { task: Task { id: task, ..Task::example() } })
    }

    fn submitted(position: i64, ms: i64) -> Envelope {
        event(position, ms, &TaskDataSubmitted { task_id: 21, request_id: "r".into() })
    }

    fn failed(position: i64, ms: i64) -> Envelope {
        let message = "cat.jpg is not a picture.".to_owned();
        event(position, ms, &TaskDataFailed { task_id: 21, request_id: "r".into(), message })
    }

    fn prepared(position: i64, ms: i64) -> Envelope {
        event(position, ms, &TaskDataPrepared { request_id: "r".into(), data: TaskData::example() })
    }

    fn job(position: i64, ms: i64, state: &str, before: Option<&str>) -> Envelope {
        let job = Job { state: state.into(), ..Job::example() };
        match before {
            None => event(position, ms, &JobCreated { job }),
            Some(before) => {
                let before_update = Map::from_iter([("state".to_owned(), Value::from(before))]);
                event(position, ms, &JobUpdated { job, before_update })
            }
        }
    }

    fn attached(position: i64, ms: i64) -> Envelope {
        let updated = TaskUpdated { task: Task::example(), before_update: Map::new() };
        caused(9, event(position, ms, &updated))
    }

    fn marked(position: i64, ms: i64, made: i64, gone: i64) -> Envelope {
        let counts = |shapes| AnnotationCounts { shapes, ..AnnotationCounts::default() };
        let changed = AnnotationsChanged {
            job_id: 33,
            task_id: 21,
            project_id: None,
            action: "create".into(),
            created: counts(made),
            deleted: counts(gone),
            total: counts(made - gone),
        };
        event(position, ms, &changed)
    }

    fn way(events: &[Envelope]) -> TaskWay {
        let (key, _) = told(&events[0]).unwrap();
        let mut way = TaskWay::new(key, events[0].time);
        for event in events {
            let (of, told) = told(event).unwrap();
            assert_eq!(of, key);
            way.take(event, told, true);
        }
        way
    }

    fn whole() -> Vec<Envelope> {
        vec![
            created(1, 1_000, 21),
            submitted(1, 1_100),
            prepared(2, 1_400),
            attached(2, 1_410),
            job(3, 1_410, "new", None),
            job(4, 1_410, "new", None),
            marked(5, 2_000, 12, 0),
            marked(6, 2_050, 0, 2),
            job(7, 2_100, "completed", Some("in progress")),
            job(8, 2_200, "completed", Some("in progress")),
            job(9, 2_300, "new", Some("completed")),
        ]
    }

    #[test]
    fn a_way_is_the_same_in_whatever_order_the_logs_are_read() {
        let mut events = whole();
        for turn in 0..events.len() {
            events.rotate_left(1);
            if turn % 2 == 0 {
                events.reverse();
            }
            let way = way(&events);
            assert_eq!(
                (way.begun, way.created, way.submitted),
                (at(1_000), Some(at(1_000)), Some(at(1_100)))
            );
            assert_eq!(way.prepared, Some((250, 61_000_000, at(1_400))));
            assert_eq!((way.finished, way.jobs), (Some(at(1_410)), 2));
            assert_eq!(way.objects, Count { number: 10, at: Some(at(2_050)) });
            assert_eq!(way.completed, Count { number: 1, at: Some(at(2_300)) });
            assert_eq!((way.marks["projects"].position, way.marks["media"].position), (9, 2));
            assert_eq!(way.name, "crossings");
        }
    }

    #[test]
    fn a_change_by_people_finishes_nothing() {
        let updated = TaskUpdated { task: Task::example(), before_update: Map::new() };
        assert_eq!(way(&[event(1, 1, &updated)]).finished, None);
        assert_eq!(way(&[attached(1, 1)]).finished, Some(at(1)));
    }

    #[test]
    fn an_import_begins_anew_after_one_that_failed() {
        let once = [created(1, 1_000, 21), submitted(1, 1_100), failed(2, 1_200)];
        assert_eq!(way(&once).failed, Some(("cat.jpg is not a picture.".to_owned(), at(1_200))));
        let again = [&once[..], &[submitted(3, 1_900)]].concat();
        let way = way(&again);
        assert_eq!((way.failed, way.submitted), (None, Some(at(1_900))));
    }

    #[test]
    fn readers_are_behind_until_all_their_consumers_have_the_newest_event() {
        let mut way = way(&whole());
        let reach = |way: &mut TaskWay, projects, media, ms| {
            let reached = |service, source, position| Reached { service, source, position };
            way.reach(
                &[
                    reached("billing", "projects", projects),
                    reached("billing", "media", media),
                    reached("billing", "identity", 0),
                    reached("media", "projects", 0),
                ],
                at(ms),
            )
        };
        reach(&mut way, 9, 1, 2_301);
        assert_eq!(way.readers["billing"], Reader::Behind(way.marks["media"]));
        reach(&mut way, 9, 2, 2_303);
        assert_eq!(way.readers["billing"], Reader::Taken(Some(903)));
        reach(&mut way, 10, 3, 2_400);
        assert_eq!(way.readers["billing"], Reader::Taken(Some(903)), "measured once");
        assert_eq!(way.readers.len(), 1, "who works on the task does not read it");
    }

    #[test]
    fn what_happened_before_anybody_looked_is_not_timed() {
        let (key, told) = told(&created(1, 1_000, 21)).unwrap();
        let mut way = TaskWay::new(key, at(1_000));
        way.take(&created(1, 1_000, 21), told, false);
        way.reach(&[Reached { service: "billing", source: "projects", position: 5 }], at(9_000));
        assert_eq!(way.readers["billing"], Reader::Taken(None));
    }
}
