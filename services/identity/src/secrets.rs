//! Secrets that this service makes: random, shown once, kept as digests.

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use service_kit::{Kit, Refusal};

/// Names the key for the digests of keys' secrets among those that are derived from `MESH_SECRET`.
const PURPOSE: &str = "identity/credentials";

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

/// A new access key with its secret, in the shapes of ClearML's.
pub struct KeySecret {
    /// 30 capitals and digits.
    pub access_key: String,
    /// 67 letters of base64 for addresses; the first is never `-` or `_`.
    pub secret: String,
}

impl KeySecret {
    /// Makes a new pair.
    ///
    /// # Errors
    /// 503 when the system gives no random numbers.
    pub fn new() -> Result<Self, Refusal> {
        const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
        let letter = |byte: u8| char::from(LETTERS[usize::from(byte & 31)]);
        let access_key = random::<30>()?.map(letter).iter().collect();
        let secret = loop {
            let secret = URL_SAFE_NO_PAD.encode(random::<50>()?);
            if !secret.starts_with(['-', '_']) {
                break secret;
            }
        };
        Ok(Self { access_key, secret })
    }

    /// What of a secret is kept.
    pub fn digest(kit: &Kit, access_key: &str, secret: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &kit.mesh_secret.derive(PURPOSE));
        let mut context = hmac::Context::with_key(&key);
        for part in [access_key, secret] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        hex::encode(context.sign())
    }

    /// Whether a secret is the one whose digest is kept.
    pub fn is_good(kit: &Kit, access_key: &str, secret: &str, kept: &str) -> bool {
        let shown = Self::digest(kit, access_key, secret);
        aws_lc_rs::constant_time::verify_slices_are_equal(shown.as_bytes(), kept.as_bytes()).is_ok()
    }
}

/// What of a secret is kept. It has 160 random bits or more, so a fast hash is enough.
pub fn digest_of(secret: &str) -> String {
    hex::encode(digest::digest(&digest::SHA256, secret.as_bytes()))
}

/// Random bytes in hexadecimal.
///
/// # Errors
/// 503 when the system gives no random numbers.
pub fn random_hex<const BYTES: usize>() -> Result<String, Refusal> {
    Ok(hex::encode(random::<BYTES>()?))
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], Refusal> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Refusal::unavailable("A secret could not be made.")
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_secrets_look_like_clearmls() {
        for _ in 0..200 {
            let KeySecret { access_key, secret } = KeySecret::new().unwrap();
            assert!(
                access_key.len() == 30
                    && access_key.chars().all(|l| l.is_ascii_uppercase() || l.is_ascii_digit())
            );
            assert!(secret.len() == 67 && secret.starts_with(|first: char| first.is_ascii_alphanumeric()));
        }
    }
}
