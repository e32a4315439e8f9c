//! Telling what a record means: the next event, one that was taken before, or a topic that cannot be trusted.

use contracts::Envelope;
use event_store::inbox::Place;
use uuid::Uuid;

use super::link::{Epoch, Record};

/// A partition that is read from Kafka.
pub(super) struct Reader {
    pub epoch: Epoch,
    pub place: Place,
    /// The next record was read before, and must be this event.
    pub verify: Option<Uuid>,
}

/// What one record means for its partition.
#[expect(clippy::large_enum_variant, reason = "an event is the rule and lives for a moment")]
#[derive(Debug)]
pub(super) enum Sifted {
    /// It was taken before.
    Nothing,
    Event(Envelope),
    /// The topic cannot be trusted here.
    Doubt(&'static str),
}

/// Looks at a record of a partition whose next offset is `next`, of a topic of `service`.
pub(super) fn sift(reader: &mut Reader, next: i64, service: &str, record: Record) -> Sifted {
    let expected = if reader.verify.is_some() { next - 1 } else { next };
    if record.offset < expected {
        return Sifted::Nothing;
    }
    // Our topics have no holes: nothing compacts them, and no transaction leaves its marks there.
    if record.offset > expected {
        return Sifted::Doubt("records are missing from the topic");
    }
    match (record.event, reader.verify.take()) {
        (Ok(event), Some(id)) if event.id == id => Sifted::Nothing,
        (_, Some(_)) => Sifted::Doubt("the topic is not the one that was read"),
        (Ok(event), None) if event.service() == service => Sifted::Event(event),
        (Ok(event), None) => {
            tracing::error!(source = event.source, offset = record.offset, "an event of another service");
            Sifted::Doubt("a record is not an event of its service")
        }
        (Err(error), None) => {
            tracing::error!(
                error = event_store::chain(&error),
                offset = record.offset,
                "an unreadable record"
            );
            Sifted::Doubt("a record is not an event of its service")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::RecordError;

    fn event(id: u128) -> Envelope {
        let nil = Uuid::nil();
        serde_json::from_value(serde_json::json!({
            "specversion": "1.0", "id": Uuid::from_u128(id), "source": "/mesh/projects", "type": "t", "position": 1,
            "subject": "project/1", "time": "2026-01-01T00:00:00Z", "datacontenttype": "application/json",
            "dataschema": "s", "tenantid": nil, "streamversion": 1, "partitionkey": "k", "correlationid": nil,
            "data": {},
        }))
        .unwrap()
    }

    fn record(offset: i64, id: u128) -> Record {
        Record { part: (0, 3), epoch: 1, offset, event: Ok(event(id)) }
    }

    fn reader(verify: Option<u128>) -> Reader {
        let topic = "projects.events".to_owned();
        let place = Place { topic, part: 3, next_offset: 10, position: 40, event_id: None };
        Reader { epoch: 1, place, verify: verify.map(Uuid::from_u128) }
    }

    #[test]
    fn the_next_record_is_an_event_and_an_earlier_one_is_nothing() {
        let mut reader = reader(None);
        assert!(matches!(sift(&mut reader, 10, "projects", record(10, 1)), Sifted::Event(_)));
        assert!(matches!(sift(&mut reader, 10, "projects", record(9, 1)), Sifted::Nothing));
    }

    #[test]
    fn a_hole_is_doubted() {
        assert!(matches!(sift(&mut reader(None), 10, "projects", record(11, 1)), Sifted::Doubt(_)));
        assert!(matches!(sift(&mut reader(Some(1)), 10, "projects", record(10, 2)), Sifted::Doubt(_)));
    }

    #[test]
    fn the_last_record_must_be_the_event_that_it_was() {
        let mut same = reader(Some(7));
        assert!(matches!(sift(&mut same, 10, "projects", record(9, 7)), Sifted::Nothing));
        assert!(matches!(sift(&mut same, 10, "projects", record(10, 8)), Sifted::Event(_)));
        assert!(matches!(sift(&mut reader(Some(7)), 10, "projects", record(9, 6)), Sifted::Doubt(_)));
        let broken = Record { event: Err(RecordError::NoValue), ..record(9, 7) };
        assert!(matches!(sift(&mut reader(Some(7)), 10, "projects", broken), Sifted::Doubt(_)));
    }

    #[test]
    fn what_is_no_event_of_the_service_is_doubted() {
        let broken = Record { event: Err(RecordError::NoValue), ..record(10, 7) };
        assert!(matches!(sift(&mut reader(None), 10, "projects", broken), Sifted::Doubt(_)));
        assert!(matches!(sift(&mut reader(None), 10, "identity", record(10, 7)), Sifted::Doubt(_)));
    }
}
