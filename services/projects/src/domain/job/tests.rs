use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600 + second, 0).unwrap()
}

fn create() -> JobCommand {
    JobCommand::Create(CreateJob {
        id: 1,
        task_id: 2,
        project_id: Some(3),
        organization_id: Some(4),
        start_frame: 0,
        stop_frame: 9,
        at: at(0),
    })
}

fn update(change: impl FnOnce(&mut UpdateJob)) -> JobCommand {
    let mut update = UpdateJob { at: at(1), ..Default::default() };
    change(&mut update);
    JobCommand::Update(update)
}

fn moved(stage: &str, state: Option<&str>) -> JobCommand {
    update(|u| {
        u.stage = Some(stage.into());
        u.state = state.map(str::to_owned);
    })
}

/// Folds what the commands cause; panics when one is refused.
fn given(commands: impl IntoIterator<Item = JobCommand>) -> Job {
    let mut job = Job::default();
    for command in commands {
        for event in job.decide(command).unwrap() {
            // Through JSON, as the store does.
            job.apply(&serde_json::from_value(serde_json::to_value(&event).unwrap()).unwrap());
        }
    }
    job
}

#[test]
fn status_follows_from_stage_and_state() {
    for stage in STAGES {
        for state in STATES {
            let expected = match (*stage, *state) {
                ("annotation", _) => "annotation",
                ("acceptance", "completed") => "completed",
                _ => "validation",
            };
            let fact = given([create(), moved(stage, Some(state))]).current.unwrap();
            assert_eq!((&*fact.stage, &*fact.state, &*fact.status), (*stage, *state, expected));
        }
    }
}

#[test]
fn a_new_stage_begins_anew() {
    let job = given([create(), update(|u| u.state = Some("completed".into())), moved("validation", None)]);
    assert_eq!(job.current.as_ref().unwrap().state, "new");
    // The same stage again is no new one.
    let job = given([create(), update(|u| u.state = Some("completed".into())), moved("annotation", None)]);
    assert_eq!(job.current.unwrap().state, "completed");
}

#[test]
fn unknown_words_are_refused_by_their_field() {
    let job = given([create()]);
    let error = job.decide(moved("perfection", None)).unwrap_err();
    assert_eq!(
        (error.field(), error.to_string().as_str()),
        (Some("stage"), "\"perfection\" is not a valid choice.")
    );
    let error = job.decide(update(|u| u.state = Some("done".into()))).unwrap_err();
    assert_eq!(error.field(), Some("state"));
}

#[test]
fn an_assignee_comes_and_goes_and_the_day_is_kept() {
    let job = given([create(), update(|u| u.assignee_id = Some(Some(9)))]);
    let fact = job.current.clone().unwrap();
    assert_eq!((fact.assignee_id, fact.assignee_updated_date), (Some(9), Some(at(1))));
    assert!(job.decide(update(|u| u.assignee_id = Some(Some(9)))).unwrap().is_empty(), "nothing changes");
    let job =
        given([create(), update(|u| u.assignee_id = Some(Some(9))), update(|u| u.assignee_id = Some(None))]);
    assert_eq!(job.current.unwrap().assignee_id, None);
}

#[test]
fn a_touch_changes_the_date_and_nothing_else() {
    let before = given([create()]).current.unwrap();
    let after = given([create(), JobCommand::Touch { at: at(5) }]).current.unwrap();
    assert_eq!(after, Fact { updated_date: at(5), ..before });
}

#[test]
fn a_job_leaves_only_the_organization_that_it_is_in() {
    let leave = |organization_id| JobCommand::LeaveOrganization { organization_id, at: at(2) };
    assert!(given([create()]).decide(leave(5)).unwrap().is_empty());
    assert_eq!(given([create(), leave(4)]).current.unwrap().organization_id, None);
    assert!(given([create(), JobCommand::Delete]).decide(leave(4)).unwrap().is_empty());
}

#[test]
fn what_is_not_there_refuses_everything() {
    assert_eq!(given([create()]).decide(create()).unwrap_err(), JobError::Exists);
    for job in [Job::default(), given([create(), JobCommand::Delete])] {
        for command in [moved("validation", None), JobCommand::Touch { at: at(3) }, JobCommand::Delete] {
            assert_eq!(job.decide(command).unwrap_err(), JobError::NotFound);
        }
    }
}

#[test]
fn the_whole_is_as_far_as_its_last_part() {
    assert_eq!(status_of_all(0, 0, 0), "annotation");
    assert_eq!(status_of_all(3, 1, 2), "annotation");
    assert_eq!(status_of_all(3, 0, 2), "validation");
    assert_eq!(status_of_all(3, 0, 3), "completed");
}
