//! An organization is gone: its projects, tasks and jobs stay, as their owners' own.

use contracts::Envelope;
use contracts::identity::OrganizationDeleted;
use event_store::Unit;
use event_store::inbox::Handled;

use crate::domain::job::{Job, JobCommand};
use crate::domain::project::{Project, ProjectCommand};
use crate::domain::task::{Task, TaskCommand};
use crate::projections::{jobs, projects, tasks};

/// Sends each project, task and job of the organization out of it.
pub fn handle<'a>(unit: &'a mut Unit, envelope: &'a Envelope, event: OrganizationDeleted) -> Handled<'a> {
    Box::pin(async move {
        let (organization_id, at) = (event.organization.id, envelope.time);
        for id in jobs::ids_of_organization(unit.tx(), organization_id).await? {
            unit.execute::<Job>(id, JobCommand::LeaveOrganization { organization_id, at }).await?;
        }
        for id in tasks::ids_of_organization(unit.tx(), organization_id).await? {
            unit.execute::<Task>(id, TaskCommand::LeaveOrganization { organization_id, at }).await?;
        }
        for id in projects::ids_of_organization(unit.tx(), organization_id).await? {
            unit.execute::<Project>(id, ProjectCommand::LeaveOrganization { organization_id, at }).await?;
        }
        Ok(())
    })
}
