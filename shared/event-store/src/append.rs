//! The event rows of a unit of work, kept back until just before COMMIT and written in one statement.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use contracts::TenantId;
use diesel::sql_types::{Array, BigInt, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

use crate::aggregate::Aggregate;
use crate::clock::new_id;
use crate::db::Tx;
use crate::error::StoreError;
use crate::outgoing::Outgoing;
use crate::sql::Sql;
use crate::store::Context;

#[derive(Clone, Default)]
pub(crate) struct Buffer {
    /// A tenant's rows are written under its own wall, so they are kept apart.
    tenants: BTreeMap<TenantId, Rows>,
    /// Whether a job was queued.
    pub(crate) jobs: bool,
}

/// Columns, ready for `unnest`.
#[derive(Clone, Default)]
struct Rows {
    streams: BTreeMap<(&'static str, i64), StreamRow>,
    events: Events,
    contracts: Contracts,
}

#[derive(Clone)]
struct StreamRow {
    version: i64,
    contract_version: i64,
    state_rev: i16,
    state: String,
}

#[derive(Clone, Default)]
struct Events {
    kind: Vec<&'static str>,
    stream_id: Vec<i64>,
    version: Vec<i64>,
    event_type: Vec<String>,
    schema_rev: Vec<i16>,
    data: Vec<String>,
    actor_id: Vec<Option<i64>>,
    impersonator_id: Vec<Option<i64>>,
    correlation_id: Vec<Uuid>,
    occurred_at: Vec<DateTime<Utc>>,
}

#[derive(Clone, Default)]
struct Contracts {
    kind: Vec<&'static str>,
    stream_id: Vec<i64>,
    version: Vec<i64>,
    event_id: Vec<Uuid>,
    event_type: Vec<&'static str>,
    data: Vec<String>,
    organization_id: Vec<Option<i64>>,
    actor_id: Vec<Option<i64>>,
    impersonator_id: Vec<Option<i64>>,
    correlation_id: Vec<Uuid>,
    causation_id: Vec<Option<Uuid>>,
    traceparent: Vec<Option<String>>,
    occurred_at: Vec<DateTime<Utc>>,
}

impl Buffer {
    pub(crate) fn stream<A: Aggregate>(
        &mut self,
        tenant: TenantId,
        id: i64,
        version: i64,
        contract_version: i64,
        state: String,
    ) {
        let row = StreamRow { version, contract_version, state_rev: A::STATE_REV, state };
        self.tenants.entry(tenant).or_default().streams.insert((A::KIND, id), row);
    }

    pub(crate) fn event<A: Aggregate>(
        &mut self,
        context: &Context,
        id: i64,
        version: i64,
        at: DateTime<Utc>,
        name: String,
        data: String,
    ) -> Result<(), StoreError> {
        check_size(&name, &data)?;
        let events = &mut self.tenants.entry(context.tenant).or_default().events;
        events.kind.push(A::KIND);
        events.stream_id.push(id);
        events.version.push(version);
        events.event_type.push(name);
        events.schema_rev.push(A::EVENT_REV);
        events.data.push(data);
        events.actor_id.push(context.actor);
        events.impersonator_id.push(context.impersonator);
        events.correlation_id.push(context.correlation);
        events.occurred_at.push(at);
        Ok(())
    }

    pub(crate) fn contract(
        &mut self,
        context: &Context,
        kind: &'static str,
        id: i64,
        version: i64,
        at: DateTime<Utc>,
        outgoing: Outgoing,
    ) -> Result<(), StoreError> {
        let Outgoing { event_type, data, organization_id } = outgoing;
        let data = data?;
        check_size(event_type, &data)?;
        let contracts = &mut self.tenants.entry(context.tenant).or_default().contracts;
        contracts.kind.push(kind);
        contracts.stream_id.push(id);
        contracts.version.push(version);
        contracts.event_id.push(new_id());
        contracts.event_type.push(event_type);
        contracts.data.push(data);
        contracts.organization_id.push(organization_id);
        contracts.actor_id.push(context.actor);
        contracts.impersonator_id.push(context.impersonator);
        contracts.correlation_id.push(context.correlation);
        contracts.causation_id.push(context.causation);
        contracts.traceparent.push(context.traceparent.clone());
        contracts.occurred_at.push(at);
        Ok(())
    }

    /// Writes everything; returns whether there was anything. `current` is the tenant that `tx` is in.
    pub(crate) async fn flush(&mut self, tx: &mut Tx, current: TenantId) -> Result<bool, StoreError> {
        let tenants = std::mem::take(&mut self.tenants);
        let any = !tenants.is_empty();
        let mut inside = current;
        for (tenant, rows) in tenants {
            if tenant != inside {
                tx.set_tenant(tenant).await?;
                inside = tenant;
            }
            write(tx, tenant, rows).await?;
        }
        Ok(any)
    }
}

fn check_size(event_type: &str, data: &str) -> Result<(), StoreError> {
    if data.len() > contracts::EVENT_BYTES_MAX {
        return Err(StoreError::TooLarge { event_type: event_type.to_owned(), bytes: data.len() });
    }
    Ok(())
}

/// The numbers of `seq` follow the order of the arrays. A first insert that lost its race fails on the
/// unique version of `es_event`, which makes the whole unit collide and run again.
const APPEND: &str = "\
WITH s AS (
    INSERT INTO es_stream (tenant_id, kind, stream_id, version, contract_version, state_rev, state)
    SELECT $1, kind, id, version, contract_version, rev, state::json
    FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::smallint[], $7::text[])
        AS t (kind, id, version, contract_version, rev, state)
    ON CONFLICT (tenant_id, kind, stream_id) DO UPDATE SET version = excluded.version,
        contract_version = excluded.contract_version, state_rev = excluded.state_rev, state = excluded.state
), e AS (
    INSERT INTO es_event (tenant_id, kind, stream_id, version, event_type, schema_rev, data, actor_id,
        impersonator_id, correlation_id, occurred_at)
    SELECT $1, kind, id, version, type, rev, data::json, actor, acting, correlation, at
    FROM unnest($8::text[], $9::bigint[], $10::bigint[], $11::text[], $12::smallint[], $13::text[],
        $14::bigint[], $15::bigint[], $16::uuid[], $17::timestamptz[]) WITH ORDINALITY
        AS t (kind, id, version, type, rev, data, actor, acting, correlation, at, n)
    ORDER BY n RETURNING seq
), ep AS (
    INSERT INTO es_event_pending SELECT seq, $1 FROM e
), c AS (
    INSERT INTO es_contract (tenant_id, kind, stream_id, version, event_id, event_type, data,
        organization_id, actor_id, impersonator_id, correlation_id, causation_id, traceparent, occurred_at)
    SELECT $1, kind, id, version, event_id, type, data::json, organization, actor, impersonator, correlation,
        causation, traceparent, at
    FROM unnest($18::text[], $19::bigint[], $20::bigint[], $21::uuid[], $22::text[], $23::text[],
        $24::bigint[], $25::bigint[], $26::bigint[], $27::uuid[], $28::uuid[], $29::text[], $30::timestamptz[])
        WITH ORDINALITY AS t (kind, id, version, event_id, type, data, organization, actor, impersonator,
        correlation, causation, traceparent, at, n)
    ORDER BY n RETURNING seq
)
INSERT INTO es_contract_pending SELECT seq, $1 FROM c";

