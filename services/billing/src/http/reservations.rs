//! Places under hard caps, for the services that own what is capped.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use chrono::TimeDelta;
use contracts::TenantId;
use event_store::Unit;
use event_store::store::Context;
use rust_decimal::Decimal;
use serde::Deserialize;
use service_kit::entitlements::reservations::{ReservationAnswer, ReservationRequest};
use service_kit::mesh::PeerCaller;
use service_kit::{Answer, Kit, Refusal, entitlements, start};
use uuid::Uuid;

use crate::domain::entitlement::{SEATS, STORAGE_BYTES};
use crate::jobs::expire;
use crate::quotas;
use crate::quotas::places::{self, Places};
use crate::quotas::reservations::{self, Wish};

/// How long a place is kept.
const TTL_S: i64 = 120;
/// How long one may ask for.
const TTL_MAX_S: i64 = 600;

/// What came of a wish.
enum Outcome {
    Promised(ReservationAnswer),
    /// No cap is known.
    Free,
    Full {
        cap: Decimal,
        places: Places,
    },
}

pub async fn reserve(
    peer: PeerCaller,
    kit: web::Data<Kit>,
    request: web::Json<ReservationRequest>,
) -> Answer {
    let request = request.into_inner();
    let wish = wish(peer.service, &request)?;
    let owner = start::SERVICES.iter().find(|name| **name == wish.owner);
    // The cap rests on the owner's word, and the newest one counts, whether it raised the cap or lowered it.
    if let (Some(owner), Some((kind, id))) = (owner, &request.basis) {
        kit.await_stream(request.tenant, owner, kind, *id).await?;
    }
    let mut outcome = attempt(&kit, request.tenant, &wish).await?;
    // Where it is full, the owner may have given something back that is news here.
    if let Outcome::Full { .. } = &outcome
        && let Some(owner) = owner
        && let Some((kind, id)) = quotas::find(&wish.key).and_then(|quota| quota.level)
        && kit.await_stream(request.tenant, owner, kind, id).await?
    {
        outcome = attempt(&kit, request.tenant, &wish).await?;
    }
    match outcome {
        Outcome::Promised(answer) => Ok(HttpResponse::Ok().json(answer)),
        Outcome::Free => Ok(HttpResponse::Ok().json(ReservationAnswer { id: None, expires_at: None })),
        Outcome::Full { cap, places } => {
            let text = no_room(&wish, cap, places);
            Err(Refusal::new(StatusCode::CONFLICT, "limit_reached", text))
        }
    }
}

fn wish(owner: String, request: &ReservationRequest) -> Result<Wish, Refusal> {
    let amount = request.amount.parse::<Decimal>().ok().filter(|amount| *amount > Decimal::ZERO);
    let amount = amount.ok_or_else(|| Refusal::field("amount", "A number above 0 is required."))?;
    if quotas::find(&request.key).is_none() {
        return Err(Refusal::field("key", format!("\"{}\" is nothing that can be reserved.", request.key)));
    }
    if !(1..=255).contains(&request.idempotency_key.len()) || request.idempotency_key.contains('\0') {
        return Err(Refusal::field("idempotency_key", "1 to 255 bytes are required."));
    }
    let ttl_s = request.ttl_s.unwrap_or(TTL_S);
    if !(1..=TTL_MAX_S).contains(&ttl_s) {
        return Err(Refusal::field("ttl_s", format!("1 to {TTL_MAX_S} seconds are possible.")));
    }
    Ok(Wish {
        key: request.key.clone(),
        amount,
        owner,
        log_position: request.log_position,
        idempotency_key: request.idempotency_key.clone(),
        ttl_s,
    })
}

async fn attempt(kit: &Kit, tenant: TenantId, wish: &Wish) -> Result<Outcome, Refusal> {
    kit.store.transact(&Context::mesh(tenant), async |unit| reserve_in(unit, wish).await).await
}

async fn reserve_in(unit: &mut Unit, wish: &Wish) -> Result<Outcome, Refusal> {
    // In one step, as a rule. Whatever stands in the way is found out under the lock.
    if let Some(promised) = promise(unit, wish).await? {
        return Ok(promised);
    }
    let places = places::lock(unit.tx(), &wish.key).await?;
    if let Some(known) = reservations::known(unit.tx(), wish).await? {
        if !known.same {
            let text = "This idempotency key was used for another reservation.";
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", text));
        }
        if known.lives {
            let answer = ReservationAnswer { id: Some(known.id), expires_at: Some(known.expires_at) };
            return Ok(Outcome::Promised(answer));
        }
        reservations::forget_key(unit.tx(), known.id).await?;
    }
    if let Some(promised) = promise(unit, wish).await? {
        return Ok(promised);
    }
    let known = entitlements::all(unit.tx()).await?;
    let cap = known.get(&wish.key).filter(|known| known.hard).and_then(|known| known.limit.as_deref());
    match cap.map(str::parse) {
        Some(Ok(cap)) => Ok(Outcome::Full { cap, places }),
        Some(Err(_)) => Err(event_store::StoreError::Corrupt(format!("the limit of {}", wish.key)).into()),
        None => Ok(Outcome::Free),
    }
}

async fn promise(unit: &mut Unit, wish: &Wish) -> Result<Option<Outcome>, Refusal> {
    let id = event_store::new_id();
    let Some(expires_at) = reservations::promise(unit.tx(), id, wish).await? else { return Ok(None) };
    let due_at = unit.store().clock().now() + TimeDelta::seconds(wish.ttl_s);
    unit.enqueue(expire::EXPIRE, expire::SUBJECT, due_at).await?;
    Ok(Some(Outcome::Promised(ReservationAnswer { id: Some(id), expires_at: Some(expires_at) })))
}

/// What the person is told who wanted one too many.
fn no_room(wish: &Wish, cap: Decimal, Places { used, reserved }: Places) -> String {
    let (cap, taken) = (cap.normalize(), (used + reserved).normalize());
    match wish.key.as_str() {
        // With the name that a tenant's settings have for it, which ClearML's clients look for.
        SEATS => format!(
            "The limit of {cap} users is reached (allowed_users exceeded): allowed={cap}, registered or about to \
             be: {taken}"
        ),
        STORAGE_BYTES => format!(
            "The storage limit of {cap} bytes does not allow {} more: {taken} are stored or about to be.",
            wish.amount.normalize()
        ),
        other => format!("The limit of {cap} {other} is reached."),
    }
}

/// Whose reservation is given back.
#[derive(Deserialize)]
pub struct ReleaseQuery {
    tenant: TenantId,
}

pub async fn release(
    peer: PeerCaller,
    kit: web::Data<Kit>,
    id: web::Path<Uuid>,
    query: web::Query<ReleaseQuery>,
) -> Answer {
    let id = *id;
    kit.store
        .transact(&Context::mesh(query.tenant), async |unit: &mut Unit| {
            let tx = unit.tx();
            let key = reservations::key_of(tx, &peer.service, id).await?.ok_or_else(Refusal::not_found)?;
            places::lock(tx, &key).await?;
            let freed = reservations::end(tx, [id].into(), "released").await?;
            Ok::<_, Refusal>(places::unreserve(tx, freed).await?)
        })
        .await?;
    Ok(HttpResponse::NoContent().finish())
}
