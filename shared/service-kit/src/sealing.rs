//! Secrets that have to be read again, sealed while they lie somewhere: AES-256-GCM with a key that
//! `MESH_SECRET` derives, one for each purpose. With another `MESH_SECRET` nothing of it can be opened.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use crate::mesh_token::MeshSecret;

/// Seals and opens the secrets of one purpose.
#[derive(Clone)]
pub struct Sealer {
    key: Arc<[u8]>,
}

/// A secret that was not sealed or not opened; says nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SealError {
    #[error("it cannot be sealed")]
    NotSealed,
    /// Another `MESH_SECRET`, another place, or no sealed secret at all.
    #[error("it cannot be opened: was MESH_SECRET changed?")]
    NotOpened,
}

impl Sealer {
    /// `purpose` names the key among those that are derived from the secret, such as `webhooks/secrets`.
    pub fn new(secret: &MeshSecret, purpose: &str) -> Self {
        Self { key: secret.derive(purpose).into() }
    }

    /// Nonce, then ciphertext and tag. Opens for the same `place` only, so that nobody who writes to the
    /// store can put one sealed secret where another belongs.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.key).map_err(|_| SealError::NotSealed)?;
        let mut sealed = plain.to_vec();
        let nonce =
            key.seal_in_place_append_tag(Aad::from(place), &mut sealed).map_err(|_| SealError::NotSealed)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// What was sealed for this place.
    ///
    /// # Errors
    /// When it was sealed with another key, for another place, or not at all.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError::NotOpened)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.key).map_err(|_| SealError::NotOpened)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::NotOpened)?;
        let mut plain = sealed.to_vec();
        let opened = key.open_in_place(nonce, Aad::from(place), &mut plain);
        let length = opened.map_err(|_| SealError::NotOpened)?.len();
        plain.truncate(length);
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use event_store::Clock;

    fn sealer(secret: &str, purpose: &str) -> Sealer {
        Sealer::new(&MeshSecret::new(secret, Clock::system()), purpose)
    }

    #[test]
    fn what_is_sealed_opens_with_its_own_secret_purpose_and_place_only() {
        let (secret, purpose, place) = ("a secret of more than thirty-two characters", "letters", "drawer 1");
        let sealed = sealer(secret, purpose).seal(place, b"dear diary").unwrap();
        assert_eq!(sealer(secret, purpose).open(place, &sealed).unwrap(), b"dear diary");
        let refused = Err(SealError::NotOpened);
        assert_eq!(sealer("another secret of more than thirty-two", purpose).open(place, &sealed), refused);
        assert_eq!(sealer(secret, "money").open(place, &sealed), refused);
        assert_eq!(sealer(secret, purpose).open("drawer 2", &sealed), refused);
        let changed = [&sealed[..sealed.len() - 1], &[sealed[sealed.len() - 1] ^ 1]].concat();
        assert_eq!(sealer(secret, purpose).open(place, &changed), refused);
        for never_sealed in [&b""[..], b"short", b"dear diary, which was never sealed"] {
            assert_eq!(sealer(secret, purpose).open(place, never_sealed), refused);
        }
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let sealer = sealer("a secret of more than thirty-two characters", "letters");
        assert_ne!(sealer.seal("here", b"same").unwrap(), sealer.seal("here", b"same").unwrap());
        assert_eq!(sealer.open("here", &sealer.seal("here", b"").unwrap()).unwrap(), b"");
    }
}
