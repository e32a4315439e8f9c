//! What the page shows of the mesh: the state in one sentence, the picture, the consumers, the parked streams.

use std::collections::BTreeMap;

use service_kit::status::{ConsumerStatus, Parked, Status};

use super::picture::{self, Shape, TALL, WIDE};
use super::{Look, Seen, publishers};

/// How something is; also the name of its CSS class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    Good,
    Busy,
    Bad,
}

impl Tone {
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Bad => "bad",
        }
    }
}

/// Everything but the events.
pub struct MeshView {
    pub headline: String,
    pub detail: String,
    pub tone: Tone,
    /// Whether there is nothing but what the start itself did.
    pub empty: bool,
    pub pictures: Vec<Picture>,
    pub consumers: Vec<ConsumerRow>,
    pub parked: Vec<ParkedView>,
}

/// The mesh, drawn in one shape.
pub struct Picture {
    pub shape: Shape,
    pub nodes: Vec<NodeView>,
    pub arrows: Vec<ArrowView>,
}

/// A service in the picture.
#[derive(Clone, Debug)]
pub struct NodeView {
    pub name: &'static str,
    pub tone: Tone,
    pub state: String,
    pub log: String,
    /// Upper left corner.
    pub x: f64,
    pub y: f64,
}

/// What flows from a log to a service.
pub struct ArrowView {
    pub from: String,
    pub to: String,
    pub tone: Tone,
    pub label: String,
    pub title: String,
    pub path: String,
    pub label_x: f64,
    pub label_y: f64,
    pub label_width: f64,
}

/// A consumer with all the logs that it follows; as its furthest behind one is.
pub struct ConsumerRow {
    pub service: &'static str,
    pub name: String,
    pub tone: Tone,
    pub state: String,
    pub logs: Vec<ConsumerView>,
}

/// A consumer on one source.
#[derive(Clone, Debug)]
pub struct ConsumerView {
    pub service: &'static str,
    /// Without its service.
    pub name: String,
    pub source: String,
    pub position: String,
    pub head: String,
    pub behind: i64,
    pub tone: Tone,
    pub state: String,
}

/// A parked stream.
pub struct ParkedView {
    pub service: &'static str,
    /// What commands call it.
    pub name: String,
    pub id: String,
    pub consumer: String,
    pub subject: String,
    pub tenant: String,
    pub version: i64,
    pub waiting: String,
    pub attempts: String,
    pub error: String,
    pub since: String,
}

impl MeshView {
    /// Shows what was seen.
    pub fn of(seen: &Seen) -> Self {
        let consumers = consumers(seen);
        let parked = parked(seen);
        let quiet = statuses(seen).all(|(name, status)| name == "identity" || status.head == 0);
        let empty = quiet && !seen.services.is_empty();
        let (tone, mut headline) = headline(seen, &consumers, &parked);
        if empty && tone == Tone::Good {
            "The mesh is ready".clone_into(&mut headline);
        }
        let events: i64 = statuses(seen).map(|(_, status)| status.head).sum();
        let ready = statuses(seen).filter(|(_, status)| status.ready).count();
        let detail = format!(
            "{ready} of {} services ready, {} in their logs.",
            publishers().count(),
            counted(events, "event"),
        );
        let pictures = [WIDE, TALL].map(|shape| draw(shape, seen, &consumers)).into();
        let consumers = rows(consumers);
        Self { headline, detail, tone, empty, pictures, consumers, parked }
    }
}

fn statuses(seen: &Seen) -> impl Iterator<Item = (&'static str, &Status)> {
    seen.services.iter().filter_map(|(name, look)| Some((*name, look.status()?)))
}

