//! The meters: what is measured, how, and which events say so. Everything else follows from these tables.
//!
//! # Add a meter
//! 1. A row in [`METERS`]; for counts and sums rows in [`FACTS`], for levels in [`LEVELS`].
//! 2. Its event in `consumers::usage`, where the type makes sure that the event can be read. A test compares.
//! 3. Raise the consumer's revision, or rebuild it: `annomesh rebuild billing usage`.
//!
//! Paths are JSON pointers into an event's data; a test holds them against each event's example.

/// Something that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    pub name: &'static str,
    /// What one of it is, in the plural.
    pub unit: &'static str,
    pub kind: Kind,
    /// What it can be grouped by.
    pub dims: &'static [&'static str],
    pub title: &'static str,
}

/// How a meter's value in a window comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The number of facts.
    Count,
    /// The sum of the facts' values.
    Sum,
    /// How many keys of a series were above zero at some time.
    UniqueActive { series: &'static str },
    /// The highest sum of a series' levels.
    Peak { series: &'static str },
    /// A series' level times time; `divisor` makes its unit of levels times microseconds.
    Integral { series: &'static str, divisor: i128 },
}

/// Microseconds of an hour.
const HOUR_US: i128 = 3_600_000_000;
/// Bytes of a gigabyte.
const GB: i128 = 1_000_000_000;

/// The series of users who have a seat; a user's level is 1 or 0.
pub const SEATS: &str = "seats";
/// The series of stored bytes.
pub const STORAGE: &str = "storage_bytes";

/// Every meter.
pub const METERS: &[Meter] = &[
    meter("seats", "users", Kind::UniqueActive { series: SEATS }, &[], "Users with a seat"),
    meter("seats_peak", "users", Kind::Peak { series: SEATS }, &[], "Most seats at the same time"),
    meter("seat_hours", "hours", Kind::Integral { series: SEATS, divisor: HOUR_US }, &[], "Seat hours"),
    meter(
        "storage_gb_hours",
        "GB hours",
        Kind::Integral { series: STORAGE, divisor: GB * HOUR_US },
        &[],
        "Storage, GB hours",
    ),
    meter(
        "storage_bytes_peak",
        "bytes",
        Kind::Peak { series: STORAGE },
        &[],
        "Most storage at the same time",
    ),
    meter("tasks", "tasks", Kind::Count, &["project"], "Tasks created"),
    meter("jobs", "jobs", Kind::Count, &["project"], "Jobs created"),
    meter("frames", "frames", Kind::Sum, &[], "Frames imported"),
    meter("objects_annotated", "objects", Kind::Sum, &["project", "type"], "Objects annotated"),
    meter("api_calls", "calls", Kind::Sum, &["class", "service"], "API calls"),
    meter("webhook_deliveries", "deliveries", Kind::Count, &["webhook"], "Webhook deliveries"),
];

const fn meter(
    name: &'static str,
    unit: &'static str,
    kind: Kind,
    dims: &'static [&'static str],
    title: &'static str,
) -> Meter {
    Meter { name, unit, kind, dims, title }
}

/// What an event adds to a count or sum.
#[derive(Clone, Copy, Debug)]
pub struct Fact {
    pub meter: &'static str,
    pub event: &'static str,
    /// Where the value is; `None` for 1.
    pub value: Option<&'static str>,
    /// When it was; `None` for the event's own time.
    pub at: Option<&'static str>,
    /// In the order of their names.
    pub dims: &'static [(&'static str, Dim)],
}

/// Where a dimension's value comes from.
#[derive(Clone, Copy, Debug)]
pub enum Dim {
    /// From the event; left out where there is nothing.
    At(&'static str),
    Is(&'static str),
}

/// Which events count.
pub const FACTS: &[Fact] = &[
    one("tasks", "projects.task_created.v1", &[("project", Dim::At("/task/project_id"))]),
    one("jobs", "projects.job_created.v1", &[("project", Dim::At("/job/project_id"))]),
    sum("frames", "media.task_data_prepared.v1", "/data/size", &[]),
    objects("/created/tags", &[("project", Dim::At("/project_id")), ("type", Dim::Is("tag"))]),
    objects("/created/shapes", &[("project", Dim::At("/project_id")), ("type", Dim::Is("shape"))]),
    objects("/created/tracks", &[("project", Dim::At("/project_id")), ("type", Dim::Is("track"))]),
    calls("/reads", &[("class", Dim::Is("read")), ("service", Dim::At("/service"))]),
    calls("/writes", &[("class", Dim::Is("write")), ("service", Dim::At("/service"))]),
    one("webhook_deliveries", "webhooks.message_delivered.v1", &[("webhook", Dim::At("/webhook_id"))]),
];

const fn one(meter: &'static str, event: &'static str, dims: &'static [(&'static str, Dim)]) -> Fact {
    Fact { meter, event, value: None, at: None, dims }
}

