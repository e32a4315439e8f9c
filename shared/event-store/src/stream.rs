//! A stream's row and its events: loading a state, or folding it from nothing.

use contracts::TenantId;
use diesel::sql_types::{BigInt, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use futures::TryStreamExt;

use crate::aggregate::{Aggregate, join_event};
use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::Sql;

/// Which stream: its tenant, kind and id.
pub(crate) type StreamKey = (TenantId, &'static str, i64);

/// One stream as it stands in this transaction.
pub(crate) struct Loaded<A> {
    pub state: A,
    pub version: i64,
    pub contract_version: i64,
}

#[derive(diesel::QueryableByName)]
struct StreamRow {
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = BigInt)]
    contract_version: i64,
    #[diesel(sql_type = SmallInt)]
    state_rev: i16,
    #[diesel(sql_type = Text)]
    state: String,
}

/// Reads a stream's row; `for_update` makes other writers wait until the transaction ends.
pub(crate) async fn load<A: Aggregate>(
    tx: &mut Tx,
    tenant: TenantId,
    id: i64,
    for_update: bool,
) -> Result<Option<Loaded<A>>, StoreError> {
    let text = if for_update {
        "SELECT version, contract_version, state_rev, state::text AS state FROM es_stream \
         WHERE tenant_id = $1 AND kind = $2 AND stream_id = $3 FOR UPDATE"
    } else {
        "SELECT version, contract_version, state_rev, state::text AS state FROM es_stream \
         WHERE tenant_id = $1 AND kind = $2 AND stream_id = $3"
    };
    let rows: Vec<StreamRow> = Sql::fixed(text)
        .bind::<SqlUuid>(tenant.0)
        .bind::<Text>(A::KIND)
        .bind::<BigInt>(id)
        .load(&mut **tx)
        .await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let state = if row.state_rev == A::STATE_REV {
        serde_json::from_str(&row.state)?
    } else {
        fold::<A>(tx, tenant, id, row.version).await?
    };
    Ok(Some(Loaded { state, version: row.version, contract_version: row.contract_version }))
}

#[derive(diesel::QueryableByName)]
struct EventRow {
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = SmallInt)]
    schema_rev: i16,
    #[diesel(sql_type = Text)]
    data: String,
}

/// Folds a stream's events up to `version` from nothing.
pub(crate) async fn fold<A: Aggregate>(
    tx: &mut Tx,
    tenant: TenantId,
    id: i64,
    version: i64,
) -> Result<A, StoreError> {
    // One by one: of a wide aggregate the history is large and the state small.
    let rows = Sql::fixed(
        "SELECT event_type, schema_rev, data::text AS data FROM es_event \
         WHERE tenant_id = $1 AND kind = $2 AND stream_id = $3 AND version <= $4 ORDER BY version",
    )
    .bind::<SqlUuid>(tenant.0)
    .bind::<Text>(A::KIND)
    .bind::<BigInt>(id)
    .bind::<BigInt>(version)
    .load_stream::<EventRow>(&mut **tx)
    .await?;
    rows.map_err(StoreError::from)
        .try_fold(A::default(), async |mut state, row| {
            state.apply(&join_event::<A>(&row.event_type, row.schema_rev, &row.data)?);
            Ok(state)
        })
        .await
}
