//! `GET /v1/usage`: what a meter came to, window by window.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Months, TimeDelta, Utc};
use chrono_tz::Tz;
use contracts::TenantId;
use serde::{Deserialize, Serialize};
use service_kit::{Answer, Caller, Kit, Refusal};
use utoipa::{IntoParams, ToSchema};

use super::sight::Sight;
use super::time;
use crate::domain::amount::Amount;
use crate::domain::windows::{Span, WINDOWS_MAX, windows};
use crate::meters::{self, Kind, METERS, Meter};
use crate::usage::read::{self, Cell, Question};

/// Numbers of one answer at most.
const ITEMS_MAX: usize = 50_000;
/// The name by which an operator groups by tenant.
const TENANT: &str = "tenant";

/// What is asked.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// `seats`, `seats_peak`, `seat_hours`, `storage_gb_hours`, `storage_bytes_peak`, `tasks`, `jobs`, `frames`,
    /// `objects_annotated`, `api_calls` or `webhook_deliveries`.
    meter: Option<String>,
    /// A date, or a time like `2026-11-21T10:00:00Z`; the window that it is in is the first. By default 24 hours,
    /// 30 days or 12 months before `to`.
    from: Option<String>,
    /// The end, not included; now by default.
    to: Option<String>,
    /// `hour`, `day` or `month`; `day` by default.
    window: Option<String>,
    /// Comma-separated dimensions of the meter; an operator may also name `tenant`.
    group_by: Option<String>,
    /// Whose hours, days and months; `UTC` by default.
    time_zone: Option<String>,
    /// For operators: one tenant, by id or name; all of them by default.
    tenant: Option<String>,
}

/// One window, or one group's part of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct UsageItem {
    /// Beginning of the window.
    pub from: String,
    /// End of the window, not included.
    pub to: String,
    /// A decimal in text; of the window that is not over yet, what was used so far.
    pub value: String,
    /// What the item is about: one property for each name in `group_by`; null where there is nothing.
    #[serde(flatten)]
    pub groups: BTreeMap<String, Option<String>>,
}

/// Usage of one meter.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Usage {
    pub meter: &'static str,
    /// What one of it is, in the plural.
    pub unit: &'static str,
    pub window: &'static str,
    pub time_zone: String,
    /// In the order of time; every window, or with `group_by` only those in which there was something.
    pub items: Vec<UsageItem>,
}

/// What a meter came to in each hour, day or month, for a tenant's admin; an operator sees all tenants. Windows are
/// whole ones of the time zone, half-open, also where clocks change.
#[utoipa::path(params(UsageQuery), responses((status = 200, body = Usage)))]
#[get("/v1/usage")]
pub async fn get_usage(caller: Caller, kit: web::Data<Kit>, query: web::Query<UsageQuery>) -> Answer {
    let asked = Asked::read(&query, kit.clock.now())?;
    let sight = Sight::of(&kit, &caller, query.tenant.as_deref()).await?;
    Ok(HttpResponse::Ok().json(answer(&kit, &asked, &sight).await?))
}

/// A question that makes sense.
pub struct Asked {
    pub meter: &'static Meter,
    pub span: Span,
    pub zone: Tz,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Dimensions of the meter.
    pub group_by: Vec<&'static str>,
    pub by_tenant: bool,
    pub now: DateTime<Utc>,
}

fn bad(code: &'static str, detail: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, code, detail)
}

impl Asked {
    fn read(query: &UsageQuery, now: DateTime<Utc>) -> Result<Self, Refusal> {
        let names = || METERS.iter().map(|meter| meter.name).collect::<Vec<_>>().join(", ");
        let meter = match &query.meter {
            None => return Err(bad("meter_missing", format!("meter: one of {} is needed.", names()))),
            Some(name) => meters::find(name)
                .ok_or_else(|| bad("no_such_meter", format!("meter: \"{name}\" is none of {}.", names())))?,
        };
        let span = match query.window.as_deref() {
            Some("hour") => Span::Hour,
            None | Some("day") => Span::Day,
            Some("month") => Span::Month,
            Some(other) => {
                let detail = format!("window: \"{other}\" is neither hour nor day nor month.");
                return Err(bad("invalid_window", detail));
            }
        };
        let zone = time::zone(query.time_zone.as_deref())?;
        let to = query.to.as_deref().map_or(Ok(now), |text| time::instant("to", text, zone))?;
        let from = match query.from.as_deref() {
            Some(text) => time::instant("from", text, zone)?,
            None => default_from(to, span),
        };
        if from > to {
            return Err(bad("invalid_range", "from: must not be after to."));
        }
        let (group_by, by_tenant) = groups(query.group_by.as_deref().unwrap_or_default(), meter)?;
        // What is to come has no usage.
        Ok(Self { meter, span, zone, from, to: to.min(now), group_by, by_tenant, now })
    }
}

fn default_from(to: DateTime<Utc>, span: Span) -> DateTime<Utc> {
    match span {
        Span::Hour => to - TimeDelta::hours(23),
        Span::Day => to - TimeDelta::days(29),
        Span::Month => to.checked_sub_months(Months::new(11)).unwrap_or(to),
    }
}

fn groups(text: &str, meter: &'static Meter) -> Result<(Vec<&'static str>, bool), Refusal> {
    let (mut dims, mut by_tenant) = (vec![], false);
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match meter.dims.iter().find(|dim| **dim == name) {
            Some(dim) if !dims.contains(dim) => dims.push(*dim),
            Some(_) => {}
            None if name == TENANT => by_tenant = true,
            None => {
                let known: Vec<&str> = meter.dims.iter().copied().chain([TENANT]).collect();
                let detail = format!(
                    "group_by: {} can be grouped by {}, not by \"{name}\".",
                    meter.name,
                    known.join(", ")
                );
                return Err(bad("invalid_group_by", detail));
            }
        }
    }
    Ok((dims, by_tenant))
}

