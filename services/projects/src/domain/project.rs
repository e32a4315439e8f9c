//! A project: a name, people, and the labels that its tasks share.

use chrono::{DateTime, Utc};
use contracts::projects::{Label, Project as Fact};
use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};

use super::label::{self, LabelError, LabelPatch};
use super::nullable;

/// What is asked of a project.
#[derive(Clone, Debug)]
pub enum ProjectCommand {
    Create(Box<CreateProject>),
    Update(Box<UpdateProject>),
    /// Its organization is gone: it becomes its owner's own.
    LeaveOrganization {
        organization_id: i64,
        at: DateTime<Utc>,
    },
    /// Something changed among its tasks: now they amount to this status.
    Follow {
        status: String,
        at: DateTime<Utc>,
    },
    Delete,
}

/// A new project; the labels have their ids already.
#[derive(Clone, Debug)]
pub struct CreateProject {
    pub id: i64,
    pub name: String,
    pub owner_id: i64,
    pub assignee_id: Option<i64>,
    pub bug_tracker: String,
    pub organization_id: Option<i64>,
    pub labels: Vec<Label>,
    pub at: DateTime<Utc>,
}

/// A change; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateProject {
    pub name: Option<String>,
    pub owner_id: Option<Option<i64>>,
    pub assignee_id: Option<Option<i64>>,
    pub bug_tracker: Option<String>,
    pub labels: Vec<LabelPatch>,
    pub at: DateTime<Utc>,
}

/// What happened to a project.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum ProjectEvent {
    Created(Fact),
    Updated {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        name: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none", default, with = "nullable")]
        owner_id: Option<Option<i64>>,
        #[serde(skip_serializing_if = "Option::is_none", default, with = "nullable")]
        assignee_id: Option<Option<i64>>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        bug_tracker: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        labels: Option<Vec<Label>>,
        at: DateTime<Utc>,
    },
    LeftOrganization {
        at: DateTime<Utc>,
    },
    Followed {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        status: Option<String>,
        at: DateTime<Utc>,
    },
    Deleted,
}

/// Why a project refuses.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ProjectError {
    #[error("Not found.")]
    NotFound,
    #[error("The project exists already.")]
    Exists,
    #[error(transparent)]
    Labels(#[from] LabelError),
}

impl DomainError for ProjectError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Exists => "project_exists",
            Self::Labels(error) => error.code(),
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::NotFound => Refused::NotFound,
            Self::Exists => Refused::Conflict,
            Self::Labels(error) => error.kind(),
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::NotFound | Self::Exists => None,
            Self::Labels(error) => error.field(),
        }
    }
}

/// A project's state: nothing before it was created and after it was deleted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Project {
    pub current: Option<Fact>,
    pub deleted: bool,
}

impl Project {
    /// The project while there is one.
    ///
    /// # Errors
    /// When it was never created, or is deleted.
    pub fn alive(&self) -> Result<&Fact, ProjectError> {
        self.current.as_ref().filter(|_| !self.deleted).ok_or(ProjectError::NotFound)
    }
}

impl Aggregate for Project {
    const KIND: &'static str = "project";
    type Command = ProjectCommand;
    type Event = ProjectEvent;
    type Error = ProjectError;

    fn decide(&self, command: ProjectCommand) -> Result<Vec<ProjectEvent>, ProjectError> {
        match command {
            ProjectCommand::Create(create) => {
                if self.current.is_some() {
                    return Err(ProjectError::Exists);
                }
                Ok(vec![ProjectEvent::Created(created(*create)?)])
            }
            ProjectCommand::Update(update) => updated(self.alive()?, *update),
            ProjectCommand::LeaveOrganization { organization_id, at } => match self.alive() {
                Ok(project) if project.organization_id == Some(organization_id) => {
                    Ok(vec![ProjectEvent::LeftOrganization { at }])
                }
                // Deleted, or moved elsewhere meanwhile: there is nothing to leave.
                _ => Ok(vec![]),
            },
            ProjectCommand::Follow { status, at } => {
                let status = Some(status).filter(|status| self.alive().is_ok_and(|p| p.status != *status));
                self.alive().map(|_| vec![ProjectEvent::Followed { status, at }])
            }
            ProjectCommand::Delete => self.alive().map(|_| vec![ProjectEvent::Deleted]),
        }
    }

    fn apply(&mut self, event: &ProjectEvent) {
        match event {
            ProjectEvent::Created(fact) => self.current = Some(fact.clone()),
            ProjectEvent::Deleted => self.deleted = true,
            ProjectEvent::LeftOrganization { at } => {
                if let Some(project) = &mut self.current {
                    project.organization_id = None;
                    project.updated_date = *at;
                }
            }
            ProjectEvent::Followed { status, at } => {
                if let Some(project) = &mut self.current {
                    project.status = status.clone().unwrap_or_else(|| project.status.clone());
                    project.updated_date = *at;
                }
            }
            ProjectEvent::Updated { name, owner_id, assignee_id, bug_tracker, labels, at } => {
                let Some(project) = &mut self.current else { return };
                if let Some(name) = name {
                    project.name.clone_from(name);
                }
                if let Some(owner_id) = owner_id {
                    project.owner_id = *owner_id;
                }
                if let Some(assignee_id) = assignee_id {
                    project.assignee_id = *assignee_id;
                    project.assignee_updated_date = Some(*at);
                }
                if let Some(bug_tracker) = bug_tracker {
                    project.bug_tracker.clone_from(bug_tracker);
                }
                if let Some(labels) = labels {
                    project.labels.clone_from(labels);
                }
                project.updated_date = *at;
            }
        }
    }
}

