//! Who calls, and as whom: credentials, impersonation, roles.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use contracts::TenantId;
use event_store::Store;
use event_store::store::Context;
use service_kit::auth::{self, Credential, Principal};
use service_kit::clearml::{Body, Fault, fault};
use service_kit::{Kit, Refusal, telemetry};
use uuid::Uuid;

use crate::domain::role::Role;
use crate::domain::session::RealUser;
use crate::projections::{accounts, public_ids};

/// Who a call is made as.
#[derive(Clone, Debug)]
pub struct Who {
    pub tenant: TenantId,
    /// Where the caller's own session or key is.
    pub home: TenantId,
    pub user_id: i64,
    /// What they may do: of a user who is acted as, the caller's.
    pub role: Role,
    /// The caller, where it is somebody else.
    pub real_user: Option<RealUser>,
    /// Whether the role is the caller's and the rest another's.
    pub acting: bool,
    /// The session of the token that was shown.
    pub session: Option<i64>,
    /// The key that was shown.
    pub access_key: Option<String>,
}

/// One call of one endpoint.
pub struct Call {
    pub kit: Kit,
    pub body: Body,
    who: Option<Who>,
    correlation: Uuid,
    /// From where it came, for people to read.
    pub from: Option<String>,
}

impl Call {
    pub fn new(kit: &Kit, request: &HttpRequest, who: Option<Who>, body: Body) -> Self {
        let worker = header(request, "worker").filter(|worker| worker.len() <= 128);
        let peer = || request.peer_addr().map(|address| address.ip().to_string());
        let from = worker.map(str::to_owned).or_else(peer);
        Self { kit: kit.clone(), body, who, correlation: auth::request_id(request), from }
    }

    /// Who calls; endpoints for anybody do not ask.
    ///
    /// # Errors
    /// 401 when nobody has said who they are.
    pub fn who(&self) -> Result<&Who, Fault> {
        self.who.as_ref().ok_or_else(|| fault::NO_CREDENTIALS.fault())
    }

    pub fn store(&self) -> &Store {
        &self.kit.store
    }

    /// The context of what this call causes in a tenant: the caller's own, or one that they operate.
    ///
    /// # Errors
    /// As [`Call::who`].
    pub fn context(&self, tenant: TenantId) -> Result<Context, Fault> {
        let who = self.who()?;
        Ok(Context {
            tenant,
            actor: Some(who.user_id),
            impersonator: who.real_user.map(|real| real.user_id),
            correlation: self.correlation,
            causation: None,
            traceparent: telemetry::traceparent(),
        })
    }

    /// A company that the body names: any for who operates the deployment, else the caller's own. Another's is
    /// answered as one that does not exist.
    ///
    /// # Errors
    /// 400 when there is none.
    pub async fn company(&self) -> Result<TenantId, Fault> {
        let text = self.body.needed_text("company")?;
        let unknown = || fault::ID.because("no such company").with("company", &text);
        let tenant = TenantId(hex_id(&text).ok_or_else(unknown)?);
        let who = self.who()?;
        if tenant != who.tenant && !who.role.is_operator() {
            return Err(unknown());
        }
        let mut tx = self.store().database().tenant(tenant).await?;
        let exists = crate::projections::tenants::exists(&mut tx).await?;
        tx.commit().await?;
        if exists { Ok(tenant) } else { Err(unknown()) }
    }

    /// A user that the body names, by the same rule.
    ///
    /// # Errors
    /// 400 when there is none.
    pub async fn user(&self) -> Result<(TenantId, i64), Fault> {
        let text = self.body.needed_text("user")?;
        let unknown = || fault::USER_ID.fault().with("id", &text);
        let public_id = hex_id(&text).ok_or_else(unknown)?;
        let who = self.who()?;
        let reach = if who.role.is_operator() { None } else { Some(who.tenant) };
        find_user(self.store(), public_id, reach).await?.ok_or_else(unknown)
    }
}

/// An id of ClearML's: 32 hexadecimal digits.
fn hex_id(text: &str) -> Option<Uuid> {
    (text.len() == 32).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// A user by ClearML's id, in one tenant or in any.
async fn find_user(
    store: &Store,
    public_id: Uuid,
    reach: Option<TenantId>,
) -> Result<Option<(TenantId, i64)>, Fault> {
    let Some(tenant) = reach else {
        return Ok(public_ids::find_anywhere(store.database(), public_id).await?);
    };
    let mut tx = store.database().tenant(tenant).await?;
    let found = public_ids::find(&mut tx, public_id).await?;
    tx.commit().await?;
    Ok(found.map(|id| (tenant, id)))
}

/// A header of ClearML's, in its newer or its older spelling.
fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    ["x-clearml-", "x-trains-"].iter().find_map(|prefix| {
        let value = request.headers().get(format!("{prefix}{name}"))?;
        value.to_str().ok().map(str::trim).filter(|value| !value.is_empty())
    })
}

