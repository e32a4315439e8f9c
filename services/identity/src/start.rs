//! What must be there before identity answers: a signing key, the default tenant, and its first admin.

use anyhow::{Context as _, bail};
use diesel_async::RunQueryDsl;
use event_store::store::Context;
use event_store::{Sql, StoreError, Unit};
use policy::Privilege;
use service_kit::config::Admin;
use service_kit::{Kit, Refusal};

use crate::domain::tenant::{Allowance, Tenant, TenantCommand};
use crate::domain::user::{NewUser, User, UserCommand};
use crate::projections::{accounts, tenants};
use crate::{DEFAULT_TENANT, DEFAULT_TENANT_NAME, passwords, signing_keys, steps};

mod supervisor;

/// Prepares the deployment. Every replica may do it at once, and every time it does nothing new.
///
/// # Errors
/// When the database is away, or the first admin cannot be made of the settings.
pub async fn prepare(kit: Kit) -> anyhow::Result<()> {
    passwords::warm_up().await?;
    signing_keys::ensure(&kit).await?;
    let context = Context::mesh(DEFAULT_TENANT);
    let mut unit = kit.store.begin(context.clone()).await?;
    make_tenant(&mut unit).await.map_err(spoken)?;
    unit.commit().await?;
    make_admin(&kit, &context).await?;
    supervisor::ensure(&kit, &context).await
}

/// One replica after the other.
async fn take_turns(unit: &mut Unit) -> Result<(), StoreError> {
    Sql::fixed("SELECT pg_advisory_xact_lock(hashtext('identity/start'))").execute(&mut **unit.tx()).await?;
    Ok(())
}

async fn make_tenant(unit: &mut Unit) -> Result<(), Refusal> {
    take_turns(unit).await?;
    if !tenants::exists(unit.tx()).await? {
        let id = steps::new_id::<Tenant>(unit).await?;
        let name = DEFAULT_TENANT_NAME.to_owned();
        let display_name = name.clone();
        let create = TenantCommand::Create { name, display_name, allowance: Allowance::default() };
        unit.execute::<Tenant>(id, create).await?;
    }
    Ok(())
}

async fn make_admin(kit: &Kit, context: &Context) -> anyhow::Result<()> {
    let mut tx = kit.store.database().tenant(DEFAULT_TENANT).await?;
    let has_admin = accounts::has_admin(&mut tx).await?;
    tx.commit().await?;
    if has_admin {
        return Ok(());
    }
    let Some(admin) = &kit.config.admin else {
        tracing::warn!("there is no admin: set ADMIN_PASSWORD and start again");
        return Ok(());
    };
    if admin.password.len() > passwords::BYTES_MAX {
        bail!("ADMIN_PASSWORD must have at most {} bytes", passwords::BYTES_MAX);
    }
    let hash = passwords::hash(admin.password.clone()).await.map_err(spoken)?;
    let mut unit = kit.store.begin(context.clone()).await?;
    let made = register_admin(&mut unit, admin, &hash, kit.config.local)
        .await
        .map_err(spoken)
        .with_context(|| format!("ADMIN_USERNAME: `{}` cannot be made the first admin", admin.username))?;
    unit.commit().await?;
    if made {
        tracing::info!("created the first admin {}", admin.username);
    }
    Ok(())
}

async fn register_admin(unit: &mut Unit, admin: &Admin, hash: &str, operator: bool) -> Result<bool, Refusal> {
    take_turns(unit).await?;
    if accounts::has_admin(unit.tx()).await? {
        return Ok(false);
    }
    let at = unit.store().clock().now();
    let id = steps::new_id::<User>(unit).await?;
    let new = NewUser {
        username: admin.username.clone(),
        email: admin.email.clone(),
        first_name: String::new(),
        last_name: String::new(),
        password_hash: Some(hash.to_owned()),
        privilege: Some(Privilege::Admin),
        operator,
        at,
        reservation_id: None,
    };
    unit.execute::<User>(id, UserCommand::Register(new)).await?;
    Ok(true)
}

/// A refusal in words, for whoever starts the service.
fn spoken(refusal: Refusal) -> anyhow::Error {
    anyhow::anyhow!("{}", refusal.detail())
}
