//! `auth.login`, `auth.logout`, `auth.validate_token`.

use chrono::TimeDelta;
use serde_json::json;
use service_kit::Refusal;
use service_kit::clearml::{Fault, fault};

use super::call::Who;
use super::{Answered, Call, token};
use crate::domain::session::{Session, SessionCommand, SessionKind};
use crate::projections::sessions::{self, Secret};
use crate::projections::{accounts, credentials, tenants};
use crate::secrets::SessionSecrets;
use crate::steps::{self, Start};
use crate::{secrets, sign_in};

/// How long a token is good for if nobody says otherwise.
const LIFE: TimeDelta = TimeDelta::days(30);
/// How long at most.
const LIFE_MAX: TimeDelta = TimeDelta::days(365);

pub async fn login(call: &Call) -> Answered {
    let who = call.who()?;
    if who.acting {
        return Err(fault::IMPERSONATION.because("a token cannot be made for who is only acted as"));
    }
    let life = match call.body.integer("expiration_sec")? {
        None => LIFE,
        Some(seconds) if seconds <= 0 => {
            return Err(fault::VALIDATION
                .because("a positive number is wanted")
                .with("field", "expiration_sec"));
        }
        Some(seconds) => TimeDelta::try_seconds(seconds).unwrap_or(LIFE_MAX).min(LIFE_MAX),
    };
    let mut tx = call.store().database().tenant(who.tenant).await?;
    let account = accounts::find(&mut tx, who.user_id).await?.ok_or_else(|| fault::INVALID_TOKEN.fault())?;
    let tenant = tenants::own(&mut tx).await?.ok_or_else(|| fault::INVALID_TOKEN.fault())?;
    tx.commit().await?;
    let key = key_of(call, who).await?;
    let session_id = secrets::random_hex::<16>()?;
    let now = call.kit.clock.now();
    let claims = token::claims(&account, &tenant, who.role, (&session_id, now, now + life));
    let made = SessionSecrets {
        cookie: secrets::random_hex::<32>()?,
        token: crate::signing_keys::sign(&call.kit, &claims).await?,
    };
    let start = Start {
        life,
        access_key: key.as_deref(),
        real_user: who.real_user,
        ..Start::new(who.user_id, SessionKind::ApiToken, &made)
    };
    let work = async |unit: &mut event_store::Unit| steps::start_session(unit, start.clone()).await;
    call.store().transact(&call.context(who.tenant)?, work).await.map_err(|refusal| {
        // Their account, or their key, has gone meanwhile.
        if refusal.status == 401 { fault::INVALID_CREDENTIALS.fault() } else { refusal.into() }
    })?;
    Ok(json!({ "token": made.token }))
}

/// The key that the caller showed, or that the token which they showed rests on.
async fn key_of(call: &Call, who: &Who) -> Result<Option<String>, Fault> {
    let mut tx = call.store().database().tenant(who.home).await?;
    let key = match (&who.access_key, who.session) {
        (Some(shown), _) => {
            let key = credentials::find(&mut tx, shown).await?.map(|key| key.access_key);
            if let Some(key) = &key {
                credentials::note_use(&mut tx, key, call.kit.clock.now(), call.from.as_deref()).await?;
            }
            key
        }
        (None, Some(session)) => {
            sessions::find(&mut tx, session).await?.and_then(|session| session.access_key)
        }
        (None, None) => None,
    };
    tx.commit().await?;
    Ok(key)
}

pub async fn logout(call: &Call) -> Answered {
    let who = call.who()?;
    // Who shows a key has no session; who is impersonated keeps theirs.
    let (Some(session), false) = (who.session, who.acting) else { return Ok(json!({})) };
    let at = call.kit.clock.now();
    let ended = call
        .store()
        .transact(&call.context(who.tenant)?, async |unit| {
            if unit.load::<Session>(session).await?.is_none() {
                return Ok(false);
            }
            unit.execute::<Session>(session, SessionCommand::End { at }).await?;
            Ok::<_, Refusal>(true)
        })
        .await?;
    if ended {
        steps::settle(call.store()).await?;
        call.kit.authenticator.revocations.await_session(who.tenant, session).await;
    }
    Ok(json!({}))
}

pub async fn validate_token(call: &Call) -> Answered {
    let token = call.body.needed_text("token")?;
    let found = sign_in::with_secret(call.store(), Secret::Token, &token, true).await?;
    Ok(match found {
        Some(signed_in) => json!({
            "valid": true,
            "user": signed_in.account.public_id.simple().to_string(),
            "company": signed_in.tenant.0.simple().to_string(),
            "role": token::role_of(&signed_in.account).to_string(),
            "msg": "OK",
        }),
        None => json!({ "valid": false, "user": null, "company": null, "msg": "The token is not good." }),
    })
}
