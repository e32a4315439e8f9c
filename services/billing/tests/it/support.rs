//! Events, and what a child with a pencil makes of them.

use std::collections::BTreeMap;

use billing::domain::amount::Amount;
use billing::domain::curve::Window;
use billing::meters;
use billing::usage::read::{Question, read};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::billing::ApiUsageCounted;
use contracts::event::Example;
use contracts::identity::{User, UserDeleted, UserRegistered, UserUpdated};
use contracts::media::{StorageChanged, TaskData, TaskDataPrepared};
use contracts::projects::{AnnotationCounts, AnnotationsChanged, Job, JobCreated, Task, TaskCreated};
use contracts::webhooks::MessageDelivered;
use contracts::{ContractEvent, Envelope, TenantId};
use event_store::inbox::{self, Handler, Taken};
use event_store::{Clock, Database, PoolSizes, Registry, Store};
use serde_json::{Map, json};
use test_kit::TestDatabase;

pub const CONSUMER: &str = "billing.usage@1";

/// A moment on a Saturday.
pub fn at(second: i64) -> DateTime<Utc> {
    "2026-11-21T08:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(second)
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Happened {
    /// A user is active, or not, or gone.
    User {
        id: i64,
        active: Option<bool>,
    },
    Stored(i64),
    Task {
        project: Option<i64>,
    },
    Annotated {
        shapes: i64,
    },
    Job,
    Imported {
        frames: i64,
    },
    /// Calls of the quarter before the report.
    Called {
        reads: i64,
        writes: i64,
    },
    Delivered,
}

/// A stream's events in order: what happened and at which second.
pub fn stream(tenant: TenantId, events: &[(i64, Happened)], first_stream: i64) -> Vec<Envelope> {
    let version = |index: usize| index as i64 + 1;
    events
        .iter()
        .enumerate()
        .map(|(index, (second, happened))| match happened {
            // Each of these is a stream of its own.
            Happened::Job => {
                let created = JobCreated { job: Job::example() };
                envelope(tenant, first_stream + index as i64, 1, *second, &created)
            }
            Happened::Imported { frames } => {
                let data = TaskData { size: *frames, ..TaskData::example() };
                let prepared = TaskDataPrepared { data, ..TaskDataPrepared::example() };
                envelope(tenant, first_stream + index as i64, 1, *second, &prepared)
            }
            Happened::Delivered => {
                envelope(tenant, first_stream + index as i64, 1, *second, &MessageDelivered::example())
            }
            Happened::Called { reads, writes } => {
                let quarter = at(quarter_before(*second));
                let counted =
                    ApiUsageCounted { quarter, reads: *reads, writes: *writes, ..ApiUsageCounted::example() };
                envelope(tenant, 1, version(index), *second, &counted)
            }
            Happened::User { id, active } => {
                let user = User { id: *id, is_active: active.unwrap_or_default(), ..User::example() };
                let v = version(index);
                match active {
                    None => envelope(tenant, *id, v, *second, &UserDeleted { user }),
                    Some(_) if index == 0 => {
                        envelope(tenant, *id, v, *second, &UserRegistered { user, reservation_id: None })
                    }
                    Some(_) => envelope(
                        tenant,
                        *id,
                        v,
                        *second,
                        &UserUpdated { user, before_update: Map::new(), reservation_id: None },
                    ),
                }
            }
            Happened::Stored(bytes) => {
                let changed = StorageChanged { bytes: *bytes, reservation_id: None };
                envelope(tenant, 1, version(index), *second, &changed)
            }
            // Each task is a stream of its own.
            Happened::Task { project } => {
                let task = Task { project_id: *project, ..Task::example() };
                envelope(tenant, first_stream + index as i64, 1, *second, &TaskCreated { task })
            }
            Happened::Annotated { shapes } => {
                let created = AnnotationCounts { shapes: *shapes, tags: 1, tracks: 0 };
                let changed = AnnotationsChanged { created, ..AnnotationsChanged::example() };
                envelope(tenant, 33, version(index), *second, &changed)
            }
        })
        .collect()
}

/// The beginning of the quarter of an hour before that of a second.
fn quarter_before(second: i64) -> i64 {
    (second.div_euclid(900) - 1) * 900
}

pub fn envelope<E: ContractEvent>(
    tenant: TenantId,
    stream: i64,
    version: i64,
    second: i64,
    event: &E,
) -> Envelope {
    serde_json::from_value(json!({
        "specversion": "1.0", "id": event_store::new_id(), "source": format!("/mesh/{}", E::SERVICE),
        "type": E::TYPE, "subject": format!("{}/{stream}", E::KIND), "time": at(second),
        "datacontenttype": "application/json", "dataschema": "", "tenantid": tenant, "streamversion": version,
        "position": 1, "partitionkey": format!("{tenant}/{}/{stream}", E::KIND),
        "correlationid": event_store::new_id(), "data": event,
    }))
    .unwrap()
}

/// Billing's database without the service.
pub async fn store() -> Store {
    let service = billing::service();
    let (migrations, kinds) = service.schema().unwrap();
    let database = TestDatabase::create("billing", migrations, kinds).await;
    let database = Database::connect(database.urls, PoolSizes::default()).await.unwrap();
    Store::new("billing", database, Registry::default(), Clock::system())
}

pub fn handler() -> Handler {
    let service = billing::service();
    service.consumers().iter().find(|consumer| consumer.name() == "usage").unwrap().handler()
}

/// Gives the consumer one batch.
pub async fn take(store: &Store, batch: &[Envelope]) -> Taken {
    inbox::take(store, CONSUMER, &handler(), batch, &[]).await.unwrap()
}

/// A meter's values, window by window, all groups together.
pub async fn values(store: &Store, tenant: TenantId, name: &str, windows: &[Window], now: i64) -> Vec<i128> {
    let meter = meters::find(name).unwrap();
    let question = Question { meter, windows: windows.to_vec(), group_by: vec![], now: at(now) };
    let mut tx = store.database().tenant(tenant).await.unwrap();
    let cells = read(&mut tx, &question).await.unwrap();
    tx.commit().await.unwrap();
    let mut values = vec![0; windows.len()];
    for cell in cells {
        values[cell.window] += match cell.amount {
            Amount::Whole(value) => value,
            Amount::Decimal(value) => value.to_string().parse().unwrap(),
        };
    }
    values
}

/// The same ten seconds by ten seconds, which everything here is a multiple of: levels of each key from the order of its stream alone.
pub fn counted(streams: &[Vec<(i64, Happened)>], name: &str, &(begin, end): &Window, now: i64) -> i128 {
    let all = || streams.iter().flatten();
    let inside = |second: i64| begin <= at(second) && at(second) < end;
    match name {
        "tasks" => all().filter(|(s, h)| inside(*s) && matches!(h, Happened::Task { .. })).count() as i128,
        "objects_annotated" => all()
            .map(|(second, happened)| match happened {
                Happened::Annotated { shapes } if inside(*second) => i128::from(*shapes + 1),
                _ => 0,
            })
            .sum(),
        "jobs" => all().filter(|(s, h)| inside(*s) && matches!(h, Happened::Job)).count() as i128,
        "webhook_deliveries" => {
            all().filter(|(s, h)| inside(*s) && matches!(h, Happened::Delivered)).count() as i128
        }
        "frames" => all()
            .map(|(second, happened)| match happened {
                Happened::Imported { frames } if inside(*second) => i128::from(*frames),
                _ => 0,
            })
            .sum(),
        "api_calls" => all()
            .map(|(second, happened)| match happened {
                Happened::Called { reads, writes } if inside(quarter_before(*second)) => {
                    i128::from(reads + writes)
                }
                _ => 0,
            })
            .sum(),
        _ => levels(streams, name, (begin, end), now),
    }
}

fn levels(streams: &[Vec<(i64, Happened)>], name: &str, (begin, end): Window, now: i64) -> i128 {
    let (mut sum, mut peak, mut keys) = (0, 0, BTreeMap::new());
    let mut second = begin;
    while second < end.min(at(now)) {
        let mut level = 0;
        for (key, stream) in streams.iter().enumerate() {
            let (mut clock, mut stands, mut said_before) = (i64::MIN, 0, None);
            for (said, happened) in stream {
                let says = match happened {
                    Happened::User { active, .. } if name.starts_with("seat") => {
                        i128::from(active.unwrap_or_default())
                    }
                    Happened::Stored(bytes) if name.starts_with("storage") => i128::from(*bytes),
                    _ => 0,
                };
                // A clock that runs backwards does not undo a change.
                if said_before != Some(says) {
                    clock = clock.max(*said);
                }
                said_before = Some(says);
                if at(clock) > second {
                    break;
                }
                stands = says;
            }
            level += stands;
            if stands > 0 {
                keys.insert(key, ());
            }
        }
        sum += level * 10_000_000;
        peak = peak.max(level);
        second += TimeDelta::seconds(10);
    }
    match name {
        "seats" => keys.len() as i128,
        "seats_peak" | "storage_bytes_peak" => peak,
        _ => sum,
    }
}
