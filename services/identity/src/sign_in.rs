//! Who shows a name and a password, or a session's secret.

use contracts::TenantId;
use event_store::{Store, StoreError};
use service_kit::Refusal;

use crate::DEFAULT_TENANT;
use crate::passwords;
use crate::projections::accounts::{self, Account};
use crate::projections::sessions::{self, Secret, SessionRow};
use crate::projections::tenants;
use crate::secrets::digest_of;

/// The longest name of a tenant that is looked for.
const LABEL_BYTES_MAX: usize = 63;

/// An account whose owner has proved to be who they say.
pub struct SignedIn {
    pub tenant: TenantId,
    pub account: Account,
    /// The session that they showed; none for a password.
    pub session: Option<SessionRow>,
}

/// What somebody says their name is.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// Perhaps with the tenant's name before it: `acme\alice`. An e-mail address serves as well.
    Username(&'a str),
    Email(&'a str),
}

/// Checks a name and a password. Whatever is wrong with them, the answer is none and takes as long.
///
/// A text with an `@` may be the user name of one and the e-mail address of another, and nobody may keep the
/// other out by taking their address for a name: then the password decides.
///
/// # Errors
/// 429 when too many passwords are being checked, 503 when the database is away.
pub async fn with_password(
    store: &Store,
    host: &str,
    name: Name<'_>,
    password: String,
) -> Result<Option<SignedIn>, Refusal> {
    let Candidates { tenant, accounts } = find(store, host, name).await?;
    for account in accounts {
        let hash = account.as_ref().and_then(|account| account.password_hash.clone());
        let good = passwords::verify(password.clone(), hash).await?;
        if let Some((tenant, account)) = tenant.zip(account)
            && good
            && account.is_active
        {
            return Ok(Some(SignedIn { tenant, account, session: None }));
        }
    }
    Ok(None)
}

/// Checks a session's secret.
///
/// # Errors
/// When the database is away.
pub async fn with_secret(store: &Store, kind: Secret, secret: &str) -> Result<Option<SignedIn>, Refusal> {
    let Some(place) = sessions::find_by_digest(store.database(), kind, &digest_of(secret)).await? else {
        return Ok(None);
    };
    let mut tx = store.database().tenant(place.tenant).await?;
    let session = sessions::find(&mut tx, place.id).await?;
    let account = match &session {
        Some(session) => accounts::find(&mut tx, session.user_id).await?,
        None => None,
    };
    tx.commit().await?;
    let now = store.clock().now();
    Ok(match (session, account) {
        (Some(session), Some(account)) if session.is_open(now) && account.is_active => {
            Some(SignedIn { tenant: place.tenant, account, session: Some(session) })
        }
        _ => None,
    })
}

/// The tenant that a request to a host is about, if nothing else says so: the one named like the host's
/// first label, or the default one.
///
/// # Errors
/// When the database is away.
pub async fn tenant_of_host(store: &Store, host: &str) -> Result<TenantId, StoreError> {
    let label = host.split(['.', ':']).next().unwrap_or_default();
    Ok(named_tenant(store, label).await?.unwrap_or(DEFAULT_TENANT))
}

async fn named_tenant(store: &Store, name: &str) -> Result<Option<TenantId>, StoreError> {
    let name = name.to_ascii_lowercase();
    if name.is_empty() || name.len() > LABEL_BYTES_MAX || name.contains('\0') {
        return Ok(None);
    }
    tenants::find_by_name(store.database(), &name).await
}

/// Whose password it may be. How many there are depends on the name alone and not on who is there, so that a
/// refusal takes the same time for all.
struct Candidates {
    tenant: Option<TenantId>,
    accounts: Vec<Option<Account>>,
}

async fn find(store: &Store, host: &str, name: Name<'_>) -> Result<Candidates, StoreError> {
    // A user name has no backslash, so what stands before one is a tenant's name.
    let (tenant, name) = match name {
        Name::Username(text) => match text.split_once('\\') {
            Some((tenant, rest)) => (named_tenant(store, tenant).await?, Name::Username(rest)),
            None => (Some(tenant_of_host(store, host).await?), name),
        },
        Name::Email(_) => (Some(tenant_of_host(store, host).await?), name),
    };
    let ambiguous = matches!(name, Name::Username(username) if username.contains('@'));
    let Some(place) = tenant else {
        return Ok(Candidates { tenant, accounts: vec![None; if ambiguous { 2 } else { 1 }] });
    };
    let mut tx = store.database().tenant(place).await?;
    let accounts = match name {
        Name::Email(email) => vec![accounts::find_by_email(&mut tx, email).await?],
        Name::Username(username) => {
            let named = accounts::find_by_username(&mut tx, username).await?;
            let mut accounts = vec![named];
            if ambiguous {
                accounts.push(accounts::find_by_email(&mut tx, username).await?);
            }
            accounts
        }
    };
    tx.commit().await?;
    Ok(Candidates { tenant, accounts })
}
