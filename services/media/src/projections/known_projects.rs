//! `known_projects`: whose a project is and where.

use contracts::projects::Project;
use diesel::sql_types::{BigInt, Nullable};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};

/// A project, as far as permissions need it.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct KnownProject {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub owner_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub assignee_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub organization_id: Option<i64>,
}

/// A project of this tenant.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<KnownProject>, StoreError> {
    let rows: Vec<KnownProject> = Sql::fixed(
        "SELECT owner_id, assignee_id, organization_id FROM known_projects \
         WHERE tenant_id = es_tenant() AND id = $1",
    )
    .bind::<BigInt>(id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next())
}

/// Inserts or replaces one.
pub async fn put(tx: &mut Tx, project: &Project) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO known_projects (tenant_id, id, owner_id, assignee_id, organization_id) \
         VALUES (es_tenant(), $1, $2, $3, $4) ON CONFLICT (tenant_id, id) DO UPDATE SET \
         owner_id = excluded.owner_id, assignee_id = excluded.assignee_id, \
         organization_id = excluded.organization_id",
    )
    .bind::<BigInt>(project.id)
    .bind::<Nullable<BigInt>>(project.owner_id)
    .bind::<Nullable<BigInt>>(project.assignee_id)
    .bind::<Nullable<BigInt>>(project.organization_id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Forgets one.
pub async fn delete(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM known_projects WHERE tenant_id = es_tenant() AND id = $1")
        .bind::<BigInt>(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
