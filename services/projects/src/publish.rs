//! Private events to contract events: what leaves this service.

use contracts::projects::{
    AnnotationsChanged, JobCreated, JobDeleted, JobUpdated, Project as ProjectFact, ProjectCreated,
    ProjectDeleted, ProjectUpdated, RequestCancelled, Task as TaskFact, TaskCreated, TaskDeleted,
    TaskUpdated,
};
use event_store::{Change, Outgoing, before_update};

use crate::domain::annotations::{Annotations, AnnotationsEvent};
use crate::domain::job::{Job, JobEvent};
use crate::domain::project::{Project, ProjectEvent};
use crate::domain::request::{Request, RequestEvent};
use crate::domain::task::{Task, TaskEvent};

/// A project's events. The organization of an event is the one that the project was in before it.
pub fn project(change: &Change<'_, Project>) -> Vec<Outgoing> {
    let Some(project) = change.after.current.clone() else { return vec![] };
    let organization = change.before.current.as_ref().unwrap_or(&project).organization_id;
    match change.event {
        ProjectEvent::Created(_) => vec![Outgoing::new(&ProjectCreated { project }, organization)],
        // That one of its tasks changed is its tasks' news.
        ProjectEvent::Followed { status: None, .. } => vec![],
        ProjectEvent::Updated { .. }
        | ProjectEvent::LeftOrganization { .. }
        | ProjectEvent::Followed { status: Some(_), .. } => {
            let before = project_without_labels(change.before.current.as_ref());
            let before_update = before_update(&before, &project_without_labels(Some(&project)));
            vec![Outgoing::new(&ProjectUpdated { project, before_update }, organization)]
        }
        ProjectEvent::Deleted => vec![Outgoing::new(&ProjectDeleted { project }, organization)],
    }
}

/// A task's events.
pub fn task(change: &Change<'_, Task>) -> Vec<Outgoing> {
    let Some(task) = change.after.current.clone() else { return vec![] };
    let organization = change.before.current.as_ref().unwrap_or(&task).organization_id;
    match change.event {
        TaskEvent::Created(_) => vec![Outgoing::new(&TaskCreated { task }, organization)],
        TaskEvent::Updated { .. }
        | TaskEvent::DataAttached { .. }
        | TaskEvent::Followed { .. }
        | TaskEvent::LeftOrganization { .. } => {
            let before = task_without_labels(change.before.current.as_ref());
            let before_update = before_update(&before, &task_without_labels(Some(&task)));
            vec![Outgoing::new(&TaskUpdated { task, before_update }, organization)]
        }
        TaskEvent::Deleted => vec![Outgoing::new(&TaskDeleted { task }, organization)],
    }
}

/// A request's events. How far it is, is the news of whoever carries it out.
pub fn request(change: &Change<'_, Request>) -> Vec<Outgoing> {
    let Some(submitted) = &change.after.submitted else { return vec![] };
    match change.event {
        RequestEvent::CancelWished => {
            let (request_id, task_id) = (submitted.request_id.clone(), submitted.task_id);
            vec![Outgoing::new(&RequestCancelled { request_id, task_id }, None)]
        }
        RequestEvent::Submitted(_)
        | RequestEvent::Progressed { .. }
        | RequestEvent::Finished { .. }
        | RequestEvent::Failed { .. } => vec![],
    }
}

/// A job's events.
pub fn job(change: &Change<'_, Job>) -> Vec<Outgoing> {
    let Some(job) = change.after.current.clone() else { return vec![] };
    let organization = change.before.current.as_ref().unwrap_or(&job).organization_id;
    match change.event {
        JobEvent::Created(_) => vec![Outgoing::new(&JobCreated { job }, organization)],
        // CVAT's receivers learn of new annotations by the date of the job.
        JobEvent::Updated { .. } | JobEvent::Touched { .. } | JobEvent::LeftOrganization { .. } => {
            let before_update = before_update(&change.before.current, &change.after.current);
            vec![Outgoing::new(&JobUpdated { job, before_update }, organization)]
        }
        JobEvent::Deleted => vec![Outgoing::new(&JobDeleted { job }, organization)],
    }
}

/// The annotations of a job: one event a request, however many events that took.
pub fn annotations(change: &Change<'_, Annotations>) -> Vec<Outgoing> {
    match change.event {
        AnnotationsEvent::Changed { action, place, created, deleted } => {
            let changed = AnnotationsChanged {
                job_id: change.id,
                task_id: place.task_id,
                project_id: place.project_id,
                action: action.name().to_owned(),
                created: created.clone(),
                deleted: deleted.clone(),
                total: change.after.total.clone(),
            };
            vec![Outgoing::new(&changed, place.organization_id)]
        }
        AnnotationsEvent::Cleared
        | AnnotationsEvent::Removed(_)
        | AnnotationsEvent::Added(_)
        | AnnotationsEvent::PartAdded(_) => vec![],
        // The job's own end says it.
        AnnotationsEvent::Forgotten => vec![],
    }
}

/// A project but for its labels: all of them may be as large as an event, and whoever wants to know what became
/// of them has the labels as they are now.
fn project_without_labels(project: Option<&ProjectFact>) -> Option<ProjectFact> {
    project.map(|project| ProjectFact { labels: vec![], ..project.clone() })
}

/// A task but for its labels, for the same reason.
fn task_without_labels(task: Option<&TaskFact>) -> Option<TaskFact> {
    task.map(|task| TaskFact { labels: vec![], ..task.clone() })
}

#[cfg(test)]
mod tests {
    use contracts::TenantId;
    use contracts::event::Example;
    use event_store::Aggregate;

    use super::*;

    #[test]
    fn an_update_tells_what_changed_but_for_the_labels() {
        let before = Project { current: Some(ProjectFact::example()), deleted: false };
        let event = ProjectEvent::Updated {
            name: Some("roads".into()),
            owner_id: None,
            assignee_id: None,
            bug_tracker: None,
            labels: Some(vec![]),
            at: ProjectFact::example().updated_date,
        };
        let mut after = before.clone();
        after.apply(&event);
        let without = |project: &Project| project_without_labels(project.current.as_ref());
        let told = before_update(&without(&before), &without(&after));
        assert_eq!(told.keys().collect::<Vec<_>>(), ["name"]);
        let at = chrono::DateTime::default();
        let tenant = TenantId::DEPLOYMENT;
        let change = Change {
            tenant,
            id: 42,
            version: 2,
            before: &before,
            event: &event,
            after: &after,
            at,
            actor: None,
        };
        assert_eq!(project(&change).len(), 1);
    }
}
