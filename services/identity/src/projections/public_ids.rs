//! ClearML's ids of users, both ways: 32 hexadecimal digits that the migration derives from tenant and id.

use contracts::TenantId;
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::Applied;
use event_store::{Change, Database, Sql, StoreError, Tx};
use uuid::Uuid;

use crate::domain::user::{User, UserEvent};

/// The tables that this file owns.
pub const TABLES: &[&str] = &["public_ids"];

/// Takes an event in.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, User>) -> Applied<'a> {
    Box::pin(async move {
        let sql = match change.event {
            UserEvent::Registered(_) => "INSERT INTO public_ids (tenant_id, id) VALUES (es_tenant(), $1)",
            UserEvent::Deleted => "DELETE FROM public_ids WHERE tenant_id = es_tenant() AND id = $1",
            UserEvent::Updated(_)
            | UserEvent::PasswordChanged { .. }
            | UserEvent::PrivilegeSet { .. }
            | UserEvent::CredentialIssued(_)
            | UserEvent::CredentialLabeled { .. }
            | UserEvent::CredentialRevoked { .. } => return Ok(()),
        };
        Sql::fixed(sql).bind::<BigInt>(change.id).execute(&mut **tx).await?;
        Ok(())
    })
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    tenant_id: Uuid,
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// The user of an id, in whatever tenant; as the kernel role, for the deployment's operator.
pub async fn find_anywhere(
    database: &Database,
    public_id: Uuid,
) -> Result<Option<(TenantId, i64)>, StoreError> {
    let mut tx = database.kernel().await?;
    let rows: Vec<Row> = Sql::fixed("SELECT tenant_id, id FROM public_ids WHERE public_id = $1")
        .bind::<SqlUuid>(public_id)
        .load(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(rows.into_iter().next().map(|row| (TenantId(row.tenant_id), row.id)))
}

/// The user of an id, in the tenant of the transaction.
pub async fn find(tx: &mut Tx, public_id: Uuid) -> Result<Option<i64>, StoreError> {
    let sql =
        Sql::fixed("SELECT tenant_id, id FROM public_ids WHERE tenant_id = es_tenant() AND public_id = $1");
    let rows: Vec<Row> = sql.bind::<SqlUuid>(public_id).load(&mut **tx).await?;
    Ok(rows.into_iter().next().map(|row| row.id))
}
