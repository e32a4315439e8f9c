//! How a receiver knows that a delivery is ours: CVAT's signature and that of Standard Webhooks.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What Standard Webhooks writes before a secret that is base64.
const PREFIX: &str = "whsec_";

/// `X-Signature-256` as CVAT makes it: over the body alone, with the secret as it is written.
pub fn cvat(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

/// `webhook-signature`: over id, time and body, so that an old delivery cannot be replayed as a new one.
pub fn standard(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key_bytes(secret));
    let mut signing = hmac::Context::with_key(&key);
    signing.update(format!("{id}.{timestamp}.").as_bytes());
    signing.update(body);
    format!("v1,{}", STANDARD.encode(signing.sign()))
}

fn key_bytes(secret: &str) -> Vec<u8> {
    let decoded = secret.strip_prefix(PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok());
    decoded.unwrap_or_else(|| secret.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cvat_receivers_find_the_signature_they_know() {
        let body = br#"{"event": "ping", "webhook": {"id": 1}, "sender": {"username": "admin1"}}"#;
        assert_eq!(
            cvat("s", body),
            "sha256=75d5d14b73d85278024ae98d6335daa2e4738d849a355c2dffb6ac422e13b3c6"
        );
    }

    #[test]
    fn standard_webhooks_libraries_find_the_signature_they_know() {
        // The example of the Standard Webhooks specification and of its reference libraries.
        let signature = standard(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_without_prefix_is_its_own_bytes() {
        assert_eq!(key_bytes("plain"), b"plain");
        assert_eq!(key_bytes("whsec_not base64!"), b"whsec_not base64!");
        assert_eq!(key_bytes("whsec_AAEC"), [0, 1, 2]);
    }
}
