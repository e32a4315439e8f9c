//! The annotations of a job: a wide aggregate. Its state is counters; what they count lives in tables, and the
//! events hold it whole.
//!
//! One request is one version, however many events it takes: [`AnnotationsEvent::Changed`] ends them, and only
//! it is told to others. Events before it belong to the version that it makes.

use contracts::projects::AnnotationCounts;
use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};

use super::annotation_items::{Ids, Item, Items, Kind};

/// Bytes of annotations in one event, well below what an event may have.
const CHUNK_BYTES: usize = 192 * 1024;
/// Bytes of a part of an annotation that is larger than that; as a JSON string it may double.
const PART_BYTES: usize = 96 * 1024;
/// Bytes that an id takes in an event at most.
const ID_BYTES: usize = 21;

/// What is asked of a job's annotations.
#[derive(Clone, Debug)]
pub enum AnnotationsCommand {
    Change(Box<ChangeAnnotations>),
    /// The job is gone, and they with it.
    Forget,
}

/// One request's change. Whoever builds it has locked the stream and looked up what is there.
#[derive(Clone, Debug)]
pub struct ChangeAnnotations {
    pub place: Place,
    pub action: Action,
    pub remove: Removal,
    /// New ones, with new ids.
    pub add: Items,
}

/// What goes.
#[derive(Clone, Debug)]
pub enum Removal {
    Everything,
    /// All of which are there.
    These(Ids),
}

/// Where a job is, for whoever hears of the change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    pub task_id: i64,
    pub project_id: Option<i64>,
    pub organization_id: Option<i64>,
}

/// What a request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Create,
    Update,
    Delete,
    Replace,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Replace => "replace",
        }
    }
}

/// What happened to a job's annotations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum AnnotationsEvent {
    /// Everything that was there went.
    Cleared,
    /// These went.
    Removed(Ids),
    /// These came, in the form of CVAT's `LabeledData`.
    Added(Items),
    /// A part of one that is too large for an event.
    PartAdded(Part),
    /// The request is complete: a new version.
    Changed { action: Action, place: Place, created: AnnotationCounts, deleted: AnnotationCounts },
    /// The job went, and every version of its annotations.
    Forgotten,
}

/// A piece of the JSON of a large annotation; the pieces follow one another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    pub kind: Kind,
    pub id: i64,
    pub frame: i64,
    pub label_id: i64,
    /// Whether it is the first one.
    pub first: bool,
    pub text: String,
}

/// Why annotations cannot change.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum AnnotationsError {
    #[error("Not found.")]
    NotFound,
}

impl DomainError for AnnotationsError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::NotFound => Refused::NotFound,
        }
    }
}

/// The counters of a job's annotations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Annotations {
    /// How many requests have changed them.
    pub version: i64,
    /// What there is now.
    pub total: AnnotationCounts,
    /// Whether the job is gone.
    pub forgotten: bool,
}

impl Annotations {
    fn change(&self, change: ChangeAnnotations) -> Vec<AnnotationsEvent> {
        let ChangeAnnotations { place, action, remove, add } = change;
        let created = add.counts();
        let (deleted, mut events) = match remove {
            Removal::Everything => {
                let any = self.total != AnnotationCounts::default();
                (self.total.clone(), any.then_some(AnnotationsEvent::Cleared).into_iter().collect())
            }
            Removal::These(ids) => (ids.counts(), removed(ids)),
        };
        added(add, &mut events);
        if !events.is_empty() {
            events.push(AnnotationsEvent::Changed { action, place, created, deleted });
        }
        events
    }
}

fn removed(ids: Ids) -> Vec<AnnotationsEvent> {
    ids.chunks(CHUNK_BYTES, |_| ID_BYTES).into_iter().map(AnnotationsEvent::Removed).collect()
}

fn added(mut items: Items, events: &mut Vec<AnnotationsEvent>) {
    let mut parts = vec![];
    for kind in Kind::ALL {
        let is_large = |item: &mut Item| item.body.get().len() > CHUNK_BYTES;
        for large in items.of_mut(kind).extract_if(.., is_large) {
            parts.extend(parts_of(kind, &large).map(AnnotationsEvent::PartAdded));
        }
    }
    let chunks = items.chunks(CHUNK_BYTES, |item| item.body.get().len() + 1);
    events.extend(chunks.into_iter().map(AnnotationsEvent::Added));
    events.append(&mut parts);
}

fn parts_of(kind: Kind, item: &Item) -> impl Iterator<Item = Part> {
    let &Item { id, frame, label_id, .. } = item;
    let mut rest = item.body.get();
    let mut first = true;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = (0..=PART_BYTES.min(rest.len())).rfind(|end| rest.is_char_boundary(*end))?;
        let (text, after) = rest.split_at(end);
        rest = after;
        let part = Part { kind, id, frame, label_id, first, text: text.to_owned() };
        first = false;
        Some(part)
    })
}

impl Aggregate for Annotations {
    const KIND: &'static str = "annotations";
    type Command = AnnotationsCommand;
    type Event = AnnotationsEvent;
    type Error = AnnotationsError;

    fn decide(&self, command: AnnotationsCommand) -> Result<Vec<AnnotationsEvent>, AnnotationsError> {
        match command {
            AnnotationsCommand::Change(_) if self.forgotten => Err(AnnotationsError::NotFound),
            AnnotationsCommand::Change(change) => Ok(self.change(*change)),
            // Without a version there is nothing to forget.
            AnnotationsCommand::Forget if self.version == 0 || self.forgotten => Ok(vec![]),
            AnnotationsCommand::Forget => Ok(vec![AnnotationsEvent::Forgotten]),
        }
    }

