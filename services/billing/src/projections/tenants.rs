//! The table `known_tenant`: every tenant of the deployment, by id and name. Its rows are the deployment's own, of
//! the nil tenant: nobody else's sight is widened by them, and what each tenant has stays behind its wall.

use contracts::TenantId;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use uuid::Uuid;

/// A tenant.
#[derive(Clone, Debug, PartialEq, diesel::QueryableByName)]
pub struct Tenant {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    pub name: String,
}

impl Tenant {
    pub fn id(&self) -> TenantId {
        TenantId(self.id)
    }
}

/// Inserts or renames a tenant, in a transaction of the deployment.
pub async fn put(tx: &mut Tx, id: TenantId, name: &str) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO known_tenant (tenant_id, id, name) VALUES (es_tenant(), $1, $2) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name",
    )
    .bind::<SqlUuid>(id.0)
    .bind::<Text>(name.to_owned())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// All tenants by name, in a transaction of the deployment.
pub async fn list(tx: &mut Tx) -> Result<Vec<Tenant>, StoreError> {
    let text = "SELECT id, name FROM known_tenant WHERE tenant_id = es_tenant() ORDER BY name, id";
    Ok(Sql::fixed(text).load(&mut **tx).await?)
}
