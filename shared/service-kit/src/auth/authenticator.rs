//! Turns credentials into principals: the cache, the exchange, and the verification of what came back.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use aws_lc_rs::digest;
use bus::Peer;
use bus::peer::PeerError;
use event_store::Clock;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use moka::future::Cache;

use super::revocations::Revocations;
use super::shared_cache::SharedCache;
use super::{Credential, ExchangeAnswer, ExchangeRequest, Principal};
use crate::Refusal;

/// How long an answer is kept at most; a statement's own life may end it earlier.
const KEEP: Duration = Duration::from_secs(60);
/// Credentials kept at most.
const CAPACITY: u64 = 10_000;

/// One service's way to know callers.
#[derive(Clone)]
pub struct Authenticator {
    identity: Peer,
    clock: Clock,
    cache: Cache<[u8; 32], Arc<Known>>,
    keys: Arc<RwLock<JwkSet>>,
    shared: Option<SharedCache>,
    pub revocations: Revocations,
}

struct Known {
    principal: Principal,
    position: i64,
}

impl Authenticator {
    pub(crate) fn new(identity: Peer, clock: Clock, shared: Option<SharedCache>) -> Self {
        Self {
            identity,
            clock,
            cache: Cache::builder().max_capacity(CAPACITY).time_to_live(KEEP).build(),
            keys: Arc::new(RwLock::new(JwkSet { keys: vec![] })),
            shared,
            revocations: Revocations::default(),
        }
    }

    /// Who presents this credential.
    ///
    /// # Errors
    /// 401 when it is not good, 503 when identity cannot be asked.
    pub async fn authenticate(&self, credential: &Credential, host: &str) -> Result<Principal, Refusal> {
        let key = digest_of(credential, host);
        // An answer may be older than a revocation that arrived while it was on its way: ask again.
        for _ in 0..3 {
            let known = self.cache.try_get_with(key, self.exchange(credential, host, &key)).await.map_err(
                |shared: Arc<Refusal>| match Arc::try_unwrap(shared) {
                    Ok(refusal) => refusal,
                    Err(shared) => Refusal::new(shared.status, shared.code, detail_of(&shared)),
                },
            )?;
            let fresh = known.principal.exp > self.clock.now().timestamp();
            if fresh && !self.revocations.is_revoked(&known.principal, known.position) {
                return Ok(known.principal.clone());
            }
            self.cache.invalidate(&key).await;
            if let Some(shared) = &self.shared {
                shared.forget(&key).await;
            }
        }
        Err(Refusal::invalid_token())
    }

    async fn exchange(
        &self,
        credential: &Credential,
        host: &str,
        key: &[u8; 32],
    ) -> Result<Arc<Known>, Refusal> {
        // What was revoked before this process began to follow, only identity knows: it is asked.
        if let Some(shared) = &self.shared
            && let Some(answer) = shared.get(key).await
            && self.revocations.follows_since(answer.position)
            && let Ok(principal) = self.verify(&answer.token).await
        {
            return Ok(Arc::new(Known { principal, position: answer.position }));
        }
        let answer = self.ask(credential, host).await?;
        let principal = self.verify(&answer.token).await?;
        if let Some(shared) = &self.shared {
            let left =
                principal.exp.saturating_sub(self.clock.now().timestamp()).clamp(1, KEEP.as_secs() as i64);
            shared.put(key, &answer, left.unsigned_abs()).await;
        }
        Ok(Arc::new(Known { principal, position: answer.position }))
    }

    async fn ask(&self, credential: &Credential, host: &str) -> Result<ExchangeAnswer, Refusal> {
        let request = ExchangeRequest { credential: credential.clone(), host: host.to_owned() };
        let call = self.identity.post("/internal/exchange").json(&request).timeout(Duration::from_secs(5));
        match self.identity.json(call).await {
            Ok(answer) => Ok(answer),
            Err(PeerError::Refused { status: 401, .. }) => Err(not_good(credential)),
            Err(PeerError::Refused { status: 429, .. }) => Err(Refusal {
                retry_after: Some(1),
                ..Refusal::new(
                    actix_web::http::StatusCode::TOO_MANY_REQUESTS,
                    "throttled",
                    "Request was throttled. Expected available in 1 second.",
                )
            }),
            Err(error) => {
                tracing::warn!(error = event_store::chain(&error), "cannot exchange a credential");
                Err(Refusal::unavailable("Sign-in is not available at the moment."))
            }
        }
    }

    /// Verifies a statement against identity's keys; fetches them when the key is new.
    async fn verify(&self, token: &str) -> Result<Principal, Refusal> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::invalid_token())?;
        let kid = header.kid.unwrap_or_default();
        let mut key = self.key(&kid);
        if key.is_none() {
            match self.identity.json::<JwkSet>(self.identity.get("/internal/jwks")).await {
                Ok(fetched) => {
                    if let Ok(mut keys) = self.keys.write() {
                        *keys = fetched;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = event_store::chain(&error), "cannot fetch identity's keys");
                    return Err(Refusal::unavailable("Sign-in is not available at the moment."));
                }
            }
            key = self.key(&kid);
        }
        let key = key.ok_or_else(Refusal::invalid_token)?;
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[Principal::ISSUER]);
        rules.set_audience(&[Principal::AUDIENCE]);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.validate_nbf = true;
        // The clock is ours, so that a test can move it.
        rules.validate_exp = false;
        let principal = jsonwebtoken::decode::<Principal>(token, &key, &rules)
            .map_err(|_| Refusal::invalid_token())?
            .claims;
        if principal.exp <= self.clock.now().timestamp() {
            return Err(Refusal::invalid_token());
        }
        Ok(principal)
    }

    fn key(&self, kid: &str) -> Option<DecodingKey> {
        let keys = self.keys.read().ok()?;
        keys.find(kid).and_then(|jwk| DecodingKey::from_jwk(jwk).ok())
    }
}

fn detail_of(refusal: &Refusal) -> String {
    match &refusal.text {
        crate::refusal::Text::Detail(detail) => detail.clone(),
        _ => String::new(),
    }
}

/// The texts of Django REST framework, one a scheme.
fn not_good(credential: &Credential) -> Refusal {
    let detail = match credential {
        Credential::Basic { .. } => "Invalid username/password.",
        Credential::Session(_) => "Authentication credentials were not provided.",
        _ => "Invalid token.",
    };
    Refusal::new(actix_web::http::StatusCode::UNAUTHORIZED, "authentication_failed", detail)
}

fn digest_of(credential: &Credential, host: &str) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    let (scheme, parts) = match credential {
        Credential::Session(value) => ("session", [value.as_str(), ""]),
        Credential::Token(value) => ("token", [value.as_str(), ""]),
        Credential::Bearer(value) => ("bearer", [value.as_str(), ""]),
        Credential::Basic { username, password } => ("basic", [username.as_str(), password.as_str()]),
    };
    for part in [scheme, parts[0], parts[1], host] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}