fn headline(seen: &Seen, consumers: &[ConsumerView], parked: &[ParkedView]) -> (Tone, String) {
    let away: Vec<&str> =
        seen.services.iter().filter(|(_, look)| look.status().is_none()).map(|(name, _)| *name).collect();
    let starting: Vec<&str> =
        statuses(seen).filter(|(_, status)| !status.ready).map(|(name, _)| name).collect();
    let behind: i64 = consumers.iter().map(|consumer| consumer.behind).sum();
    match (&away[..], &starting[..], parked.len(), behind) {
        _ if seen.services.is_empty() => (Tone::Busy, "Looking at the services …".to_owned()),
        ([one], ..) => (Tone::Bad, format!("{one} does not answer")),
        ([_, _, ..], ..) => (Tone::Bad, format!("{} do not answer", away.join(", "))),
        (_, _, 1, _) => (Tone::Bad, "One stream is parked".to_owned()),
        (_, _, 2.., _) => (Tone::Bad, format!("{} streams are parked", parked.len())),
        (_, [_, ..], ..) => (Tone::Busy, format!("{} starting", starting.join(", "))),
        (_, _, _, 1..) => (Tone::Busy, format!("{} on the way", counted(behind, "event"))),
        _ => (Tone::Good, "Everything is in step".to_owned()),
    }
}

fn consumers(seen: &Seen) -> Vec<ConsumerView> {
    let head_of = |source: &str| seen.services.get(source).and_then(Look::status).map(|status| status.head);
    let mut views: Vec<ConsumerView> = statuses(seen)
        .flat_map(|(service, status)| {
            status.consumers.iter().map(move |consumer| (service, status, consumer))
        })
        .map(|(service, status, consumer)| {
            consumer_view(service, status, consumer, head_of(&consumer.source))
        })
        .collect();
    let rank = |service: &str| publishers().position(|name| name == service);
    views.sort_by_key(|view| (rank(view.service), view.name.clone(), rank(&view.source)));
    views
}

/// One row for each consumer; `logs` are in the order of consumers.
fn rows(logs: Vec<ConsumerView>) -> Vec<ConsumerRow> {
    let mut rows: Vec<ConsumerRow> = vec![];
    for log in logs {
        let (service, name, tone, state) = (log.service, log.name.clone(), log.tone, log.state.clone());
        match rows.last_mut().filter(|row| (row.service, &row.name) == (service, &name)) {
            Some(row) => {
                if tone > row.tone {
                    (row.tone, row.state) = (tone, state);
                }
                row.logs.push(log);
            }
            None => rows.push(ConsumerRow { service, name, tone, state, logs: vec![log] }),
        }
    }
    rows
}

fn consumer_view(
    service: &'static str,
    status: &Status,
    consumer: &ConsumerStatus,
    head: Option<i64>,
) -> ConsumerView {
    let from_source = format!("{}/", consumer.source);
    let parked = status
        .parked
        .iter()
        .filter(|stream| stream.consumer == consumer.name && stream.subject.starts_with(&from_source))
        .count();
    let behind = head.map_or(0, |head| (head - consumer.position).max(0));
    let (tone, state) = match (head, parked, behind) {
        (None, ..) => (Tone::Bad, "source does not answer".to_owned()),
        (_, 1.., _) => (Tone::Bad, format!("{parked} parked")),
        (_, _, 1..) => (Tone::Busy, format!("{} behind", grouped(behind))),
        _ => (Tone::Good, "in step".to_owned()),
    };
    ConsumerView {
        service,
        name: short_name(&consumer.name, service),
        source: consumer.source.clone(),
        position: grouped(consumer.position),
        head: head.map_or_else(|| "–".to_owned(), grouped),
        behind,
        tone,
        state,
    }
}

/// `webhooks.reactions@1` is `reactions` in webhooks; a later revision keeps its number.
pub fn short_name(full: &str, service: &str) -> String {
    let name = full.strip_prefix(service).and_then(|rest| rest.strip_prefix('.')).unwrap_or(full);
    name.strip_suffix("@1").unwrap_or(name).to_owned()
}

fn parked(seen: &Seen) -> Vec<ParkedView> {
    let streams =
        statuses(seen).flat_map(|(service, status)| status.parked.iter().map(move |one| (service, one)));
    streams.enumerate().map(|(index, (service, stream))| parked_view(service, stream, index)).collect()
}

