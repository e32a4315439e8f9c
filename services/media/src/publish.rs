//! Private events to contract events: what leaves this service.

use contracts::media::{
    StorageChanged, TaskDataFailed, TaskDataFramesDeleted, TaskDataPrepared, TaskDataProgressed,
    TaskDataRemoved, TaskDataSubmitted,
};
use event_store::{Change, Outgoing};

use crate::domain::storage::{Storage, StorageEvent};
use crate::domain::task_data::{Stage, TaskData, TaskDataEvent};

/// What becomes of a task's data. That somebody has begun to send, or has given up, is nobody else's business.
pub fn task_data(change: &Change<'_, TaskData>) -> Vec<Outgoing> {
    let task_id = change.id;
    let request_id = change.after.request_id.clone().unwrap_or_default();
    match change.event {
        TaskDataEvent::Begun { .. } | TaskDataEvent::Expired { .. } => vec![],
        TaskDataEvent::Submitted { occurred, .. } => {
            vec![Outgoing::new(&TaskDataSubmitted { task_id, request_id }, occurred.organization_id)]
        }
        TaskDataEvent::Progressed { occurred, done, total } => {
            let event = TaskDataProgressed { task_id, request_id, done: *done, total: *total };
            vec![Outgoing::new(&event, occurred.organization_id)]
        }
        TaskDataEvent::Prepared { occurred, data } => {
            let event = TaskDataPrepared { request_id, data: (**data).clone() };
            vec![Outgoing::new(&event, occurred.organization_id)]
        }
        TaskDataEvent::Failed { occurred, message } => {
            let event = TaskDataFailed { task_id, request_id, message: message.clone() };
            vec![Outgoing::new(&event, occurred.organization_id)]
        }
        TaskDataEvent::FramesDeleted { occurred, .. } => {
            let deleted = change.after.deleted.iter().map(|(first, last)| last - first + 1).sum();
            vec![Outgoing::new(&TaskDataFramesDeleted { task_id, deleted }, occurred.organization_id)]
        }
        TaskDataEvent::Removed { .. } if change.before.stage == Stage::None => vec![],
        TaskDataEvent::Removed { occurred } => {
            vec![Outgoing::new(&TaskDataRemoved { task_id }, occurred.organization_id)]
        }
    }
}

/// How much a tenant stores, which no organization of it sees alone.
pub fn storage(change: &Change<'_, Storage>) -> Vec<Outgoing> {
    let StorageEvent::Changed { bytes, reservation_id } = change.event;
    vec![Outgoing::new(&StorageChanged { bytes: *bytes, reservation_id: *reservation_id }, None)]
}
