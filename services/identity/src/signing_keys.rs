//! The keys that identity signs principals with: Ed25519, their private halves sealed with a key that is
//! derived from `MESH_SECRET`.
//!
//! The newest key signs; older ones stay in the key set, so that whoever verifies never meets an unknown one.

use anyhow::Context as _;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::TenantId;
use diesel::sql_types::{Binary, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, OctetKeyPairParameters,
    OctetKeyPairType, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use service_kit::mesh_token::MeshSecret;
use service_kit::sealing::{SealError, Sealer};
use service_kit::{Kit, Refusal};

/// Names the sealing key among those that are derived from `MESH_SECRET`.
const PURPOSE: &str = "identity/signing-keys";

#[derive(diesel::QueryableByName)]
struct KeyRow {
    #[diesel(sql_type = Text)]
    kid: String,
    #[diesel(sql_type = Binary)]
    public_key: Vec<u8>,
    #[diesel(sql_type = Binary)]
    sealed_private_key: Vec<u8>,
}

/// Makes a key if there is none that this deployment can open. Every replica may call it at once.
///
/// # Errors
/// When the database is away.
pub async fn ensure(kit: &Kit) -> anyhow::Result<()> {
    let mut tx = kit.store.database().tenant(TenantId::DEPLOYMENT).await?;
    Sql::fixed("SELECT pg_advisory_xact_lock(hashtext('identity/signing-keys'))").execute(&mut *tx).await?;
    let known = rows(&mut tx).await?;
    if let [newest, ..] = known.as_slice() {
        match open(&kit.mesh_secret, newest) {
            Ok(_) => return Ok(tx.commit().await?),
            Err(error) => tracing::warn!(kid = newest.kid, %error, "a new signing key takes its place"),
        }
    }
    let pair = Ed25519KeyPair::generate().context("cannot make a signing key")?;
    // Version 1 of PKCS#8, without the public half: what every reader of such keys understands.
    let private = pair.to_pkcs8v1().context("cannot write a signing key")?;
    let kid = event_store::new_id().to_string();
    let sealed = seal(&kit.mesh_secret, &kid, private.as_ref()).context("cannot seal a signing key")?;
    Sql::fixed(
        "INSERT INTO signing_keys (tenant_id, kid, public_key, sealed_private_key, created_at) \
         VALUES (es_tenant(), $1, $2, $3, $4)",
    )
    .bind::<Text>(kid.clone())
    .bind::<Binary>(pair.public_key().as_ref().to_vec())
    .bind::<Binary>(sealed)
    .bind::<Timestamptz>(kit.clock.now())
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    tracing::info!(kid, "made a signing key");
    Ok(())
}

/// Signs a principal, or what else is said in public, with the newest key.
///
/// # Errors
/// 503 when there is no key that can be used.
pub async fn sign(kit: &Kit, claims: &impl Serialize) -> Result<String, Refusal> {
    let mut tx = kit.store.database().tenant(TenantId::DEPLOYMENT).await?;
    let newest = rows(&mut tx).await?.into_iter().next();
    tx.commit().await?;
    let row = newest.ok_or_else(|| Refusal::unavailable("There is no signing key yet."))?;
    let private = open(&kit.mesh_secret, &row)?;
    let header = Header { kid: Some(row.kid), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&private)).map_err(|error| {
        tracing::error!(%error, "a principal cannot be signed");
        Refusal::unavailable("Sign-in is not available at the moment.")
    })
}

/// The public halves of all keys.
///
/// # Errors
/// When the database is away.
pub async fn public(kit: &Kit) -> Result<JwkSet, StoreError> {
    let mut tx = kit.store.database().tenant(TenantId::DEPLOYMENT).await?;
    let rows = rows(&mut tx).await?;
    tx.commit().await?;
    Ok(JwkSet { keys: rows.into_iter().map(jwk).collect() })
}

/// All keys, the newest first.
async fn rows(tx: &mut Tx) -> Result<Vec<KeyRow>, StoreError> {
    Ok(Sql::fixed(
        "SELECT kid, public_key, sealed_private_key FROM signing_keys \
         WHERE tenant_id = es_tenant() ORDER BY created_at DESC, kid DESC",
    )
    .load(&mut **tx)
    .await?)
}

fn jwk(row: KeyRow) -> Jwk {
    Jwk {
        common: CommonParameters {
            public_key_use: Some(PublicKeyUse::Signature),
            key_algorithm: Some(KeyAlgorithm::EdDSA),
            key_id: Some(row.kid),
            ..CommonParameters::default()
        },
        algorithm: AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters {
            key_type: OctetKeyPairType::OctetKeyPair,
            curve: EllipticCurve::Ed25519,
            x: URL_SAFE_NO_PAD.encode(row.public_key),
        }),
    }
}

/// The private half, bound to the key's id.
fn seal(secret: &MeshSecret, kid: &str, private: &[u8]) -> Result<Vec<u8>, SealError> {
    Sealer::new(secret, PURPOSE).seal(kid, private)
}

fn open(secret: &MeshSecret, row: &KeyRow) -> Result<Vec<u8>, StoreError> {
    Sealer::new(secret, PURPOSE)
        .open(&row.kid, &row.sealed_private_key)
        .map_err(|error| StoreError::Corrupt(format!("the signing key {}: {error}", row.kid)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use event_store::Clock;
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::{Value, json};

    fn secret(text: &str) -> MeshSecret {
        MeshSecret::new(text, Clock::system())
    }

    fn row(secret: &MeshSecret) -> KeyRow {
        let pair = Ed25519KeyPair::generate().unwrap();
        let private = pair.to_pkcs8v1().unwrap();
        KeyRow {
            kid: "one".into(),
            public_key: pair.public_key().as_ref().to_vec(),
            sealed_private_key: seal(secret, "one", private.as_ref()).unwrap(),
        }
    }

    #[test]
    fn what_is_signed_is_verified_with_the_published_key() {
        let mesh = secret("a secret of more than thirty-two characters");
        let row = row(&mesh);
        let private = open(&mesh, &row).unwrap();
        let token = jsonwebtoken::encode(
            &Header::new(Algorithm::EdDSA),
            &json!({ "sub": "7" }),
            &EncodingKey::from_ed_der(&private),
        )
        .unwrap();
        let set: JwkSet =
            serde_json::from_value(serde_json::to_value(JwkSet { keys: vec![jwk(row)] }).unwrap()).unwrap();
        let key = DecodingKey::from_jwk(set.find("one").unwrap()).unwrap();
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        assert_eq!(jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap().claims["sub"], "7");
    }

    #[test]
    fn a_sealed_key_opens_with_its_own_secret_and_id_only() {
        let mesh = secret("a secret of more than thirty-two characters");
        let row = row(&mesh);
        assert!(open(&secret("another secret of more than thirty-two"), &row).is_err());
        assert!(open(&mesh, &KeyRow { kid: "two".into(), ..row }).is_err());
    }
}
