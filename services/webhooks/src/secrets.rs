//! Webhooks' secrets at rest: sealed before they become part of a command, opened when something is signed.
//! Each is bound to its webhook, so a row that got another's secret signs nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use contracts::TenantId;
use service_kit::sealing::{SealError, Sealer};
use service_kit::{Kit, Refusal};

/// Names the sealing key among those that `MESH_SECRET` derives.
const PURPOSE: &str = "webhooks/secrets";

/// What the deliveries of a webhook say whose secret does not open.
pub const UNREADABLE_SECRET: &str = "The webhook's secret cannot be read any more; set it again.";

/// Seals and opens; what is empty stays so, because it says that there is no secret.
#[derive(Clone)]
pub struct Secrets {
    sealer: Sealer,
}

impl Secrets {
    pub fn new(kit: &Kit) -> Self {
        Self { sealer: Sealer::new(&kit.mesh_secret, PURPOSE) }
    }

    /// A secret as it is stored.
    ///
    /// # Errors
    /// 503 when the system gives no random numbers.
    pub fn seal(&self, tenant: TenantId, webhook_id: i64, secret: &str) -> Result<String, Refusal> {
        if secret.is_empty() {
            return Ok(String::new());
        }
        let sealed = self.sealer.seal(&place(tenant, webhook_id), secret.as_bytes()).map_err(|error| {
            tracing::error!(webhook.id = webhook_id, %error, "a webhook's secret");
            Refusal::unavailable("The secret could not be stored.")
        })?;
        Ok(STANDARD_NO_PAD.encode(sealed))
    }

    /// The secret of a webhook, to sign with.
    ///
    /// # Errors
    /// When it was sealed under another `MESH_SECRET`, for another webhook, or not at all.
    pub fn open(&self, tenant: TenantId, webhook_id: i64, sealed: &str) -> Result<String, SealError> {
        if sealed.is_empty() {
            return Ok(String::new());
        }
        let sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| SealError::NotOpened)?;
        let secret = self.sealer.open(&place(tenant, webhook_id), &sealed)?;
        String::from_utf8(secret).map_err(|_| SealError::NotOpened)
    }

    /// What an update does to a webhook's secret: `None` when it is the same already. A sealed secret never
    /// looks the same twice, so the aggregate cannot tell.
    ///
    /// # Errors
    /// As [`Secrets::seal`].
    pub fn change(
        &self,
        tenant: TenantId,
        webhook_id: i64,
        sealed: &str,
        wanted: &str,
    ) -> Result<Option<String>, Refusal> {
        let same = |known: &str| {
            aws_lc_rs::constant_time::verify_slices_are_equal(known.as_bytes(), wanted.as_bytes()).is_ok()
        };
        match self.open(tenant, webhook_id, sealed) {
            Ok(known) if same(&known) => Ok(None),
            // One that cannot be opened any more is replaced too.
            Ok(_) | Err(_) => self.seal(tenant, webhook_id, wanted).map(Some),
        }
    }
}

fn place(tenant: TenantId, webhook_id: i64) -> String {
    format!("{tenant}/webhook/{webhook_id}")
}

#[cfg(test)]
mod tests {
    use event_store::Clock;
    use service_kit::mesh_token::MeshSecret;
    use uuid::Uuid;

    use super::*;

    const TENANT: TenantId = TenantId(Uuid::nil());

    fn secrets(mesh_secret: &str) -> Secrets {
        Secrets { sealer: Sealer::new(&MeshSecret::new(mesh_secret, Clock::system()), PURPOSE) }
    }

    #[test]
    fn a_secret_opens_for_its_own_webhook_only() {
        let secrets = secrets("a secret of more than thirty-two characters");
        let sealed = secrets.seal(TENANT, 1, "between two").unwrap();
        assert!(!sealed.contains("between two"));
        assert_eq!(secrets.open(TENANT, 1, &sealed).unwrap(), "between two");
        assert_eq!(secrets.open(TENANT, 2, &sealed), Err(SealError::NotOpened));
        assert_eq!(secrets.open(TenantId(Uuid::from_u128(1)), 1, &sealed), Err(SealError::NotOpened));
        assert_eq!(secrets.open(TENANT, 1, "between two"), Err(SealError::NotOpened));
    }

    #[test]
    fn no_secret_stays_none() {
        let secrets = secrets("a secret of more than thirty-two characters");
        assert_eq!(secrets.seal(TENANT, 1, "").unwrap(), "");
        assert_eq!(secrets.open(TENANT, 1, "").unwrap(), "");
    }

    #[test]
    fn only_another_secret_is_a_change() {
        let secrets = secrets("a secret of more than thirty-two characters");
        let sealed = secrets.seal(TENANT, 1, "old").unwrap();
        assert!(secrets.change(TENANT, 1, &sealed, "old").unwrap().is_none());
        assert_eq!(secrets.change(TENANT, 1, &sealed, "").unwrap().as_deref(), Some(""));
        let changed = secrets.change(TENANT, 1, &sealed, "new").unwrap().unwrap();
        assert_eq!(secrets.open(TENANT, 1, &changed).unwrap(), "new");
        let lost = self::secrets("another secret of more than thirty-two").change(TENANT, 1, &sealed, "old");
        assert!(lost.unwrap().is_some());
    }
}
