//! Kafka: how to reach it, and feeding a consumer from it.
//!
//! A consumer's offsets live in its own database and move with what they stand for; Kafka's group only deals
//! out the partitions. What Kafka no longer has, or what it cannot prove to have, is read from the producer's
//! log instead ([`backfill`]), so the topic may be cut, deleted or made anew at any time.
//!
//! Read in this order: [`source`] (the consumer as a whole), [`link`] (between it and the polling thread),
//! [`poll_thread`], [`place`] (where a partition begins), [`taking`] (what happens to a batch), [`backfill`].
//! What a topic holds is looked at in [`look`], by the publisher as well.

pub mod admin;
mod backfill;
mod context;
mod link;
mod logs;
pub(crate) mod look;
mod place;
mod poll_thread;
pub(crate) mod sender;
mod sift;
mod source;
mod taking;
mod watch;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

pub use poll_thread::closed;
pub use source::run;

/// How to reach a cluster.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    pub security: Security,
    /// Before the name of every topic and group, so that several meshes may share a cluster.
    pub prefix: String,
}

/// How to prove who we are. Anything but plain text needs the cargo feature `kafka-tls`.
#[derive(Clone, Default)]
pub struct Security {
    /// `plaintext`, `ssl`, `sasl_plaintext` or `sasl_ssl`.
    pub protocol: Option<String>,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
}

impl std::fmt::Debug for Security {
    /// Leaves the password out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Security")
            .field("protocol", &self.protocol)
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Settings that this build cannot follow.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "Kafka's {0} is set, but this build speaks plain text only: build it with the feature `kafka-tls`"
    )]
    NeedsFeature(&'static str),
}

impl Settings {
    /// A cluster that takes plain text.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), ..Self::default() }
    }

    /// Says at the start what would otherwise be said over and over.
    ///
    /// # Errors
    /// When this build cannot follow the settings.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.client().map(drop)
    }

    /// The topic that `service` publishes.
    pub fn topic(&self, service: &str) -> String {
        format!("{}{}", self.prefix, contracts::topic(service))
    }

    /// What every client of ours has in common.
    pub(crate) fn client(&self) -> Result<ClientConfig, SettingsError> {
        let Security { protocol, mechanism, username, password } = &self.security;
        let wanted = [
            ("security.protocol", protocol.as_deref().filter(|name| !name.eq_ignore_ascii_case("plaintext"))),
            ("sasl.mechanism", mechanism.as_deref()),
            ("sasl.username", username.as_deref()),
            ("sasl.password", password.as_deref()),
        ];
        let mut config = ClientConfig::new();
        for (name, value) in wanted.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            if cfg!(not(feature = "kafka-tls")) {
                return Err(SettingsError::NeedsFeature(name));
            }
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "annomesh")
            // A broker that comes back is noticed within a second, not within ten.
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "1000")
            // Bounds what a closing client waits for.
            .set("socket.timeout.ms", "7000")
            .set("log.connection.close", "false")
            .set_log_level(RDKafkaLogLevel::Warning);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let mut settings = Settings::new("kafka:9092");
        settings.security.password = Some("hunter2".into());
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn plain_text_needs_no_feature() {
        let mut settings = Settings::new("kafka:9092");
        settings.security.protocol = Some("PLAINTEXT".into());
        assert_eq!(settings.client().unwrap().get("bootstrap.servers"), Some("kafka:9092"));
    }

    #[test]
    #[cfg(not(feature = "kafka-tls"))]
    fn tls_names_the_feature_that_it_needs() {
        let mut settings = Settings::new("kafka:9092");
        settings.security.protocol = Some("sasl_ssl".into());
        let error = settings.client().unwrap_err().to_string();
        assert!(error.contains("kafka-tls") && error.contains("security.protocol"), "{error}");
    }
}
