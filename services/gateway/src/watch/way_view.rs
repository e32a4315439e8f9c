//! What the page shows of a task's way through the mesh.

use chrono::{DateTime, Utc};
use service_kit::status::{Parked, Status};

use super::event_view::duration;
use super::view::{Tone, counted};
use super::{Look, Seen};
use crate::domain::task_way::{Reader, TaskWay};

/// A way.
pub struct WayView {
    pub id: String,
    /// When it began, in milliseconds: the order of the list.
    pub begun: i64,
    pub name: String,
    pub task: i64,
    pub tenant: String,
    pub tone: Tone,
    /// How far it is, in a few words.
    pub state: String,
    /// What went wrong, for people.
    pub problem: String,
    pub steps: Vec<StepView>,
    /// Who has taken notice.
    pub readers: Vec<StepView>,
}

/// A step of the way.
pub struct StepView {
    /// Whose step it is.
    pub service: String,
    pub what: String,
    pub tone: Tone,
    /// What it took, or when it was: `+12 ms`, `17:03:22.103`, or nothing.
    pub took: String,
}

/// Steps in the making.
struct Steps {
    steps: Vec<StepView>,
    last: Option<DateTime<Utc>>,
}

impl Steps {
    /// A step that was made.
    fn made(&mut self, service: &str, what: impl Into<String>, tone: Tone, at: DateTime<Utc>) {
        let took = match self.last {
            None => at.format("%H:%M:%S%.3f").to_string(),
            // Clocks of several machines may differ a little.
            Some(last) => format!("+{}", duration((at - last).num_milliseconds().max(0))),
        };
        self.last = self.last.max(Some(at));
        self.steps.push(StepView { service: service.to_owned(), what: what.into(), tone, took });
    }

    /// A step that is awaited.
    fn awaited(&mut self, service: &str, what: impl Into<String>, tone: Tone) {
        let took = String::new();
        self.steps.push(StepView { service: service.to_owned(), what: what.into(), tone, took });
    }
}

impl WayView {
    /// Shows a way.
    pub fn of(way: &TaskWay, seen: &Seen) -> Self {
        let stuck = |service: &str| stuck(way, service, seen);
        let mut steps = Steps { steps: vec![], last: None };
        let mut problem = String::new();
        if let Some(at) = way.created {
            steps.made("projects", "created", Tone::Good, at);
        }
        if let Some(at) = way.submitted {
            steps.made("media", "pictures sent", Tone::Good, at);
        }
        if let Some((done, total, at)) = way.progress {
            steps.made("media", format!("{done} of {total} looked at"), Tone::Good, at);
        }
        if let Some((frames, bytes, at)) = way.prepared {
            let what = format!("{} ready, {}", counted(frames, "frame"), size(bytes));
            steps.made("media", what, Tone::Good, at);
        }
        if let Some(at) = way.cancelled {
            steps.made("projects", "request cancelled", Tone::Good, at);
        }
        if let Some((message, at)) = &way.failed {
            let what = if way.cancelled.is_some() { "import stopped" } else { "import refused" };
            steps.made("media", what, Tone::Bad, *at);
            let message = message.trim_end_matches('.');
            problem = format!("{message}. Nothing of it was kept; the data may be sent again.");
        }
        match (way.finished, way.prepared) {
            (Some(at), _) => {
                // Jobs that were made before anybody looked were not counted.
                let jobs = match way.created {
                    Some(_) => counted(way.jobs, "job"),
                    None => "jobs".to_owned(),
                };
                steps.made("projects", format!("{jobs}, request finished"), Tone::Good, at);
            }
            (None, Some(_)) => match stuck("projects") {
                Some(error) => {
                    steps.awaited("projects", "no jobs yet: parked", Tone::Bad);
                    problem = format!("projects cannot cut it into jobs: {error}");
                }
                // Once it has, its events tell, unless they are older than what was looked at.
                None if is_behind(way, "projects", "media", seen) => {
                    steps.awaited("projects", "cutting it into jobs", Tone::Busy);
                }
                None => {}
            },
            (None, None) if way.failed.is_none() && way.submitted.is_some() => {
                steps.awaited("media", "looking at the pictures", Tone::Busy);
            }
            _ => {}
        }
        if let (1.., Some(at)) = (way.objects.number, way.objects.at) {
            steps.made(
                "projects",
                format!("{} marked", counted(way.objects.number, "object")),
                Tone::Good,
                at,
            );
        }
        if let (1.., Some(at)) = (way.completed.number, way.completed.at) {
            let what = match way.created {
                Some(_) => format!("{} of {} completed", way.completed.number, counted(way.jobs, "job")),
                None => format!("{} completed", counted(way.completed.number, "job")),
            };
            steps.made("projects", what, Tone::Good, at);
        }
        if let Some(at) = way.deleted {
            steps.made("projects", "deleted", Tone::Good, at);
        }
        let readers: Vec<StepView> = way
            .readers
            .iter()
            .map(|(name, reader)| {
                let stuck = stuck(name);
                let (tone, took) = match (&stuck, reader) {
                    (Some(_), _) => (Tone::Bad, "parked".to_owned()),
                    (None, Reader::Behind(_)) => (Tone::Busy, "on its way".to_owned()),
                    (None, Reader::Taken(Some(ms))) => (Tone::Good, format!("+{}", duration(*ms))),
                    (None, Reader::Taken(None)) => (Tone::Good, "taken".to_owned()),
                };
                if let Some(error) = stuck.filter(|_| problem.is_empty()) {
                    problem = format!("{name} cannot take it: {error}");
                }
                let what = match (*name, way.calls.number) {
                    ("webhooks", calls @ 1..) => format!("{} delivered", counted(calls, "call")),
                    _ => String::new(),
                };
                StepView { service: (*name).to_owned(), what, tone, took }
            })
            .collect();
        let (tone, state) = state(way, &problem);
        Self {
            id: format!("w-{}-{}", way.key.tenant, way.key.task),
            begun: way.begun.timestamp_millis(),
            name: if way.name.is_empty() { format!("task {}", way.key.task) } else { way.name.clone() },
            task: way.key.task,
            tenant: way.key.tenant.to_string(),
            tone,
            state,
            problem,
            steps: steps.steps,
            readers,
        }
    }
}