fn created(create: CreateProject) -> Result<Fact, ProjectError> {
    let mut labels = create.labels;
    label::check(&mut labels)?;
    Ok(Fact {
        id: create.id,
        name: create.name,
        owner_id: Some(create.owner_id),
        assignee_id: create.assignee_id,
        assignee_updated_date: create.assignee_id.map(|_| create.at),
        bug_tracker: create.bug_tracker,
        status: "annotation".to_owned(),
        organization_id: create.organization_id,
        labels,
        created_date: create.at,
        updated_date: create.at,
    })
}

/// Only what really changes goes into the event; nothing changed is no event.
fn updated(project: &Fact, update: UpdateProject) -> Result<Vec<ProjectEvent>, ProjectError> {
    let name = update.name.filter(|name| *name != project.name);
    let owner_id = update.owner_id.filter(|owner| *owner != project.owner_id);
    let assignee_id = update.assignee_id.filter(|assignee| *assignee != project.assignee_id);
    let bug_tracker = update.bug_tracker.filter(|tracker| *tracker != project.bug_tracker);
    let labels = match update.labels.is_empty() {
        true => None,
        false => {
            Some(label::patch(&project.labels, update.labels)?).filter(|labels| *labels != project.labels)
        }
    };
    let unchanged = name.is_none()
        && owner_id.is_none()
        && assignee_id.is_none()
        && bug_tracker.is_none()
        && labels.is_none();
    if unchanged {
        return Ok(vec![]);
    }
    Ok(vec![ProjectEvent::Updated { name, owner_id, assignee_id, bug_tracker, labels, at: update.at }])
}

#[cfg(test)]
mod tests {
    use contracts::projects::Attribute;

