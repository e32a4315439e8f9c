//! `annotations` as documents: CVAT's `LabeledData`, joined from the texts of the rows as they come from the
//! database, so that the largest job costs little more memory than its answer.

use std::collections::HashSet;

use bytes::Bytes;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use event_store::{Sql, StoreError, Tx};
use futures::TryStreamExt;

use super::annotation_jobs::JobFrames;
use super::annotation_versions;
use crate::domain::annotation_items::Kind;

/// Bytes of a piece.
const PIECE: usize = 256 * 1024;

/// A JSON document in pieces.
#[derive(Default)]
pub struct Document {
    pieces: Vec<Bytes>,
    last: Vec<u8>,
    /// Whether the list that is open has anything yet.
    any: bool,
}

impl Document {
    fn begin(version: i64) -> Self {
        let mut document = Self::default();
        document.push(&format!("{{\"version\":{version}"));
        document
    }

    /// Begins the list of one kind.
    fn open(&mut self, kind: Kind) {
        self.push(&format!(",\"{}\":[", kind.plural()));
        self.any = false;
    }

    /// Adds a thing to the list.
    fn add(&mut self, body: &str) {
        if self.any {
            self.push(",");
        }
        self.any = true;
        self.push(body);
    }

    fn push(&mut self, text: &str) {
        if self.last.len() + text.len() > PIECE && !self.last.is_empty() {
            let full = std::mem::replace(&mut self.last, Vec::with_capacity(PIECE));
            self.pieces.push(full.into());
        }
        self.last.extend_from_slice(text.as_bytes());
    }

    /// Its pieces and how long they are together.
    pub fn finish(mut self) -> (Vec<Bytes>, u64) {
        self.pieces.push(self.last.into());
        let length = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        (self.pieces, length)
    }
}

/// Makes the rest of a transaction see the database as it is now. Must be its first statement.
pub async fn freeze(tx: &mut Tx) -> Result<(), StoreError> {
    Ok(tx.batch_execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?)
}

/// A job's annotations, now or as they were at a version; `None` for one that was never reached. The
/// transaction must be frozen.
pub async fn of_job(tx: &mut Tx, job_id: i64, at: Option<i64>) -> Result<Option<Document>, StoreError> {
    let newest = annotation_versions::newest(tx, &[job_id]).await?;
    let version = at.unwrap_or(newest);
    if !(0..=newest).contains(&version) {
        return Ok(None);
    }
    let mut document = Document::begin(version);
    for kind in Kind::ALL {
        document.open(kind);
        let rows = Rows { job_id, kind, at: at.filter(|at| *at < newest) };
        rows.each(tx, |_, body| document.add(body)).await?;
        document.push("]");
    }
    document.push(",\"intervals\":[]}");
    Ok(Some(document))
}

/// The annotations of several jobs of a task, in the order of their frames. What is the same in two jobs on a
/// frame that they share is shown once. The transaction must be frozen.
pub async fn of_jobs(tx: &mut Tx, jobs: &[JobFrames]) -> Result<Document, StoreError> {
    let ids: Vec<i64> = jobs.iter().map(|job| job.id).collect();
    let mut document = Document::begin(annotation_versions::newest(tx, &ids).await?);
    for kind in Kind::ALL {
        document.open(kind);
        // What the jobs before have on frames that a later one may have too.
        let mut shared: HashSet<(i64, String)> = HashSet::new();
        let mut last = -1;
        for (n, job) in jobs.iter().enumerate() {
            let next = jobs.get(n + 1).map_or(i64::MAX, |next| next.start_frame);
            let rows = Rows { job_id: job.id, kind, at: None };
            rows.each(tx, |frame, body| {
                // All but the id, with which it begins.
                let content = body.split_once(',').map_or(body, |(_, content)| content);
                if frame <= last && shared.contains(&(frame, content.to_owned())) {
                    return;
                }
                if frame >= next {
                    shared.insert((frame, content.to_owned()));
                }
                document.add(body);
            })
            .await?;
            last = last.max(job.stop_frame);
        }
        document.push("]");
    }
    document.push(",\"intervals\":[]}");
    Ok(document)
}

/// The rows of one kind that a job has, or had at a version.
struct Rows {
    job_id: i64,
    kind: Kind,
    at: Option<i64>,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    frame: i64,
    #[diesel(sql_type = Text)]
    body: String,
}

impl Rows {
    /// Calls `take` with each row's frame and body as it comes from the database.
    async fn each(&self, tx: &mut Tx, mut take: impl FnMut(i64, &str)) -> Result<(), StoreError> {
        let query = match self.at {
            None => Sql::fixed(
                "SELECT frame, body FROM annotations WHERE tenant_id = es_tenant() AND job_id = $1 AND kind = $2 \
                 AND to_version IS NULL ORDER BY frame, id",
            ),
            Some(_) => Sql::fixed(
                "SELECT frame, body FROM annotations WHERE tenant_id = es_tenant() AND job_id = $1 AND kind = $2 \
                 AND from_version <= $3 AND (to_version IS NULL OR to_version > $3) ORDER BY frame, id",
            ),
        };
        let mut query = query.bind::<BigInt>(self.job_id).bind::<Text>(self.kind.name());
        if let Some(version) = self.at {
            query = query.bind::<BigInt>(version);
        }
        let mut rows = query.load_stream::<Row>(&mut **tx).await?;
        while let Some(Row { frame, body }) = rows.try_next().await? {
            take(frame, &body);
        }
        Ok(())
    }
}
