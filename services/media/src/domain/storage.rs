//! How much a tenant stores: one stream in each tenant.

use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The id of the one stream.
pub const STREAM: i64 = 1;

/// What is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct ChangeStorage {
    /// Bytes more, or less.
    pub delta: i64,
    /// The place under a hard cap that the growth takes.
    pub reservation_id: Option<Uuid>,
}

/// What happened to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum StorageEvent {
    Changed {
        /// Bytes from now on.
        bytes: i64,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reservation_id: Option<Uuid>,
    },
}

/// Why it refuses.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum StorageError {
    #[error("More would be released than is stored: {bytes} bytes of {stored}.")]
    Negative { stored: i64, bytes: i64 },
}

impl DomainError for StorageError {
    fn code(&self) -> &'static str {
        "storage_negative"
    }

    fn kind(&self) -> Refused {
        Refused::Conflict
    }
}

/// Bytes that a tenant stores, the same bytes counted once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Storage {
    pub bytes: i64,
}

impl Aggregate for Storage {
    const KIND: &'static str = "storage";
    type Command = ChangeStorage;
    type Event = StorageEvent;
    type Error = StorageError;

    fn decide(&self, command: ChangeStorage) -> Result<Vec<StorageEvent>, StorageError> {
        let ChangeStorage { delta, reservation_id } = command;
        // A place that was reserved is taken even when the bytes were there already: the event is what frees it.
        if delta == 0 && reservation_id.is_none() {
            return Ok(vec![]);
        }
        match self.bytes.checked_add(delta).filter(|bytes| *bytes >= 0) {
            Some(bytes) => Ok(vec![StorageEvent::Changed { bytes, reservation_id }]),
            None => Err(StorageError::Negative { stored: self.bytes, bytes: delta.saturating_neg() }),
        }
    }

    fn apply(&mut self, event: &StorageEvent) {
        let StorageEvent::Changed { bytes, .. } = event;
        self.bytes = *bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(storage: &mut Storage, delta: i64, reservation_id: Option<Uuid>) -> usize {
        let events = storage.decide(ChangeStorage { delta, reservation_id }).unwrap();
        events.iter().for_each(|event| storage.apply(event));
        events.len()
    }

    #[test]
    fn the_level_rises_and_falls_and_never_below_nothing() {
        let mut storage = Storage::default();
        assert_eq!(change(&mut storage, 100, None), 1);
        assert_eq!(change(&mut storage, 0, None), 0);
        assert_eq!(change(&mut storage, -40, None), 1);
        assert_eq!(storage.bytes, 60);
        let too_much = ChangeStorage { delta: -61, reservation_id: None };
        assert_eq!(storage.decide(too_much).unwrap_err(), StorageError::Negative { stored: 60, bytes: 61 });
    }

    #[test]
    fn a_reserved_place_is_taken_even_by_bytes_that_were_there() {
        let mut storage = Storage::default();
        assert_eq!(change(&mut storage, 0, Some(Uuid::nil())), 1);
        assert_eq!(storage.bytes, 0);
    }
}
