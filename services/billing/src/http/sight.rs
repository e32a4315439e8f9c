//! Whose usage and limits a caller sees: a tenant's admin its own, an operator everybody's, others nobody's.

use contracts::TenantId;
use service_kit::{Caller, Kit, Refusal};

use crate::projections::tenants::{self, Tenant};

/// The tenants that an answer is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    One(TenantId),
    /// All of the deployment.
    All(Vec<Tenant>),
}

impl Sight {
    /// What a caller sees who names a tenant, by its id or name, or none.
    ///
    /// # Errors
    /// 403 for who is neither admin nor operator, 404 for a tenant that is not theirs, or not at all.
    pub async fn of(kit: &Kit, caller: &Caller, named: Option<&str>) -> Result<Self, Refusal> {
        if !caller.principal.operator {
            let own = caller.tenant();
            return match (caller.is_admin(), named) {
                (false, _) => Err(Refusal::forbidden()),
                (true, None) => Ok(Self::One(own)),
                (true, Some(named)) if named.parse() == Ok(own) => Ok(Self::One(own)),
                (true, Some(_)) => Err(no_such_tenant()),
            };
        }
        let Some(named) = named else { return Ok(Self::All(all(kit).await?)) };
        let is_named = |tenant: &Tenant| tenant.name == named || named.parse() == Ok(tenant.id());
        if let Some(tenant) = all(kit).await?.into_iter().find(is_named) {
            return Ok(Self::One(tenant.id()));
        }
        // It may have been created a moment ago: identity knows.
        if let Ok(id) = named.parse()
            && kit.await_named(id, "identity", "tenant", named).await?.is_some()
        {
            return Ok(Self::One(id));
        }
        Err(no_such_tenant())
    }

    /// The ids, in the order of the tenants' names.
    pub fn tenants(&self) -> Vec<TenantId> {
        match self {
            Self::One(id) => vec![*id],
            Self::All(tenants) => tenants.iter().map(Tenant::id).collect(),
        }
    }
}

/// All tenants of the deployment, by name.
///
/// # Errors
/// When the database does not answer.
pub async fn all(kit: &Kit) -> Result<Vec<Tenant>, Refusal> {
    let mut tx = kit.store.database().tenant(TenantId::DEPLOYMENT).await?;
    let tenants = tenants::list(&mut tx).await?;
    tx.commit().await?;
    Ok(tenants)
}

fn no_such_tenant() -> Refusal {
    Refusal::new(actix_web::http::StatusCode::NOT_FOUND, "no_such_tenant", "There is no such tenant.")
}
