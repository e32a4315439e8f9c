//! The place under a hard cap that what is about to arrive will take.

use contracts::TenantId;
use event_store::Tx;
use service_kit::entitlements::reservations::{Ask, Reservation};
use service_kit::{Kit, Refusal};
use uuid::Uuid;

/// What billing calls it.
const KEY: &str = "storage_bytes";

/// A place for some bytes, if the tenant needs one.
pub struct Place(Option<Reservation>);

/// Reserves a place before a byte is kept. Nobody is asked when the tenant has no hard cap.
///
/// # Errors
/// 403 when the cap does not allow it, 503 when billing does not answer.
pub async fn reserve_storage(kit: &Kit, tenant: TenantId, bytes: u64) -> Result<Place, Refusal> {
    let amount = i64::try_from(bytes).unwrap_or(i64::MAX);
    // Each arrival is one of its own: it is not repeated by us.
    let ask = Ask::new(KEY, amount, event_store::new_id().to_string());
    Ok(Place(kit.reserve(tenant, ask).await?))
}

impl Place {
    /// The reservation's id for the event that takes the place, checked in the transaction that appends it.
    ///
    /// # Errors
    /// 503 when the place is about to run out.
    pub async fn take(&self, tx: &mut Tx) -> Result<Option<Uuid>, Refusal> {
        match &self.0 {
            Some(reservation) => {
                reservation.assert_fresh(tx).await?;
                Ok(Some(reservation.id))
            }
            None => Ok(None),
        }
    }

    /// Gets a new place when what arrived took so long that this one may run out.
    ///
    /// # Errors
    /// As [`reserve_storage`].
    pub async fn refreshed(self, kit: &Kit, tenant: TenantId, bytes: u64) -> Result<Self, Refusal> {
        let needed = chrono::TimeDelta::seconds(60);
        match self.0 {
            Some(old) if old.expires_at < kit.clock.now() + needed => {
                old.release(kit).await;
                reserve_storage(kit, tenant, bytes).await
            }
            place => Ok(Self(place)),
        }
    }

    /// No place at all.
    pub fn none() -> Self {
        Self(None)
    }

    /// Gives the place back after a refusal. Not after a fault of ours: a commit whose answer was lost may have taken
    /// it all the same, and billing finds out when its time is over.
    pub async fn release_after(self, kit: &Kit, refusal: &Refusal) {
        if !refusal.status.is_server_error() {
            self.release(kit).await;
        }
    }

    /// Gives the place back: nothing was kept.
    pub async fn release(self, kit: &Kit) {
        if let Some(reservation) = self.0 {
            reservation.release(kit).await;
        }
    }
}
