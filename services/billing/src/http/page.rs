//! The page `/usage`: a tenant's admin sees its usage over time and its limits, an operator those of all tenants.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use askama::Template;
use rust_decimal::Decimal;
use serde::Deserialize;
use service_kit::{Caller, Kit, Refusal, auth};

use super::limits::{self, Limit};
use super::sight::{self, Sight};
use crate::meters::{Kind, METERS, Meter};
use crate::projections::tenants::Tenant;
use crate::quotas;

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Tenants whose limits are on the page of all.
const LISTED: usize = 200;

/// A choice of window.
#[derive(Clone, Copy)]
struct SpanChoice {
    name: &'static str,
    label: &'static str,
    about: &'static str,
}

const SPANS: &[SpanChoice] = &[
    SpanChoice { name: "hour", label: "24 hours", about: "Hour by hour for a day" },
    SpanChoice { name: "day", label: "30 days", about: "Day by day for thirty days" },
    SpanChoice { name: "month", label: "12 months", about: "Month by month for a year" },
];

pub fn routes(config: &mut web::ServiceConfig) -> &mut web::ServiceConfig {
    config.route("/usage", web::get().to(usage_page))
}

/// What the page is asked to show.
#[derive(Deserialize)]
struct PageQuery {
    tenant: Option<String>,
    window: Option<String>,
}

#[derive(Template)]
#[template(path = "usage.html")]
struct UsagePage {
    operator: bool,
    /// The tenant's id; empty for the caller's own, or for all.
    tenant: String,
    /// Whose usage, in words.
    of: String,
    tenants: Vec<TenantChoice>,
    span: SpanChoice,
    spans: &'static [SpanChoice],
    limits: Vec<LimitRow>,
    /// Tenants whose limits are left out.
    hidden: usize,
    meters: Vec<MeterCard>,
    csrf_token: String,
}

struct TenantChoice {
    id: String,
    name: String,
}

struct LimitRow {
    tenant: String,
    title: &'static str,
    unit: &'static str,
    used: String,
    reserved: String,
    /// Used and promised.
    taken: String,
    /// What the limit leaves.
    left: Option<String>,
    cap: Option<String>,
    hard: bool,
}

struct MeterCard {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    /// Whether windows add up to their sum.
    adds: bool,
}

/// One sentence and what to do about it.
#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    title: &'static str,
    text: &'static str,
    /// Whether trying again in a moment helps.
    again: bool,
}

async fn usage_page(
    caller: Result<Caller, Refusal>,
    kit: web::Data<Kit>,
    query: web::Query<PageQuery>,
) -> HttpResponse {
    let page = match &caller {
        Ok(caller) => page(&kit, caller, &query).await,
        Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => {
            return HttpResponse::SeeOther()
                .insert_header((header::LOCATION, "/sign-in?next=/usage"))
                .finish();
        }
        Err(_) => return render(StatusCode::SERVICE_UNAVAILABLE, &not_now()),
    };
    match page {
        Ok(page) => render(StatusCode::OK, &page),
        Err(refusal) => {
            refusal.log();
            let page = match refusal.status {
                StatusCode::FORBIDDEN => MessagePage {
                    title: "This page is for admins",
                    text: "It shows what your company uses. You are signed in, but not as one of its admins.",
                    again: false,
                },
                StatusCode::NOT_FOUND => MessagePage {
                    title: "There is no such tenant",
                    text: "It may have another name, or you may not be the one to see it.",
                    again: false,
                },
                _ => not_now(),
            };
            render(refusal.status, &page)
        }
    }
}

async fn page(kit: &Kit, caller: &Caller, query: &PageQuery) -> Result<UsagePage, Refusal> {
    let named = query.tenant.as_deref().filter(|named| !named.is_empty());
    let operator = caller.principal.operator;
    let sight = Sight::of(kit, caller, named).await?;
    let tenants = sight::all(kit).await?;
    let name_of = |id| tenants.iter().find(|tenant| tenant.id() == id).map(|tenant| tenant.name.clone());
    let (tenant, of) = match &sight {
        Sight::One(id) => {
            (if operator { id.to_string() } else { String::new() }, name_of(*id).unwrap_or_default())
        }
        Sight::All(_) => (String::new(), "all tenants".to_owned()),
    };
    let whole = sight.tenants().len();
    let shown = match sight {
        Sight::All(tenants) => Sight::All(tenants.into_iter().take(LISTED).collect()),
        one @ Sight::One(_) => one,
    };
    let limits = limits::limits(kit, &shown).await?;
    let all = matches!(shown, Sight::All(_));
    Ok(UsagePage {
        operator,
        tenant,
        of,
        span: SPANS
            .iter()
            .copied()
            .find(|span| Some(span.name) == query.window.as_deref())
            .unwrap_or(SPANS[1]),
        spans: SPANS,
        limits: limits.into_iter().map(|limit| row(&limit, name_of(limit.tenant))).collect(),
        hidden: whole.saturating_sub(shown.tenants().len()),
        meters: METERS
            .iter()
            .filter(|meter| !(all && matches!(meter.kind, Kind::Peak { .. })))
            .map(card)
            .collect(),
        csrf_token: caller.session_secret.as_deref().map(auth::csrf_token).unwrap_or_default(),
        tenants: if operator { tenants.iter().map(choice).collect() } else { vec![] },
    })
}

fn choice(tenant: &Tenant) -> TenantChoice {
    TenantChoice { id: tenant.id().to_string(), name: tenant.name.clone() }
}

fn row(limit: &Limit, tenant: Option<String>) -> LimitRow {
    let decimal = |text: &str| text.parse::<Decimal>().unwrap_or_default();
    let taken = decimal(&limit.used) + decimal(&limit.reserved);
    // A limit may be set to less than is used already.
    let left = |cap: &String| (decimal(cap) - taken).max(Decimal::ZERO).normalize().to_string();
    LimitRow {
        tenant: tenant.unwrap_or_else(|| limit.tenant.to_string()),
        title: quotas::find(limit.key).map_or(limit.key, |quota| quota.title),
        unit: limit.unit,
        used: limit.used.clone(),
        reserved: limit.reserved.clone(),
        taken: taken.normalize().to_string(),
        left: limit.limit.as_ref().map(left),
        cap: limit.limit.clone(),
        hard: limit.hard,
    }
}

fn card(meter: &Meter) -> MeterCard {
    let adds = !matches!(meter.kind, Kind::Peak { .. } | Kind::UniqueActive { .. });
    MeterCard { name: meter.name, title: meter.title, unit: meter.unit, adds }
}

fn not_now() -> MessagePage {
    MessagePage {
        title: "Not now",
        text: "The usage cannot be shown at the moment. This page tries again by itself.",
        again: true,
    }
}

fn render(status: StatusCode, page: &impl Template) -> HttpResponse {
    match page.render() {
        Ok(html) => HttpResponse::build(status)
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
            .insert_header((header::REFERRER_POLICY, "same-origin"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .body(html),
        Err(error) => {
            tracing::error!(error = event_store::chain(&error), "a page cannot be rendered");
            HttpResponse::InternalServerError().finish()
        }
    }
}
