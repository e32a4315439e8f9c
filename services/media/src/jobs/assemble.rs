//! Files that were sent piece by piece: put together, looked at, and kept as blobs.

use futures::StreamExt;
use service_kit::Kit;
use uuid::Uuid;

use super::{Claim, JobError};
use crate::keeping::{Kept, sweep_now};
use crate::media::Media;
use crate::remains;
use crate::spool::{Spool, SpoolError};
use crate::storage::Key;
use crate::uploads::{self, UploadFile};

/// What came of a file.
pub enum Assembled {
    Kept,
    /// It is not a picture that is taken, and this is why.
    Refused(String),
}

/// Puts one file together.
pub async fn assemble(
    kit: &Kit,
    claim: &Claim,
    media: &Media,
    file: &UploadFile,
) -> Result<Assembled, JobError> {
    let Some(upload) = file.upload_id else {
        return Ok(Assembled::Refused(format!("{}: the file did not arrive", file.name)));
    };
    // Until its pieces go, all of it is there twice.
    media.storage.check_room(file.length.unsigned_abs())?;
    let mut spool = Spool::new(&media.storage);
    for piece in &file.pieces {
        let key = Key::Piece(claim.tenant, upload, piece.clone());
        let mut bytes = media.storage.stream(&key, None).await?;
        while let Some(part) = bytes.next().await {
            match spool.push(part?).await {
                Ok(()) => {}
                Err(SpoolError::Fault(fault)) => {
                    return Ok(Assembled::Refused(format!("{}: {fault}", file.name)));
                }
                Err(SpoolError::Storage(error)) => return Err(error.into()),
            }
        }
    }
    let spooled = match spool.finish().await {
        Ok(spooled) => spooled,
        Err(SpoolError::Fault(fault)) => {
            return Ok(Assembled::Refused(format!("{}: {fault}", file.name)));
        }
        Err(SpoolError::Storage(error)) => return Err(error.into()),
    };
    let mut kept = Kept::new(claim.tenant);
    kept.wanted().during(kit, kept.add(kit, media, &[spooled])).await?;
    event_store::fail_point!("media.prepare.stored");
    note(kit, claim, media, (file, upload), kept).await?;
    event_store::fail_point!("media.prepare.assembled");
    Ok(Assembled::Kept)
}

/// Takes hold of the bytes, which from now on count instead of the length that was announced, and leaves the pieces.
async fn note(
    kit: &Kit,
    claim: &Claim,
    media: &Media,
    (file, upload): (&UploadFile, Uuid),
    mut kept: Kept,
) -> Result<(), JobError> {
    let Some(blob_id) = kept.settle(media).await?.first().copied() else { return Ok(()) };
    let mut unit = claim.unit(kit).await?;
    if !uploads::complete(unit.tx(), claim.subject_id, upload, blob_id).await? {
        // The task was removed meanwhile.
        kept.give_up(kit).await;
        return Ok(unit.commit().await?);
    }
    let more = kept.hold(unit.tx(), [blob_id]).await?;
    remains::leave(unit.tx(), vec![upload], kit.clock.now()).await?;
    sweep_now(&mut unit).await?;
    uploads::change_storage(&mut unit, more - file.length, None).await?;
    Ok(unit.commit().await?)
}