    fn apply(&mut self, event: &AnnotationsEvent) {
        let add = |total: &mut AnnotationCounts, counts: &AnnotationCounts, sign: i64| {
            total.tags += sign * counts.tags;
            total.shapes += sign * counts.shapes;
            total.tracks += sign * counts.tracks;
        };
        match event {
            AnnotationsEvent::Cleared => self.total = AnnotationCounts::default(),
            AnnotationsEvent::Removed(ids) => add(&mut self.total, &ids.counts(), -1),
            AnnotationsEvent::Added(items) => add(&mut self.total, &items.counts(), 1),
            AnnotationsEvent::PartAdded(part) => {
                if part.first {
                    match part.kind {
                        Kind::Tag => self.total.tags += 1,
                        Kind::Shape => self.total.shapes += 1,
                        Kind::Track => self.total.tracks += 1,
                    }
                }
            }
            AnnotationsEvent::Changed { .. } => self.version += 1,
            AnnotationsEvent::Forgotten => {
                self.forgotten = true;
                self.total = AnnotationCounts::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn item(id: i64, bytes: usize) -> Item {
        let text = "ä\"".repeat(bytes / 3);
        let body = serde_json::json!({ "id": id, "frame": 1, "label_id": 2, "text": text }).to_string();
        Item { id, frame: 1, label_id: 2, body: RawValue::from_string(body).unwrap() }
    }

    fn change(remove: Removal, shapes: Vec<Item>) -> AnnotationsCommand {
        AnnotationsCommand::Change(Box::new(ChangeAnnotations {
            place: Place { task_id: 1, project_id: None, organization_id: None },
            action: Action::Update,
            remove,
            add: Items { shapes, ..Default::default() },
        }))
    }

    fn none() -> Removal {
        Removal::These(Ids::default())
    }

    fn run(state: &mut Annotations, command: AnnotationsCommand) -> Vec<AnnotationsEvent> {
        let events = state.decide(command).unwrap();
        events.iter().for_each(|event| state.apply(event));
        events
    }

    #[test]
    fn a_request_of_any_size_is_one_version_in_events_that_are_small_enough() {
        let mut state = Annotations::default();
        let sizes = [100, 180_000, 190_000, 1_000_000, 300_000, 50];
        let items: Vec<Item> = sizes.into_iter().zip(1..).map(|(bytes, id)| item(id, bytes)).collect();
        let bodies: Vec<String> = items.iter().map(|item| item.body.get().to_owned()).collect();
        let events = run(&mut state, change(none(), items));
        assert_eq!(state.version, 1);
        assert_eq!(state.total, AnnotationCounts { shapes: 6, ..Default::default() });
        assert!(
            matches!(events.last(), Some(AnnotationsEvent::Changed { created, .. }) if created.shapes == 6)
        );
        let mut found = std::collections::BTreeMap::<i64, String>::new();
        for event in &events {
            assert!(serde_json::to_string(event).unwrap().len() < contracts::EVENT_BYTES_MAX);
            match event {
                AnnotationsEvent::Added(items) => {
                    found.extend(items.shapes.iter().map(|item| (item.id, item.body.get().to_owned())));
                }
                AnnotationsEvent::PartAdded(part) => {
                    assert_eq!(part.first, !found.contains_key(&part.id));
                    found.entry(part.id).or_default().push_str(&part.text);
                }
                _ => {}
            }
        }
        assert_eq!(found.into_values().collect::<Vec<_>>(), bodies);
    }

    #[test]
    fn a_request_that_changes_nothing_is_no_version() {
        let mut state = Annotations::default();
        for removal in [none(), Removal::Everything] {
            assert!(run(&mut state, change(removal, vec![])).is_empty());
        }
        assert_eq!(state, Annotations::default());
        assert!(run(&mut state, AnnotationsCommand::Forget).is_empty());
    }

    #[test]
    fn counters_follow_what_comes_and_goes() {
        let mut state = Annotations::default();
        run(&mut state, change(none(), (1..=5).map(|id| item(id, 10)).collect()));
        let events = run(
            &mut state,
            change(Removal::These(Ids { shapes: vec![1, 2], ..Default::default() }), vec![item(6, 10)]),
        );
        assert_eq!(events.len(), 3);
        assert_eq!(state.total.shapes, 4);
        let events = run(&mut state, change(Removal::Everything, vec![]));
        let Some(AnnotationsEvent::Changed { deleted, .. }) = events.last() else { panic!("{events:?}") };
        assert_eq!((deleted.shapes, state.total.shapes, state.version), (4, 0, 3));
        run(&mut state, AnnotationsCommand::Forget);
        assert_eq!(state.decide(change(none(), vec![item(9, 10)])).unwrap_err(), AnnotationsError::NotFound);
        assert!(run(&mut state, AnnotationsCommand::Forget).is_empty());
    }

    #[test]
    fn many_ids_take_several_events() {
        let ids = Ids { shapes: (0..20_000).map(|n| i64::MAX - n).collect(), ..Default::default() };
        let events = removed(ids);
        assert!(events.len() > 1);
        for event in events {
            assert!(serde_json::to_string(&event).unwrap().len() < contracts::EVENT_BYTES_MAX);
        }
    }
}
