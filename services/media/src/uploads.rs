//! `upload_file`: files that were sent for a task and are not its frames yet.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx, Unit};
use uuid::Uuid;

use crate::blobs::{self, Blob, BlobRow};
use crate::domain::storage::{ChangeStorage, STREAM, Storage, StorageError};
use crate::keeping::sweep_now;
use crate::remains;

/// The most files that one task may be sent.
pub const FILES_MAX: i64 = 200_000;

/// The most pieces that one file may come in. The largest file needs 3,200 of the usual size.
pub const PIECES_MAX: usize = 20_000;

/// A file of a task.
#[derive(Clone, Debug, diesel::QueryableByName)]
pub struct UploadFile {
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Its bytes, when all of them are here and were looked at.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub blob_id: Option<i64>,
    /// The upload, of a file that is sent piece by piece.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub upload_id: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    pub length: i64,
    #[diesel(sql_type = BigInt)]
    pub received: i64,
    #[diesel(sql_type = Array<Text>)]
    pub pieces: Vec<String>,
}

/// Files whose bytes are stored, to be noted together.
pub struct Arrived {
    pub name: String,
    pub blob_id: i64,
}

#[derive(diesel::QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Notes files. Returns the names of those that were noted; a name that is taken by the very same bytes is not, and
/// is no fault: the client did not get our answer.
///
/// # Errors
/// In the inner result, the name that is taken by other bytes.
pub async fn add(
    tx: &mut Tx,
    task_id: i64,
    files: &[Arrived],
    now: DateTime<Utc>,
) -> Result<Result<Vec<String>, String>, StoreError> {
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let ids: Vec<i64> = files.iter().map(|file| file.blob_id).collect();
    let other: Vec<Name> = Sql::fixed(
        "SELECT f.name FROM upload_file f JOIN unnest($2, $3) AS u (name, blob_id) ON u.name = f.name \
         WHERE f.tenant_id = es_tenant() AND f.task_id = $1 AND f.blob_id IS DISTINCT FROM u.blob_id LIMIT 1",
    )
    .bind::<BigInt>(task_id)
    .bind::<Array<Text>>(names.clone())
    .bind::<Array<BigInt>>(ids.clone())
    .load(&mut **tx)
    .await?;
    if let Some(taken) = other.into_iter().next() {
        return Ok(Err(taken.name));
    }
    let added: Vec<Name> = Sql::fixed(
        "INSERT INTO upload_file (tenant_id, task_id, name, place, blob_id, updated_at) \
         SELECT es_tenant(), $1, u.name, u.place + (SELECT COALESCE(max(place), 0) FROM upload_file \
           WHERE tenant_id = es_tenant() AND task_id = $1), u.blob_id, $4 \
         FROM unnest($2, $3) WITH ORDINALITY AS u (name, blob_id, place) \
         ON CONFLICT (tenant_id, task_id, name) DO NOTHING RETURNING name",
    )
    .bind::<BigInt>(task_id)
    .bind::<Array<Text>>(names)
    .bind::<Array<BigInt>>(ids)
    .bind::<Timestamptz>(now)
    .load(&mut **tx)
    .await?;
    Ok(Ok(added.into_iter().map(|row| row.name).collect()))
}

/// How many files a task was sent, and when the last of them came on.
pub async fn count(tx: &mut Tx, task_id: i64) -> Result<(i64, Option<DateTime<Utc>>), StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        count: i64,
        #[diesel(sql_type = Nullable<Timestamptz>)]
        last: Option<DateTime<Utc>>,
    }
    let row: Row = Sql::fixed(
        "SELECT count(*) AS count, max(updated_at) AS last FROM upload_file \
         WHERE tenant_id = es_tenant() AND task_id = $1",
    )
    .bind::<BigInt>(task_id)
    .get_result(&mut **tx)
    .await?;
    Ok((row.count, row.last))
}

/// A file of a task, by its name.
pub async fn by_name(tx: &mut Tx, task_id: i64, name: &str) -> Result<Option<UploadFile>, StoreError> {
    let rows: Vec<UploadFile> = Sql::fixed(
        "SELECT name, blob_id, upload_id, length, received, pieces FROM upload_file \
         WHERE tenant_id = es_tenant() AND task_id = $1 AND name = $2",
    )
    .bind::<BigInt>(task_id)
    .bind::<Text>(name.to_owned())
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next())
}

