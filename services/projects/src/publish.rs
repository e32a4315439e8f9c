//! Private events to contract events: what leaves this service.

use contracts::projects::{Project as Fact, ProjectCreated, ProjectDeleted, ProjectUpdated};
use event_store::{Change, Outgoing, before_update};

use crate::domain::project::{Project, ProjectEvent};

/// A project's events. The organization of an event is the one that the project was in before it.
pub fn project(change: &Change<'_, Project>) -> Vec<Outgoing> {
    let Some(project) = change.after.current.clone() else { return vec![] };
    let organization = change.before.current.as_ref().unwrap_or(&project).organization_id;
    match change.event {
        ProjectEvent::Created(_) => vec![Outgoing::new(&ProjectCreated { project }, organization)],
        ProjectEvent::Updated { .. } | ProjectEvent::LeftOrganization { .. } => {
            let before = without_labels(change.before.current.as_ref());
            let before_update = before_update(&before, &without_labels(Some(&project)));
            vec![Outgoing::new(&ProjectUpdated { project, before_update }, organization)]
        }
        ProjectEvent::Deleted => vec![Outgoing::new(&ProjectDeleted { project }, organization)],
    }
}

/// A project but for its labels: all of them may be as large as an event, and whoever wants to know what became
/// of them has the labels as they are now.
fn without_labels(project: Option<&Fact>) -> Option<Fact> {
    project.map(|project| Fact { labels: vec![], ..project.clone() })
}

#[cfg(test)]
mod tests {
    use contracts::TenantId;
    use contracts::event::Example;
    use event_store::Aggregate;

    use super::*;

    #[test]
    fn an_update_tells_what_changed_but_for_the_labels() {
        let before = Project { current: Some(Fact::example()), deleted: false };
        let event = ProjectEvent::Updated {
            name: Some("roads".into()),
            owner_id: None,
            assignee_id: None,
            bug_tracker: None,
            labels: Some(vec![]),
            at: Fact::example().updated_date,
        };
        let mut after = before.clone();
        after.apply(&event);
        let without = |project: &Project| without_labels(project.current.as_ref());
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
