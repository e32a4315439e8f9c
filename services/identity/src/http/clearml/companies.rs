//! `system.*_compan*`: tenants, as ClearML's operators see them.

use contracts::TenantId;
use event_store::Unit;
use serde_json::{Value, json};
use service_kit::Refusal;
use service_kit::clearml::{Body, Fault, fault};

use super::call::on_field;
use super::{Answered, Call};
use crate::domain::tenant::{Allowance, AllowanceChange, Tenant, TenantCommand};
use crate::projections::tenants::{self, TenantRow};
use crate::steps;

/// How many labels are tried for a name that resembles others.
const TRIES: usize = 100;

pub async fn create(call: &Call) -> Answered {
    let name = call.body.needed_text("name")?;
    let change = allowance(&call.body.object("defaults")?)?;
    let allowance = Allowance {
        allowed_users: change.allowed_users,
        features: change.features,
        exclude_features: change.exclude_features.unwrap_or_default(),
    };
    let tenant = TenantId(event_store::new_id());
    let context = call.context(tenant)?;
    let mut tries = 1;
    let mut label = free_label(call, &name, tries).await?;
    loop {
        let create = async |unit: &mut Unit| {
            let id = steps::new_id::<Tenant>(unit).await?;
            let command = TenantCommand::Create {
                name: label.1.clone(),
                display_name: name.clone(),
                allowance: allowance.clone(),
            };
            unit.execute::<Tenant>(id, command).await?;
            Ok::<_, Refusal>(())
        };
        match call.store().transact(&context, create).await {
            Ok(()) => break,
            // Somebody took the label a moment ago.
            Err(refusal) if refusal.code == "tenant_name_taken" && tries < TRIES => {
                tries = label.0 + 1;
                label = free_label(call, &name, tries).await?;
            }
            Err(refusal) => {
                return Err(on_field(
                    refusal,
                    "company_name_taken",
                    fault::NOT_UNIQUE.fault().with("name", &name),
                ));
            }
        }
    }
    tracing::info!(tenant = %tenant, name = label.1, "a tenant was created");
    Ok(json!({ "id": tenant.0.simple().to_string(), "app_queues": [] }))
}

/// The first label from a number on that no tenant has.
async fn free_label(call: &Call, name: &str, from: usize) -> Result<(usize, String), Fault> {
    for number in from..from + TRIES {
        let label = Tenant::name_for(name, number);
        if tenants::find_by_name(call.store().database(), &label).await?.is_none() {
            return Ok((number, label));
        }
    }
    Err(fault::NOT_UNIQUE.because("too many names that resemble this one").with("name", name))
}

pub async fn list(call: &Call) -> Answered {
    let name = call.body.text("name")?.map(|name| name.to_lowercase());
    let pattern = call.body.text("name_pattern")?.map(|pattern| {
        regex::RegexBuilder::new(&pattern)
            .case_insensitive(true)
            .size_limit(1 << 20)
            .build()
            .map_err(|_| fault::REGEX.fault().with("name_pattern", &pattern))
    });
    let pattern = pattern.transpose()?;
    let found = tenants::all(call.store().database()).await?;
    let wanted = |row: &&TenantRow| {
        name.as_ref().is_none_or(|name| row.display_name.to_lowercase() == *name)
            && pattern.as_ref().is_none_or(|pattern| pattern.is_match(&row.display_name))
    };
    let companies: Vec<Value> = found.iter().filter(wanted).map(shown).collect();
    Ok(json!({ "companies": companies }))
}

pub async fn info(call: &Call) -> Answered {
    let tenant = call.company().await?;
    let mut tx = call.store().database().tenant(tenant).await?;
    let row = tenants::own(&mut tx).await?;
    tx.commit().await?;
    let row = row.ok_or_else(|| fault::ID.because("no such company"))?;
    let mut info = shown(&row);
    info["services"] = json!([]);
    Ok(info)
}

pub async fn update(call: &Call) -> Answered {
    let tenant = call.company().await?;
    let change = allowance(&call.body)?;
    let updated = call
        .store()
        .transact(&call.context(tenant)?, async |unit| {
            let row = tenants::own(unit.tx()).await?.ok_or_else(Refusal::not_found)?;
            let before = unit.load::<Tenant>(row.id).await?.map(|tenant| tenant.allowance);
            let after = unit.execute::<Tenant>(row.id, TenantCommand::Allow(change.clone())).await?;
            Ok::<_, Refusal>(before.as_ref() != Some(&after.state.allowance))
        })
        .await?;
    Ok(json!({ "updated": i64::from(updated) }))
}

pub async fn of_user(call: &Call) -> Answered {
    let mut tx = call.store().database().tenant(call.who()?.tenant).await?;
    let row = tenants::own(&mut tx).await?;
    tx.commit().await?;
    let company = row.map(|row| {
        json!({
            "id": row.tenant().0.simple().to_string(), "name": row.display_name, "allocated": true, "owners": [],
        })
    });
    Ok(json!({ "companies": company.into_iter().collect::<Vec<_>>() }))
}

/// What a call says of a tenant's allowance.
fn allowance(body: &Body) -> Result<AllowanceChange, Fault> {
    Ok(AllowanceChange {
        allowed_users: body.integer("allowed_users")?,
        features: body.texts("features")?,
        exclude_features: body.texts("exclude_features")?,
    })
}

fn shown(row: &TenantRow) -> Value {
    let mut defaults = json!({ "exclude_features": row.exclude_features });
    if let Some(users) = row.allowed_users {
        defaults["allowed_users"] = users.into();
    }
    if let Some(features) = &row.features {
        defaults["features"] = json!(features);
    }
    json!({
        "id": row.tenant().0.simple().to_string(),
        "name": row.display_name,
        // The label of its host, and what stands before the backslash at a sign-in.
        "host": row.name,
        "active": true,
        "created": row.created_at.to_rfc3339(),
        "defaults": defaults,
    })
}