/// A file that is sent piece by piece, by its upload.
pub async fn by_upload(tx: &mut Tx, task_id: i64, upload: Uuid) -> Result<Option<UploadFile>, StoreError> {
    let rows: Vec<UploadFile> = Sql::fixed(
        "SELECT name, blob_id, upload_id, length, received, pieces FROM upload_file \
         WHERE tenant_id = es_tenant() AND task_id = $1 AND upload_id = $2",
    )
    .bind::<BigInt>(task_id)
    .bind::<SqlUuid>(upload)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next())
}

/// Files of a task that were sent piece by piece and are not looked at yet, in their order.
pub async fn in_pieces(tx: &mut Tx, task_id: i64) -> Result<Vec<UploadFile>, StoreError> {
    Ok(Sql::fixed(
        "SELECT name, blob_id, upload_id, length, received, pieces FROM upload_file \
         WHERE tenant_id = es_tenant() AND task_id = $1 AND blob_id IS NULL ORDER BY place, name",
    )
    .bind::<BigInt>(task_id)
    .load(&mut **tx)
    .await?)
}

/// Begins a file that is sent piece by piece.
pub async fn begin(
    tx: &mut Tx,
    task_id: i64,
    (upload, name): (Uuid, &str),
    length: i64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO upload_file (tenant_id, task_id, name, place, upload_id, length, updated_at) \
         SELECT es_tenant(), $1, $2, 1 + COALESCE(max(place), 0), $3, $4, $5 FROM upload_file \
         WHERE tenant_id = es_tenant() AND task_id = $1",
    )
    .bind::<BigInt>(task_id)
    .bind::<Text>(name.to_owned())
    .bind::<SqlUuid>(upload)
    .bind::<BigInt>(length)
    .bind::<Timestamptz>(now)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advanced {
    Noted,
    /// Somebody else sent one from the same place.
    NotFrom,
    /// The file came in [`PIECES_MAX`] of them already.
    TooMany,
}

/// Notes a piece that is stored, if it fits.
pub async fn advance(
    tx: &mut Tx,
    (task_id, upload): (i64, Uuid),
    from: i64,
    to: i64,
    piece: &str,
    now: DateTime<Utc>,
) -> Result<Advanced, StoreError> {
    let most = i64::try_from(PIECES_MAX).unwrap_or(i64::MAX);
    let changed = Sql::fixed(
        "UPDATE upload_file SET received = $4, pieces = pieces || $5, updated_at = $6 WHERE \
         tenant_id = es_tenant() AND task_id = $1 AND upload_id = $2 AND received = $3 AND $4 <= length \
         AND cardinality(pieces) < $7",
    )
    .bind::<BigInt>(task_id)
    .bind::<SqlUuid>(upload)
    .bind::<BigInt>(from)
    .bind::<BigInt>(to)
    .bind::<Array<Text>>(vec![piece.to_owned()])
    .bind::<Timestamptz>(now)
    .bind::<BigInt>(most)
    .execute(&mut **tx)
    .await?;
    if changed == 1 {
        return Ok(Advanced::Noted);
    }
    let file = by_upload(tx, task_id, upload).await?;
    Ok(match file.is_some_and(|file| file.received == from && file.pieces.len() >= PIECES_MAX) {
        true => Advanced::TooMany,
        false => Advanced::NotFrom,
    })
}

/// Notes the bytes of a file whose pieces were put together. Returns whether it was still wanted.
pub async fn complete(tx: &mut Tx, task_id: i64, upload: Uuid, blob_id: i64) -> Result<bool, StoreError> {
    let changed = Sql::fixed(
        "UPDATE upload_file SET blob_id = $3, pieces = '{}' WHERE tenant_id = es_tenant() AND task_id = $1 \
         AND upload_id = $2 AND blob_id IS NULL",
    )
    .bind::<BigInt>(task_id)
    .bind::<SqlUuid>(upload)
    .bind::<BigInt>(blob_id)
    .execute(&mut **tx)
    .await?;
    Ok(changed == 1)
}

