//! What several endpoints do inside one unit of work: commands that belong together.

use chrono::{DateTime, TimeDelta, Utc};
use event_store::sequencer::{self, CONTRACTS};
use event_store::{Aggregate, Store, Unit};
use policy::Privilege;
use service_kit::Refusal;

use crate::domain::membership::{Membership, MembershipCommand};
use crate::domain::organization::{Organization, OrganizationCommand};
use crate::domain::session::{NewSession, RealUser, Session, SessionCommand, SessionKind};
use crate::domain::user::{User, UserCommand};
use crate::projections::accounts::Account;
use crate::projections::{accounts, memberships, organizations, sessions};
use crate::secrets::{SessionSecrets, digest_of};

pub mod seats;

/// How long a sign-in is good for.
pub const SESSION_LIFE: TimeDelta = TimeDelta::days(14);

/// A session that is about to start.
#[derive(Clone)]
pub struct Start<'a> {
    pub user_id: i64,
    pub kind: SessionKind,
    pub secrets: &'a SessionSecrets,
    pub life: TimeDelta,
    /// The key that it rests on: it ends with it.
    pub access_key: Option<&'a str>,
    /// Who acts for the user.
    pub real_user: Option<RealUser>,
}

impl<'a> Start<'a> {
    /// A sign-in by name and password.
    pub fn new(user_id: i64, kind: SessionKind, secrets: &'a SessionSecrets) -> Self {
        Self { user_id, kind, secrets, life: SESSION_LIFE, access_key: None, real_user: None }
    }
}

/// Takes one new id of an aggregate.
pub async fn new_id<A: Aggregate>(unit: &mut Unit) -> Result<i64, Refusal> {
    let ids = unit.new_ids_of(A::KIND, 1).await?;
    ids.first().copied().ok_or_else(|| Refusal::unavailable("There are no ids."))
}

/// Starts a session; returns when it was begun and when it ends: with the key that it rests on at the latest.
///
/// # Errors
/// 401 when the user is gone, or the key.
pub async fn start_session(
    unit: &mut Unit,
    start: Start<'_>,
) -> Result<(DateTime<Utc>, DateTime<Utc>), Refusal> {
    let at = unit.store().clock().now();
    let user = unit.load::<User>(start.user_id).await?.filter(User::is_present);
    let user = user.ok_or_else(Refusal::invalid_token)?;
    let mut expires_at = at + start.life;
    // Somebody who acts for the user has shown a key of their own.
    if let (Some(access_key), None) = (start.access_key, start.real_user) {
        let key = user.credential(access_key).ok_or_else(Refusal::invalid_token)?;
        expires_at = key.expires_at.map_or(expires_at, |end| expires_at.min(end));
    }
    let id = new_id::<Session>(unit).await?;
    let new = NewSession {
        user_id: start.user_id,
        kind: start.kind,
        cookie_digest: digest_of(&start.secrets.cookie),
        token_digest: digest_of(&start.secrets.token),
        at,
        expires_at,
        access_key: start.access_key.map(str::to_owned),
        real_user: start.real_user,
    };
    unit.execute::<Session>(id, SessionCommand::Start(new)).await?;
    Ok((at, expires_at))
}

/// Revokes a key and ends the sessions that rest on it.
pub async fn revoke_credential(unit: &mut Unit, user_id: i64, access_key: &str) -> Result<(), Refusal> {
    let revoke = UserCommand::RevokeCredential { access_key: access_key.to_owned() };
    unit.execute::<User>(user_id, revoke).await?;
    let at = unit.store().clock().now();
    for session in sessions::open_of(unit.tx(), user_id, at).await? {
        if session.access_key.as_deref() == Some(access_key) {
            unit.execute::<Session>(session.id, SessionCommand::End { at }).await?;
        }
    }
    Ok(())
}

/// Ends the sessions of a user, but for the one to keep.
pub async fn end_sessions(unit: &mut Unit, user_id: i64, keep: Option<i64>) -> Result<(), Refusal> {
    let at = unit.store().clock().now();
    for session in sessions::open_of(unit.tx(), user_id, at).await? {
        if Some(session.id) != keep {
            unit.execute::<Session>(session.id, SessionCommand::End { at }).await?;
        }
    }
    Ok(())
}

/// Gives a user another privilege. Who is no admin any more can be nobody else any more.
pub async fn set_privilege(
    unit: &mut Unit,
    account: &Account,
    privilege: Option<Privilege>,
    last_admin: bool,
) -> Result<(), Refusal> {
    let (id, operator) = (account.id, account.operator);
    unit.execute::<User>(id, UserCommand::SetPrivilege { privilege, operator, last_admin }).await?;
    if operator || privilege == Some(Privilege::Admin) {
        return Ok(());
    }
    let at = unit.store().clock().now();
    for session in sessions::open_of(unit.tx(), id, at).await? {
        if session.user_id != id {
            unit.execute::<Session>(session.id, SessionCommand::End { at }).await?;
        }
    }
    Ok(())
}

/// Deletes an organization with its memberships.
pub async fn delete_organization(unit: &mut Unit, id: i64) -> Result<(), Refusal> {
    unit.lock::<Organization>(&[id]).await?;
    for membership in memberships::ids_in(unit.tx(), id).await? {
        unit.execute::<Membership>(membership, MembershipCommand::Close).await?;
    }
    unit.execute::<Organization>(id, OrganizationCommand::Delete).await?;
    Ok(())
}

/// Deletes a user with their sessions and memberships; their organizations and all other things stay.
pub async fn delete_user(unit: &mut Unit, id: i64) -> Result<(), Refusal> {
    unit.lock::<User>(&[id]).await?;
    let at = unit.store().clock().now();
    let last_admin = accounts::is_last_admin(unit.tx(), id).await?;
    end_sessions(unit, id, None).await?;
    for membership in memberships::ids_of(unit.tx(), id).await? {
        unit.execute::<Membership>(membership, MembershipCommand::Close).await?;
    }
    for organization in organizations::owned_by(unit.tx(), id).await? {
        unit.execute::<Organization>(organization, OrganizationCommand::LoseOwner { at }).await?;
    }
    unit.execute::<User>(id, UserCommand::Delete { last_admin }).await?;
    Ok(())
}

/// Gives what was just committed its place in the log before the caller is answered: an exchange that begins
/// afterwards then reads a head beyond it, and its answer is not taken for one from before a revocation.
pub async fn settle(store: &Store) -> Result<(), Refusal> {
    sequencer::drain(store, &[CONTRACTS]).await?;
    Ok(())
}
