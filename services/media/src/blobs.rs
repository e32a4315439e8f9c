//! `blob`: which bytes a tenant stores, and how many use them.
//!
//! Who brings bytes says so first ([`declare`]), puts the object, and takes hold of it in the transaction that uses
//! it ([`hold`]). A row that nobody holds is swept with its object, while the row is locked: so there is no object
//! without a row, and no use of a row whose object is gone. Rows are locked in the order of their ids.
//!
//! A row has one moment at which somebody wanted it, and several may want it at the same time. So the moment is taken
//! back only by who knows that nobody else relies on it ([`Want::alone`]); otherwise it runs out by itself.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{Array, BigInt, Binary, Bool, Integer, Nullable, SmallInt, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};

use crate::pictures::{Kind, Picture};
use crate::storage::Digest;

/// How long bytes that somebody is about to use are left alone.
pub const GRACE: TimeDelta = TimeDelta::minutes(10);

/// Bytes that were looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    pub digest: Digest,
    pub size: u64,
    pub crc32: u32,
    pub picture: Picture,
}

/// A declared blob.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Declared {
    pub id: i64,
    /// Whether somebody uses it, so that its object is there.
    pub present: bool,
}

/// What somebody has said about a blob that they are about to use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Want {
    /// When they last said so.
    at: DateTime<Utc>,
    /// Whether that moment is theirs alone: nobody else relied on the one that it took the place of.
    alone: bool,
}

/// What somebody wants, by blob.
pub type Wants = BTreeMap<i64, Want>;

#[derive(diesel::QueryableByName)]
struct Before {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    wanted_at: Option<DateTime<Utc>>,
}

impl Before {
    /// Whether nobody but who has these wants relies on the moment.
    fn is_free(&self, wants: &Wants, now: DateTime<Utc>) -> bool {
        let own = wants.get(&self.id);
        self.wanted_at.is_none_or(|at| at < now - GRACE || own.is_some_and(|own| own.alone && own.at == at))
    }
}

#[derive(diesel::QueryableByName)]
struct DeclaredRow {
    #[diesel(sql_type = Binary)]
    digest: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Bool)]
    present: bool,
    #[diesel(sql_type = Bool)]
    is_new: bool,
}

/// Says that these bytes are about to be used, by somebody who wants others already.
pub async fn declare(
    tx: &mut Tx,
    blobs: &[Blob],
    wants: &mut Wants,
    now: DateTime<Utc>,
) -> Result<BTreeMap<Digest, Declared>, StoreError> {
    // Each once, and in order.
    let blobs: BTreeMap<Digest, &Blob> = blobs.iter().map(|blob| (blob.digest, blob)).collect();
    let column = |value: fn(&Blob) -> i64| blobs.values().map(|blob| value(blob)).collect::<Vec<_>>();
    let before: Vec<Before> = Sql::fixed(
        "SELECT id, wanted_at FROM blob WHERE tenant_id = es_tenant() AND digest = ANY($1) \
         ORDER BY id FOR UPDATE",
    )
    .bind::<Array<Binary>>(blobs.keys().map(|digest| digest.to_vec()).collect::<Vec<_>>())
    .load(&mut **tx)
    .await?;
    let free: BTreeSet<i64> = before.iter().filter(|row| row.is_free(wants, now)).map(|row| row.id).collect();
    let rows: Vec<DeclaredRow> = Sql::fixed(
        "INSERT INTO blob (tenant_id, digest, size, crc32, kind, width, height, orientation, plain, wanted_at) \
         SELECT es_tenant(), *, $9 FROM unnest($1, $2, $3, $4::bigint[]::smallint[], $5::bigint[]::integer[], \
         $6::bigint[]::integer[], $7::bigint[]::smallint[], $8) \
         ON CONFLICT (tenant_id, digest) DO UPDATE SET wanted_at = excluded.wanted_at \
         RETURNING digest, id, uses > 0 AS present, xmax = 0 AS is_new",
    )
    .bind::<Array<Binary>>(blobs.keys().map(|digest| digest.to_vec()).collect::<Vec<_>>())
    .bind::<Array<BigInt>>(column(|blob| i64::try_from(blob.size).unwrap_or(i64::MAX)))
    .bind::<Array<BigInt>>(column(|blob| i64::from(blob.crc32)))
    .bind::<Array<BigInt>>(column(|blob| i64::from(blob.picture.kind as u8)))
    .bind::<Array<BigInt>>(column(|blob| i64::from(blob.picture.width)))
    .bind::<Array<BigInt>>(column(|blob| i64::from(blob.picture.height)))
    .bind::<Array<BigInt>>(column(|blob| i64::from(blob.picture.orientation)))
    .bind::<Array<Bool>>(blobs.values().map(|blob| blob.picture.plain).collect::<Vec<_>>())
    .bind::<Timestamptz>(now)
    .load(&mut **tx)
    .await?;
    let mut declared = BTreeMap::new();
    for row in rows {
        // One that is not new and was not there a moment ago is another's, who declared it at the same time.
        wants.insert(row.id, Want { at: now, alone: row.is_new || free.contains(&row.id) });
        declared.insert(digest(&row.digest)?, Declared { id: row.id, present: row.present });
    }
    Ok(declared)
}

