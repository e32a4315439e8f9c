//! `auth.*_credentials`: a user's keys.

use actix_web::http::StatusCode;
use chrono::TimeDelta;
use serde_json::{Value, json};
use service_kit::Refusal;
use service_kit::clearml::{Fault, fault};

use super::{Answered, Call};
use crate::domain::credential::Credential;
use crate::domain::user::{User, UserCommand};
use crate::projections::credentials;
use crate::secrets::KeySecret;
use crate::steps;

pub async fn create(call: &Call) -> Answered {
    let who = call.who()?;
    let label = call.body.text("label")?.filter(|label| !label.is_empty());
    let now = call.kit.clock.now();
    let expires_at = match call.body.integer("expiration_sec")? {
        None => None,
        Some(seconds) => {
            let end = TimeDelta::try_seconds(seconds)
                .filter(|_| seconds > 0)
                .and_then(|life| now.checked_add_signed(life));
            let refuse =
                || fault::VALIDATION.because("a positive number is wanted").with("field", "expiration_sec");
            Some(end.ok_or_else(refuse)?)
        }
    };
    let made = KeySecret::new()?;
    let new = Credential {
        secret_digest: KeySecret::digest(&call.kit, &made.access_key, &made.secret),
        access_key: made.access_key.clone(),
        label: label.clone(),
        at: now,
        expires_at,
    };
    call.store()
        .transact(&call.context(who.tenant)?, async |unit| {
            unit.execute::<User>(who.user_id, UserCommand::IssueCredential(new.clone())).await?;
            Ok::<_, Refusal>(())
        })
        .await?;
    Ok(json!({
        "credentials": { "access_key": made.access_key, "secret_key": made.secret, "label": label },
    }))
}

pub async fn list(call: &Call) -> Answered {
    let who = call.who()?;
    let mut tx = call.store().database().tenant(who.tenant).await?;
    let keys = credentials::of_user(&mut tx, who.user_id).await?;
    tx.commit().await?;
    let keys: Vec<Value> = keys
        .into_iter()
        .map(|key| {
            json!({
                "access_key": key.access_key,
                "label": key.label,
                "last_used": key.used_at.map(|at| at.to_rfc3339()),
                "last_used_from": key.used_from,
                "expire": key.expires_at.map(|at| at.to_rfc3339()),
            })
        })
        .collect();
    Ok(json!({ "credentials": keys, "additional_credentials": {} }))
}

pub async fn edit(call: &Call) -> Answered {
    let who = call.who()?;
    let access_key = call.body.needed_text("access_key")?;
    let label = call.body.text("label")?.filter(|label| !label.is_empty());
    let changed = call
        .store()
        .transact(&call.context(who.tenant)?, async |unit| {
            let before = unit.load::<User>(who.user_id).await?;
            let before = before.and_then(|user| user.credential(&access_key)?.label.clone());
            let change =
                UserCommand::LabelCredential { access_key: access_key.clone(), label: label.clone() };
            unit.execute::<User>(who.user_id, change).await?;
            Ok(before != label)
        })
        .await
        .map_err(|refusal| unknown(refusal, fault::ACCESS_KEY))?;
    Ok(json!({ "updated": i64::from(changed) }))
}

pub async fn revoke(call: &Call) -> Answered {
    let who = call.who()?;
    // The published schema says one thing, the servers another.
    let access_key = match call.body.text("access_key")? {
        Some(key) if !key.is_empty() => key,
        _ => {
            call.body.needed_text("key_id").map_err(|_| fault::MISSING.fault().with("field", "access_key"))?
        }
    };
    call.store()
        .transact(&call.context(who.tenant)?, async |unit| {
            steps::revoke_credential(unit, who.user_id, &access_key).await
        })
        .await
        .map_err(|refusal| unknown(refusal, fault::USER))?;
    steps::settle(call.store()).await?;
    Ok(json!({ "revoked": 1 }))
}

/// A key that is not the caller's looks like none at all.
fn unknown(refusal: Refusal, kind: fault::Kind) -> Fault {
    if refusal.status == StatusCode::NOT_FOUND { kind.because("no such key") } else { refusal.into() }
}