/// How far a way is, as one would say it.
fn state(way: &TaskWay, problem: &str) -> (Tone, String) {
    let since = |from: Option<DateTime<Utc>>, to: DateTime<Utc>| {
        from.map(|from| duration((to - from).num_milliseconds().max(0)))
    };
    if way.deleted.is_some() {
        return (Tone::Good, "deleted".to_owned());
    }
    if way.failed.is_some() && way.finished.is_none() {
        return (Tone::Bad, "import failed".to_owned());
    }
    if !problem.is_empty() {
        return (Tone::Bad, "stuck".to_owned());
    }
    match (way.finished, way.submitted, way.progress) {
        (Some(at), submitted, _) => match since(submitted, at) {
            Some(took) => (Tone::Good, format!("jobs {took} after its pictures")),
            None => (Tone::Good, "has its jobs".to_owned()),
        },
        (None, ..) if way.prepared.is_some() => (Tone::Good, "has its pictures".to_owned()),
        (None, Some(_), Some((done, total, _))) => (Tone::Busy, format!("importing, {done} of {total}")),
        (None, Some(_), None) => (Tone::Busy, "importing".to_owned()),
        (None, None, _) => (Tone::Good, "waits for its pictures".to_owned()),
    }
}

/// Why a service does not get on with a way, if it does not.
fn stuck(way: &TaskWay, service: &str, seen: &Seen) -> Option<String> {
    let status: &Status = seen.services.get(service).and_then(Look::status)?;
    let tenant = format!("{}/", way.key.tenant);
    let subjects = [format!("projects/task/{}", way.key.task), format!("media/task_data/{}", way.key.task)];
    let is_of_it = |stream: &&Parked| stream.name.starts_with(&tenant) && subjects.contains(&stream.subject);
    status.parked.iter().find(is_of_it).map(|stream| stream.error.clone())
}

/// Whether a service has still to take the way's newest event of a log.
fn is_behind(way: &TaskWay, service: &str, source: &str, seen: &Seen) -> bool {
    let status = seen.services.get(service).and_then(Look::status);
    let (Some(status), Some(mark)) = (status, way.marks.get(source)) else { return false };
    status.consumers.iter().any(|reader| reader.source == source && reader.position < mark.position)
}

fn size(bytes: i64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let (mut size, mut unit) = (bytes as f64 / 1e3, UNITS[0]);
    for larger in &UNITS[1..] {
        if size < 1e3 {
            break;
        }
        (size, unit) = (size / 1e3, larger);
    }
    if size < 10.0 { format!("{size:.1} {unit}") } else { format!("{size:.0} {unit}") }
}
