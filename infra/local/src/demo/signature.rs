//! What a careful receiver does with a call: checks both signatures before it believes a word.

use anyhow::{Context, bail};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::receiver::Call;

/// Checks CVAT's signature and that of Standard Webhooks.
pub fn verify(secret: &str, call: &Call) -> anyhow::Result<()> {
    let given = call.header("x-signature-256")?;
    let hex = given.strip_prefix("sha256=").context("X-Signature-256 is not like sha256=…")?;
    check(secret.as_bytes(), &[&call.body], &hex::decode(hex)?).context("X-Signature-256")?;
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap_or(secret))?;
    let (id, timestamp) = (call.header("webhook-id")?, call.header("webhook-timestamp")?);
    let signed: [&[u8]; 5] = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &call.body];
    for signature in call.header("webhook-signature")?.split(' ') {
        let Some(signature) = signature.strip_prefix("v1,") else { continue };
        if check(&key, &signed, &BASE64_STANDARD.decode(signature)?).is_ok() {
            return Ok(());
        }
    }
    bail!("no signature in webhook-signature is of this body")
}

fn check(key: &[u8], parts: &[&[u8]], signature: &[u8]) -> anyhow::Result<()> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::verify(&key, &parts.concat(), signature).context("it is not of this body")
}
