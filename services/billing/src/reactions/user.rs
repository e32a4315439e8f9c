//! `identity.user_*`: who has a seat.

use contracts::Envelope;
use contracts::identity::{UserDeleted, UserRegistered, UserUpdated};
use event_store::Unit;
use event_store::inbox::Handled;

use crate::quotas::taken::Taken;

pub fn registered<'a>(unit: &'a mut Unit, _: &'a Envelope, event: UserRegistered) -> Handled<'a> {
    Box::pin(async move {
        let taken = unit.gather::<Taken>();
        taken.seats.insert(event.user.id, event.user.is_active);
        taken.reservations.extend(event.reservation_id);
        Ok(())
    })
}

pub fn updated<'a>(unit: &'a mut Unit, _: &'a Envelope, event: UserUpdated) -> Handled<'a> {
    Box::pin(async move {
        let taken = unit.gather::<Taken>();
        taken.seats.insert(event.user.id, event.user.is_active);
        taken.reservations.extend(event.reservation_id);
        Ok(())
    })
}

pub fn deleted<'a>(unit: &'a mut Unit, _: &'a Envelope, event: UserDeleted) -> Handled<'a> {
    Box::pin(async move {
        unit.gather::<Taken>().seats.insert(event.user.id, false);
        Ok(())
    })
}
