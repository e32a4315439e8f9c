//! What owners' logs say is taken. A reservation that an event names moves from promised to taken, in the one
//! transaction that takes the event in: the place is never counted twice, nor for a moment not at all.

use std::collections::{BTreeMap, BTreeSet};

use diesel::sql_types::{Array, BigInt};
use diesel_async::RunQueryDsl;
use event_store::inbox::Handled;
use event_store::{Gathered, Sql, StoreError, Tx, Unit};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{places, reservations};
use crate::domain::entitlement::{SEATS, STORAGE_BYTES};

/// What a batch of events says of one tenant: the last word about each.
#[derive(Default)]
pub struct Taken {
    /// Whether a user has a seat.
    pub seats: BTreeMap<i64, bool>,
    pub stored_bytes: Option<i64>,
    pub reservations: BTreeSet<Uuid>,
}

impl Gathered for Taken {
    fn write(self, unit: &mut Unit) -> Handled<'_> {
        Box::pin(async move {
            let tx = unit.tx();
            // Locks as a reservation takes them: the quota's row, in the order of keys, before everything else.
            if !self.seats.is_empty() {
                let before = places::lock(tx, SEATS).await?;
                let used = before.used + Decimal::from(seat(tx, self.seats).await?);
                places::set_used(tx, SEATS, used).await?;
            }
            if let Some(bytes) = self.stored_bytes {
                places::lock(tx, STORAGE_BYTES).await?;
                places::set_used(tx, STORAGE_BYTES, Decimal::from(bytes)).await?;
            }
            let committed = reservations::end(tx, self.reservations, "committed").await?;
            Ok(places::unreserve(tx, committed).await?)
        })
    }
}

/// Writes who has a seat; returns by how many there are more.
async fn seat(tx: &mut Tx, seats: BTreeMap<i64, bool>) -> Result<i64, StoreError> {
    let (seated, unseated): (Vec<_>, Vec<_>) = seats.into_iter().partition(|(_, seated)| *seated);
    let ids = |users: Vec<(i64, bool)>| users.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let more = Sql::fixed(
        "INSERT INTO seat (tenant_id, user_id) SELECT es_tenant(), unnest($1::bigint[]) ON CONFLICT DO NOTHING",
    )
    .bind::<Array<BigInt>>(ids(seated))
    .execute(&mut **tx)
    .await?;
    let fewer = Sql::fixed("DELETE FROM seat WHERE tenant_id = es_tenant() AND user_id = ANY ($1)")
        .bind::<Array<BigInt>>(ids(unseated))
        .execute(&mut **tx)
        .await?;
    Ok(more as i64 - fewer as i64)
}
