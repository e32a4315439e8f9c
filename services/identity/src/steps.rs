//! What several endpoints do inside one unit of work: commands that belong together.

use chrono::TimeDelta;
use event_store::sequencer::{self, CONTRACTS};
use event_store::{Aggregate, Store, Unit};
use service_kit::Refusal;

use crate::domain::membership::{Membership, MembershipCommand};
use crate::domain::organization::{Organization, OrganizationCommand};
use crate::domain::session::{NewSession, Session, SessionCommand, SessionKind};
use crate::domain::user::{User, UserCommand};
use crate::projections::{accounts, memberships, organizations, sessions};
use crate::secrets::{SessionSecrets, digest_of};

/// How long a sign-in is good for.
pub const SESSION_LIFE: TimeDelta = TimeDelta::days(14);

/// Takes one new id of an aggregate.
pub async fn new_id<A: Aggregate>(unit: &mut Unit) -> Result<i64, Refusal> {
    let ids = unit.new_ids_of(A::KIND, 1).await?;
    ids.first().copied().ok_or_else(|| Refusal::unavailable("There are no ids."))
}

/// Starts a session.
pub async fn start_session(
    unit: &mut Unit,
    user_id: i64,
    kind: SessionKind,
    secrets: &SessionSecrets,
) -> Result<(), Refusal> {
    let at = unit.store().clock().now();
    let id = new_id::<Session>(unit).await?;
    let new = NewSession {
        user_id,
        kind,
        cookie_digest: digest_of(&secrets.cookie),
        token_digest: digest_of(&secrets.token),
        at,
        expires_at: at + SESSION_LIFE,
    };
    unit.execute::<Session>(id, SessionCommand::Start(new)).await?;
    Ok(())
}

/// Ends the sessions of a user, but for the one to keep.
pub async fn end_sessions(unit: &mut Unit, user_id: i64, keep: Option<i64>) -> Result<(), Refusal> {
    let at = unit.store().clock().now();
    for id in sessions::open_of(unit.tx(), user_id, at).await? {
        if Some(id) != keep {
            unit.execute::<Session>(id, SessionCommand::End { at }).await?;
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
