use event_store::Aggregate;

use super::*;
use crate::domain::options::Sorting;

fn command(action: Action) -> TaskDataCommand {
    let at = DateTime::from_timestamp(1_767_225_600, 0).unwrap();
    TaskDataCommand { organization_id: Some(3), at, action }
}

/// Folds what the commands cause, through JSON as the store does; panics when one is refused.
fn given(actions: Vec<Action>) -> TaskData {
    let mut state = TaskData::default();
    for action in actions {
        for event in state.decide(command(action)).unwrap() {
            let event = serde_json::from_value(serde_json::to_value(&event).unwrap()).unwrap();
            state.apply(&event);
        }
    }
    state
}

fn submit() -> Action {
    let options = Options {
        image_quality: 70,
        chunk_size: None,
        sorting: Sorting::Natural,
        start_frame: 0,
        stop_frame: None,
        step: 1,
    };
    Action::Submit { request_id: "r".into(), options }
}

fn prepare(size: i64) -> Action {
    use contracts::event::Example;
    Action::Prepare { request_id: "r".into(), data: Box::new(Fact { size, ..Fact::example() }) }
}

fn fail(request_id: &str) -> Action {
    Action::Fail { request_id: request_id.into(), message: "a.jpg is not a picture".into() }
}

fn refusal(state: &TaskData, action: Action) -> TaskDataError {
    state.decide(command(action)).unwrap_err()
}

#[test]
fn data_is_sent_once() {
    let prepared = given(vec![Action::Begin, submit(), prepare(3)]);
    assert_eq!(prepared.stage, Stage::Prepared);
    assert_eq!(refusal(&prepared, Action::Begin), TaskDataError::Exists);
    assert_eq!(refusal(&prepared, Action::Receive), TaskDataError::Exists);
    assert_eq!(refusal(&prepared, submit()), TaskDataError::Exists);
}

#[test]
fn nothing_is_added_while_an_import_runs() {
    let submitted = given(vec![Action::Begin, submit()]);
    assert_eq!(refusal(&submitted, Action::Receive), TaskDataError::Busy);
    assert_eq!(refusal(&submitted, submit()), TaskDataError::Busy);
}

#[test]
fn a_failed_import_may_be_sent_again() {
    let failed = given(vec![Action::Begin, submit(), fail("r")]);
    assert_eq!(failed.failure.as_deref(), Some("a.jpg is not a picture"));
    assert_eq!(refusal(&failed, submit()), TaskDataError::NothingSent);
    let again = given(vec![Action::Begin, submit(), fail("r"), Action::Begin]);
    assert_eq!((again.stage, again.failure), (Stage::Receiving, None));
}

#[test]
fn an_import_that_was_superseded_changes_nothing() {
    let submitted = given(vec![Action::Begin, submit()]);
    assert_eq!(refusal(&submitted, fail("other")), TaskDataError::Superseded);
    let removed = given(vec![Action::Begin, submit(), Action::Remove]);
    assert_eq!(refusal(&removed, prepare(3)), TaskDataError::Superseded);
    assert_eq!(refusal(&removed, Action::Begin), TaskDataError::NotFound);
}

#[test]
fn an_upload_that_nobody_goes_on_with_is_forgotten() {
    let expired = given(vec![Action::Begin, Action::Expire]);
    assert_eq!(expired.stage, Stage::None);
    let submitted = given(vec![Action::Begin, submit(), Action::Expire]);
    assert_eq!(submitted.stage, Stage::Submitted);
}

#[test]
fn frames_are_marked_as_deleted_and_taken_back() {
    let delete = |frames: Vec<i64>| Action::DeleteFrames { frames };
    let state = given(vec![Action::Begin, submit(), prepare(10), delete(vec![7, 2, 3, 1, 3])]);
    assert_eq!(state.deleted, [(1, 3), (7, 7)]);
    assert_eq!(state.deleted_frames().collect::<Vec<_>>(), [1, 2, 3, 7]);
    assert!(state.decide(command(delete(vec![3, 2, 1, 7]))).unwrap().is_empty());
    assert_eq!(refusal(&state, delete(vec![10])), TaskDataError::OutOfRange(9));
    assert_eq!(refusal(&state, delete(vec![-1])), TaskDataError::OutOfRange(9));
    assert_eq!(refusal(&TaskData::default(), delete(vec![])), TaskDataError::NotFound);
}
