//! Who shows a name and a password, a key and its secret, or a session's secret.

use contracts::TenantId;
use event_store::{Store, StoreError};
use policy::Privilege;
use service_kit::{Kit, Refusal};

use crate::DEFAULT_TENANT;
use crate::domain::session::RealUser;
use crate::passwords;
use crate::projections::accounts::{self, Account};
use crate::projections::credentials;
use crate::projections::sessions::{self, Secret, SessionRow};
use crate::projections::tenants;
use crate::secrets::{KeySecret, digest_of};

/// The longest name of a tenant that is looked for.
const LABEL_BYTES_MAX: usize = 63;
/// The longest domain that is looked for.
const DOMAIN_BYTES_MAX: usize = 253;

/// An account whose owner has proved to be who they say.
pub struct SignedIn {
    pub tenant: TenantId,
    pub account: Account,
    /// The session that they showed; none for a password or a key.
    pub session: Option<SessionRow>,
    /// The key that they showed.
    pub access_key: Option<String>,
}

/// What somebody says their name is.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// Perhaps with the tenant's name before it: `acme\alice`. An e-mail address or a key serves as well.
    Username(&'a str),
    Email(&'a str),
}

/// Checks a name and a password, or a key and its secret. Whatever is wrong with them, the answer is none and
/// takes as long.
///
/// A text with an `@` may be the user name of one and the e-mail address of another, and nobody may keep the
/// other out by taking their address for a name: then the password decides.
///
/// # Errors
/// 429 when too many passwords are being checked, 503 when the database is away.
pub async fn with_password(
    kit: &Kit,
    host: &str,
    name: Name<'_>,
    password: String,
) -> Result<Option<SignedIn>, Refusal> {
    if let Name::Username(key) = name
        && let Some(signed_in) = with_key(kit, key, &password).await?
    {
        return Ok(Some(signed_in));
    }
    let Candidates { tenant, accounts } = find(&kit.store, host, name).await?;
    for account in accounts {
        let hash = account.as_ref().and_then(|account| account.password_hash.clone());
        let good = passwords::verify(password.clone(), hash).await?;
        if let Some((tenant, account)) = tenant.zip(account)
            && good
            && account.is_active
        {
            return Ok(Some(SignedIn { tenant, account, session: None, access_key: None }));
        }
    }
    Ok(None)
}

/// Checks a key and its secret, whatever the host, and notes that the key was used.
async fn with_key(kit: &Kit, access_key: &str, secret: &str) -> Result<Option<SignedIn>, Refusal> {
    let Some(tenant) = credentials::find_tenant(kit.store.database(), access_key).await? else {
        return Ok(None);
    };
    let mut tx = kit.store.database().tenant(tenant).await?;
    let now = kit.clock.now();
    let key = credentials::find(&mut tx, access_key)
        .await?
        .filter(|key| key.is_good(now) && KeySecret::is_good(kit, access_key, secret, &key.secret_digest));
    let account = match &key {
        Some(key) => accounts::find(&mut tx, key.user_id).await?.filter(|account| account.is_active),
        None => None,
    };
    if account.is_some() {
        credentials::note_use(&mut tx, access_key, now, None).await?;
    }
    tx.commit().await?;
    let access_key = Some(access_key.to_owned());
    Ok(account.map(|account| SignedIn { tenant, account, session: None, access_key }))
}

/// Checks a session's secret; a token of ClearML's is good as a bearer's only.
///
/// # Errors
/// When the database is away.
pub async fn with_secret(
    store: &Store,
    kind: Secret,
    secret: &str,
    as_bearer: bool,
) -> Result<Option<SignedIn>, Refusal> {
    let Some(place) = sessions::find_by_digest(store.database(), kind, &digest_of(secret)).await? else {
        return Ok(None);
    };
    let mut tx = store.database().tenant(place.tenant).await?;
    let now = store.clock().now();
    let session = sessions::find(&mut tx, place.id)
        .await?
        .filter(|session| session.is_open(now) && session.is_api_token() == as_bearer);
    let account = match &session {
        Some(session) => accounts::find(&mut tx, session.user_id).await?.filter(|found| found.is_active),
        None => None,
    };
    tx.commit().await?;
    let (Some(session), Some(account)) = (session, account) else { return Ok(None) };
    let real_user = session.real_user();
    let maker = real_user.unwrap_or(RealUser { tenant: place.tenant, user_id: account.id });
    let acts_in = real_user.map(|_| place.tenant);
    if !is_present(store, maker, acts_in, session.access_key.as_deref()).await? {
        return Ok(None);
    }
    let access_key = session.access_key.clone();
    Ok(Some(SignedIn { tenant: place.tenant, account, session: Some(session), access_key }))
}

/// Whether who made a session is still there, with the key that they made it with; and, where they act for
/// somebody of a tenant, whether they still may.
async fn is_present(
    store: &Store,
    maker: RealUser,
    acts_in: Option<TenantId>,
    access_key: Option<&str>,
) -> Result<bool, StoreError> {
    let mut tx = store.database().tenant(maker.tenant).await?;
    let account = accounts::find(&mut tx, maker.user_id).await?;
    let key = match access_key {
        Some(access_key) => credentials::find(&mut tx, access_key).await?,
        None => None,
    };
    tx.commit().await?;
    let now = store.clock().now();
    let good = key.is_some_and(|key| key.user_id == maker.user_id && key.is_good(now));
    let may_act = |account: &Account| match acts_in {
        Some(tenant) => {
            let is_admin = account.privilege() == Some(Privilege::Admin);
            account.operator || (is_admin && maker.tenant == tenant)
        }
        None => true,
    };
    let present = account.is_some_and(|account| account.is_active && may_act(&account));
    Ok(present && (access_key.is_none() || good))
}

/// The tenant that a request to a host is about, if nothing else says so: the one named like the host's
/// first label, or the default one.
///
/// # Errors
/// When the database is away.
pub async fn tenant_of_host(store: &Store, host: &str) -> Result<TenantId, StoreError> {
    Ok(host_named(store, host).await?.unwrap_or(DEFAULT_TENANT))
}

/// Whether people may make accounts of their own in a tenant. The default one is open to all, as CVAT is; a
/// company's people are made by its admins: nobody verifies addresses here, so one that is written into a form
/// proves nothing.
pub fn lets_register(tenant: TenantId) -> bool {
    tenant == DEFAULT_TENANT
}

async fn host_named(store: &Store, host: &str) -> Result<Option<TenantId>, StoreError> {
    named_tenant(store, host.split(['.', ':']).next().unwrap_or_default()).await
}

async fn named_tenant(store: &Store, name: &str) -> Result<Option<TenantId>, StoreError> {
    let name = name.to_ascii_lowercase();
    if name.is_empty() || name.len() > LABEL_BYTES_MAX || name.contains('\0') {
        return Ok(None);
    }
    tenants::find_by_name(store.database(), &name).await
}

/// The tenant whose people have addresses of this domain.
async fn tenant_of_address(store: &Store, address: &str) -> Result<Option<TenantId>, StoreError> {
    let Some((_, domain)) = address.rsplit_once('@') else { return Ok(None) };
    let domain = domain.to_ascii_lowercase();
    if domain.is_empty() || domain.len() > DOMAIN_BYTES_MAX || domain.contains('\0') {
        return Ok(None);
    }
    tenants::find_by_domain(store.database(), &domain).await
}

/// Whose password it may be. How many there are depends on the name alone and not on who is there, so that a
/// refusal takes the same time for all.
struct Candidates {
    tenant: Option<TenantId>,
    accounts: Vec<Option<Account>>,
}

/// The tenant by what is written before a backslash, else by the host, else by the address's domain.
async fn find(store: &Store, host: &str, name: Name<'_>) -> Result<Candidates, StoreError> {
    let (tenant, name) = match name {
        // A user name has no backslash, so what stands before one is a tenant's name.
        Name::Username(text) if text.contains('\\') => match text.split_once('\\') {
            Some((tenant, rest)) => (named_tenant(store, tenant).await?, Name::Username(rest)),
            None => (None, name),
        },
        Name::Username(text) | Name::Email(text) => {
            let tenant = match host_named(store, host).await? {
                Some(tenant) => tenant,
                None => tenant_of_address(store, text).await?.unwrap_or(DEFAULT_TENANT),
            };
            (Some(tenant), name)
        }
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