/// Puts the files in the client's order. Returns the first name that was not sent.
pub async fn reorder(tx: &mut Tx, task_id: i64, names: &[String]) -> Result<Option<String>, StoreError> {
    let missing: Vec<Name> = Sql::fixed(
        "SELECT u.name FROM unnest($2) WITH ORDINALITY AS u (name, place) LEFT JOIN upload_file f \
         ON f.tenant_id = es_tenant() AND f.task_id = $1 AND f.name = u.name \
         WHERE f.name IS NULL ORDER BY u.place LIMIT 1",
    )
    .bind::<BigInt>(task_id)
    .bind::<Array<Text>>(names.to_vec())
    .load(&mut **tx)
    .await?;
    if let Some(missing) = missing.into_iter().next() {
        return Ok(Some(missing.name));
    }
    Sql::fixed(
        "UPDATE upload_file f SET place = u.place FROM unnest($2) WITH ORDINALITY AS u (name, place) \
         WHERE f.tenant_id = es_tenant() AND f.task_id = $1 AND f.name = u.name",
    )
    .bind::<BigInt>(task_id)
    .bind::<Array<Text>>(names.to_vec())
    .execute(&mut **tx)
    .await?;
    Ok(None)
}

#[derive(QueryableByName)]
struct WholeRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    blob_id: i64,
    #[diesel(embed)]
    blob: BlobRow,
}

/// A file whose bytes are stored.
#[derive(Clone, Debug)]
pub struct Whole {
    pub name: String,
    pub blob_id: i64,
    pub blob: Blob,
}

/// All files of a task that are whole, in their order.
pub async fn whole(tx: &mut Tx, task_id: i64) -> Result<Vec<Whole>, StoreError> {
    let rows: Vec<WholeRow> = Sql::fixed(
        "SELECT f.name, f.blob_id, b.digest, b.size, b.crc32, b.kind, b.width, b.height, b.orientation, b.plain \
         FROM upload_file f JOIN blob b ON b.tenant_id = f.tenant_id AND b.id = f.blob_id \
         WHERE f.tenant_id = es_tenant() AND f.task_id = $1 ORDER BY f.place, f.name",
    )
    .bind::<BigInt>(task_id)
    .load(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| Ok(Whole { name: row.name, blob_id: row.blob_id, blob: row.blob.blob()? }))
        .collect()
}

/// Forgets the files of a task whose uses have passed to its frames.
pub async fn forget(tx: &mut Tx, task_id: i64) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM upload_file WHERE tenant_id = es_tenant() AND task_id = $1")
        .bind::<BigInt>(task_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Forgets all files of a task, or one, and gives back what they used, which is swept soon. Returns by how many bytes
/// the tenant stores less.
pub async fn discard(unit: &mut Unit, task_id: i64, name: Option<&str>) -> Result<i64, StoreError> {
    let now = unit.store().clock().now();
    let tx = unit.tx();
    let name = name.map(str::to_owned);
    let files: Vec<UploadFile> = Sql::fixed(
        "DELETE FROM upload_file WHERE tenant_id = es_tenant() AND task_id = $1 AND ($2 IS NULL OR name = $2) \
         RETURNING name, blob_id, upload_id, length, received, pieces",
    )
    .bind::<BigInt>(task_id)
    .bind::<Nullable<Text>>(name)
    .load(&mut **tx)
    .await?;
    let freed = blobs::release(tx, files.iter().filter_map(|file| file.blob_id)).await?;
    let unfinished = files.iter().filter(|file| file.blob_id.is_none());
    let bytes = freed + unfinished.map(|file| file.length).sum::<i64>();
    remains::leave(tx, files.iter().filter_map(|file| file.upload_id).collect(), now).await?;
    if !files.is_empty() {
        sweep_now(unit).await?;
    }
    Ok(bytes)
}

/// Changes how much the tenant stores; the last thing that a unit does, because all of a tenant's units queue for it.
pub async fn change_storage(
    unit: &mut Unit,
    delta: i64,
    reservation_id: Option<Uuid>,
) -> Result<(), event_store::ExecuteError<StorageError>> {
    unit.execute::<Storage>(STREAM, ChangeStorage { delta, reservation_id }).await.map(|_| ())
}