/// Answers a question for the tenants in sight.
///
/// # Errors
/// 400 when the answer would be too long, or would add up what does not add up.
pub async fn answer(kit: &Kit, asked: &Asked, sight: &Sight) -> Result<Usage, Refusal> {
    let adds_up = !matches!(asked.meter.kind, Kind::Peak { .. });
    if matches!(sight, Sight::All(_)) && !adds_up && !asked.by_tenant {
        let detail =
            "tenants have their peaks at different times: name one with tenant=, or group_by=tenant.";
        return Err(bad("peaks_do_not_add", detail));
    }
    let windows = windows(asked.from, asked.to, asked.span, asked.zone)
        .ok_or_else(|| bad("too_many_windows", format!("At most {WINDOWS_MAX} windows are answered.")))?;
    let question = Question { meter: asked.meter, windows, group_by: asked.group_by.clone(), now: asked.now };
    let mut amounts: BTreeMap<(usize, Vec<Option<String>>), Amount> = BTreeMap::new();
    if !question.windows.is_empty() {
        // One transaction, which goes from tenant to tenant: nobody reads across their walls.
        let mut tx = kit.store.database().tenant(TenantId::DEPLOYMENT).await?;
        for tenant in sight.tenants() {
            tx.set_tenant(tenant).await?;
            for cell in read::read(&mut tx, &question).await? {
                add(&mut amounts, cell, asked.by_tenant.then_some(tenant))?;
            }
        }
        tx.commit().await?;
    }
    let grouped = asked.by_tenant || !asked.group_by.is_empty();
    if grouped {
        amounts.retain(|_, amount| amount.text(1) != "0");
    } else {
        for window in 0..question.windows.len() {
            amounts.entry((window, vec![])).or_insert(Amount::Whole(0));
        }
    }
    Ok(Usage {
        meter: asked.meter.name,
        unit: asked.meter.unit,
        window: asked.span.name(),
        time_zone: asked.zone.name().to_owned(),
        items: amounts
            .into_iter()
            .map(|((window, groups), amount)| item(asked, question.windows[window], groups, amount))
            .collect(),
    })
}

fn add(
    amounts: &mut BTreeMap<(usize, Vec<Option<String>>), Amount>,
    cell: Cell,
    tenant: Option<TenantId>,
) -> Result<(), Refusal> {
    let mut groups = cell.groups;
    groups.extend(tenant.map(|tenant| Some(tenant.to_string())));
    match amounts.entry((cell.window, groups)) {
        std::collections::btree_map::Entry::Vacant(entry) => {
            entry.insert(cell.amount);
        }
        std::collections::btree_map::Entry::Occupied(mut entry) => {
            let sum = entry.get().plus(cell.amount);
            let sum = sum.ok_or_else(|| event_store::StoreError::Corrupt("a sum is too large".to_owned()))?;
            entry.insert(sum);
        }
    }
    if amounts.len() > ITEMS_MAX {
        return Err(bad("too_many_items", format!("At most {ITEMS_MAX} numbers are answered.")));
    }
    Ok(())
}

fn item(
    asked: &Asked,
    (begin, end): (DateTime<Utc>, DateTime<Utc>),
    groups: Vec<Option<String>>,
    amount: Amount,
) -> UsageItem {
    let names = asked.group_by.iter().copied().chain(asked.by_tenant.then_some(TENANT));
    UsageItem {
        from: time::shown(begin, asked.zone),
        to: time::shown(end, asked.zone),
        value: amount.text(asked.meter.divisor()),
        groups: names.map(str::to_owned).zip(groups).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &[(&str, &str)]) -> Result<Asked, &'static str> {
        let query = actix_web::web::Query::<UsageQuery>::from_query(
            &url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish(),
        );
        let now = "2026-11-21T10:00:00Z".parse().unwrap();
        Asked::read(&query.unwrap(), now).map_err(|refusal| refusal.code)
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let code = |query: &[(&str, &str)]| asked(query).err();
        assert_eq!(code(&[]), Some("meter_missing"));
        assert_eq!(code(&[("meter", "gold")]), Some("no_such_meter"));
        assert_eq!(code(&[("meter", "tasks"), ("window", "week")]), Some("invalid_window"));
        assert_eq!(code(&[("meter", "tasks"), ("time_zone", "Mars")]), Some("invalid_time_zone"));
        assert_eq!(code(&[("meter", "tasks"), ("from", "soon")]), Some("invalid_time"));
        assert_eq!(code(&[("meter", "tasks"), ("group_by", "type")]), Some("invalid_group_by"));
        let backwards = [("meter", "tasks"), ("from", "2026-11-02"), ("to", "2026-11-01")];
        assert_eq!(code(&backwards), Some("invalid_range"));
        assert_eq!(code(&[("meter", "tasks")]), None);
    }

    #[test]
    fn the_future_is_left_out() {
        let asked = asked(&[("meter", "tasks"), ("to", "2027-01-01")]).ok().unwrap();
        assert_eq!(asked.to, asked.now);
    }

    #[test]
    fn groups_keep_their_order_and_come_once() {
        let asked = asked(&[("meter", "objects_annotated"), ("group_by", "type, tenant,project,type")]);
        let asked = asked.ok().unwrap();
        assert_eq!((asked.group_by, asked.by_tenant), (vec!["type", "project"], true));
    }
}