fn parked_view(service: &'static str, stream: &Parked, index: usize) -> ParkedView {
    let (source, subject) = stream.subject.split_once('/').unwrap_or(("", &stream.subject));
    ParkedView {
        service,
        name: stream.name.clone(),
        id: format!("parked-{index}"),
        consumer: format!("{service} · {}", short_name(&stream.consumer, service)),
        subject: format!("{subject} of {source}"),
        tenant: stream.name.split('/').next().unwrap_or_default().to_owned(),
        version: stream.version,
        waiting: match stream.events - 1 {
            0 => "nothing waits behind it".to_owned(),
            1 => "1 event waits behind it".to_owned(),
            more => format!("{} events wait behind it", grouped(more)),
        },
        attempts: counted(stream.attempts.into(), "attempt"),
        error: stream.error.clone(),
        since: stream.parked_at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
    }
}

fn draw(shape: Shape, seen: &Seen, consumers: &[ConsumerView]) -> Picture {
    let mut order: Vec<&'static str> = publishers().collect();
    let sources = |service: &str| {
        let own = consumers.iter().filter(|consumer| consumer.service == service);
        own.map(|consumer| &consumer.source).collect::<std::collections::BTreeSet<_>>().len()
    };
    order.sort_by_key(|service| sources(service));
    let places = picture::places(&shape, order.len());
    let place = |service: &str| order.iter().position(|name| *name == service).map(|index| places[index]);
    let nodes = order
        .iter()
        .zip(&places)
        .map(|(name, centre)| {
            node(name, seen, (centre.0 - shape.card.0 / 2.0, centre.1 - shape.card.1 / 2.0))
        })
        .collect();
    let mut pairs: BTreeMap<(&str, &str), Vec<&ConsumerView>> = BTreeMap::new();
    for consumer in consumers.iter().filter(|consumer| consumer.service != consumer.source) {
        pairs.entry((&consumer.source, consumer.service)).or_default().push(consumer);
    }
    let arrows = pairs
        .into_iter()
        .filter_map(|((from, to), consumers)| {
            Some(arrow((from, to), &consumers, picture::line(&shape, place(from)?, place(to)?)))
        })
        .collect();
    Picture { shape, nodes, arrows }
}

fn node(name: &'static str, seen: &Seen, (x, y): (f64, f64)) -> NodeView {
    let (tone, state, log) = match seen.services.get(name) {
        None => (Tone::Busy, "…".to_owned(), String::new()),
        Some(Look::Away(_)) => (Tone::Bad, "does not answer".to_owned(), String::new()),
        Some(Look::Here(status)) => {
            let (tone, state) = match (status.ready, status.parked.len(), status.pending) {
                (false, ..) => (Tone::Busy, "starting".to_owned()),
                (_, 1.., _) => (Tone::Bad, format!("{} parked", status.parked.len())),
                (_, _, 1..) => (Tone::Busy, format!("numbering {}", grouped(status.pending))),
                _ => (Tone::Good, "ready".to_owned()),
            };
            let log =
                if status.head == 0 { "nothing published".to_owned() } else { counted(status.head, "event") };
            (tone, state, log)
        }
    };
    NodeView { name, tone, state, log, x, y }
}

fn arrow((from, to): (&str, &str), consumers: &[&ConsumerView], line: picture::Line) -> ArrowView {
    let worst = consumers.iter().max_by_key(|consumer| (consumer.tone, consumer.behind));
    let (tone, label) =
        worst.map_or((Tone::Good, String::new()), |consumer| (consumer.tone, consumer.state.clone()));
    let label = if label == "source does not answer" { "unknown".to_owned() } else { label };
    let names: Vec<String> =
        consumers.iter().map(|consumer| format!("{}: {}", consumer.name, consumer.state)).collect();
    ArrowView {
        from: from.to_owned(),
        to: to.to_owned(),
        tone,
        title: format!("{to} follows {from} ({})", names.join(", ")),
        label_width: label.chars().count() as f64 * 6.4 + 16.0,
        label,
        path: line.path,
        label_x: line.label.0,
        label_y: line.label.1,
    }
}

/// `1 event`, `1 204 events`.
pub fn counted(count: i64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{} {noun}s", grouped(count)) }
}

/// A number with narrow spaces between groups of three digits.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "−".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}