/// Says again that these blobs are about to be used.
pub async fn want_again(tx: &mut Tx, wants: &mut Wants, now: DateTime<Utc>) -> Result<(), StoreError> {
    let ids: Vec<i64> = wants.keys().copied().collect();
    let before: Vec<Before> = Sql::fixed(
        "SELECT id, wanted_at FROM blob WHERE tenant_id = es_tenant() AND id = ANY($1) ORDER BY id FOR UPDATE",
    )
    .bind::<Array<BigInt>>(ids.clone())
    .load(&mut **tx)
    .await?;
    Sql::fixed("UPDATE blob SET wanted_at = $2 WHERE tenant_id = es_tenant() AND id = ANY($1)")
        .bind::<Array<BigInt>>(ids)
        .bind::<Timestamptz>(now)
        .execute(&mut **tx)
        .await?;
    let free: Vec<(i64, bool)> = before.iter().map(|row| (row.id, row.is_free(wants, now))).collect();
    wants.extend(free.into_iter().map(|(id, alone)| (id, Want { at: now, alone })));
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Changed {
    #[diesel(sql_type = BigInt)]
    rows: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
}

/// Uses counted by blob.
fn counted(ids: impl IntoIterator<Item = i64>) -> (Vec<i64>, Vec<i64>) {
    let mut uses: BTreeMap<i64, i64> = BTreeMap::new();
    for id in ids {
        *uses.entry(id).or_default() += 1;
    }
    uses.into_iter().unzip()
}

/// Uses these blobs, each as often as it is named, by somebody who wants them no longer than that. Returns by how many
/// bytes the tenant now stores more.
///
/// # Errors
/// [`StoreError::Unavailable`] when one was swept meanwhile: whoever brings it must begin anew.
pub async fn hold(tx: &mut Tx, ids: impl IntoIterator<Item = i64>, wants: &Wants) -> Result<i64, StoreError> {
    let (ids, uses) = counted(ids);
    let wanted = ids.len();
    let own: Vec<Option<DateTime<Utc>>> =
        ids.iter().map(|id| wants.get(id).filter(|want| want.alone).map(|want| want.at)).collect();
    let changed: Changed = Sql::fixed(
        "WITH wanted AS (SELECT b.tenant_id, b.id, u.uses, u.own FROM blob b \
           JOIN unnest($1, $2, $3) AS u (id, uses, own) ON u.id = b.id \
           WHERE b.tenant_id = es_tenant() ORDER BY b.id FOR UPDATE OF b), \
         held AS (UPDATE blob b SET uses = b.uses + w.uses, \
             wanted_at = CASE WHEN b.wanted_at = w.own THEN NULL ELSE b.wanted_at END FROM wanted w \
           WHERE b.tenant_id = w.tenant_id AND b.id = w.id RETURNING b.size, b.uses = w.uses AS is_new) \
         SELECT count(*) AS rows, COALESCE(sum(size) FILTER (WHERE is_new), 0)::bigint AS bytes FROM held",
    )
    .bind::<Array<BigInt>>(ids)
    .bind::<Array<BigInt>>(uses)
    .bind::<Array<Nullable<Timestamptz>>>(own)
    .get_result(&mut **tx)
    .await?;
    match usize::try_from(changed.rows) == Ok(wanted) {
        true => Ok(changed.bytes),
        false => Err(StoreError::Unavailable("a blob was swept before it was used".to_owned())),
    }
}

/// Gives uses back. Returns by how many bytes the tenant now stores less; queue a sweep when that is not nothing. Who is
/// about to use the same bytes still is.
pub async fn release(tx: &mut Tx, ids: impl IntoIterator<Item = i64>) -> Result<i64, StoreError> {
    let (ids, uses) = counted(ids);
    if ids.is_empty() {
        return Ok(0);
    }
    let wanted = ids.len();
    let changed: Changed = Sql::fixed(
        "WITH wanted AS (SELECT b.tenant_id, b.id, u.uses FROM blob b \
           JOIN unnest($1, $2) AS u (id, uses) ON u.id = b.id \
           WHERE b.tenant_id = es_tenant() ORDER BY b.id FOR UPDATE OF b), \
         freed AS (UPDATE blob b SET uses = b.uses - w.uses FROM wanted w \
           WHERE b.tenant_id = w.tenant_id AND b.id = w.id RETURNING b.size, b.uses = 0 AS is_free) \
         SELECT count(*) AS rows, COALESCE(sum(size) FILTER (WHERE is_free), 0)::bigint AS bytes FROM freed",
    )
    .bind::<Array<BigInt>>(ids)
    .bind::<Array<BigInt>>(uses)
    .get_result(&mut **tx)
    .await?;
    match usize::try_from(changed.rows) == Ok(wanted) {
        true => Ok(changed.bytes),
        false => Err(StoreError::Corrupt("a blob that was in use is gone".to_owned())),
    }
}

/// Says that blobs are not wanted after all. Who declared them before or since may want them.
pub async fn give_up(tx: &mut Tx, wants: &Wants) -> Result<(), StoreError> {
    let own = wants.iter().filter(|(_, want)| want.alone).map(|(id, want)| (*id, want.at));
    let (ids, own): (Vec<i64>, Vec<DateTime<Utc>>) = own.unzip();
    Sql::fixed(
        "WITH wanted AS (SELECT b.tenant_id, b.id, u.own FROM blob b \
           JOIN unnest($1, $2) AS u (id, own) ON u.id = b.id \
           WHERE b.tenant_id = es_tenant() ORDER BY b.id FOR UPDATE OF b) \
         UPDATE blob b SET wanted_at = NULL FROM wanted w \
           WHERE b.tenant_id = w.tenant_id AND b.id = w.id AND b.wanted_at = w.own",
    )
    .bind::<Array<BigInt>>(ids)
    .bind::<Array<Timestamptz>>(own)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

#[derive(diesel::QueryableByName)]
struct Unused {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Binary)]
    digest: Vec<u8>,
}

