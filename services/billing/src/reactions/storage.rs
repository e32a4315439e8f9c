//! `media.storage_changed`: how many bytes are stored.

use contracts::Envelope;
use contracts::media::StorageChanged;
use event_store::Unit;
use event_store::inbox::Handled;

use crate::quotas::taken::Taken;

pub fn changed<'a>(unit: &'a mut Unit, _: &'a Envelope, event: StorageChanged) -> Handled<'a> {
    Box::pin(async move {
        let taken = unit.gather::<Taken>();
        taken.stored_bytes = Some(event.bytes.max(0));
        taken.reservations.extend(event.reservation_id);
        Ok(())
    })
}
