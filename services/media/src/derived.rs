//! Pictures made of others: previews and compressed frames. Each is made once, however many ask, and kept in the
//! storage under the digest of what it was made of, so it can never be out of date.

use bytes::Bytes;
use contracts::TenantId;
use diesel::sql_types::{BigInt, Binary, Text};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use service_kit::{Kit, Refusal};

use crate::blobs::Blob;
use crate::frames::Frame;
use crate::media::Media;
use crate::pictures::convert;
use crate::storage::{Content, Digest, Key};

/// A compressed frame whose original is at most this large is the original, if every viewer shows that as it is.
const PASSED_THROUGH_MAX: u64 = 1024 * 1024;
/// The longer side of a preview.
const PREVIEW_SIDE: u32 = 256;
const PREVIEW_QUALITY: u8 = 80;
/// The largest file that is shown as another picture: all of it is in memory then.
const SHOWN_MAX: u64 = 256 * 1024 * 1024;
const TOO_LARGE: &str = "The picture is too large to be shown; its original can be had.";
const DAMAGED: &str = "The picture is damaged and cannot be shown; its original can be had.";

/// What is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// An upright JPEG of the whole picture, of this quality.
    Compressed(u8),
    Preview,
}

impl Form {
    /// The name under which it is kept.
    pub fn name(self) -> String {
        match self {
            Self::Compressed(quality) => format!("q{quality}.jpeg"),
            Self::Preview => format!("p{PREVIEW_SIDE}.jpeg"),
        }
    }
}

/// Whether a picture serves as its own compressed form: to encode it anew would cost much and save little.
pub fn passes_through(blob: &Blob) -> bool {
    let picture = &blob.picture;
    picture.plain && picture.orientation == 1 && blob.size <= PASSED_THROUGH_MAX
}

/// A derived picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    pub size: u64,
    pub crc32: u32,
    /// Its bytes, when the storage takes nothing in: reading goes on, and the next who asks has it made again.
    pub held: Option<Bytes>,
}

/// What comes of making a picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    Picture(Derived),
    /// Never one, for this reason: the bytes that it would be made of do not change.
    Never(&'static str),
}

/// Finds a derived picture, or makes it.
///
/// # Errors
/// 503 when the storage or the database is away; 400 when the original cannot be decoded after all.
pub async fn get(
    kit: &Kit,
    media: &Media,
    tenant: TenantId,
    frame: &Frame,
    form: Form,
) -> Result<Derived, Refusal> {
    // By the blob's row, not by its digest: what was made goes with the row, and bytes may come again.
    let key = (tenant, frame.blob_id, form);
    let made = media.making.try_get_with(key, find_or_make(kit, media, tenant, &frame.blob, form)).await;
    let made = match made.map_err(|failure| failure.refusal())? {
        Made::Picture(made) => made,
        Made::Never(reason) => return Err(Refusal::bad_request(reason)),
    };
    if made.held.is_some() {
        media.making.invalidate(&key).await;
    }
    Ok(made)
}

/// Many askers get one failure, so it must be one that can be copied.
#[derive(Debug)]
struct Failure {
    status: actix_web::http::StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<u64>,
}

impl Failure {
    fn refusal(&self) -> Refusal {
        let mut refusal = Refusal::new(self.status, self.code, self.detail.clone());
        refusal.retry_after = self.retry_after;
        refusal
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        refusal.log();
        let detail = refusal.cvat_body()["detail"].as_str().unwrap_or_default().to_owned();
        Self { status: refusal.status, code: refusal.code, detail, retry_after: refusal.retry_after }
    }
}

async fn find_or_make(
    kit: &Kit,
    media: &Media,
    tenant: TenantId,
    blob: &Blob,
    form: Form,
) -> Result<Made, Failure> {
    match find(kit, tenant, blob, form).await.map_err(Refusal::from)? {
        Some(found) => Ok(Made::Picture(found)),
        None => Ok(make(kit, media, tenant, blob, form).await?),
    }
}

async fn find(kit: &Kit, tenant: TenantId, blob: &Blob, form: Form) -> Result<Option<Derived>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        size: i64,
        #[diesel(sql_type = BigInt)]
        crc32: i64,
    }
    let mut tx = kit.store.database().tenant(tenant).await?;
    let rows: Vec<Row> = Sql::fixed(
        "SELECT size, crc32 FROM derived WHERE tenant_id = es_tenant() AND digest = $1 AND form = $2 \
         AND size IS NOT NULL",
    )
    .bind::<Binary>(blob.digest.to_vec())
    .bind::<Text>(form.name())
    .load(&mut *tx)
    .await?;
    tx.commit().await?;
    let corrupt = |_| StoreError::Corrupt("a derived picture's row makes no sense".to_owned());
    let found = rows.into_iter().next().map(|row| {
        Ok(Derived {
            size: u64::try_from(row.size).map_err(corrupt)?,
            crc32: u32::try_from(row.crc32).map_err(corrupt)?,
            held: None,
        })
    });
    found.transpose()
}

