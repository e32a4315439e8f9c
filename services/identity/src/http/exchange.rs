//! What the mesh asks: who somebody is, and the keys to verify the answer with.

use actix_web::{HttpResponse, web};
use event_store::log;
use event_store::sequencer::CONTRACTS;
use service_kit::auth::{Credential, ExchangeAnswer, ExchangeRequest, Principal, TOKEN_LIFE_S};
use service_kit::mesh::PeerCaller;
use service_kit::{Answer, Kit, Refusal};

use crate::projections::sessions::Secret;
use crate::sign_in::{self, Name, SignedIn};
use crate::signing_keys;

/// Exchanges a credential for a signed principal; 401 when it is not good.
pub async fn exchange(_: PeerCaller, kit: web::Data<Kit>, request: web::Json<ExchangeRequest>) -> Answer {
    let ExchangeRequest { credential, host } = request.into_inner();
    // Before the session is looked at: a revocation after this position voids the answer.
    let position = log::head(&kit.store, CONTRACTS).await?;
    let signed_in = match credential {
        Credential::Session(secret) => {
            sign_in::with_secret(&kit.store, Secret::Cookie, &secret, false).await?
        }
        Credential::Token(secret) => sign_in::with_secret(&kit.store, Secret::Token, &secret, false).await?,
        Credential::Basic { username, password } => {
            sign_in::with_password(&kit, &host, Name::Username(&username), password).await?
        }
        // Personal access tokens and foreign id tokens are not known here yet.
        Credential::Bearer(token) => sign_in::with_secret(&kit.store, Secret::Token, &token, true).await?,
    };
    let signed_in = signed_in.ok_or_else(Refusal::invalid_token)?;
    let principal = principal(&signed_in, kit.clock.now().timestamp());
    let token = signing_keys::sign(&kit, &principal).await?;
    Ok(HttpResponse::Ok().json(ExchangeAnswer { token, position }))
}

/// The keys that principals are signed with.
pub async fn list_keys(_: PeerCaller, kit: web::Data<Kit>) -> Answer {
    Ok(HttpResponse::Ok().json(signing_keys::public(&kit).await?))
}

/// Good for two minutes at most, and never longer than the session that it rests on.
fn principal(signed_in: &SignedIn, now: i64) -> Principal {
    let SignedIn { tenant, account, session, access_key: _ } = signed_in;
    let life = now + TOKEN_LIFE_S;
    Principal {
        iss: Principal::ISSUER.to_owned(),
        aud: Principal::AUDIENCE.to_owned(),
        exp: session.as_ref().map_or(life, |session| life.min(session.expires_at.timestamp())),
        iat: now,
        tenant: *tenant,
        sub: account.id.to_string(),
        privilege: account.privilege(),
        operator: account.operator,
        read_only: false,
        session: session.as_ref().map(|session| session.id),
        impersonator: session.as_ref().and_then(|session| session.real_user()).map(|real| real.user_id),
    }
}
