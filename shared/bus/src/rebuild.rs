//! Making a projection that is fed from outside anew, from position 0 of every producer's log.
//!
//! The same consumer reads the logs again under a name of its own, into shadow tables. At the end the live
//! consumer is held at its offsets, the rest is read, and one transaction exchanges the tables and the rows
//! that say how far each stream is. The live offsets stay as they are: what the live consumer reads again, or
//! still has in hand, has a contract version that the new tables already hold.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::TenantId;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use event_store::inbox::{self, Place};
use event_store::log::LogFilter;
use event_store::projection::Shadow;
use event_store::{Sql, Store, StoreError, Tx};

use crate::consumer::{ConsumeError, Consumer};
use crate::log_source::{self, BATCH};
use crate::peer::Peer;

/// Rebuilds the tables that `consumer` feeds; returns how many events were read.
///
/// # Errors
/// When a producer does not answer or the store fails; the live tables are untouched then.
pub async fn rebuild(store: &Store, consumer: &Consumer, peers: &[Peer]) -> Result<u64, ConsumeError> {
    let live = consumer.full_name(store.service());
    let fresh = format!("{live}~{}", event_store::new_id());
    let shadow = Shadow::create(store, consumer.tables()).await?;
    let mut reading = Reading {
        store: store.in_shadow(),
        handler: consumer.handler(),
        name: fresh.clone(),
        places: vec![],
        tenants: BTreeSet::new(),
        events: 0,
    };
    for peer in peers {
        let place = inbox::place(store, &fresh, &log_source::topic(&peer.service), 0).await?;
        reading.places.push((peer.clone(), place));
    }
    reading.read_on().await?;
    let mut tx = shadow.begin().await?;
    // Offsets before tables, as the live consumer takes them.
    Sql::fixed("SELECT 1 FROM inbox_offset WHERE consumer = $1 FOR UPDATE")
        .bind::<Text>(live.clone())
        .execute(&mut *tx)
        .await
        .map_err(StoreError::from)?;
    shadow.lock_live(&mut tx).await?;
    reading.read_on().await?;
    for tenant in &reading.tenants {
        take_over(&mut tx, *tenant, &live, &fresh).await?;
    }
    Sql::fixed("DELETE FROM inbox_offset WHERE consumer = $1")
        .bind::<Text>(fresh)
        .execute(&mut *tx)
        .await
        .map_err(StoreError::from)?;
    shadow.swap(&mut tx).await?;
    tx.commit().await?;
    Ok(reading.events)
}

struct Reading {
    store: Store,
    handler: inbox::Handler,
    name: String,
    places: Vec<(Peer, Place)>,
    tenants: BTreeSet<TenantId>,
    events: u64,
}

impl Reading {
    /// Reads every log until nothing is left.
    async fn read_on(&mut self) -> Result<(), ConsumeError> {
        for (peer, place) in &mut self.places {
            loop {
                let page = peer.log(place.next_offset, BATCH, Duration::ZERO, &LogFilter::default()).await?;
                let Some(last) = page.events.last() else { break };
                self.tenants.extend(page.events.iter().map(|event| event.tenantid));
                let to = Place {
                    next_offset: page.next,
                    position: last.position,
                    event_id: Some(last.id),
                    ..place.clone()
                };
                let moves = [inbox::Move { from: place.clone(), to: to.clone() }];
                inbox::take(&self.store, &self.name, &self.handler, &page.events, &moves).await?;
                self.events += page.events.len() as u64;
                *place = to;
            }
        }
        Ok(())
    }
}

/// Gives one tenant's inbox rows of the fresh consumer to the live one.
async fn take_over(tx: &mut Tx, tenant: TenantId, live: &str, fresh: &str) -> Result<(), ConsumeError> {
    tx.set_tenant(tenant).await?;
    for table in ["inbox_stream", "inbox_parked"] {
        Sql::templated(format!("DELETE FROM {table} WHERE tenant_id = es_tenant() AND consumer = $1"))
            .bind::<Text>(live.to_owned())
            .execute(&mut **tx)
            .await
            .map_err(StoreError::from)?;
        let rename =
            format!("UPDATE {table} SET consumer = $1 WHERE tenant_id = es_tenant() AND consumer = $2");
        Sql::templated(rename)
            .bind::<Text>(live.to_owned())
            .bind::<Text>(fresh.to_owned())
            .execute(&mut **tx)
            .await
            .map_err(StoreError::from)?;
    }
    Ok(())
}
