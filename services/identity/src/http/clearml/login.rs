//! `login.*`: which domains a tenant's people have, and how one signs in.

use std::collections::BTreeSet;

use serde_json::json;
use service_kit::Refusal;
use service_kit::clearml::{Fault, fault};

use super::{Answered, Call};
use crate::domain::tenant::{Tenant, TenantCommand};
use crate::projections::tenants;

/// Only operators set domains, because they are unique in the deployment: a tenant's own admin would learn from
/// a refusal which other companies there are.
pub async fn set_domains(call: &Call) -> Answered {
    let who = call.who()?;
    let given = call.body.texts("domains")?.ok_or_else(|| fault::MISSING.fault().with("field", "domains"))?;
    let domains: BTreeSet<String> = given.iter().map(|domain| domain.to_ascii_lowercase()).collect();
    let set = TenantCommand::SetDomains { domains: domains.clone() };
    call.store()
        .transact(&call.context(who.tenant)?, async |unit| {
            let row = tenants::own(unit.tx()).await?.ok_or_else(Refusal::not_found)?;
            unit.execute::<Tenant>(row.id, set.clone()).await?;
            Ok(())
        })
        .await
        .map_err(|refusal: Refusal| match refusal.code {
            "domain_invalid" => fault::DOMAIN.fault().with("domains", format!("{domains:?}")),
            "domain_taken" => fault::NOT_UNIQUE.because("a domain belongs to another company"),
            _ => Fault::from(refusal),
        })?;
    Ok(json!({}))
}

pub async fn get_domains(call: &Call) -> Answered {
    let mut tx = call.store().database().tenant(call.who()?.tenant).await?;
    let domains = tenants::own_domains(&mut tx).await?;
    tx.commit().await?;
    Ok(json!({ "domains": domains }))
}

pub async fn get_settings(call: &Call) -> Answered {
    let mut settings = get_domains(call).await?;
    settings["whitelist_entries"] = json!([]);
    Ok(settings)
}

pub async fn supported_modes(_: &Call) -> Answered {
    Ok(json!({
        "basic": { "enabled": true, "guest": { "enabled": false } },
        "sso": {},
        "sso_providers": [],
        "server_errors": {},
        "authenticated": false,
    }))
}

pub async fn fixed_users_mode(_: &Call) -> Answered {
    Ok(json!({ "enabled": false, "guest": { "enabled": false }, "server_errors": {} }))
}