    use super::super::label::AttributePatch;
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600 + second, 0).unwrap()
    }

    fn label(id: i64, name: &str) -> Label {
        Label { id, name: name.into(), color: String::new(), label_type: "any".into(), attributes: vec![] }
    }

    fn create(labels: Vec<Label>) -> ProjectCommand {
        ProjectCommand::Create(Box::new(CreateProject {
            id: 1,
            name: "streets".into(),
            owner_id: 7,
            assignee_id: None,
            bug_tracker: String::new(),
            organization_id: Some(3),
            labels,
            at: at(0),
        }))
    }

    /// Folds what the commands cause; panics when one is refused.
    fn given(commands: Vec<ProjectCommand>) -> Project {
        let mut project = Project::default();
        for command in commands {
            for event in project.decide(command).unwrap() {
                // Through JSON, as the store does.
                let event = serde_json::from_value(serde_json::to_value(&event).unwrap()).unwrap();
                project.apply(&event);
            }
        }
        project
    }

    fn update(change: impl FnOnce(&mut UpdateProject)) -> ProjectCommand {
        let mut update = UpdateProject { at: at(1), ..Default::default() };
        change(&mut update);
        ProjectCommand::Update(Box::new(update))
    }

    #[test]
    fn a_new_project_gives_its_labels_different_colours() {
        let project = given(vec![create(vec![label(1, "car"), label(2, "tree")])]).current.unwrap();
        assert_eq!(project.status, "annotation");
        assert!(project.labels[0].color.starts_with('#'));
        assert_ne!(project.labels[0].color, project.labels[1].color);
    }

    #[test]
    fn two_labels_may_not_share_a_name() {
        let twice = vec![label(1, "car"), label(2, "car")];
        assert_eq!(
            Project::default().decide(create(twice)).unwrap_err(),
            LabelError::DuplicateLabel("car".into()).into()
        );
    }

    #[test]
    fn a_project_is_created_once() {
        let project = given(vec![create(vec![])]);
        assert_eq!(project.decide(create(vec![])).unwrap_err(), ProjectError::Exists);
    }

    #[test]
    fn an_update_tells_null_from_absent() {
        let project = given(vec![create(vec![]), update(|u| u.assignee_id = Some(Some(9)))]);
        assert_eq!(project.current.as_ref().unwrap().assignee_id, Some(9));
        let project = given(vec![
            create(vec![]),
            update(|u| u.assignee_id = Some(Some(9))),
            update(|u| u.name = Some("roads".into())),
            update(|u| u.assignee_id = Some(None)),
        ]);
        let fact = project.current.unwrap();
        assert_eq!((fact.assignee_id, fact.name.as_str()), (None, "roads"));
        assert_eq!(fact.updated_date, at(1));
    }

    #[test]
    fn an_update_that_changes_nothing_is_no_event() {
        let project = given(vec![create(vec![label(1, "car")])]);
        assert!(project.decide(update(|u| u.name = Some("streets".into()))).unwrap().is_empty());
    }

    #[test]
    fn labels_are_added_changed_and_deleted() {
        let project = given(vec![
            create(vec![label(1, "car"), label(2, "tree")]),
            update(|u| {
                u.labels = vec![
                    LabelPatch::Add(label(3, "bus")),
                    LabelPatch::Change {
                        id: 1,
                        name: Some("auto".into()),
                        color: None,
                        label_type: Some("polygon".into()),
                        attributes: vec![],
                    },
                    LabelPatch::Delete { id: 2 },
                ];
            }),
        ]);
        let names: Vec<_> = project.current.unwrap().labels.into_iter().map(|label| label.name).collect();
        assert_eq!(names, ["auto", "bus"]);
    }

    #[test]
    fn a_label_that_is_not_there_cannot_be_changed() {
        let project = given(vec![create(vec![])]);
        let missing = update(|u| u.labels = vec![LabelPatch::Delete { id: 5 }]);
        assert_eq!(project.decide(missing).unwrap_err(), LabelError::NoSuchLabel(5).into());
    }

    #[test]
    fn so_many_labels_and_no_more() {
        let many = |from: i64, count: i64| (from..from + count).map(|id| label(id, &id.to_string()));
        let project = given(vec![create(many(0, 1_000).collect())]);
        let add = update(|u| u.labels = many(1_000, 1).map(LabelPatch::Add).collect());
        assert_eq!(project.decide(add).unwrap_err(), LabelError::TooManyLabels.into());
        let large = Label { name: "x".repeat(label::LABELS_BYTES_MAX), ..label(1, "") };
        let refused = Project::default().decide(create(vec![large])).unwrap_err();
        assert!(matches!(refused, ProjectError::Labels(LabelError::LabelsTooLarge(_))));
    }

    #[test]
    fn attributes_are_patched_one_by_one() {
        let attribute = |id: i64, name: &str, value: &str| Attribute {
            id,
            name: name.into(),
            mutable: true,
            input_type: "text".into(),
            default_value: value.into(),
            values: vec![],
        };
        let car = Label {
            attributes: vec![attribute(1, "size", ""), attribute(2, "speed", ""), attribute(3, "age", "")],
            ..label(1, "car")
        };
        let project = given(vec![create(vec![car])]);
        let patched = |attributes: Vec<AttributePatch>| {
            let change = LabelPatch::Change { id: 1, name: None, color: None, label_type: None, attributes };
            project.decide(update(|u| u.labels = vec![change]))
        };
        let events = patched(vec![
            AttributePatch::Change(attribute(1, "length", "")),
            AttributePatch::Add(attribute(8, "speed", "slow")),
            AttributePatch::Add(attribute(9, "colour", "")),
            AttributePatch::Delete { id: 3 },
        ])
        .unwrap();
        let ProjectEvent::Updated { labels: Some(labels), .. } = &events[0] else { panic!("{events:?}") };
        let (length, speed) = (attribute(1, "length", ""), attribute(2, "speed", "slow"));
        assert_eq!(labels[0].attributes, [length, speed, attribute(9, "colour", "")]);
        for unknown in [AttributePatch::Change(attribute(7, "x", "")), AttributePatch::Delete { id: 7 }] {
            assert_eq!(patched(vec![unknown]).unwrap_err(), LabelError::NoSuchAttribute(7).into());
        }
        let twice = AttributePatch::Change(attribute(1, "speed", ""));
        assert_eq!(patched(vec![twice]).unwrap_err(), LabelError::DuplicateAttribute("speed".into()).into());
    }

    #[test]
    fn a_deleted_project_refuses_everything() {
        let project = given(vec![create(vec![]), ProjectCommand::Delete]);
        assert_eq!(project.decide(ProjectCommand::Delete).unwrap_err(), ProjectError::NotFound);
        let rename = update(|u| u.name = Some("roads".into()));
        assert_eq!(project.decide(rename).unwrap_err(), ProjectError::NotFound);
    }

    #[test]
    fn a_project_follows_its_tasks() {
        let follow = |status: &str| ProjectCommand::Follow { status: status.into(), at: at(4) };
        let project = given(vec![create(vec![]), follow("completed")]).current.unwrap();
        assert_eq!((project.status.as_str(), project.updated_date), ("completed", at(4)));
        let gone = given(vec![create(vec![]), ProjectCommand::Delete]);
        assert_eq!(gone.decide(follow("completed")).unwrap_err(), ProjectError::NotFound);
    }

    #[test]
    fn a_project_leaves_only_the_organization_that_it_is_in() {
        let project = given(vec![create(vec![])]);
        let leave = |organization_id| ProjectCommand::LeaveOrganization { organization_id, at: at(2) };
        assert!(project.decide(leave(4)).unwrap().is_empty());
        let left = given(vec![create(vec![]), leave(3)]);
        assert_eq!(left.current.unwrap().organization_id, None);
    }
}
