//! What the client library has to say, in our log: it repeats itself several times a second while a broker is
//! away, for every client, so each sort of message is let through once in a while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

/// How often one sort of message is let through.
const PAUSE: Duration = Duration::from_secs(30);

/// Parts of what the client library says when the brokers do not take who we are; and when the connection was
/// lost before they could say.
const REFUSED: &str = "SASL authentication error";
const LOST: &str = "transport failure";

fn is_refusal(message: &str) -> bool {
    message.contains(REFUSED) && !message.contains(LOST)
}

/// The context of a client that asks once: who asked is told why there is no answer, so the log has only what is to
/// be changed. (Closed in the middle of a handshake, such a client complains.)
#[derive(Default)]
pub(super) struct Asking {
    refused: AtomicBool,
}

impl Asking {
    fn hear(&self, message: &str) {
        self.refused.fetch_or(is_refusal(message), Ordering::Relaxed);
    }

    /// Whether the brokers do not take who we are.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl ClientContext for Asking {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        self.hear(message);
        tracing::debug!(kafka.facility = facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hear(reason);
        tracing::debug!(error = %error, "Kafka reports trouble to who asks: {reason}");
    }
}

impl ConsumerContext for Asking {}

/// Logs a line of the client library.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    let loud = matches!(
        level,
        RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning
    );
    // Commits are for Kafka's tools only, and fail in every rebalance.
    if loud && is_refusal(message) {
        refused(message);
    } else if loud && facility != "COMMITFAIL" && is_due(facility) {
        tracing::warn!(kafka.facility = facility, "librdkafka: {message}");
    } else {
        tracing::debug!(kafka.facility = facility, "librdkafka: {message}");
    }
}

/// Logs an error that the client library deals with itself.
pub(super) fn trouble(error: &KafkaError, reason: &str) {
    let code = error.rdkafka_error_code();
    if is_refusal(reason) {
        refused(reason);
        return;
    }
    let sort = code.map_or_else(|| error.to_string(), |code| format!("{code:?}"));
    if is_due(&sort) {
        tracing::warn!(error = %error, "Kafka reports trouble; waiting for it to pass: {reason}");
    }
}

/// Waiting does not help here: says what to change.
fn refused(reason: &str) {
    if is_due(REFUSED) {
        tracing::error!(
            "Kafka does not let us in; set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD to what it knows: {reason}"
        );
    }
}

/// Whether this sort of message has been quiet for long enough; sorts are few.
fn is_due(sort: &str) -> bool {
    static LAST: LazyLock<Mutex<HashMap<String, Instant>>> = LazyLock::new(Mutex::default);
    let now = Instant::now();
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let due = last.get(sort).is_none_or(|at| now.duration_since(*at) >= PAUSE);
    if due {
        last.insert(sort.to_owned(), now);
    }
    due
}