/// Locks at most `limit` blobs that nobody uses or is about to use, until the end of the transaction.
pub async fn lock_unused(
    tx: &mut Tx,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(i64, Digest)>, StoreError> {
    let rows: Vec<Unused> = Sql::fixed(
        "SELECT id, digest FROM blob WHERE tenant_id = es_tenant() AND uses = 0 \
         AND (wanted_at IS NULL OR wanted_at < $1) ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED",
    )
    .bind::<Timestamptz>(now - GRACE)
    .bind::<BigInt>(limit)
    .load(&mut **tx)
    .await?;
    rows.into_iter().map(|row| Ok((row.id, digest(&row.digest)?))).collect()
}

/// Forgets locked blobs.
pub async fn forget(tx: &mut Tx, ids: &[i64]) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM blob WHERE tenant_id = es_tenant() AND id = ANY($1) AND uses = 0")
        .bind::<Array<BigInt>>(ids.to_vec())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// When the next blob that nobody uses may be swept; none when there is none.
pub async fn next_unused(tx: &mut Tx, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Timestamptz>)]
        at: Option<DateTime<Utc>>,
    }
    let row: Row = Sql::fixed(
        "SELECT min(COALESCE(wanted_at, $1)) AS at FROM blob WHERE tenant_id = es_tenant() AND uses = 0",
    )
    .bind::<Timestamptz>(now - GRACE)
    .get_result(&mut **tx)
    .await?;
    Ok(row.at.map(|at| at + GRACE))
}

/// The columns of a blob, for joins.
#[derive(Clone, diesel::QueryableByName)]
pub struct BlobRow {
    #[diesel(sql_type = Binary)]
    digest: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    size: i64,
    #[diesel(sql_type = BigInt)]
    crc32: i64,
    #[diesel(sql_type = SmallInt)]
    kind: i16,
    #[diesel(sql_type = Integer)]
    width: i32,
    #[diesel(sql_type = Integer)]
    height: i32,
    #[diesel(sql_type = SmallInt)]
    orientation: i16,
    #[diesel(sql_type = Bool)]
    plain: bool,
}

impl BlobRow {
    /// What the columns say.
    pub fn blob(&self) -> Result<Blob, StoreError> {
        let corrupt = || StoreError::Corrupt("a blob's row makes no sense".to_owned());
        let kind = u8::try_from(self.kind).ok().and_then(Kind::of).ok_or_else(corrupt)?;
        Ok(Blob {
            digest: digest(&self.digest)?,
            size: u64::try_from(self.size).map_err(|_| corrupt())?,
            crc32: u32::try_from(self.crc32).map_err(|_| corrupt())?,
            picture: Picture {
                kind,
                width: u32::try_from(self.width).map_err(|_| corrupt())?,
                height: u32::try_from(self.height).map_err(|_| corrupt())?,
                orientation: u8::try_from(self.orientation).map_err(|_| corrupt())?,
                plain: self.plain,
            },
        })
    }
}

fn digest(bytes: &[u8]) -> Result<Digest, StoreError> {
    bytes.try_into().map_err(|_| StoreError::Corrupt("a digest has not 32 bytes".to_owned()))
}
