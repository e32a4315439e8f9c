//! `project_jobs`: when a job of a project changed last. Written by the jobs' own events, because a project's
//! stream must not be a bottleneck for everybody who annotates in it.

use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, Tx};

use crate::domain::job::{Job, JobEvent};

/// Keeps the table.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Job>) -> Applied<'a> {
    Box::pin(async move {
        let Some(job) = &change.after.current else { return Ok(()) };
        let Some(project_id) = job.project_id else { return Ok(()) };
        let (more, touched) = match change.event {
            JobEvent::Created(_) => (1, job.updated_date),
            JobEvent::Deleted => (-1, change.at),
            JobEvent::Updated { .. } | JobEvent::Touched { .. } | JobEvent::LeftOrganization { .. } => {
                (0, job.updated_date)
            }
        };
        Sql::fixed(
            "INSERT INTO project_jobs AS p (tenant_id, project_id, jobs, touched_date) \
             VALUES (es_tenant(), $1, $2, $3) ON CONFLICT (tenant_id, project_id) DO UPDATE SET \
             jobs = p.jobs + excluded.jobs, touched_date = GREATEST(p.touched_date, excluded.touched_date)",
        )
        .bind::<BigInt>(project_id)
        .bind::<BigInt>(more)
        .bind::<Timestamptz>(touched)
        .execute(&mut **tx)
        .await?;
        if more < 0 {
            Sql::fixed(
                "DELETE FROM project_jobs WHERE tenant_id = es_tenant() AND project_id = $1 AND jobs = 0",
            )
            .bind::<BigInt>(project_id)
            .execute(&mut **tx)
            .await?;
        }
        Ok(())
    })
}
