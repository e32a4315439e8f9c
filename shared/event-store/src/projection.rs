//! Making a read model anew from position 0, beside the old one, while traffic goes on.
//!
//! The new tables grow in the schema `rebuild` under their own names: a `search_path` that puts that schema
//! first makes the projection's own `apply` write there, unchanged. The swap is one transaction: lock the
//! live tables, which waits for the appends that already wrote to them; number what is committed; apply the
//! rest; drop the old, move the new. Whoever waited for the lock finds the new table under the old name.
//!
//! One rule makes this work: no foreign key leads to a projection's table or away from it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use contracts::TenantId;
use diesel::sql_types::{BigInt, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures::TryStreamExt;
use uuid::Uuid;

use crate::aggregate::{Aggregate, join_event};
use crate::db::Tx;
use crate::error::StoreError;
use crate::lease::Lease;
use crate::log;
use crate::registry::{Apply, Change};
use crate::sequencer::{self, EVENTS};
use crate::sql::Sql;
use crate::store::Store;
use crate::stream::fold;

/// Events that one transaction of a rebuild applies at most.
const PAGE: i64 = 1_000;
/// Streams whose state a rebuild keeps in memory; others are folded again when they come up.
const STATES: usize = 20_000;
/// How often the swap is tried when it meets appends that hold the tables the other way round.
const TRIES: u32 = 5;

#[derive(diesel::QueryableByName)]
struct Recorded {
    #[diesel(sql_type = BigInt)]
    position: i64,
    #[diesel(sql_type = SqlUuid)]
    tenant_id: Uuid,
    #[diesel(sql_type = BigInt)]
    stream_id: i64,
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Text)]
    event_type: String,
    #[diesel(sql_type = SmallInt)]
    schema_rev: i16,
    #[diesel(sql_type = Text)]
    data: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    actor_id: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: DateTime<Utc>,
}

/// Rebuilds the tables of one projection; returns how many events it applied.
///
/// # Errors
/// When the fold of a stream, or the projection itself, refuses an event.
pub(crate) async fn rebuild<A: Aggregate>(
    store: &Store,
    tables: &'static [&'static str],
    apply: Apply<A>,
) -> Result<u64, StoreError> {
    let shadow = Shadow::create(store, tables).await?;
    let mut replay =
        Replay::<A> { store: store.clone(), apply, position: 0, applied: 0, states: HashMap::new() };
    let mut behind = i64::MAX;
    loop {
        let head = drained_head(store).await?;
        let distance = head - replay.position;
        while replay.position < head {
            let mut tx = shadow.begin().await?;
            replay.page(&mut tx, head).await?;
            tx.commit().await?;
        }
        // A log that grows as fast as it is replayed is not caught up with but under the lock.
        if distance < PAGE || distance >= behind {
            break;
        }
        behind = distance;
    }
    for attempt in 1.. {
        match swap(store, &shadow, &mut replay).await {
            Err(error) if error.is_collision() && attempt < TRIES => {}
            outcome => {
                outcome?;
                break;
            }
        }
    }
    Ok(replay.applied)
}

async fn swap<A: Aggregate>(
    store: &Store,
    shadow: &Shadow,
    replay: &mut Replay<A>,
) -> Result<(), StoreError> {
    let before = (replay.position, replay.applied);
    let outcome = async {
        let mut tx = shadow.begin().await?;
        shadow.lock_live(&mut tx).await?;
        crate::fail_point!("es.rebuild.locked");
        let head = drained_head(store).await?;
        while replay.position < head {
            replay.page(&mut tx, head).await?;
        }
        shadow.swap(&mut tx).await?;
        crate::fail_point!("es.rebuild.before_commit");
        tx.commit().await
    }
    .await;
    if outcome.is_err() {
        // What was applied in the swap's transaction is gone, so it has to be applied again.
        (replay.position, replay.applied) = before;
        replay.states.clear();
    }
    outcome
}

/// The newest position, after everything that is committed has one.
async fn drained_head(store: &Store) -> Result<i64, StoreError> {
    sequencer::drain(store, &[EVENTS]).await?;
    log::head(store, EVENTS).await
}

struct Replay<A: Aggregate> {
    store: Store,
    apply: Apply<A>,
    position: i64,
    applied: u64,
    states: HashMap<(Uuid, i64), A>,
}

impl<A: Aggregate> Replay<A> {
    /// Applies the next page of events, at most to position `head`.
    async fn page(&mut self, tx: &mut Tx, head: i64) -> Result<(), StoreError> {
        let mut kernel = self.store.database().kernel().await?;
        // One by one: a page of the largest events would not fit into memory.
        let mut rows = Sql::fixed(
            "SELECT p.position, e.tenant_id, e.stream_id, e.version, e.event_type, e.schema_rev, \
             e.data::text AS data, e.actor_id, e.occurred_at \
             FROM es_event_position p JOIN es_event e USING (seq) \
             WHERE p.position > $1 AND p.position <= $2 AND e.kind = $3 ORDER BY p.position LIMIT $4",
        )
        .bind::<BigInt>(self.position)
        .bind::<BigInt>(head)
        .bind::<Text>(A::KIND)
        .bind::<BigInt>(PAGE)
        .load_stream::<Recorded>(&mut *kernel)
        .await?;
        let (mut inside, mut count) = (None, 0);
        while let Some(row) = rows.try_next().await? {
            if inside != Some(row.tenant_id) {
                tx.set_tenant(TenantId(row.tenant_id)).await?;
                inside = Some(row.tenant_id);
            }
            self.apply(tx, &row).await?;
            self.applied += 1;
            self.position = row.position;
            count += 1;
        }
        drop(rows);
        kernel.commit().await?;
        if count < PAGE {
            self.position = head;
        }
        Ok(())
    }

