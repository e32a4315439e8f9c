//! What a tenant may use, as every service knows it: "may I?" from memory, and places under hard caps.
//!
//! Billing decides. A service that declares [`Service::entitlements`] follows billing's log into the table
//! `entitlement` and keeps in memory what it has read of it; a change of that table makes the memory void. So
//! [`Kit::may`] and [`Kit::entitlement`] cost no more than a look into a map. Nobody calls billing but where a cap
//! is hard: then a place is reserved first ([`Kit::reserve`]), in [`reservations`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bus::Consumer;
use contracts::TenantId;
use contracts::billing::{Entitlement, EntitlementChanged};
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_async::RunQueryDsl;
use event_store::{Sql, Store, StoreError, Tx};

use crate::{Kit, Refusal, Service};

mod copies;
pub mod reservations;

use copies::{Copies, Known};
pub use reservations::{Ask, Reservation};

/// The table, for rebuilds.
pub const TABLES: &[&str] = &["entitlement"];
/// The consumer's name inside its service.
pub const CONSUMER: &str = "entitlements";
/// Its revision.
const REV: u32 = 1;
/// The entry that says whether features that nobody named may be used.
pub const FEATURES: &str = "features";
/// How often the table is looked at when nothing wakes the one who looks: another replica's consumer may have
/// taken news in.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How many of these looks a copy may outlive: whatever changed the table unseen, such as a rebuild of it, is
/// noticed after half a minute.
const LOOKS_MAX: u32 = 120;

/// The consumer that keeps the table.
pub fn consumer() -> Consumer {
    Consumer::new(CONSUMER, REV).feeds(TABLES).on::<EntitlementChanged>(|unit, _, event| {
        Box::pin(async move { Ok(put(unit.tx(), &event.entitlement).await?) })
    })
}

impl Service {
    /// Follows what tenants may use, so that its [`Kit`] can be asked.
    pub fn entitlements(self) -> Self {
        self.consumer(consumer()).background(CONSUMER, watch)
    }
}

/// Inserts or replaces what a tenant may use of one thing.
pub async fn put(tx: &mut Tx, entitlement: &Entitlement) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO entitlement (tenant_id, key, cap, hard, allowed) \
         VALUES (es_tenant(), $1, $2::text::numeric, $3, $4) ON CONFLICT (tenant_id, key) DO UPDATE SET \
         cap = excluded.cap, hard = excluded.hard, allowed = excluded.allowed",
    )
    .bind::<Text>(entitlement.key.clone())
    .bind::<Nullable<Text>>(entitlement.limit.clone())
    .bind::<Bool>(entitlement.hard)
    .bind::<Bool>(entitlement.allowed)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Everything that is said about the tenant of the transaction, by key.
pub async fn all(tx: &mut Tx) -> Result<HashMap<String, Entitlement>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        key: String,
        #[diesel(sql_type = Nullable<Text>)]
        cap: Option<String>,
        #[diesel(sql_type = Bool)]
        hard: bool,
        #[diesel(sql_type = Bool)]
        allowed: bool,
    }
    let rows: Vec<Row> = Sql::fixed(
        "SELECT key, cap::text AS cap, hard, allowed FROM entitlement WHERE tenant_id = es_tenant()",
    )
    .load(&mut **tx)
    .await?;
    let entitlement =
        |row: Row| Entitlement { key: row.key, limit: row.cap, hard: row.hard, allowed: row.allowed };
    Ok(rows.into_iter().map(|row| (row.key.clone(), entitlement(row))).collect())
}

impl Kit {
    /// What a tenant may use of one thing; `None` when nothing is said about it, which means as much as one likes.
    ///
    /// # Errors
    /// 503 when it is not in memory and the database does not answer.
    pub async fn entitlement(&self, tenant: TenantId, key: &str) -> Result<Option<Entitlement>, Refusal> {
        Ok(self.known(tenant).await?.get(key).cloned())
    }

    /// Whether a tenant has a feature.
    ///
    /// # Errors
    /// As [`Kit::entitlement`].
    pub async fn may(&self, tenant: TenantId, feature: &str) -> Result<bool, Refusal> {
        let known = self.known(tenant).await?;
        Ok(known.get(feature).or_else(|| known.get(FEATURES)).is_none_or(|entitlement| entitlement.allowed))
    }

    async fn known(&self, tenant: TenantId) -> Result<Known, Refusal> {
        let copies = self.shared::<Copies>();
        if let Some(known) = copies.fresh(tenant) {
            return Ok(known);
        }
        // Before the rows are read: news that comes meanwhile makes this copy void.
        let read_at = copies.age();
        let mut tx = self.store.database().tenant(tenant).await?;
        let known = Arc::new(all(&mut tx).await?);
        tx.commit().await?;
        copies.keep(tenant, read_at, known.clone());
        Ok(known)
    }
}

/// Makes the copies void when the table may have changed; runs until it is dropped.
async fn watch(kit: Kit) {
    let copies = kit.shared::<Copies>();
    let name = consumer().full_name(kit.service);
    let mut taken = kit.store.wake().follow_taken();
    let (mut seen, mut looks) = (None, 0);
    loop {
        taken.mark_unchanged();
        match places(&kit.store, &name).await {
            Ok(places) if Some(places) == seen && looks < LOOKS_MAX => looks += 1,
            Ok(places) => {
                (seen, looks) = (Some(places), 0);
                copies.make_void();
            }
            Err(error) => {
                // Nobody knows what was missed, so nothing that is in memory counts.
                seen = None;
                copies.make_void();
                tracing::warn!(
                    error = event_store::chain(&error),
                    "news of entitlements cannot be looked for"
                );
            }
        }
        tokio::select! {
            _ = taken.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// A number that changes when the consumer has taken something in: how far it is in all its partitions, and how
/// many streams wait aside, because one that is freed brings old news without moving a place.
async fn places(store: &Store, consumer: &str) -> Result<(i64, i64), StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        places: i64,
        #[diesel(sql_type = BigInt)]
        parked: i64,
    }
    let mut tx = store.database().kernel().await?;
    let row: Row = Sql::fixed(
        "SELECT coalesce(sum(next_offset), 0)::bigint AS places, \
         (SELECT count(*) FROM inbox_parked WHERE consumer = $1) AS parked FROM inbox_offset WHERE consumer = $1",
    )
    .bind::<Text>(consumer.to_owned())
    .get_result(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok((row.places, row.parked))
}
