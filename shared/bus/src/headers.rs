//! An envelope as a Kafka record: CloudEvents' binary mode.
//!
//! Every attribute is a `ce_…` header, the value is `data` byte for byte, the key is `partitionkey`; the
//! trace context keeps its own plain name, so that tools which know nothing of CloudEvents find it.

use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};
use contracts::Envelope;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use serde_json::value::RawValue;

/// A record that is not one of our events.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("the header {0} is missing")]
    Missing(&'static str),
    #[error("the header {name} cannot be read: {value:?}")]
    Unreadable { name: &'static str, value: String },
    #[error("the content type is {0:?}, not application/json")]
    ContentType(String),
    #[error("the record has no value")]
    NoValue,
    #[error("the value is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    #[error("the value is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// The client library could not even name the record's headers.
    #[error("the record's headers are broken")]
    Broken,
}

const CONTENT_TYPE: &str = "content-type";
const TRACEPARENT: &str = "traceparent";

/// The headers of an envelope's record; absent attributes have none.
pub fn write(envelope: &Envelope) -> OwnedHeaders {
    // One scratch buffer for all that is not text yet: this runs once for every event that is sent.
    let scratch = &mut String::with_capacity(40);
    let mut headers = OwnedHeaders::new_with_capacity(18);
    headers = put(headers, "ce_specversion", &envelope.specversion);
    headers = put(headers, "ce_id", display(scratch, &envelope.id));
    headers = put(headers, "ce_source", &envelope.source);
    headers = put(headers, "ce_type", &envelope.event_type);
    headers = put(headers, "ce_subject", &envelope.subject);
    headers = put(headers, "ce_time", &envelope.time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    headers = put(headers, "ce_dataschema", &envelope.dataschema);
    headers = put(headers, "ce_tenantid", display(scratch, &envelope.tenantid));
    headers = put(headers, "ce_streamversion", display(scratch, &envelope.streamversion));
    headers = put(headers, "ce_position", display(scratch, &envelope.position));
    headers = put(headers, "ce_partitionkey", &envelope.partitionkey);
    headers = put(headers, "ce_correlationid", display(scratch, &envelope.correlationid));
    if let Some(causation) = &envelope.causationid {
        headers = put(headers, "ce_causationid", display(scratch, causation));
    }
    if let Some(actor) = &envelope.actorid {
        headers = put(headers, "ce_actorid", display(scratch, actor));
    }
    if let Some(impersonator) = &envelope.impersonatorid {
        headers = put(headers, "ce_impersonatorid", display(scratch, impersonator));
    }
    if let Some(organization) = &envelope.organizationid {
        headers = put(headers, "ce_organizationid", display(scratch, organization));
    }
    if let Some(traceparent) = &envelope.traceparent {
        headers = put(headers, TRACEPARENT, traceparent);
    }
    put(headers, CONTENT_TYPE, &envelope.datacontenttype)
}

fn put(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

fn display<'a>(scratch: &'a mut String, value: &dyn std::fmt::Display) -> &'a str {
    scratch.clear();
    // Writing to a string cannot fail.
    let _ = write!(scratch, "{value}");
    scratch
}

/// Reads a record back.
///
/// # Errors
/// When it is not one of our events, with what is wrong.
pub fn read<M: Message>(record: &M) -> Result<Envelope, RecordError> {
    // The client library panics on a header whose name is not UTF-8.
    std::panic::catch_unwind(AssertUnwindSafe(|| parse(record))).unwrap_or(Err(RecordError::Broken))
}

fn parse<M: Message>(record: &M) -> Result<Envelope, RecordError> {
    let found = Found::collect(record.headers().ok_or(RecordError::Missing("ce_id"))?);
    let content_type = found.text(CONTENT_TYPE)?;
    if content_type.split(';').next().map(str::trim) != Some("application/json") {
        return Err(RecordError::ContentType(content_type.to_owned()));
    }
    let payload = record.payload().ok_or(RecordError::NoValue)?;
    let data = std::str::from_utf8(payload).map_err(RecordError::NotUtf8)?.to_owned();
    let time = found.text("ce_time")?;
    let Ok(time) = DateTime::parse_from_rfc3339(time) else { return Err(unreadable("ce_time", time)) };
    Ok(Envelope {
        specversion: found.text("ce_specversion")?.to_owned(),
        id: found.parsed("ce_id")?,
        source: found.text("ce_source")?.to_owned(),
        event_type: found.text("ce_type")?.to_owned(),
        subject: found.text("ce_subject")?.to_owned(),
        time: time.to_utc(),
        datacontenttype: content_type.to_owned(),
        dataschema: found.text("ce_dataschema")?.to_owned(),
        tenantid: found.parsed("ce_tenantid")?,
        streamversion: found.parsed("ce_streamversion")?,
        position: found.parsed("ce_position")?,
        partitionkey: found.text("ce_partitionkey")?.to_owned(),
        correlationid: found.parsed("ce_correlationid")?,
        causationid: found.optional("ce_causationid")?,
        actorid: found.optional("ce_actorid")?,
        impersonatorid: found.optional("ce_impersonatorid")?,
        organizationid: found.optional("ce_organizationid")?,
        traceparent: found.optional(TRACEPARENT)?,
        data: RawValue::from_string(data).map_err(RecordError::NotJson)?,
    })
}

fn unreadable(name: &'static str, value: &str) -> RecordError {
    RecordError::Unreadable { name, value: value.chars().take(100).collect() }
}

/// The headers of a record, collected in one pass over the C list.
struct Found<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Found<'a> {
    fn collect(headers: &'a impl Headers) -> Self {
        let count = headers.count();
        Self(
            (0..count)
                .filter_map(|index| headers.try_get(index))
                .filter_map(|header| Some((header.key, header.value?)))
                .collect(),
        )
    }

    fn find(&self, name: &'static str) -> Result<Option<&'a str>, RecordError> {
        let Some((_, bytes)) = self.0.iter().find(|(key, _)| *key == name) else { return Ok(None) };
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(unreadable(name, &String::from_utf8_lossy(bytes))),
        }
    }

    fn text(&self, name: &'static str) -> Result<&'a str, RecordError> {
        self.find(name)?.ok_or(RecordError::Missing(name))
    }

    fn parsed<T: FromStr>(&self, name: &'static str) -> Result<T, RecordError> {
        self.optional(name)?.ok_or(RecordError::Missing(name))
    }

    fn optional<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, RecordError> {
        let Some(text) = self.find(name)? else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(unreadable(name, text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::TenantId;
    use rdkafka::message::{OwnedMessage, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn envelope() -> Envelope {
        let tenant = TenantId(Uuid::from_u128(7));
        Envelope {
            specversion: "1.0".into(),
            id: Uuid::from_u128(1),
            source: "/mesh/projects".into(),
            event_type: "projects.project_created.v1".into(),
            subject: "project/42".into(),
            time: DateTime::from_timestamp_micros(1_767_225_600_123_456).unwrap(),
            datacontenttype: "application/json".into(),
            dataschema: "/schemas/projects.project_created.v1.json".into(),
            tenantid: tenant,
            streamversion: 3,
            position: 99,
            partitionkey: contracts::envelope::partition_key(tenant, "project", 42),
            correlationid: Uuid::from_u128(2),
            causationid: Some(Uuid::from_u128(3)),
            actorid: Some(-5),
            impersonatorid: Some(9),
            organizationid: Some(6),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
            // Spaces and the order of keys must survive.
            data: RawValue::from_string(r#"{"b" : 1, "a":"ä€"}"#.into()).unwrap(),
        }
    }

    fn record(envelope: &Envelope, headers: OwnedHeaders) -> OwnedMessage {
        let payload = envelope.data.get().as_bytes().to_vec();
        let key = envelope.partitionkey.clone().into_bytes();
        OwnedMessage::new(
            Some(payload),
            Some(key),
            "projects.events".into(),
            Timestamp::NotAvailable,
            0,
            0,
            Some(headers),
        )
    }

    fn without(headers: &OwnedHeaders, name: &str) -> OwnedHeaders {
        let mut rest = OwnedHeaders::new();
        for header in headers.iter().filter(|header| header.key != name) {
            rest = rest.insert(header);
        }
        rest
    }

    fn same(a: &Envelope, b: &Envelope) {
        assert_eq!(serde_json::to_string(a).unwrap(), serde_json::to_string(b).unwrap());
        assert_eq!(a.data.get(), b.data.get());
    }

    #[test]
    fn an_envelope_survives_the_journey() {
        let sent = envelope();
        let headers = write(&sent);
        assert_eq!(headers.count(), 18);
        same(&sent, &read(&record(&sent, headers)).unwrap());
    }

    #[test]
    fn absent_attributes_have_no_header_and_come_back_absent() {
        let sent = Envelope {
            causationid: None,
            actorid: None,
            impersonatorid: None,
            organizationid: None,
            traceparent: None,
            time: DateTime::from_timestamp(1_767_225_600, 0).unwrap(),
            ..envelope()
        };
        let headers = write(&sent);
        assert_eq!(headers.count(), 13);
        same(&sent, &read(&record(&sent, headers)).unwrap());
    }

    #[test]
    fn a_missing_attribute_is_named() {
        let sent = envelope();
        for name in ["ce_id", "ce_position", "ce_streamversion", "ce_tenantid", "ce_subject", "content-type"]
        {
            let headers = without(&write(&sent), name);
            match read(&record(&sent, headers)) {
                Err(RecordError::Missing(missing)) => assert_eq!(missing, name),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn an_unreadable_attribute_is_named_with_its_value() {
        let sent = envelope();
        for (name, value) in [("ce_position", &b"ten"[..]), ("ce_actorid", b""), ("ce_time", b"\xff")] {
            let headers = without(&write(&sent), name).insert(Header { key: name, value: Some(value) });
            match read(&record(&sent, headers)) {
                Err(RecordError::Unreadable { name: named, .. }) => assert_eq!(named, name),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_value_that_is_not_json_is_refused() {
        let sent = envelope();
        let message = |payload: Option<&[u8]>| {
            OwnedMessage::new(
                payload.map(<[u8]>::to_vec),
                None,
                "projects.events".into(),
                Timestamp::NotAvailable,
                0,
                0,
                Some(write(&sent)),
            )
        };
        assert!(matches!(read(&message(Some(b"{"))), Err(RecordError::NotJson(_))));
        assert!(matches!(read(&message(Some(b"\xff"))), Err(RecordError::NotUtf8(_))));
        assert!(matches!(read(&message(None)), Err(RecordError::NoValue)));
    }
}
