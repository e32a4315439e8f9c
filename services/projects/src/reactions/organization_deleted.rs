//! An organization is gone: its projects stay, as their owners' own.

use contracts::Envelope;
use contracts::identity::OrganizationDeleted;
use event_store::Unit;
use event_store::inbox::Handled;
use service_kit::directory;

use crate::domain::project::{Project, ProjectCommand};
use crate::projections::projects;

/// Sends each project of the organization out of it.
pub fn handle<'a>(unit: &'a mut Unit, envelope: &'a Envelope, event: OrganizationDeleted) -> Handled<'a> {
    Box::pin(async move {
        let organization_id = event.organization.id;
        // First, so that what is created from now on is refused and what was created before is found.
        directory::end_organization(unit.tx(), organization_id).await?;
        for id in projects::ids_of_organization(unit.tx(), organization_id).await? {
            let leave = ProjectCommand::LeaveOrganization { organization_id, at: envelope.time };
            unit.execute::<Project>(id, leave).await?;
        }
        Ok(())
    })
}
