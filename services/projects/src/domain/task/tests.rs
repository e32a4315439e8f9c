use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + second, 0).unwrap()
}

fn label(id: i64, name: &str) -> Label {
    Label { id, name: name.into(), color: String::new(), label_type: "any".into(), attributes: vec![] }
}

fn create(project_id: Option<i64>, labels: Vec<Label>) -> TaskCommand {
    TaskCommand::Create(Box::new(CreateTask {
        id: 1,
        name: "crossings".into(),
        project_id,
        owner_id: 7,
        assignee_id: None,
        bug_tracker: String::new(),
        subset: "Train".into(),
        organization_id: Some(3),
        labels,
        segment_size: 4,
        overlap: None,
        at: at(0),
    }))
}

fn in_project() -> TaskCommand {
    create(Some(2), vec![])
}

fn alone() -> TaskCommand {
    create(None, vec![label(1, "car"), label(2, "tree")])
}

fn update(change: impl FnOnce(&mut UpdateTask)) -> TaskCommand {
    let mut update = UpdateTask { at: at(1), ..Default::default() };
    change(&mut update);
    TaskCommand::Update(Box::new(update))
}

fn attach() -> TaskCommand {
    let data = Data {
        size: 10,
        segment_size: 4,
        overlap: 0,
        attached: AttachedData {
            chunk_size: 36,
            image_quality: 70,
            mode: "annotation".into(),
            dimension: "2d".into(),
        },
    };
    TaskCommand::AttachData { data, at: at(2) }
}

/// Folds what the commands cause; panics when one is refused.
fn given(commands: impl IntoIterator<Item = TaskCommand>) -> Task {
    let mut task = Task::default();
    for command in commands {
        for event in task.decide(command).unwrap() {
            // Through JSON, as the store does.
            task.apply(&serde_json::from_value(serde_json::to_value(&event).unwrap()).unwrap());
        }
    }
    task
}

#[test]
fn labels_are_the_projects_or_its_own_and_one_of_them_there_must_be() {
    assert_eq!(given([in_project()]).current.unwrap().labels, []);
    let own = given([alone()]).current.unwrap().labels;
    assert!(own.iter().all(|label| label.color.starts_with('#')));
    let refused = |command| Task::default().decide(command).unwrap_err();
    assert_eq!(refused(create(None, vec![])), TaskError::NeitherLabelsNorProject);
    assert_eq!(refused(create(Some(2), vec![label(1, "car")])), TaskError::LabelsAndProject);
    let twice = create(None, vec![label(1, "car"), label(2, "car")]);
    assert_eq!(refused(twice), LabelError::DuplicateLabel("car".into()).into());
    assert_eq!(given([alone()]).decide(alone()).unwrap_err(), TaskError::Exists);
}

#[test]
fn own_labels_change_and_the_projects_do_not() {
    let patched = update(|u| {
        u.labels = vec![LabelPatch::Delete { id: 1 }, LabelPatch::Add(label(3, "bus"))];
    });
    let names: Vec<_> =
        given([alone(), patched.clone()]).current.unwrap().labels.into_iter().map(|l| l.name).collect();
    assert_eq!(names, ["tree", "bus"]);
    assert_eq!(given([in_project()]).decide(patched).unwrap_err(), TaskError::LabelsOfProject);
    let all = update(|u| u.labels = vec![LabelPatch::Delete { id: 1 }, LabelPatch::Delete { id: 2 }]);
    assert_eq!(given([alone()]).decide(all).unwrap_err(), TaskError::NeitherLabelsNorProject);
    let unknown = update(|u| u.labels = vec![LabelPatch::Delete { id: 9 }]);
    assert_eq!(given([alone()]).decide(unknown).unwrap_err(), LabelError::NoSuchLabel(9).into());
}

#[test]
fn a_task_does_not_move() {
    let to = |project_id| update(|u| u.project_id = Some(project_id));
    assert_eq!(given([in_project()]).decide(to(Some(9))).unwrap_err(), TaskError::Moves);
    assert_eq!(given([in_project()]).decide(to(None)).unwrap_err(), TaskError::Moves);
    assert!(given([in_project()]).decide(to(Some(2))).unwrap().is_empty(), "it is there already");
}

#[test]
fn an_update_tells_null_from_absent() {
    let assigned = || update(|u| u.assignee_id = Some(Some(9)));
    let fact = given([alone(), assigned()]).current.unwrap();
    assert_eq!((fact.assignee_id, fact.assignee_updated_date), (Some(9), Some(at(1))));
    let renamed = update(|u| {
        u.name = Some("roads".into());
        u.subset = Some("Test".into());
        u.bug_tracker = Some("https://bugs".into());
    });
    let fact = given([alone(), assigned(), renamed, update(|u| u.assignee_id = Some(None))]).current.unwrap();
    assert_eq!((fact.assignee_id, &*fact.name, &*fact.subset), (None, "roads", "Test"));
    assert!(given([alone()]).decide(update(|u| u.name = Some("crossings".into()))).unwrap().is_empty());
}

#[test]
fn data_is_attached_once() {
    let task = given([alone(), attach()]);
    let fact = task.current.clone().unwrap();
    assert_eq!((fact.size, fact.overlap, fact.segment_size), (Some(10), Some(0), 4));
    assert_eq!(fact.data.unwrap().mode, "annotation");
    assert_eq!(task.decide(attach()).unwrap_err(), TaskError::HasData);
    assert_eq!(Task::default().decide(attach()).unwrap_err(), TaskError::NotFound);
}

#[test]
fn it_follows_its_jobs() {
    let follow = |status: &str| TaskCommand::Follow { status: status.into(), at: at(3) };
    let task = given([alone(), follow("validation")]);
    assert_eq!(task.current.as_ref().unwrap().status, "validation");
    assert!(task.decide(follow("validation")).unwrap().is_empty());
}

#[test]
fn it_leaves_only_the_organization_that_it_is_in() {
    let leave = |organization_id| TaskCommand::LeaveOrganization { organization_id, at: at(2) };
    assert!(given([alone()]).decide(leave(5)).unwrap().is_empty());
    assert_eq!(given([alone(), leave(3)]).current.unwrap().organization_id, None);
}

#[test]
fn a_deleted_task_refuses_everything() {
    let task = given([alone(), TaskCommand::Delete]);
    let follow = TaskCommand::Follow { status: "completed".into(), at: at(3) };
    for command in [update(|u| u.name = Some("x".into())), attach(), follow, TaskCommand::Delete] {
        assert_eq!(task.decide(command).unwrap_err(), TaskError::NotFound);
    }
}
