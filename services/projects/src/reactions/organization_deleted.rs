//! An organization is gone: its projects, tasks and jobs stay, as their owners' own.

use chrono::{DateTime, Utc};
use contracts::Envelope;
use contracts::identity::OrganizationDeleted;
use event_store::Unit;
use event_store::inbox::{Handled, HandlerError};
use service_kit::directory;

use crate::domain::job::{Job, JobCommand};
use crate::domain::project::{Project, ProjectCommand};
use crate::domain::task::{Task, TaskCommand};
use crate::projections::{jobs, projects, tasks};

/// Sends each project, task and job of the organization out of it.
pub fn handle<'a>(unit: &'a mut Unit, envelope: &'a Envelope, event: OrganizationDeleted) -> Handled<'a> {
    Box::pin(async move {
        let (organization_id, at) = (event.organization.id, envelope.time);
        // First, so that what is created from now on is refused and what was created before is found.
        directory::end_organization(unit.tx(), organization_id).await?;
        leave_jobs(unit, organization_id, at).await?;
        for id in tasks::ids_of_organization(unit.tx(), organization_id).await? {
            unit.execute::<Task>(id, TaskCommand::LeaveOrganization { organization_id, at }).await?;
        }
        // Once more: a task that was being cut into jobs was waited for.
        leave_jobs(unit, organization_id, at).await?;
        for id in projects::ids_of_organization(unit.tx(), organization_id).await? {
            unit.execute::<Project>(id, ProjectCommand::LeaveOrganization { organization_id, at }).await?;
        }
        Ok(())
    })
}

async fn leave_jobs(unit: &mut Unit, organization_id: i64, at: DateTime<Utc>) -> Result<(), HandlerError> {
    for id in jobs::ids_of_organization(unit.tx(), organization_id).await? {
        unit.execute::<Job>(id, JobCommand::LeaveOrganization { organization_id, at }).await?;
    }
    Ok(())
}