const fn sum(
    meter: &'static str,
    event: &'static str,
    value: &'static str,
    dims: &'static [(&'static str, Dim)],
) -> Fact {
    Fact { meter, event, value: Some(value), at: None, dims }
}

const fn objects(value: &'static str, dims: &'static [(&'static str, Dim)]) -> Fact {
    sum("objects_annotated", "projects.annotations_changed.v1", value, dims)
}

const fn calls(value: &'static str, dims: &'static [(&'static str, Dim)]) -> Fact {
    Fact {
        meter: "api_calls",
        event: "billing.api_usage_counted.v1",
        value: Some(value),
        at: Some("/quarter"),
        dims,
    }
}

/// What an event says about the level of its stream, which is the key.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    pub series: &'static str,
    pub event: &'static str,
    pub level: At,
}

/// Where a level is.
#[derive(Clone, Copy, Debug)]
pub enum At {
    Number(&'static str),
    /// 1 for true, 0 for false.
    Flag(&'static str),
    Zero,
}

/// Which events say how high something stands from now on.
pub const LEVELS: &[Level] = &[
    level(SEATS, "identity.user_registered.v1", At::Flag("/user/is_active")),
    level(SEATS, "identity.user_updated.v1", At::Flag("/user/is_active")),
    level(SEATS, "identity.user_deleted.v1", At::Zero),
    level(STORAGE, "media.storage_changed.v1", At::Number("/bytes")),
];

const fn level(series: &'static str, event: &'static str, level: At) -> Level {
    Level { series, event, level }
}

/// A meter by its name.
pub fn find(name: &str) -> Option<&'static Meter> {
    METERS.iter().find(|meter| meter.name == name)
}

impl Meter {
    /// What an exact whole number of this meter is divided by to be in its unit.
    pub fn divisor(&self) -> i128 {
        match self.kind {
            Kind::Integral { divisor, .. } => divisor,
            Kind::Count | Kind::Sum | Kind::UniqueActive { .. } | Kind::Peak { .. } => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(event: &str) -> serde_json::Value {
        let known = contracts::catalog().into_iter().find(|known| known.name == event);
        (known.unwrap_or_else(|| panic!("nobody publishes {event}")).example)()
    }

    #[test]
    fn every_fact_is_in_its_event() {
        for fact in FACTS {
            let (example, meter) = (example(fact.event), find(fact.meter).unwrap());
            for path in fact.value.iter().chain(&fact.at) {
                assert!(example.pointer(path).is_some(), "{} has no {path}", fact.event);
            }
            let names: Vec<_> = fact.dims.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, meter.dims, "{}", fact.meter);
            assert!(names.is_sorted());
            for (name, dim) in fact.dims {
                let Dim::At(path) = dim else { continue };
                assert!(example.pointer(path).is_some(), "{}: {name} is not at {path}", fact.event);
            }
        }
    }

    #[test]
    fn every_level_is_in_its_event() {
        for level in LEVELS {
            match level.level {
                At::Number(path) => assert!(example(level.event).pointer(path).unwrap().is_i64()),
                At::Flag(path) => assert!(example(level.event).pointer(path).unwrap().is_boolean()),
                At::Zero => {}
            }
        }
    }

    #[test]
    fn every_meter_is_fed() {
        for meter in METERS {
            let fed = match meter.kind {
                Kind::Count | Kind::Sum => FACTS.iter().any(|fact| fact.meter == meter.name),
                Kind::UniqueActive { series } | Kind::Peak { series } | Kind::Integral { series, .. } => {
                    LEVELS.iter().any(|level| level.series == series)
                }
            };
            assert!(fed, "{}", meter.name);
        }
    }
}
