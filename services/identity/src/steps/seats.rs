//! A seat for each user, where a tenant's seats are counted: reserved at billing before the user is made.

use contracts::TenantId;
use event_store::{Aggregate, Unit};
use service_kit::entitlements::{Ask, Reservation};
use service_kit::{Kit, Refusal};
use uuid::Uuid;

use crate::domain::tenant::Tenant;
use crate::projections::tenants;

/// A seat, if one had to be reserved.
pub struct Seat(Option<Reservation>);

/// Takes a seat for a user who is about to be made or active again. Every door that makes users goes through here, and
/// so does the one by which they come back.
///
/// # Errors
/// 403 when there is none left; 503 when that cannot be found out.
pub async fn take(kit: &Kit, tenant: TenantId) -> Result<Seat, Refusal> {
    let mut tx = kit.store.database().tenant(tenant).await?;
    let row = tenants::own(&mut tx).await?;
    tx.commit().await?;
    let capped = row.filter(|row| row.allowed_users.is_some());
    let mut ask = Ask::new("seats", 1, event_store::new_id().to_string());
    if let Some(row) = &capped {
        // The cap is this service's own word: billing may not have heard of it yet.
        ask = ask.resting_on(Tenant::KIND, row.id);
    }
    // Its words name the cap that holds, which may be an operator's and not this service's.
    Ok(Seat(kit.reserve(tenant, ask).await?))
}

impl Seat {
    /// Its id, for the event that takes it; to be called in the transaction that appends that event.
    ///
    /// # Errors
    /// 503 when it is too old to be relied on.
    pub async fn reservation(&self, unit: &mut Unit) -> Result<Option<Uuid>, Refusal> {
        let Some(reservation) = &self.0 else { return Ok(None) };
        reservation.assert_fresh(unit.tx()).await?;
        Ok(Some(reservation.id))
    }

    /// Gives it back when the user was refused. When it is not known whether they were made, it stays: nobody
    /// takes it, and it falls back by itself.
    pub async fn settle<T>(self, kit: &Kit, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
        if let (Some(reservation), Err(refusal)) = (self.0, &outcome)
            && refusal.status.is_client_error()
        {
            reservation.release(kit).await;
        }
        outcome
    }
}
