//! A session: the cookie and the token that one sign-in gave. Only their digests are kept.

use chrono::{DateTime, Utc};
use contracts::TenantId;
use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};

use super::Life;

/// How it came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionKind {
    #[default]
    Login,
    Registration,
    /// A token of ClearML's `auth.login`.
    ApiToken,
}

impl SessionKind {
    /// Its name in the table of sessions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Registration => "registration",
            Self::ApiToken => "api_token",
        }
    }
}

/// Who acts for a session's user; perhaps somebody of another tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealUser {
    pub tenant: TenantId,
    pub user_id: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Session {
    pub life: Life,
    pub user_id: i64,
    pub kind: SessionKind,
    pub cookie_digest: String,
    pub token_digest: String,
    pub started_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// What a new session is; digests are SHA-256 in hexadecimal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewSession {
    pub user_id: i64,
    pub kind: SessionKind,
    pub cookie_digest: String,
    pub token_digest: String,
    pub at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// The key that it was begun with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub access_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub real_user: Option<RealUser>,
}

#[derive(Clone, Debug)]
pub enum SessionCommand {
    Start(NewSession),
    End { at: DateTime<Utc> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum SessionEvent {
    Started(NewSession),
    Ended { at: DateTime<Utc> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("the session exists already")]
    Exists,
    #[error("there is no such session")]
    NotFound,
}

impl DomainError for SessionError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "session_exists",
            Self::NotFound => "session_not_found",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::Exists => Refused::Conflict,
            Self::NotFound => Refused::NotFound,
        }
    }
}

impl Aggregate for Session {
    const KIND: &'static str = "session";

    type Command = SessionCommand;
    type Event = SessionEvent;
    type Error = SessionError;

    fn decide(&self, command: SessionCommand) -> Result<Vec<SessionEvent>, SessionError> {
        match (command, self.life) {
            (SessionCommand::Start(new), Life::Unborn) => Ok(vec![SessionEvent::Started(new)]),
            (SessionCommand::Start(_), _) => Err(SessionError::Exists),
            (SessionCommand::End { .. }, Life::Unborn) => Err(SessionError::NotFound),
            (SessionCommand::End { .. }, Life::Gone) => Ok(vec![]),
            (SessionCommand::End { at }, Life::Alive) => Ok(vec![SessionEvent::Ended { at }]),
        }
    }

    fn apply(&mut self, event: &SessionEvent) {
        match event {
            SessionEvent::Started(new) => {
                *self = Self {
                    life: Life::Alive,
                    user_id: new.user_id,
                    kind: new.kind,
                    cookie_digest: new.cookie_digest.clone(),
                    token_digest: new.token_digest.clone(),
                    started_at: new.at,
                    expires_at: new.expires_at,
                };
            }
            SessionEvent::Ended { .. } => self.life = Life::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::given;

    fn new() -> NewSession {
        NewSession {
            user_id: 7,
            kind: SessionKind::Login,
            cookie_digest: "00".into(),
            token_digest: "01".into(),
            at: DateTime::default(),
            expires_at: DateTime::default(),
            access_key: None,
            real_user: None,
        }
    }

    #[test]
    fn a_session_starts_once() {
        assert_eq!(
            Session::default().decide(SessionCommand::Start(new())),
            Ok(vec![SessionEvent::Started(new())])
        );
        let open: Session = given(&[SessionEvent::Started(new())]);
        assert_eq!(open.decide(SessionCommand::Start(new())), Err(SessionError::Exists));
    }

    #[test]
    fn a_session_ends_once_and_for_all() {
        let at = DateTime::default();
        let open: Session = given(&[SessionEvent::Started(new())]);
        assert_eq!(open.decide(SessionCommand::End { at }), Ok(vec![SessionEvent::Ended { at }]));
        let ended: Session = given(&[SessionEvent::Started(new()), SessionEvent::Ended { at }]);
        assert_eq!(ended.decide(SessionCommand::End { at }), Ok(vec![]));
        assert_eq!(Session::default().decide(SessionCommand::End { at }), Err(SessionError::NotFound));
    }
}
