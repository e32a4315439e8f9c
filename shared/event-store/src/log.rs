//! Reading a service's contract log in the order of positions.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::{Envelope, TenantId};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::StoreError;
use crate::sequencer::CONTRACTS;
use crate::sql::Sql;
use crate::store::Store;

/// Which events a reader wants.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Names of contract events; empty means all.
    pub types: Vec<String>,
    pub tenant: Option<TenantId>,
}

/// A page of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogPage {
    pub events: Vec<Envelope>,
    /// Where to go on; moves even when the filter matched nothing.
    pub next: i64,
    /// The log's newest position when the page was read.
    pub head: i64,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = SqlUuid)]
    tenant_id: Uuid,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = BigInt)]
    stream_id: i64,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = SqlUuid)]
    event_id: Uuid,
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = Text)]
    data: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    organization_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    actor_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    impersonator_id: Option<i64>,
    #[diesel(sql_type = SqlUuid)]
    correlation_id: Uuid,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    causation_id: Option<Uuid>,
    #[diesel(sql_type = Nullable<Text>)]
    traceparent: Option<String>,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: DateTime<Utc>,
}

/// The newest position of a log.
pub async fn head(store: &Store, log: &'static str) -> Result<i64, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Head {
        #[diesel(sql_type = BigInt)]
        position: i64,
    }
    let mut tx = store.database.kernel().await?;
    let head: Head = Sql::fixed("SELECT position FROM es_head WHERE log = $1")
        .bind::<Text>(log)
        .get_result(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(head.position)
}

/// The log's rows, to be followed by WHERE. The fence (`OFFSET 0`) makes each row be looked up by its index: a plan
/// that was made while the log was short, and kept, would read all of it again and again.
macro_rules! rows {
    () => {
        "SELECT p.position, c.tenant_id, c.kind, c.stream_id, c.version, c.event_id, c.event_type, \
         c.data::text AS data, c.organization_id, c.actor_id, c.impersonator_id, c.correlation_id, c.causation_id, \
         c.traceparent, c.occurred_at FROM es_contract_position p \
         CROSS JOIN LATERAL (SELECT * FROM es_contract WHERE seq = p.seq OFFSET 0) c "
    };
}

/// Reads at most `limit` events after position `after`.
pub async fn read(store: &Store, after: i64, limit: i64, filter: &LogFilter) -> Result<LogPage, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Bounds {
        #[diesel(sql_type = BigInt)]
        head: i64,
    }
    let mut tx = store.database.kernel().await?;
    // The head first: a page that ends below it is cut by the limit, not by what was not there yet.
    let Bounds { head }: Bounds =
        Sql::fixed("SELECT position AS head FROM es_head WHERE log = 'es_contract'")
            .get_result(&mut *tx)
            .await?;
    let upto = head.min(after.saturating_add(limit));
    let unfiltered = filter.types.is_empty() && filter.tenant.is_none();
    let rows: Vec<Row> = if unfiltered {
        Sql::fixed(concat!(rows!(), "WHERE p.position > $1 AND p.position <= $2 ORDER BY p.position"))
            .bind::<BigInt>(after)
            .bind::<BigInt>(upto)
            .load(&mut *tx)
            .await?
    } else {
        // A filter may pass over many rows, so the limit counts what matches.
        Sql::fixed(concat!(
            rows!(),
            "WHERE p.position > $1 AND p.position <= $2 ",
            "AND ($3 IS NULL OR p.tenant_id = $3) AND ($4 = '{}' OR c.event_type = ANY ($4)) ",
            "ORDER BY p.position LIMIT $5"
        ))
        .bind::<BigInt>(after)
        .bind::<BigInt>(head)
        .bind::<Nullable<SqlUuid>>(filter.tenant.map(|tenant| tenant.0))
        .bind::<Array<Text>>(filter.types.clone())
        .bind::<BigInt>(limit)
        .load(&mut *tx)
        .await?
    };
    tx.commit().await?;
    let full = !unfiltered && rows.len() as i64 == limit;
    let next = match rows.last() {
        Some(row) if full => row.position,
        _ if unfiltered => upto.max(after),
        _ => head.max(after),
    };
    let events = rows.into_iter().map(|row| row.envelope(store.service())).collect::<Result<_, _>>()?;
    Ok(LogPage { events, next, head })
}

/// How long a reader that waits trusts to be woken. Another process may have numbered an event, and its
/// notification may have been lost with the connection that listens.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Like [`read`], but when there is nothing it waits, at most `wait`, until there is.
pub async fn read_waiting(
    store: &Store,
    after: i64,
    limit: i64,
    filter: &LogFilter,
    wait: Duration,
) -> Result<LogPage, StoreError> {
    let deadline = tokio::time::Instant::now() + wait;
    let mut grown = store.wake.follow();
    let mut after = after;
    loop {
        grown.mark_unchanged();
        let page = read(store, after, limit, filter).await?;
        let now = tokio::time::Instant::now();
        if !page.events.is_empty() || now >= deadline {
            return Ok(page);
        }
        after = page.next;
        // Woken or not, it looks again; so the time-out is no error.
        let _ = tokio::time::timeout_at(deadline.min(now + LOOK_AGAIN), grown.changed()).await;
    }
}

/// The newest contract version of a stream, after everything that is committed has its position; `None` when
/// there is no such stream.
pub async fn contract_version(
    store: &Store,
    tenant: TenantId,
    kind: &str,
    stream_id: i64,
) -> Result<Option<i64>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Version {
        #[diesel(sql_type = BigInt)]
        contract_version: i64,
    }
    crate::sequencer::drain(store, &[CONTRACTS]).await?;
    let mut tx = store.database.tenant(tenant).await?;
    let rows: Vec<Version> = Sql::fixed(
        "SELECT contract_version FROM es_stream WHERE tenant_id = $1 AND kind = $2 AND stream_id = $3",
    )
    .bind::<SqlUuid>(tenant.0)
    .bind::<Text>(kind.to_owned())
    .bind::<BigInt>(stream_id)
    .load(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(rows.into_iter().next().map(|row| row.contract_version))
}

impl Row {
    fn envelope(self, service: &str) -> Result<Envelope, StoreError> {
        let tenantid = TenantId(self.tenant_id);
        Ok(Envelope {
            specversion: "1.0".to_owned(),
            id: self.event_id,
            source: format!("/mesh/{service}"),
            dataschema: format!("/schemas/{}.json", self.event_type),
            event_type: self.event_type,
            subject: format!("{}/{}", self.kind, self.stream_id),
            time: self.occurred_at,
            datacontenttype: "application/json".to_owned(),
            tenantid,
            streamversion: self.version,
            position: self.position,
            partitionkey: contracts::envelope::partition_key(tenantid, &self.kind, self.stream_id),
            correlationid: self.correlation_id,
            causationid: self.causation_id,
            actorid: self.actor_id,
            impersonatorid: self.impersonator_id,
            organizationid: self.organization_id,
            traceparent: self.traceparent,
            data: RawValue::from_string(self.data)?,
        })
    }
}
