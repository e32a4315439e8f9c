//! One POST to a receiver: which headers it carries, how long it may take, and what came of it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use event_store::Clock;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use service_kit::http_client;
use url::Url;
use uuid::Uuid;

use super::resolver::VettingResolver;
use super::targets::{Forbidden, Targets};
use super::{schedule, signature};

/// One attempt from the look-up of the name to the last byte that is read.
const TOTAL_TIME: Duration = Duration::from_secs(10);
/// How much of a receiver's answer is kept.
const RESPONSE_BYTES_MAX: usize = 16 * 1024;
/// What is recorded where there was no answer, as CVAT records it.
const NO_CONNECTION: u16 = 502;
const NO_ANSWER_IN_TIME: u16 = 504;

/// Sends to receivers; holds one client for those whose certificates are verified and one for the others.
#[derive(Clone)]
pub struct Sender {
    targets: Arc<Targets>,
    verifying: reqwest::Client,
    trusting: reqwest::Client,
    clock: Clock,
}

/// What is sent.
pub struct Letter<'a> {
    pub target_url: &'a str,
    pub enable_ssl: bool,
    pub secret: &'a str,
    pub event_id: Uuid,
    pub sequence: Option<i64>,
    pub attempt: i32,
    pub traceparent: Option<String>,
    pub body: &'a str,
}

/// What came of it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The receiver's words, or why there are none.
    pub response: String,
    /// The pause that the receiver asked for.
    pub retry_after: Option<Duration>,
    /// The target is not allowed; nothing was sent.
    pub forbidden: bool,
    pub began: DateTime<Utc>,
    pub ended: DateTime<Utc>,
}

impl Answer {
    /// Nothing was sent, because of something that may yet be put right.
    pub fn not_sent(why: &str, at: DateTime<Utc>) -> Self {
        Self {
            status: NO_CONNECTION,
            response: why.to_owned(),
            retry_after: None,
            forbidden: false,
            began: at,
            ended: at,
        }
    }
}

impl Sender {
    /// A sender that reaches public addresses and `targets`.
    ///
    /// # Errors
    /// When the TLS back end cannot be set up.
    pub fn new(targets: Targets, clock: Clock) -> anyhow::Result<Self> {
        let targets = Arc::new(targets);
        let builder = || {
            http_client::builder()
                .timeout(TOTAL_TIME)
                .user_agent(concat!("Annomesh/", env!("CARGO_PKG_VERSION")))
                .dns_resolver(Arc::new(VettingResolver { targets: targets.clone() }))
        };
        Ok(Self {
            verifying: builder().build()?,
            trusting: builder().tls_danger_accept_invalid_certs(true).build()?,
            targets,
            clock,
        })
    }

    /// Sends a letter; never fails, because a failure is an answer too.
    pub async fn send(&self, letter: &Letter<'_>) -> Answer {
        let began = self.clock.now();
        let mut answer = match self.try_send(letter, began).await {
            Ok(answer) => answer,
            Err(failure) => failure.answer(began),
        };
        answer.ended = self.clock.now();
        answer
    }

    async fn try_send(&self, letter: &Letter<'_>, began: DateTime<Utc>) -> Result<Answer, Failure> {
        let url = Url::parse(letter.target_url)?;
        // A name is vetted by the client's resolver; an address never gets there.
        self.targets.check_literal(&url)?;
        let client = if letter.enable_ssl { &self.verifying } else { &self.trusting };
        let id = format!("msg_{}", letter.event_id);
        let timestamp = began.timestamp();
        let mut request = client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-attempt", letter.attempt);
        if !letter.secret.is_empty() {
            let body = letter.body.as_bytes();
            request = request
                .header("X-Signature-256", signature::cvat(letter.secret, body))
                .header("webhook-signature", signature::standard(letter.secret, &id, timestamp, body));
        }
        if let Some(sequence) = letter.sequence {
            request = request.header("webhook-sequence", sequence);
        }
        if let Some(traceparent) = &letter.traceparent {
            request = request.header("traceparent", traceparent);
        }
        let response = request.body(letter.body.to_owned()).send().await?;
        let status = response.status().as_u16();
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|header| schedule::retry_after(header, began));
        Ok(Answer {
            status,
            response: read(response).await,
            retry_after,
            forbidden: false,
            began,
            ended: began,
        })
    }
}

/// Reads the beginning of an answer and hangs up on the rest. The status stands even if the body breaks off.
async fn read(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = RESPONSE_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if bytes.len() == RESPONSE_BYTES_MAX {
            break;
        }
    }
    // PostgreSQL keeps no U+0000 in a text.
    String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the target is not an URL")]
    Url(#[from] url::ParseError),
    #[error("no answer")]
    Http(#[from] reqwest::Error),
}

impl Failure {
    fn answer(self, began: DateTime<Utc>) -> Answer {
        let mut answer = Answer::not_sent("", began);
        match self {
            Self::Forbidden(why) => (answer.response, answer.forbidden) = (why.to_string(), true),
            Self::Url(why) => (answer.response, answer.forbidden) = (format!("Not an URL: {why}."), true),
            Self::Http(error) => match forbidden(&error) {
                Some(why) => (answer.response, answer.forbidden) = (why.to_string(), true),
                None => {
                    if error.is_timeout() {
                        answer.status = NO_ANSWER_IN_TIME;
                    }
                    // The URL may carry a token of the subscriber's; whoever reads this knows it anyway.
                    answer.response = event_store::chain(&error.without_url());
                }
            },
        }
        answer
    }
}

/// The resolver's refusal, somewhere below the client's error.
fn forbidden(error: &reqwest::Error) -> Option<&Forbidden> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(forbidden) = error.downcast_ref() {
            return Some(forbidden);
        }
        cause = error.source();
    }
    None
}
