//! Tenants by name: where a sign-in looks first.

use chrono::{DateTime, Utc};
use contracts::TenantId;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::Applied;
use event_store::{Change, Database, Sql, StoreError, Tx};
use uuid::Uuid;

use crate::domain::tenant::{Tenant, TenantEvent};

/// The tables that this file owns.
pub const TABLES: &[&str] = &["tenants", "tenant_domains"];

/// Takes an event in.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Tenant>) -> Applied<'a> {
    Box::pin(async move {
        match change.event {
            TenantEvent::Created { .. } => create(tx, change.id, change.after, change.at).await,
            TenantEvent::Allowed { .. } => allow(tx, change.after).await,
            TenantEvent::DomainsSet { .. } => set_domains(tx, change.after).await,
        }
    })
}

async fn create(tx: &mut Tx, id: i64, tenant: &Tenant, at: DateTime<Utc>) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO tenants (tenant_id, id, name, display_name, allowed_users, features, exclude_features, \
         created_at) VALUES (es_tenant(), $1, $2, $3, $4, $5, $6, $7)",
    )
    .bind::<BigInt>(id)
    .bind::<Text>(tenant.name.clone())
    .bind::<Text>(tenant.display_name.clone())
    .bind::<Nullable<BigInt>>(tenant.allowance.allowed_users)
    .bind::<Nullable<Array<Text>>>(tenant.allowance.features.clone())
    .bind::<Array<Text>>(tenant.allowance.exclude_features.clone())
    .bind::<Timestamptz>(at)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn allow(tx: &mut Tx, tenant: &Tenant) -> Result<(), StoreError> {
    Sql::fixed(
        "UPDATE tenants SET allowed_users = $1, features = $2, exclude_features = $3 \
         WHERE tenant_id = es_tenant()",
    )
    .bind::<Nullable<BigInt>>(tenant.allowance.allowed_users)
    .bind::<Nullable<Array<Text>>>(tenant.allowance.features.clone())
    .bind::<Array<Text>>(tenant.allowance.exclude_features.clone())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn set_domains(tx: &mut Tx, tenant: &Tenant) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM tenant_domains WHERE tenant_id = es_tenant()").execute(&mut **tx).await?;
    Sql::fixed("INSERT INTO tenant_domains (tenant_id, domain) SELECT es_tenant(), unnest($1::text[])")
        .bind::<Array<Text>>(tenant.domains.iter().cloned().collect::<Vec<_>>())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A tenant.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct TenantRow {
    #[diesel(sql_type = SqlUuid)]
    tenant_id: Uuid,
    /// The id of its stream.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub display_name: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub allowed_users: Option<i64>,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    pub features: Option<Vec<String>>,
    #[diesel(sql_type = Array<Text>)]
    pub exclude_features: Vec<String>,
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
}

impl TenantRow {
    pub fn tenant(&self) -> TenantId {
        TenantId(self.tenant_id)
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT tenant_id, id, name, display_name, allowed_users, features, exclude_features, created_at ",
            "FROM tenants ",
            $rest
        )
    };
}

/// The tenant of this transaction, if it exists.
pub async fn own(tx: &mut Tx) -> Result<Option<TenantRow>, StoreError> {
    let rows = Sql::fixed(select!("WHERE tenant_id = es_tenant()")).load(&mut **tx).await?;
    Ok(rows.into_iter().next())
}

/// All tenants, by what they are called; as the kernel role, for the deployment's operator.
pub async fn all(database: &Database) -> Result<Vec<TenantRow>, StoreError> {
    let mut tx = database.kernel().await?;
    let rows = Sql::fixed(select!("ORDER BY lower(display_name), id")).load(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows)
}

/// The domains of the tenant of this transaction.
pub async fn own_domains(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Domain {
        #[diesel(sql_type = Text)]
        domain: String,
    }
    let sql = Sql::fixed("SELECT domain FROM tenant_domains WHERE tenant_id = es_tenant() ORDER BY domain");
    Ok(sql.load(&mut **tx).await?.into_iter().map(|row: Domain| row.domain).collect())
}

#[derive(diesel::QueryableByName)]
struct Found {
    #[diesel(sql_type = SqlUuid)]
    tenant_id: Uuid,
}

async fn find(database: &Database, sql: Sql) -> Result<Option<TenantId>, StoreError> {
    let mut tx = database.kernel().await?;
    let rows: Vec<Found> = sql.load(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows.into_iter().next().map(|row| TenantId(row.tenant_id)))
}

/// The tenant of a name; as the kernel role, because a sign-in is in no tenant yet.
pub async fn find_by_name(database: &Database, name: &str) -> Result<Option<TenantId>, StoreError> {
    let sql = Sql::fixed("SELECT tenant_id FROM tenants WHERE name = $1");
    find(database, sql.bind::<Text>(name.to_owned())).await
}

/// The tenant of a domain of e-mail addresses; as the kernel role too.
pub async fn find_by_domain(database: &Database, domain: &str) -> Result<Option<TenantId>, StoreError> {
    let sql = Sql::fixed("SELECT tenant_id FROM tenant_domains WHERE domain = $1");
    find(database, sql.bind::<Text>(domain.to_owned())).await
}

/// Whether the tenant of this transaction exists.
pub async fn exists(tx: &mut Tx) -> Result<bool, StoreError> {
    Ok(own(tx).await?.is_some())
}
