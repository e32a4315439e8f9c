//! The operator's credential: a user of the default tenant without any privilege in it, who operates the
//! deployment, and whose one key is that of the settings.

use anyhow::Context as _;
use event_store::Unit;
use event_store::store::Context;
use service_kit::config::supervisor::Supervisor;
use service_kit::{Kit, Refusal};

use super::{spoken, take_turns};
use crate::domain::credential::Credential;
use crate::domain::user::{NewUser, User, UserCommand};
use crate::projections::accounts::{self, Account};
use crate::projections::credentials;
use crate::secrets::KeySecret;
use crate::steps;

/// Their name, unless somebody has it.
const USERNAME: &str = "__supervisor__";

/// Makes what the settings say true: the supervisor has this key and no other, or no key at all.
///
/// # Errors
/// When the database is away, or the key is somebody else's.
pub async fn ensure(kit: &Kit, context: &Context) -> anyhow::Result<()> {
    let wanted = kit.config.supervisor.as_ref();
    if wanted.is_none() && !kit.config.local {
        tracing::warn!("the deployment has no operator: see the settings of the supervisor's key");
    }
    let mut unit = kit.store.begin(context.clone()).await?;
    keep(kit, &mut unit, wanted)
        .await
        .map_err(spoken)
        .context("CLEARML__secure__credentials__supervisor: the operator's key cannot be set")?;
    Ok(unit.commit().await?)
}

async fn keep(kit: &Kit, unit: &mut Unit, wanted: Option<&Supervisor>) -> Result<(), Refusal> {
    take_turns(unit).await?;
    let id = match (find(unit, wanted).await?, wanted) {
        (Some(account), _) => account.id,
        (None, Some(_)) => register(unit).await?,
        (None, None) => return Ok(()),
    };
    let user = unit.load::<User>(id).await?.unwrap_or_default();
    let digest = wanted.map(|wanted| KeySecret::digest(kit, &wanted.key, &wanted.secret));
    let is_wanted = |key: &Credential| {
        wanted.is_some_and(|wanted| wanted.key == key.access_key)
            && Some(&key.secret_digest) == digest.as_ref()
    };
    for key in user.credentials.iter().filter(|key| !is_wanted(key)) {
        steps::revoke_credential(unit, id, &key.access_key).await?;
    }
    let is_there = user.credentials.iter().any(is_wanted);
    if let (Some(wanted), Some(secret_digest), false) = (wanted, digest, is_there) {
        let new = Credential {
            access_key: wanted.key.clone(),
            secret_digest,
            label: Some("supervisor".to_owned()),
            at: unit.store().clock().now(),
            expires_at: None,
        };
        unit.execute::<User>(id, UserCommand::IssueCredential(new)).await?;
        tracing::info!("the operator's key is that of the settings");
    }
    Ok(())
}

/// Who has the key of the settings and is an operator, whatever they are called by now; else who has the name.
async fn find(unit: &mut Unit, wanted: Option<&Supervisor>) -> Result<Option<Account>, Refusal> {
    if let Some(wanted) = wanted
        && let Some(key) = credentials::find(unit.tx(), &wanted.key).await?
        && let Some(account) = accounts::find(unit.tx(), key.user_id).await?
        && account.operator
    {
        return Ok(Some(account));
    }
    Ok(accounts::find_supervisor(unit.tx(), USERNAME).await?)
}

async fn register(unit: &mut Unit) -> Result<i64, Refusal> {
    let id = steps::new_id::<User>(unit).await?;
    let username = match accounts::find_by_username(unit.tx(), USERNAME).await? {
        None => USERNAME.to_owned(),
        Some(_) => format!("{USERNAME}{id}"),
    };
    let new = NewUser {
        username,
        email: String::new(),
        first_name: "Supervisor".to_owned(),
        last_name: String::new(),
        password_hash: None,
        privilege: None,
        operator: true,
        at: unit.store().clock().now(),
        reservation_id: None,
    };
    unit.execute::<User>(id, UserCommand::Register(new)).await?;
    Ok(id)
}
