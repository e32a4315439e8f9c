//! Tenants by name: where a sign-in looks first.

use contracts::TenantId;
use diesel::sql_types::{BigInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::Applied;
use event_store::{Change, Database, Sql, StoreError, Tx};
use uuid::Uuid;

use crate::domain::tenant::{Tenant, TenantEvent};

/// The tables that this file owns.
pub const TABLES: &[&str] = &["tenants"];

/// Takes an event in.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Tenant>) -> Applied<'a> {
    Box::pin(async move {
        match change.event {
            TenantEvent::Created { name } => {
                Sql::fixed(
                    "INSERT INTO tenants (tenant_id, id, name, created_at) VALUES (es_tenant(), $1, $2, $3)",
                )
                .bind::<BigInt>(change.id)
                .bind::<Text>(name.clone())
                .bind::<Timestamptz>(change.at)
                .execute(&mut **tx)
                .await?;
            }
        }
        Ok(())
    })
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    tenant_id: Uuid,
}

/// The tenant of a name; as the kernel role, because a sign-in is in no tenant yet.
pub async fn find_by_name(database: &Database, name: &str) -> Result<Option<TenantId>, StoreError> {
    let mut tx = database.kernel().await?;
    let rows: Vec<Row> = Sql::fixed("SELECT tenant_id FROM tenants WHERE name = $1")
        .bind::<Text>(name.to_owned())
        .load(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(rows.into_iter().next().map(|row| TenantId(row.tenant_id)))
}

/// Whether the tenant of this transaction exists.
pub async fn exists(tx: &mut Tx) -> Result<bool, StoreError> {
    let rows: Vec<Row> =
        Sql::fixed("SELECT tenant_id FROM tenants WHERE tenant_id = es_tenant()").load(&mut **tx).await?;
    Ok(!rows.is_empty())
}
