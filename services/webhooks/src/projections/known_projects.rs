//! `known_projects`: whose a project is and where, fed by projects' events.

use bus::Consumer;
use contracts::projects::{Project, ProjectCreated, ProjectDeleted, ProjectUpdated};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};

/// The consumer that keeps the table.
pub fn consumer() -> Consumer {
    Consumer::new("projects", 1)
        .feeds(&["known_projects"])
        .on::<ProjectCreated>(|unit, _, event| {
            Box::pin(async move { Ok(put(unit.tx(), &event.project).await?) })
        })
        .on::<ProjectUpdated>(|unit, _, event| {
            Box::pin(async move { Ok(put(unit.tx(), &event.project).await?) })
        })
        .on::<ProjectDeleted>(|unit, _, event| {
            Box::pin(async move { Ok(delete(unit.tx(), event.project.id).await?) })
        })
}

/// A project, as far as permissions need it.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct KnownProject {
    #[diesel(sql_type = Nullable<BigInt>)]
    pub owner_id: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub organization_id: Option<i64>,
}

/// A project of this tenant.
pub async fn find(tx: &mut Tx, id: i64) -> Result<Option<KnownProject>, StoreError> {
    let rows: Vec<KnownProject> = Sql::fixed(
        "SELECT owner_id, organization_id FROM known_projects WHERE tenant_id = es_tenant() AND id = $1",
    )
    .bind::<BigInt>(id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next())
}

async fn put(tx: &mut Tx, project: &Project) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO known_projects (tenant_id, id, name, owner_id, organization_id) \
         VALUES (es_tenant(), $1, $2, $3, $4) ON CONFLICT (tenant_id, id) DO UPDATE SET \
         name = excluded.name, owner_id = excluded.owner_id, organization_id = excluded.organization_id",
    )
    .bind::<BigInt>(project.id)
    .bind::<Text>(project.name.clone())
    .bind::<Nullable<BigInt>>(project.owner_id)
    .bind::<Nullable<BigInt>>(project.organization_id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn delete(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM known_projects WHERE tenant_id = es_tenant() AND id = $1")
        .bind::<BigInt>(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