/// Finds out who calls and as whom. The role is judged twice: that of the caller, and that of who they are for
/// this call.
///
/// # Errors
/// 401 for credentials that are none, 403 for a role that may not, 400 for an impersonation that is not allowed.
pub async fn who(kit: &Kit, request: &HttpRequest, allow: impl Fn(Role) -> bool) -> Result<Who, Fault> {
    let (credential, principal) = authenticate(kit, request).await?;
    let caller = Who {
        tenant: principal.tenant,
        home: principal.tenant,
        user_id: principal.user_id(),
        role: Role::of(principal.privilege, principal.operator),
        real_user: None,
        acting: false,
        session: principal.session,
        access_key: match &credential {
            Credential::Basic { username, .. } => Some(username.clone()),
            _ => None,
        },
    };
    let judge = |role: Role| match allow(role) {
        true => Ok(()),
        false => Err(fault::ROLE_NOT_ALLOWED.fault().with("role", role)),
    };
    judge(caller.role)?;
    let who = match (header(request, "impersonate-as"), header(request, "act-as")) {
        (None, None) => real_user_of(kit, caller, &principal).await?,
        (Some(_), Some(_)) => return Err(fault::HEADERS.because("only one of impersonate-as and act-as")),
        (Some(target), None) => become_user(kit, caller, &principal, target, false).await?,
        (None, Some(target)) => become_user(kit, caller, &principal, target, true).await?,
    };
    judge(who.role)?;
    Ok(who)
}

/// Whose credential is shown. Cookies do not count here: a browser sends them unasked, and every method acts.
async fn authenticate(kit: &Kit, request: &HttpRequest) -> Result<(Credential, Principal), Fault> {
    let credential = match auth::credential(request) {
        Ok(Some(credential @ (Credential::Basic { .. } | Credential::Bearer(_)))) => credential,
        Ok(None | Some(Credential::Session(_))) => return Err(fault::NO_CREDENTIALS.fault()),
        Ok(Some(Credential::Token(_))) => return Err(fault::BAD_AUTH_TYPE.fault()),
        Err(_) => return Err(fault::BAD_CREDENTIALS.fault()),
    };
    match kit.authenticator.authenticate(&credential, auth::host(request)).await {
        Ok(principal) if principal.read_only => {
            Err(fault::NOT_PERMITTED.because("the credential is for reading only"))
        }
        Ok(principal) => Ok((credential, principal)),
        Err(refusal) if refusal.status == StatusCode::UNAUTHORIZED => Err(match credential {
            Credential::Bearer(_) => fault::INVALID_TOKEN.fault(),
            _ => fault::INVALID_CREDENTIALS.because("failed to locate provided credentials"),
        }),
        Err(refusal) => Err(refusal.into()),
    }
}

/// Who shows a token that was made for them by somebody else is that somebody, acting.
async fn real_user_of(kit: &Kit, caller: Who, principal: &Principal) -> Result<Who, Fault> {
    let (Some(session), Some(_)) = (principal.session, principal.impersonator) else { return Ok(caller) };
    let mut tx = kit.store.database().tenant(caller.tenant).await?;
    let session = crate::projections::sessions::find(&mut tx, session).await?;
    tx.commit().await?;
    Ok(Who { real_user: session.and_then(|session| session.real_user()), ..caller })
}

/// Another user, of the caller's tenant or, for who operates the deployment, of any. Whatever cannot be found
/// out refuses the call: it is never carried out as the caller instead.
async fn become_user(
    kit: &Kit,
    caller: Who,
    principal: &Principal,
    target: &str,
    acting: bool,
) -> Result<Who, Fault> {
    if !caller.role.is_admin() || principal.impersonator.is_some() {
        return Err(fault::IMPERSONATION.because("impersonation not allowed").with("role", caller.role));
    }
    let unknown = || fault::IMPERSONATION.because("unknown user");
    let reach = if caller.role.is_operator() { None } else { Some(caller.tenant) };
    let public_id = hex_id(target).ok_or_else(unknown)?;
    let (tenant, id) = find_user(&kit.store, public_id, reach).await?.ok_or_else(unknown)?;
    let mut tx = kit.store.database().tenant(tenant).await?;
    let account = accounts::find(&mut tx, id).await?;
    tx.commit().await?;
    let account = account.filter(|account| account.is_active).ok_or_else(unknown)?;
    // A tenant's admin rules over their tenant, not over those who operate the deployment.
    if account.operator && !caller.role.is_operator() {
        return Err(fault::IMPERSONATION.because("impersonation not allowed").with("role", caller.role));
    }
    let role = if acting { caller.role } else { Role::of(account.privilege(), account.operator) };
    tracing::info!(
        caller = caller.user_id, user = id, tenant = %tenant, acting, "a call is made as somebody else"
    );
    Ok(Who {
        tenant,
        home: caller.home,
        user_id: id,
        role,
        real_user: Some(RealUser { tenant: caller.tenant, user_id: caller.user_id }),
        acting,
        session: caller.session,
        access_key: caller.access_key,
    })
}

/// A refusal whose field is named otherwise on this face.
pub fn on_field(refusal: Refusal, code: &'static str, otherwise: Fault) -> Fault {
    if refusal.code == code { otherwise } else { refusal.into() }
}
