//! The jobs of a task, as far as its annotations are concerned, and what two of them have in common.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use contracts::projects::Label;
use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};

use super::labels::Holder;
use crate::domain::annotation_items::{Ids, Kind};

/// The frames of a job.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct JobFrames {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = BigInt)]
    pub start_frame: i64,
    #[diesel(sql_type = BigInt)]
    pub stop_frame: i64,
}

/// The jobs that a task's annotations are in, by their frames; a job of ground truth is no part of them.
pub async fn of_task(tx: &mut Tx, task_id: i64) -> Result<Vec<JobFrames>, StoreError> {
    let jobs = Sql::fixed(
        "SELECT id, start_frame, stop_frame FROM jobs \
         WHERE tenant_id = es_tenant() AND task_id = $1 AND type = 'annotation' ORDER BY start_frame, id",
    )
    .bind::<BigInt>(task_id)
    .load(&mut **tx)
    .await?;
    Ok(jobs)
}

/// The labels that annotations of a project's tasks, or of a task without one, may have. None of them is deleted
/// until the end of the transaction ([`lock_labels`]); to be asked before a job is locked, because whoever deletes
/// a label locks the jobs that have it last.
pub async fn hold_labels(tx: &mut Tx, holder: Holder) -> Result<Vec<Label>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        labels: String,
    }
    tx.share_name(&labels_of(holder)).await?;
    let (query, id) = match holder {
        Holder::Project(id) => {
            ("SELECT labels::text AS labels FROM projects WHERE tenant_id = es_tenant() AND id = $1", id)
        }
        Holder::Task(id) => {
            ("SELECT labels::text AS labels FROM tasks WHERE tenant_id = es_tenant() AND id = $1", id)
        }
    };
    let rows: Vec<Row> = Sql::fixed(query).bind::<BigInt>(id).load(&mut **tx).await?;
    match rows.into_iter().next() {
        Some(row) => Ok(serde_json::from_str(&row.labels)?),
        None => Ok(vec![]),
    }
}

/// Waits for everybody who is annotating with these labels, and lets nobody begin until the end of the transaction;
/// to be asked first of all by whoever deletes some of them.
pub async fn lock_labels(tx: &mut Tx, holder: Holder) -> Result<(), StoreError> {
    tx.lock_name(&labels_of(holder)).await
}

/// Not the holder's row, which every change of status writes.
fn labels_of(holder: Holder) -> String {
    match holder {
        Holder::Project(id) => format!("labels/project/{id}"),
        Holder::Task(id) => format!("labels/task/{id}"),
    }
}

/// The frames of the jobs that these tracks are in.
pub async fn of_tracks(
    tx: &mut Tx,
    jobs: &[JobFrames],
    tracks: Vec<i64>,
) -> Result<HashMap<i64, RangeInclusive<i64>>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        job_id: i64,
    }
    if tracks.is_empty() {
        return Ok(HashMap::new());
    }
    let frames: HashMap<i64, &JobFrames> = jobs.iter().map(|job| (job.id, job)).collect();
    let rows: Vec<Row> = Sql::fixed(
        "SELECT id, job_id FROM annotations WHERE tenant_id = es_tenant() AND job_id = ANY($1) \
         AND kind = $2 AND id = ANY($3) AND to_version IS NULL",
    )
    .bind::<Array<BigInt>>(jobs.iter().map(|job| job.id).collect::<Vec<_>>())
    .bind::<Text>(Kind::Track.name())
    .bind::<Array<BigInt>>(tracks)
    .load(&mut **tx)
    .await?;
    let home = |row: Row| frames.get(&row.job_id).map(|job| (row.id, job.start_frame..=job.stop_frame));
    Ok(rows.into_iter().filter_map(home).collect())
}

/// What the jobs of a project, or of a task, have with these labels; by job.
pub async fn labelled(tx: &mut Tx, holder: Holder, labels: &[i64]) -> Result<BTreeMap<i64, Ids>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        job_id: i64,
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let (query, id) = match holder {
        Holder::Project(id) => (
            "SELECT a.job_id, a.kind, a.id FROM jobs j JOIN annotations a \
             ON a.tenant_id = j.tenant_id AND a.job_id = j.id AND a.to_version IS NULL \
             WHERE j.tenant_id = es_tenant() AND j.project_id = $1 AND a.label_id = ANY($2) ORDER BY a.id",
            id,
        ),
        Holder::Task(id) => (
            "SELECT a.job_id, a.kind, a.id FROM jobs j JOIN annotations a \
             ON a.tenant_id = j.tenant_id AND a.job_id = j.id AND a.to_version IS NULL \
             WHERE j.tenant_id = es_tenant() AND j.task_id = $1 AND a.label_id = ANY($2) ORDER BY a.id",
            id,
        ),
    };
    let rows: Vec<Row> =
        Sql::fixed(query).bind::<BigInt>(id).bind::<Array<BigInt>>(labels.to_vec()).load(&mut **tx).await?;
    let mut by_job: BTreeMap<i64, Ids> = BTreeMap::new();
    for Row { job_id, kind, id } in rows {
        if let Some(kind) = Kind::ALL.into_iter().find(|known| known.name() == kind) {
            by_job.entry(job_id).or_default().of_mut(kind).push(id);
        }
    }
    Ok(by_job)
}

/// Whether some frame is in two of the jobs.
pub fn overlap(jobs: &[JobFrames]) -> bool {
    jobs.windows(2).any(|pair| pair[1].start_frame <= pair[0].stop_frame)
}

/// The ids, and those of what is the same on the same frame in another of the jobs. An annotation's JSON begins
/// with its id; the same means all but that.
pub async fn with_twins(tx: &mut Tx, jobs: &[JobFrames], ids: &Ids) -> Result<Ids, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let mut all = ids.clone();
    if !overlap(jobs) {
        return Ok(all);
    }
    let jobs: Vec<i64> = jobs.iter().map(|job| job.id).collect();
    for kind in [Kind::Tag, Kind::Shape] {
        if ids.of(kind).is_empty() {
            continue;
        }
        let twins: Vec<Id> = Sql::fixed(
            "SELECT DISTINCT twin.id FROM annotations a JOIN annotations twin \
             ON twin.tenant_id = a.tenant_id AND twin.job_id = ANY($1) AND twin.job_id <> a.job_id \
             AND twin.kind = a.kind AND twin.frame = a.frame AND twin.to_version IS NULL \
             AND substr(twin.body, strpos(twin.body, ',')) = substr(a.body, strpos(a.body, ',')) \
             WHERE a.tenant_id = es_tenant() AND a.job_id = ANY($1) AND a.kind = $2 AND a.id = ANY($3) \
             AND a.to_version IS NULL",
        )
        .bind::<Array<BigInt>>(jobs.clone())
        .bind::<Text>(kind.name())
        .bind::<Array<BigInt>>(ids.of(kind).clone())
        .load(&mut **tx)
        .await?;
        all.of_mut(kind).extend(twins.into_iter().map(|twin| twin.id));
    }
    Ok(all)
}
