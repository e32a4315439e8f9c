//! Leases: one owner at a time, replaced within a second when it dies.
//!
//! A lease is an advisory lock of a database session that this process keeps for nothing else. When the
//! process dies the session ends and the lock falls; a paused owner that comes back finds that its session
//! is gone or that the fence in `es_lease` has moved, and what it still writes under the old fence is refused.

use std::time::Duration;

use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::Sql;
use crate::store::Store;

/// How often somebody who waits looks whether a lease has fallen.
const RETRY: Duration = Duration::from_millis(300);

/// A lease that this process holds for as long as the value lives and its session answers.
pub struct Lease {
    pub name: String,
    /// Rises with every owner; writes name it.
    pub fence: i64,
    session: AsyncPgConnection,
}

impl Lease {
    /// Waits until the lease is free and takes it.
    pub async fn acquire(store: &Store, name: &str, owner: &str) -> Result<Self, StoreError> {
        #[derive(diesel::QueryableByName)]
        struct Locked {
            #[diesel(sql_type = Bool)]
            locked: bool,
        }
        #[derive(diesel::QueryableByName)]
        struct Fence {
            #[diesel(sql_type = BigInt)]
            fence: i64,
        }
        let mut session = store.database().kernel_connection().await?;
        loop {
            let Locked { locked } =
                Sql::fixed("SELECT pg_try_advisory_lock(hashtext('es_lease'), hashtext($1)) AS locked")
                    .bind::<Text>(name.to_owned())
                    .get_result(&mut session)
                    .await?;
            if locked {
                break;
            }
            tokio::time::sleep(RETRY).await;
        }
        let Fence { fence } = Sql::fixed(
            "INSERT INTO es_lease (name, fence, owner) VALUES ($1, 1, $2) \
             ON CONFLICT (name) DO UPDATE SET fence = es_lease.fence + 1, owner = excluded.owner RETURNING fence",
        )
        .bind::<Text>(name.to_owned())
        .bind::<Text>(owner.to_owned())
        .get_result(&mut session)
        .await?;
        Ok(Self { name: name.to_owned(), fence, session })
    }

    /// Fails when somebody else holds the lease now, and lets nobody take it before the transaction ends.
    pub(crate) async fn assert_held(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let held = Sql::fixed("SELECT 1 FROM es_lease WHERE name = $1 AND fence = $2 FOR SHARE")
            .bind::<Text>(self.name.clone())
            .bind::<BigInt>(self.fence)
            .execute(&mut **tx)
            .await?;
        if held == 1 { Ok(()) } else { Err(StoreError::Fenced(self.name.clone())) }
    }

    /// Completes when the session has died and the lease with it.
    pub async fn lost(&mut self) -> StoreError {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Err(error) = Sql::fixed("SELECT 1").execute(&mut self.session).await {
                return error.into();
            }
        }
    }
}

/// A publisher's place in its log; `0` before the first.
pub async fn checkpoint(store: &Store, name: &str) -> Result<i64, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        position: i64,
    }
    let mut tx = store.database().kernel().await?;
    let rows: Vec<Row> = Sql::fixed("SELECT position FROM es_checkpoint WHERE name = $1")
        .bind::<Text>(name.to_owned())
        .load(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(rows.into_iter().next().map_or(0, |row| row.position))
}

/// Moves a checkpoint forward under a lease.
///
/// # Errors
/// [`StoreError::Fenced`] when somebody else holds the lease now.
pub async fn move_checkpoint(store: &Store, name: &str, fence: i64, position: i64) -> Result<(), StoreError> {
    let mut tx = store.database().kernel().await?;
    let moved = Sql::fixed(
        "INSERT INTO es_checkpoint (name, position) \
         SELECT $1, $3 FROM (SELECT FROM es_lease WHERE name = $1 AND fence = $2 FOR SHARE) AS held \
         ON CONFLICT (name) DO UPDATE SET position = excluded.position, updated_at = now() \
         WHERE es_checkpoint.position <= excluded.position",
    )
    .bind::<Text>(name.to_owned())
    .bind::<BigInt>(fence)
    .bind::<BigInt>(position)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    if moved == 1 { Ok(()) } else { Err(StoreError::Fenced(name.to_owned())) }
}
