//! Bytes that nobody uses are removed, with what was made of them: the objects while their rows are locked, then the
//! rows; and pieces of uploads that are over. Killed in between, the next attempt finds the rows and removes what is
//! left.

use service_kit::Kit;

use super::{Claim, JobError};
use crate::media::Media;
use crate::storage::{Digest, Key};
use crate::{blobs, derived, remains};

/// The job's name. There is one in each tenant.
pub const JOB: &str = "media.sweep";
/// Its subject.
pub const SUBJECT: i64 = 0;

/// Blobs that are removed in one transaction.
const BATCH: i64 = 200;

/// Sweeps one tenant.
pub async fn run(kit: &Kit, claim: &Claim) -> Result<(), JobError> {
    let media = Media::of(kit)?;
    remove_pieces(kit, claim, &media).await?;
    loop {
        let now = kit.clock.now();
        let mut unit = claim.unit(kit).await?;
        let unused = blobs::lock_unused(unit.tx(), now, BATCH).await?;
        if unused.is_empty() {
            let nexts = [blobs::next_unused(unit.tx(), now).await?, remains::next(unit.tx(), now).await?];
            match nexts.into_iter().flatten().min() {
                Some(due_at) => claim.again_at(unit.tx(), due_at).await?,
                None => claim.finish(unit.tx()).await?,
            }
            return Ok(unit.commit().await?);
        }
        let digests: Vec<Digest> = unused.iter().map(|(_, digest)| *digest).collect();
        let mut keys: Vec<Key> = digests.iter().map(|digest| Key::Blob(claim.tenant, *digest)).collect();
        for (digest, form) in derived::forget(unit.tx(), &digests).await? {
            keys.push(Key::Derived(claim.tenant, digest, form));
        }
        media.storage.delete(&keys).await?;
        event_store::fail_point!("media.sweep.deleted");
        let ids: Vec<i64> = unused.iter().map(|(id, _)| *id).collect();
        blobs::forget(unit.tx(), &ids).await?;
        unit.commit().await?;
    }
}

/// Removes pieces of uploads that are over. Nothing is locked meanwhile: nobody goes on with them.
async fn remove_pieces(kit: &Kit, claim: &Claim, media: &Media) -> Result<(), JobError> {
    loop {
        let now = kit.clock.now();
        let mut tx = kit.store.database().tenant(claim.tenant).await?;
        let over = remains::due(&mut tx, now, BATCH).await?;
        tx.commit().await?;
        if over.is_empty() {
            return Ok(());
        }
        for upload in &over {
            media.storage.delete_pieces(claim.tenant, *upload).await?;
        }
        event_store::fail_point!("media.sweep.pieces");
        let mut tx = kit.store.database().tenant(claim.tenant).await?;
        remains::swept(&mut tx, over, now).await?;
        tx.commit().await?;
    }
}
