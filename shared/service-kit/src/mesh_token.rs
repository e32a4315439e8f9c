//! How services know one another: a signed statement of who calls whom, good for a minute, made with a key
//! that both derive from `MESH_SECRET`.

use std::sync::Arc;

use aws_lc_rs::hmac;
use event_store::Clock;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// Seconds that a statement is good for.
const LIFE_S: i64 = 60;

#[derive(Serialize, Deserialize)]
struct Statement {
    /// The calling service.
    sub: String,
    /// The called service.
    aud: String,
    exp: i64,
}

/// Makes and checks service credentials, and derives other secrets.
#[derive(Clone)]
pub struct MeshSecret {
    secret: Arc<[u8]>,
    key: Arc<[u8]>,
    clock: Clock,
}

impl MeshSecret {
    pub fn new(secret: &str, clock: Clock) -> Self {
        let secret: Arc<[u8]> = secret.as_bytes().into();
        let key = derive(&secret, "mesh-credential").into();
        Self { secret, key, clock }
    }

    /// A 256-bit key for one purpose; knowing it tells nothing about the others.
    pub fn derive(&self, purpose: &str) -> Vec<u8> {
        derive(&self.secret, purpose)
    }

    /// Says that `from` calls `to`.
    pub fn credential(&self, from: &str, to: &str) -> String {
        let statement = Statement {
            sub: from.to_owned(),
            aud: to.to_owned(),
            exp: self.clock.now().timestamp() + LIFE_S,
        };
        jsonwebtoken::encode(&Header::default(), &statement, &EncodingKey::from_secret(&self.key))
            .unwrap_or_default()
    }

    /// The service that calls `to` with this credential, or `None` when it is not good.
    pub fn caller(&self, to: &str, credential: &str) -> Option<String> {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[to]);
        rules.validate_exp = false;
        rules.set_required_spec_claims(&["exp", "aud", "sub"]);
        let key = DecodingKey::from_secret(&self.key);
        let statement = jsonwebtoken::decode::<Statement>(credential, &key, &rules).ok()?.claims;
        let left = statement.exp - self.clock.now().timestamp();
        (-5..=LIFE_S + 5).contains(&left).then_some(statement.sub)
    }
}

fn derive(secret: &[u8], purpose: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), purpose.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_credential_is_good_for_one_service_one_secret_and_one_minute() {
        let clock = Clock::system();
        let mesh = MeshSecret::new("a secret of more than thirty-two characters", clock.clone());
        let credential = mesh.credential("projects", "identity");
        assert_eq!(mesh.caller("identity", &credential).as_deref(), Some("projects"));
        assert_eq!(mesh.caller("webhooks", &credential), None);
        let other = MeshSecret::new("another secret of more than thirty-two", clock.clone());
        assert_eq!(other.caller("identity", &credential), None);
        clock.advance(TimeDelta::seconds(70));
        assert_eq!(mesh.caller("identity", &credential), None);
    }
}