/// Whether a picture may become such a form, as far as that is known before it is read.
fn may_become(blob: &Blob, form: Form) -> bool {
    let side = blob.picture.width.max(blob.picture.height);
    let fits = match form {
        Form::Compressed(_) => side <= convert::JPEG_SIDE_MAX,
        Form::Preview => true,
    };
    fits && blob.size <= SHOWN_MAX
}

async fn make(kit: &Kit, media: &Media, tenant: TenantId, blob: &Blob, form: Form) -> Result<Made, Refusal> {
    let picture = blob.picture;
    if !may_become(blob, form) {
        return Ok(Made::Never(TOO_LARGE));
    }
    // Before it is read: however many are wanted, only so much is in memory.
    let Some(decoder) = media.decoder(convert::memory(&picture, blob.size)).await? else {
        return Ok(Made::Never(TOO_LARGE));
    };
    let original = media.storage.read(&Key::Blob(tenant, blob.digest)).await?;
    let made = decoder
        .run(move || match form {
            Form::Compressed(quality) => convert::compressed(&original, &picture, quality),
            Form::Preview => convert::preview(&original, &picture, PREVIEW_SIDE, PREVIEW_QUALITY),
        })
        .await?;
    let made = match made {
        Ok(made) => Bytes::from(made),
        Err(error) => {
            tracing::info!(error = event_store::chain(&error), "a picture cannot be converted");
            return Ok(Made::Never(DAMAGED));
        }
    };
    let derived = Derived { size: made.len() as u64, crc32: crc32fast::hash(&made), held: None };
    let key = Key::Derived(tenant, blob.digest, form.name());
    // The row is there before the object, so that the object goes when its blob does, whatever happens here.
    announce(kit, tenant, blob, form).await?;
    if let Err(error) = media.storage.put(&key, Content::Memory(vec![made.clone()])).await {
        tracing::warn!(error = event_store::chain(&error), "a picture that was made could not be kept");
        return Ok(Made::Picture(Derived { held: Some(made), ..derived }));
    }
    if !note(kit, tenant, blob, form, &derived).await? {
        media.storage.delete(&[key]).await?;
        return Err(Refusal::not_found());
    }
    Ok(Made::Picture(derived))
}

async fn announce(kit: &Kit, tenant: TenantId, blob: &Blob, form: Form) -> Result<(), StoreError> {
    let mut tx = kit.store.database().tenant(tenant).await?;
    Sql::fixed(
        "INSERT INTO derived (tenant_id, digest, form) SELECT tenant_id, digest, $2 FROM blob \
         WHERE tenant_id = es_tenant() AND digest = $1 ON CONFLICT DO NOTHING",
    )
    .bind::<Binary>(blob.digest.to_vec())
    .bind::<Text>(form.name())
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// Says that the object is there. Returns whether its blob still is.
async fn note(
    kit: &Kit,
    tenant: TenantId,
    blob: &Blob,
    form: Form,
    derived: &Derived,
) -> Result<bool, StoreError> {
    let mut tx = kit.store.database().tenant(tenant).await?;
    let noted = Sql::fixed(
        "UPDATE derived SET size = $3, crc32 = $4 WHERE tenant_id = es_tenant() AND digest = $1 AND form = $2",
    )
    .bind::<Binary>(blob.digest.to_vec())
    .bind::<Text>(form.name())
    .bind::<BigInt>(i64::try_from(derived.size).unwrap_or(i64::MAX))
    .bind::<BigInt>(i64::from(derived.crc32))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(noted == 1)
}

/// Forgets what was made of these blobs; returns what is to be removed from the storage.
pub async fn forget(tx: &mut Tx, digests: &[Digest]) -> Result<Vec<(Digest, String)>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Binary)]
        digest: Vec<u8>,
        #[diesel(sql_type = Text)]
        form: String,
    }
    let rows: Vec<Row> = Sql::fixed(
        "DELETE FROM derived WHERE tenant_id = es_tenant() AND digest = ANY($1) RETURNING digest, form",
    )
    .bind::<diesel::sql_types::Array<Binary>>(
        digests.iter().map(|digest| digest.to_vec()).collect::<Vec<_>>(),
    )
    .load(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| match row.digest.try_into() {
            Ok(digest) => Ok((digest, row.form)),
            Err(_) => Err(StoreError::Corrupt("a digest has not 32 bytes".to_owned())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::{Kind, Picture};

    #[test]
    fn what_is_too_large_is_known_before_it_is_read() {
        let blob = |width, height, size| {
            let picture = Picture { kind: Kind::Png, width, height, orientation: 1, plain: false };
            Blob { digest: [0; 32], size, crc32: 0, picture }
        };
        assert!(may_become(&blob(65_535, 10, SHOWN_MAX), Form::Compressed(70)));
        assert!(!may_become(&blob(65_536, 10, 100), Form::Compressed(70)));
        assert!(!may_become(&blob(10, 65_536, 100), Form::Compressed(70)));
        assert!(may_become(&blob(10, 65_536, 100), Form::Preview));
        assert!(!may_become(&blob(10, 10, SHOWN_MAX + 1), Form::Preview));
    }
}
