//! What identity has taken back. Each replica follows identity's log itself, so a revocation reaches it
//! wherever it was caused, and remembers it for as long as a statement from before could still be good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bus::Peer;
use contracts::identity::{SessionEnded, UserDeleted, UserUpdated};
use contracts::{ContractEvent, Envelope, TenantId};
use event_store::log::LogFilter;
use tokio::sync::Notify;

use super::{Principal, TOKEN_LIFE_S};

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Session(i64),
    User(i64),
}

/// The log position of each revocation, and when it arrived here.
type Seen = HashMap<(TenantId, Who), (i64, Instant)>;

/// The revocations of the last minutes.
#[derive(Clone, Default)]
pub struct Revocations {
    seen: Arc<Mutex<Seen>>,
    /// The position after which nothing was missed; none before identity has answered once.
    since: Arc<OnceLock<i64>>,
    grown: Arc<Notify>,
}

impl Revocations {
    /// Whether every revocation after `position` is known here.
    pub fn follows_since(&self, position: i64) -> bool {
        self.since.get().is_some_and(|since| *since <= position)
    }

    /// Whether something that this principal rests on was revoked after `position`, or may have been before
    /// this process followed.
    pub fn is_revoked(&self, principal: &Principal, position: i64) -> bool {
        if self.since.get().is_some_and(|since| *since > position) {
            return true;
        }
        let Ok(seen) = self.seen.lock() else { return true };
        let session = principal.session.map(Who::Session);
        let users = [Some(principal.user_id()), principal.impersonator].into_iter().flatten().map(Who::User);
        session.into_iter().chain(users).any(|who| {
            seen.get(&(principal.tenant, who)).is_some_and(|(revoked_at, _)| *revoked_at > position)
        })
    }

    fn remember(&self, event: &Envelope) {
        let Some(id) = event.stream_id() else { return };
        let who = if event.kind() == "session" { Who::Session(id) } else { Who::User(id) };
        if let Ok(mut seen) = self.seen.lock() {
            let life = Duration::from_secs(2 * TOKEN_LIFE_S as u64);
            seen.retain(|_, (_, since)| since.elapsed() < life);
            seen.insert((event.tenantid, who), (event.position, Instant::now()));
        }
        self.grown.notify_waiters();
    }

    /// Waits, at most a second, until this process knows that a session has ended; so that whoever signs out
    /// here is signed out here when the answer comes.
    pub async fn await_session(&self, tenant: TenantId, session: i64) {
        let known = || self.seen.lock().is_ok_and(|seen| seen.contains_key(&(tenant, Who::Session(session))));
        let arrived = async {
            loop {
                let grown = self.grown.notified();
                if known() {
                    return;
                }
                grown.await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(1), arrived).await.is_err() {
            tracing::warn!(session, "the end of a session has not come back yet");
        }
    }

    /// Follows identity's log from its present end on; runs until it is dropped.
    pub async fn follow(self, identity: Peer) {
        let filter = LogFilter {
            types: vec![
                SessionEnded::TYPE.to_owned(),
                UserUpdated::TYPE.to_owned(),
                UserDeleted::TYPE.to_owned(),
            ],
            tenant: None,
        };
        let mut position = None;
        loop {
            let (after, wait) = match position {
                Some(position) => (position, Duration::from_secs(20)),
                // Beyond the end: only the head is wanted.
                None => (i64::MAX / 2, Duration::ZERO),
            };
            match identity.log(after, 500, wait, &filter).await {
                Ok(page) => {
                    page.events.iter().for_each(|event| self.remember(event));
                    let reached = if position.is_some() { page.next } else { page.head };
                    self.since.get_or_init(|| reached);
                    position = Some(reached);
                }
                Err(error) => {
                    tracing::debug!(error = event_store::chain(&error), "cannot follow revocations");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }
}
