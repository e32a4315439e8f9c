//! Secrets that this service makes: random, shown once, kept as digests.

use aws_lc_rs::{digest, rand};
use service_kit::Refusal;

/// The two secrets of one sign-in.
pub struct SessionSecrets {
    /// The `sessionid` cookie: 64 hexadecimal digits.
    pub cookie: String,
    /// The token: 40 hexadecimal digits, as CVAT's clients expect.
    pub token: String,
}

impl SessionSecrets {
    /// Makes new ones.
    ///
    /// # Errors
    /// 503 when the system gives no random numbers.
    pub fn new() -> Result<Self, Refusal> {
        Ok(Self { cookie: random_hex::<32>()?, token: random_hex::<20>()? })
    }
}

/// What of a secret is kept. It has 160 random bits or more, so a fast hash is enough.
pub fn digest_of(secret: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

fn random_hex<const BYTES: usize>() -> Result<String, Refusal> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Refusal::unavailable("A secret could not be made.")
    })?;
    Ok(hex::encode(bytes))
}
