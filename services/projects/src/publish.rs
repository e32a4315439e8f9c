//! Private events to contract events: what leaves this service.

use contracts::projects::{ProjectCreated, ProjectDeleted, ProjectUpdated};
use event_store::{Change, Outgoing};
use serde_json::{Map, Value};

use crate::domain::project::{Project, ProjectEvent};

/// A project's events. The organization of an event is the one that the project was in before it.
pub fn project(change: &Change<'_, Project>) -> Vec<Outgoing> {
    let Some(project) = change.after.current.clone() else { return vec![] };
    let organization = change.before.current.as_ref().unwrap_or(&project).organization_id;
    match change.event {
        ProjectEvent::Created(_) => vec![Outgoing::new(&ProjectCreated { project }, organization)],
        ProjectEvent::Updated { .. } | ProjectEvent::LeftOrganization { .. } => {
            let before_update = differences(change.before, change.after);
            vec![Outgoing::new(&ProjectUpdated { project, before_update }, organization)]
        }
        ProjectEvent::Deleted => vec![Outgoing::new(&ProjectDeleted { project }, organization)],
    }
}

/// Each field that changed, with its old value; labels are listed but never compared by CVAT's receivers.
fn differences(before: &Project, after: &Project) -> Map<String, Value> {
    let fields = |project: &Project| match serde_json::to_value(&project.current) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let after = fields(after);
    fields(before).into_iter().filter(|(name, value)| after.get(name) != Some(value)).collect()
}
