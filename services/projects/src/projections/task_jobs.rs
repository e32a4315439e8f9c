//! `task_jobs`: what a task's jobs amount to, so that nobody counts them on reading.

use contracts::projects::Job as Fact;
use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, StoreError, Tx};

use crate::domain::job::{Job, JobEvent, status_of_all};

/// What one job adds to its task's totals.
#[derive(Clone, Copy, Default)]
struct Part {
    jobs: i64,
    in_annotation: i64,
    in_validation: i64,
    completed: i64,
}

impl Part {
    fn of(job: Option<&Fact>) -> Self {
        let Some(job) = job else { return Self::default() };
        Self {
            jobs: 1,
            in_annotation: i64::from(job.stage == "annotation"),
            in_validation: i64::from(job.stage == "validation"),
            completed: i64::from(job.status == "completed"),
        }
    }
}

/// Keeps the table: takes away what the job was and adds what it is.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Job>) -> Applied<'a> {
    Box::pin(async move {
        let Some(job) = &change.after.current else { return Ok(()) };
        let before = Part::of(change.before.current.as_ref());
        let gone = matches!(change.event, JobEvent::Deleted);
        let after = Part::of(Some(job).filter(|_| !gone));
        let touched = if gone { change.at } else { job.updated_date };
        Sql::fixed(
            "INSERT INTO task_jobs AS t (tenant_id, task_id, jobs, in_annotation, in_validation, completed, \
             touched_date) VALUES (es_tenant(), $1, $2, $3, $4, $5, $6) \
             ON CONFLICT (tenant_id, task_id) DO UPDATE SET jobs = t.jobs + excluded.jobs, \
             in_annotation = t.in_annotation + excluded.in_annotation, \
             in_validation = t.in_validation + excluded.in_validation, \
             completed = t.completed + excluded.completed, \
             touched_date = GREATEST(t.touched_date, excluded.touched_date)",
        )
        .bind::<BigInt>(job.task_id)
        .bind::<BigInt>(after.jobs - before.jobs)
        .bind::<BigInt>(after.in_annotation - before.in_annotation)
        .bind::<BigInt>(after.in_validation - before.in_validation)
        .bind::<BigInt>(after.completed - before.completed)
        .bind::<Timestamptz>(touched)
        .execute(&mut **tx)
        .await?;
        if gone {
            Sql::fixed("DELETE FROM task_jobs WHERE tenant_id = es_tenant() AND task_id = $1 AND jobs = 0")
                .bind::<BigInt>(job.task_id)
                .execute(&mut **tx)
                .await?;
        }
        Ok(())
    })
}

/// A task's totals.
#[derive(Clone, Debug, Default, PartialEq, diesel::QueryableByName)]
pub struct Totals {
    #[diesel(sql_type = BigInt)]
    pub jobs: i64,
    #[diesel(sql_type = BigInt)]
    pub in_annotation: i64,
    #[diesel(sql_type = BigInt)]
    pub completed: i64,
}

impl Totals {
    /// The status that the task has by its jobs.
    pub fn status(&self) -> &'static str {
        status_of_all(self.jobs, self.in_annotation, self.completed)
    }
}

/// The totals of a task; nothing for one without jobs.
pub async fn of(tx: &mut Tx, task_id: i64) -> Result<Totals, StoreError> {
    let rows: Vec<Totals> = Sql::fixed(
        "SELECT jobs, in_annotation, completed FROM task_jobs WHERE tenant_id = es_tenant() AND task_id = $1",
    )
    .bind::<BigInt>(task_id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next().unwrap_or_default())
}
