//! `identity.tenant_created` and `identity.tenant_updated`: who there is, and what identity grants them.

use contracts::identity::{self as facts, TenantCreated, TenantUpdated};
use contracts::{Envelope, TenantId};
use event_store::Unit;
use event_store::inbox::{Handled, HandlerError};
use event_store::store::Context;
use service_kit::entitlements;

use crate::domain::entitlement::{Entitlement, EntitlementCommand, is_own, of_tenant};
use crate::projections::tenants;

pub fn created<'a>(unit: &'a mut Unit, envelope: &'a Envelope, event: TenantCreated) -> Handled<'a> {
    Box::pin(async move { take(unit, envelope.tenantid, &event.tenant).await })
}

pub fn updated<'a>(unit: &'a mut Unit, envelope: &'a Envelope, event: TenantUpdated) -> Handled<'a> {
    Box::pin(async move { take(unit, envelope.tenantid, &event.tenant).await })
}

async fn take(unit: &mut Unit, id: TenantId, tenant: &facts::Tenant) -> Result<(), HandlerError> {
    let known = entitlements::all(unit.tx()).await?;
    let mut features: Vec<String> = known.into_keys().filter(|key| !is_own(key)).collect();
    features.sort_unstable();
    for (key, grant) in of_tenant(tenant, features) {
        let stream = Entitlement::id(&key);
        unit.execute::<Entitlement>(stream, EntitlementCommand::GrantByTenant { key, grant }).await?;
    }
    let here = unit.context().clone();
    unit.enter(Context { tenant: TenantId::DEPLOYMENT, ..here.clone() }).await?;
    tenants::put(unit.tx(), id, &tenant.name).await?;
    unit.enter(here).await?;
    Ok(())
}