    async fn apply(&mut self, tx: &mut Tx, row: &Recorded) -> Result<(), StoreError> {
        let tenant = TenantId(row.tenant_id);
        let key = (row.tenant_id, row.stream_id);
        let before = match self.states.remove(&key) {
            Some(state) => state,
            None if row.version == 1 => A::default(),
            None => fold::<A>(tx, tenant, row.stream_id, row.version - 1).await?,
        };
        let event = join_event::<A>(&row.event_type, row.schema_rev, &row.data)?;
        let mut after = before.clone();
        after.apply(&event);
        let change = Change {
            tenant,
            id: row.stream_id,
            version: row.version,
            before: &before,
            event: &event,
            after: &after,
            at: row.occurred_at,
            actor: row.actor_id,
        };
        (self.apply)(tx, &change).await?;
        if self.states.len() >= STATES {
            self.states.clear();
        }
        self.states.insert(key, after);
        Ok(())
    }
}

/// The new tables, before they are the live ones.
pub struct Shadow {
    store: Store,
    tables: &'static [&'static str],
    /// Two rebuilds of the same tables would write into each other's.
    lease: Lease,
}

impl Shadow {
    /// Creates empty tables in the schema `rebuild`, with the columns, indexes, walls and rights of the live
    /// ones; leftovers of a rebuild that died are dropped. Waits until nobody else rebuilds these tables.
    pub async fn create(store: &Store, tables: &'static [&'static str]) -> Result<Self, StoreError> {
        let lease = Lease::acquire(store, &format!("rebuild {}", tables.join(", ")), store.service()).await?;
        let shadow = Self { store: store.clone(), tables, lease };
        let mut tx = store.database().owner().await?;
        shadow.lease.assert_held(&mut tx).await?;
        for table in tables {
            tx.batch_execute(&format!(
                "DROP TABLE IF EXISTS rebuild.{table}; \
                 CREATE TABLE rebuild.{table} (LIKE public.{table} INCLUDING ALL); \
                 SELECT es_tenant_table('rebuild.{table}')"
            ))
            .await?;
            tx.batch_execute(&REFUSE_FOREIGN_KEYS.replace("{table}", table)).await?;
            tx.batch_execute(&COPY_RIGHTS.replace("{table}", table)).await?;
            tx.batch_execute(&COPY_INDEX_NAMES.replace("{table}", table)).await?;
        }
        tx.commit().await?;
        Ok(shadow)
    }

    /// Begins a transaction in which the tables' names mean the new ones.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let mut tx = self.store.database().owner().await?;
        self.lease.assert_held(&mut tx).await?;
        tx.search_shadow_first().await?;
        Ok(tx)
    }

    /// Keeps everybody from the live tables until the end of the transaction.
    pub async fn lock_live(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let qualified = |schema: &str| {
            self.tables.iter().map(|table| format!("{schema}.{table}")).collect::<Vec<_>>().join(", ")
        };
        // The planner knows nothing of the new tables yet, and all traffic is about to meet them.
        tx.batch_execute(&format!("ANALYZE {}", qualified("rebuild"))).await?;
        tx.batch_execute(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", qualified("public"))).await?;
        Ok(())
    }

    /// Puts the new tables in the place of the live ones.
    pub async fn swap(&self, tx: &mut Tx) -> Result<(), StoreError> {
        for table in self.tables {
            tx.batch_execute(&format!(
                "DROP TABLE public.{table}; ALTER TABLE rebuild.{table} SET SCHEMA public"
            ))
            .await?;
        }
        Ok(())
    }
}

/// They are not copied, so they would be lost.
const REFUSE_FOREIGN_KEYS: &str = "DO $$ BEGIN \
    IF EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND conrelid = 'public.{table}'::regclass) THEN \
    RAISE 'the table {table} has a foreign key, so it cannot be rebuilt'; END IF; END $$";

const COPY_RIGHTS: &str = "DO $$ DECLARE rights text; BEGIN \
    SELECT string_agg(privilege_type, ', ') INTO rights FROM information_schema.table_privileges \
    WHERE table_schema = 'public' AND table_name = '{table}' AND grantee = 'annomesh_kernel'; \
    IF rights IS NOT NULL THEN PERFORM es_kernel_table('rebuild.{table}', rights); END IF; END $$";

/// The copies of indexes have the names that PostgreSQL gives by default; an aggregate knows its unique rules
/// by the names that the migration gave. Two steps, because one's name may be another's by default.
const COPY_INDEX_NAMES: &str = "DO $$ DECLARE pair record; BEGIN \
    FOR step IN 1..2 LOOP FOR pair IN \
        WITH named AS (SELECT indrelid, relname, row_number() OVER (PARTITION BY indrelid \
                ORDER BY indisprimary, indisunique, substring(pg_get_indexdef(indexrelid) FROM ' USING .*'), indexrelid) AS n \
            FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid \
            WHERE indrelid IN ('rebuild.{table}'::regclass, 'public.{table}'::regclass)) \
        SELECT copy.relname AS name, live.relname AS wanted FROM named AS copy JOIN named AS live USING (n) \
        WHERE copy.indrelid = 'rebuild.{table}'::regclass AND live.indrelid = 'public.{table}'::regclass \
            AND copy.relname <> live.relname \
    LOOP EXECUTE format('ALTER INDEX rebuild.%I RENAME TO %I', pair.name, \
        CASE step WHEN 1 THEN 'copy_' || md5(pair.wanted) ELSE pair.wanted END); \
    END LOOP; END LOOP; END $$";
