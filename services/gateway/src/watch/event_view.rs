//! What the page shows of one event and its way through the mesh.

use contracts::Envelope;
use service_kit::status::Status;

use super::view::{Tone, short_name};
use super::{Passing, Seen, publishers};

/// One event.
pub struct EventView {
    pub id: String,
    pub service: String,
    /// `project created`.
    pub what: String,
    pub subject: String,
    pub event_type: String,
    pub time: String,
    pub tenant: String,
    pub actor: String,
    pub position: i64,
    pub version: i64,
    pub steps: Vec<Step>,
    /// For people: indented JSON.
    pub data: String,
}

/// A service that the event goes to.
pub struct Step {
    pub service: String,
    pub tone: Tone,
    /// Of the slowest of its consumers: `12 ms`, `taken`, `on its way`, `parked`.
    pub state: String,
    /// Each of its consumers.
    pub readers: String,
}

impl EventView {
    /// Shows an event.
    pub fn of(passing: &Passing, seen: &Seen) -> Self {
        let envelope = &passing.envelope;
        let service = envelope.service().to_owned();
        let noun = envelope.event_type.strip_prefix(&service).unwrap_or(&envelope.event_type);
        let what = noun.trim_matches('.').rsplit_once(".v").map_or(noun, |(noun, _)| noun);
        let data = serde_json::from_str::<serde_json::Value>(envelope.data.get()).unwrap_or_default();
        Self {
            id: envelope.id.to_string(),
            what: what.replace('_', " "),
            subject: envelope.subject.clone(),
            event_type: envelope.event_type.clone(),
            time: envelope.time.format("%H:%M:%S%.3f").to_string(),
            tenant: envelope.tenantid.to_string(),
            actor: actor(envelope),
            position: envelope.position,
            version: envelope.streamversion,
            steps: steps(passing, seen, &service),
            data: serde_json::to_string_pretty(&data).unwrap_or_default(),
            service,
        }
    }
}

/// How far the event is with each service that follows its log.
fn steps(passing: &Passing, seen: &Seen, source: &str) -> Vec<Step> {
    let looks = publishers().filter_map(|name| Some((name, seen.services.get(name)?.status()?)));
    looks.filter_map(|(service, status)| step(passing, source, service, status)).collect()
}

fn step(passing: &Passing, source: &str, service: &str, status: &Status) -> Option<Step> {
    let subject = format!("{source}/{}", passing.envelope.subject);
    let tenant = format!("{}/", passing.envelope.tenantid);
    let mut readers = vec![];
    for consumer in status.consumers.iter().filter(|consumer| consumer.source == source) {
        let parked = status.parked.iter().any(|stream| {
            stream.consumer == consumer.name
                && stream.subject == subject
                && stream.name.starts_with(&tenant)
                && stream.version <= passing.envelope.streamversion
        });
        let way = match passing.taken.get(&consumer.name) {
            _ if parked => Way::Parked,
            Some(ms) => Way::Taken(*ms),
            None => Way::OnIts,
        };
        readers.push((short_name(&consumer.name, service), way));
    }
    let (_, slowest) = readers.iter().max_by_key(|(_, way)| *way)?;
    Some(Step {
        service: service.to_owned(),
        tone: slowest.tone(),
        state: slowest.text(),
        readers: readers
            .iter()
            .map(|(name, way)| format!("{name}: {}", way.text()))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// From what is over to what needs somebody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// After so many milliseconds, if they were measured.
    Taken(Option<i64>),
    OnIts,
    Parked,
}

impl Way {
    fn tone(self) -> Tone {
        match self {
            Self::Taken(_) => Tone::Good,
            Self::OnIts => Tone::Busy,
            Self::Parked => Tone::Bad,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Taken(Some(ms)) => duration(ms),
            Self::Taken(None) => "taken".to_owned(),
            Self::OnIts => "on its way".to_owned(),
            Self::Parked => "parked".to_owned(),
        }
    }
}

/// `12 ms`, `1.2 s`.
pub fn duration(ms: i64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1_000.0) }
}

fn actor(envelope: &Envelope) -> String {
    match (envelope.actorid, envelope.impersonatorid) {
        (None, _) => "the mesh itself".to_owned(),
        (Some(actor), None) => format!("user {actor}"),
        (Some(actor), Some(impersonator)) => format!("user {actor} (impersonated by user {impersonator})"),
    }
}
