//! `/v1/limits`: what a tenant may use, and what is gone of it.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, delete, get, put, web};
use contracts::TenantId;
use event_store::store::Context;
use event_store::{Tx, Unit};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Write, entitlements};
use utoipa::{IntoParams, ToSchema};

use super::sight::Sight;
use crate::domain::entitlement::{Entitlement, EntitlementCommand, Grant};
use crate::quotas::{self, QUOTAS, Quota, places};

/// The largest limit; beyond it sums are not told exactly.
const LIMIT_MAX: i64 = 1_000_000_000_000_000_000;

/// Whose limits.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TenantQuery {
    /// For operators: a tenant, by id or name.
    tenant: Option<String>,
}

/// One limit of a tenant.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Limit {
    /// The tenant's id.
    #[schema(value_type = String)]
    pub tenant: TenantId,
    /// `seats` or `storage_bytes`.
    pub key: &'static str,
    /// A decimal in text; null for none.
    pub limit: Option<String>,
    /// Whether it is refused to pass it.
    pub hard: bool,
    /// What is used, a decimal in text.
    pub used: String,
    /// What is promised to whoever is about to use it, a decimal in text.
    pub reserved: String,
    /// What one of it is, in the plural.
    pub unit: &'static str,
}

/// Limits.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Limits {
    pub items: Vec<Limit>,
}

/// A limit as an operator sets it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLimit {
    /// A number from 0 on, or a decimal in text; null for none.
    #[schema(value_type = Option<String>)]
    limit: Value,
    /// Whether it is refused to pass it; true by default.
    hard: Option<bool>,
}

/// The limits of the caller's tenant with what is used; an operator sees those of all tenants, or of one.
#[utoipa::path(params(TenantQuery), responses((status = 200, body = Limits)))]
#[get("/v1/limits")]
pub async fn list_limits(caller: Caller, kit: web::Data<Kit>, query: web::Query<TenantQuery>) -> Answer {
    let sight = Sight::of(&kit, &caller, query.tenant.as_deref()).await?;
    Ok(HttpResponse::Ok().json(Limits { items: limits(&kit, &sight).await? }))
}

/// Sets a limit of a tenant, whatever its plan says; for operators.
#[utoipa::path(params(TenantQuery, ("key" = String, Path, description = "`seats` or `storage_bytes`")),
    request_body = SetLimit, responses((status = 200, body = Limit)))]
#[put("/v1/limits/{key}")]
pub async fn put_limit(
    caller: Caller,
    kit: web::Data<Kit>,
    key: web::Path<String>,
    query: web::Query<TenantQuery>,
    request: Write<SetLimit>,
) -> Answer {
    caller.require_operator()?;
    let limit = decimal(&request.body.limit)?;
    let grant = Grant { limit, hard: limit.is_some() && request.body.hard.unwrap_or(true), allowed: true };
    override_limit(&caller, &kit, (&key, &query), &request, Some(grant)).await
}

/// Takes an operator's limit back: what the tenant's plan says holds again; for operators.
#[utoipa::path(params(TenantQuery, ("key" = String, Path, description = "`seats` or `storage_bytes`")),
    responses((status = 200, body = Limit)))]
#[delete("/v1/limits/{key}")]
pub async fn delete_limit(
    caller: Caller,
    kit: web::Data<Kit>,
    key: web::Path<String>,
    query: web::Query<TenantQuery>,
    request: Write,
) -> Answer {
    caller.require_operator()?;
    override_limit(&caller, &kit, (&key, &query), &request, None).await
}

async fn override_limit<T>(
    caller: &Caller,
    kit: &Kit,
    (key, query): (&str, &TenantQuery),
    request: &Write<T>,
    grant: Option<Grant>,
) -> Answer {
    let quota = quotas::find(key).ok_or_else(|| {
        let known = QUOTAS.iter().map(|quota| quota.key).collect::<Vec<_>>().join(" and ");
        Refusal::new(StatusCode::NOT_FOUND, "no_such_limit", format!("There are limits of {known}."))
    })?;
    let Some(named) = query.tenant.as_deref() else {
        let detail = "tenant: an operator says whose limit it is.";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "tenant_missing", detail));
    };
    let tenant = Sight::of(kit, caller, Some(named)).await?.tenants()[0];
    kit.write(caller, request, async |unit: &mut Unit| {
        unit.enter(Context { tenant, ..caller.context() }).await?;
        let command = EntitlementCommand::Override { key: quota.key.to_owned(), grant };
        unit.execute::<Entitlement>(Entitlement::id(quota.key), command).await?;
        Reply::ok(&limit(unit.tx(), tenant, quota).await?)
    })
    .await
}

fn decimal(value: &Value) -> Result<Option<Decimal>, Refusal> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let limit = text.parse::<Decimal>().ok();
    let fits =
        |limit: &Decimal| (Decimal::ZERO..=Decimal::from(LIMIT_MAX)).contains(limit) && limit.scale() <= 9;
    limit.filter(fits).map(Some).ok_or_else(|| {
        Refusal::field("limit", format!("A decimal from 0 to {LIMIT_MAX} is required, or null for no limit."))
    })
}

/// The limits of the tenants in sight.
///
/// # Errors
/// When the database does not answer.
pub async fn limits(kit: &Kit, sight: &Sight) -> Result<Vec<Limit>, Refusal> {
    let mut limits = vec![];
    let mut tx = kit.store.database().tenant(TenantId::DEPLOYMENT).await?;
    for tenant in sight.tenants() {
        tx.set_tenant(tenant).await?;
        for quota in QUOTAS {
            limits.push(limit(&mut tx, tenant, quota).await?);
        }
    }
    tx.commit().await?;
    Ok(limits)
}

async fn limit(tx: &mut Tx, tenant: TenantId, quota: &Quota) -> Result<Limit, Refusal> {
    let known = entitlements::all(tx).await?.remove(quota.key);
    let places = places::all(tx).await?.remove(quota.key).unwrap_or_default();
    Ok(Limit {
        tenant,
        key: quota.key,
        hard: known.as_ref().is_some_and(|known| known.hard),
        limit: known.and_then(|known| known.limit),
        used: places.used.normalize().to_string(),
        reserved: places.reserved.normalize().to_string(),
        unit: quota.unit,
    })
}