async fn write(tx: &mut Tx, tenant: TenantId, rows: Rows) -> Result<(), StoreError> {
    let Rows { streams, events: e, contracts: c } = rows;
    let (keys, values): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
    let (kinds, ids): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
    let mut versions = Vec::with_capacity(values.len());
    let mut contract_versions = Vec::with_capacity(values.len());
    let mut revs = Vec::with_capacity(values.len());
    let mut states = Vec::with_capacity(values.len());
    for value in values {
        versions.push(value.version);
        contract_versions.push(value.contract_version);
        revs.push(value.state_rev);
        states.push(value.state);
    }
    let written = Sql::fixed(APPEND)
        .bind::<SqlUuid>(tenant.0)
        .bind::<Array<Text>>(kinds)
        .bind::<Array<BigInt>>(ids)
        .bind::<Array<BigInt>>(versions)
        .bind::<Array<BigInt>>(contract_versions)
        .bind::<Array<SmallInt>>(revs)
        .bind::<Array<Text>>(states)
        .bind::<Array<Text>>(e.kind)
        .bind::<Array<BigInt>>(e.stream_id)
        .bind::<Array<BigInt>>(e.version)
        .bind::<Array<Text>>(e.event_type)
        .bind::<Array<SmallInt>>(e.schema_rev)
        .bind::<Array<Text>>(e.data)
        .bind::<Array<Nullable<BigInt>>>(e.actor_id)
        .bind::<Array<Nullable<BigInt>>>(e.impersonator_id)
        .bind::<Array<SqlUuid>>(e.correlation_id)
        .bind::<Array<Timestamptz>>(e.occurred_at)
        .bind::<Array<Text>>(c.kind)
        .bind::<Array<BigInt>>(c.stream_id)
        .bind::<Array<BigInt>>(c.version)
        .bind::<Array<SqlUuid>>(c.event_id)
        .bind::<Array<Text>>(c.event_type)
        .bind::<Array<Text>>(c.data)
        .bind::<Array<Nullable<BigInt>>>(c.organization_id)
        .bind::<Array<Nullable<BigInt>>>(c.actor_id)
        .bind::<Array<Nullable<BigInt>>>(c.impersonator_id)
        .bind::<Array<SqlUuid>>(c.correlation_id)
        .bind::<Array<Nullable<SqlUuid>>>(c.causation_id)
        .bind::<Array<Nullable<Text>>>(c.traceparent)
        .bind::<Array<Timestamptz>>(c.occurred_at)
        .execute(&mut **tx)
        .await;
    match written.map_err(StoreError::from) {
        // Somebody else created the same stream while we decided: decide again on what they wrote.
        Err(StoreError::Unique { constraint }) if constraint.starts_with("es_") => {
            Err(StoreError::collided())
        }
        other => other.map(|_| ()),
    }
}
