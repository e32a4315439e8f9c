//! Places under a hard cap: reserved at billing before they are taken.
//!
//! 1. [`Kit::reserve`] asks billing, which grants a place for two minutes or says why not. It returns `None`, and
//!    nobody is called, where no hard cap is known.
//! 2. The command that takes the place calls [`Reservation::assert_fresh`] in its append transaction and puts the
//!    reservation's id into its event. That event is the commit: billing finds it in the log.
//! 3. Whoever knows that nothing was appended calls [`Reservation::release`]. Whoever does not know, because it
//!    crashed or its connection broke, need do nothing: billing reads the log past the end of the two minutes and
//!    frees what nobody took.

use std::time::Duration;

use bus::peer::PeerError;
use chrono::{DateTime, Utc};
use contracts::TenantId;
use diesel::sql_types::{Bool, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::sequencer::CONTRACTS;
use event_store::{Sql, StoreError, Tx, log};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Kit, Refusal};

/// How long billing is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Ask {
    key: &'static str,
    amount: String,
    idempotency_key: String,
    basis: Option<(&'static str, i64)>,
}

impl Ask {
    /// So much of `key`: `1` of `seats`, or bytes of `storage_bytes`. The same idempotency key means the same
    /// place, so a new attempt after a failure of which nothing is known uses the key of the first.
    pub fn new(key: &'static str, amount: i64, idempotency_key: impl Into<String>) -> Self {
        Self { key, amount: amount.to_string(), idempotency_key: idempotency_key.into(), basis: None }
    }

    /// Names the stream of this service on which the cap rests, such as a tenant's own in identity. Billing is
    /// asked then even if this service has not heard of a cap yet, and waits for that stream's news.
    pub fn resting_on(mut self, kind: &'static str, id: i64) -> Self {
        self.basis = Some((kind, id));
        self
    }
}

/// What billing is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReservationRequest {
    pub tenant: TenantId,
    pub key: String,
    /// A decimal in text.
    pub amount: String,
    pub idempotency_key: String,
    /// The caller's contract log now: the event that takes the place will be after it.
    pub log_position: i64,
    /// Kind and id of the caller's stream on which the cap rests.
    #[serde(default)]
    pub basis: Option<(String, i64)>,
    /// Seconds that the place is kept; absent for two minutes.
    #[serde(default)]
    pub ttl_s: Option<i64>,
}

/// What billing answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReservationAnswer {
    /// Absent when there is no hard cap, so that no place is needed.
    pub id: Option<Uuid>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A reserved place.
#[derive(Clone, Debug)]
#[must_use = "its id belongs into the event that takes the place"]
pub struct Reservation {
    /// Goes into the event that takes the place.
    pub id: Uuid,
    pub expires_at: DateTime<Utc>,
    tenant: TenantId,
}

impl Kit {
    /// Reserves places, or `None` when no cap is hard.
    ///
    /// # Errors
    /// 403 with the code `limit_reached` when the cap does not allow it; 503 when billing does not answer.
    pub async fn reserve(&self, tenant: TenantId, ask: Ask) -> Result<Option<Reservation>, Refusal> {
        let known = self.entitlement(tenant, ask.key).await?;
        let capped = known.is_some_and(|known| known.hard && known.limit.is_some());
        if !capped && ask.basis.is_none() {
            return Ok(None);
        }
        let request = ReservationRequest {
            tenant,
            key: ask.key.to_owned(),
            amount: ask.amount,
            idempotency_key: ask.idempotency_key,
            log_position: log::head(&self.store, CONTRACTS).await?,
            basis: ask.basis.map(|(kind, id)| (kind.to_owned(), id)),
            ttl_s: None,
        };
        let billing = self.peer("billing")?;
        let call = billing.post("/internal/reservations").json(&request).timeout(PATIENCE);
        let answer: ReservationAnswer = billing.json(call).await.map_err(refusal)?;
        let (Some(id), Some(expires_at)) = (answer.id, answer.expires_at) else { return Ok(None) };
        Ok(Some(Reservation { id, expires_at, tenant }))
    }
}

/// Billing's word, or that it cannot be had.
fn refusal(error: PeerError) -> Refusal {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    if let PeerError::Refused { status: 409, body, .. } = &error
        && let Ok(problem) = serde_json::from_str::<Problem>(body)
    {
        return Refusal::new(actix_web::http::StatusCode::FORBIDDEN, "limit_reached", problem.detail);
    }
    tracing::warn!(error = event_store::chain(&error), "no place could be reserved");
    Refusal::unavailable("Whether the limit allows it cannot be found out at the moment.")
}

impl Reservation {
    /// Refuses when too little of the reservation's time is left for this transaction to be sure of its place, by
    /// the database's clock. To be called in the transaction that appends the event, which from then on must not
    /// stand still: the database breaks it off before billing may free the place. From PostgreSQL 17 on that is a
    /// limit of the whole transaction; an older one has limits of a statement, of a wait for a lock and of doing
    /// nothing only, so there the few statements that follow must not all be as slow as they may.
    ///
    /// # Errors
    /// 503 when less than half a minute is left: what was asked for can be tried again.
    pub async fn assert_fresh(&self, tx: &mut Tx) -> Result<(), Refusal> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = Bool)]
            fresh: bool,
            #[diesel(sql_type = Text)]
            #[expect(dead_code, reason = "selected for its effect")]
            limits: String,
        }
        let row: Row = Sql::fixed(
            "SELECT clock_timestamp() + interval '30 seconds' < $1 AS fresh, \
             set_config('lock_timeout', '2s', true) || set_config('statement_timeout', '10s', true) \
             || set_config('idle_in_transaction_session_timeout', '10s', true) \
             || coalesce((SELECT set_config(name, '25s', true) FROM pg_settings \
                WHERE name = 'transaction_timeout'), '') AS limits",
        )
        .bind::<Timestamptz>(self.expires_at)
        .get_result(&mut **tx)
        .await
        .map_err(StoreError::from)?;
        if row.fresh {
            return Ok(());
        }
        Err(Refusal::unavailable("It took too long; the reserved place has to be asked for anew."))
    }

    /// Gives the place back. Only for who knows that no event with its id was appended, nor will be. Billing
    /// not answering is no error: the place comes free by itself.
    pub async fn release(self, kit: &Kit) {
        let Ok(billing) = kit.peer("billing") else { return };
        let path = format!("/internal/reservations/{}", self.id);
        let call = billing.delete(&path).query(&[("tenant", self.tenant.to_string())]).timeout(PATIENCE);
        if let Err(error) = billing.send(call).await {
            tracing::debug!(error = event_store::chain(&error), "a place comes free only with time");
        }
    }
}
