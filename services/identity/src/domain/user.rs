//! A user of one tenant.
//!
//! E-mail addresses and password hashes are in these private events, because the accounts are rebuilt from
//! them; `publish.rs` lets neither out.

use chrono::{DateTime, Utc};
use event_store::{Aggregate, DomainError, Refused};
use policy::Privilege;
use serde::{Deserialize, Serialize};

use uuid::Uuid;

use super::Life;
use super::credential::{Credential, KEYS_MAX};

/// The longest user name, in characters.
pub const USERNAME_MAX: usize = 150;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct User {
    pub life: Life,
    pub username: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    /// Absent when no password can be used.
    pub password_hash: Option<String>,
    pub privilege: Option<Privilege>,
    /// Whether they operate the deployment.
    pub operator: bool,
    pub is_active: bool,
    pub date_joined: DateTime<Utc>,
    pub credentials: Vec<Credential>,
}

/// What a new user is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewUser {
    pub username: String,
    pub email: String,
    pub first_name: String,
    pub last_name: String,
    pub password_hash: Option<String>,
    pub privilege: Option<Privilege>,
    pub operator: bool,
    pub at: DateTime<Utc>,
    /// The seat that was reserved for them, where seats are capped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reservation_id: Option<Uuid>,
}

/// What of a user is to change; absent means that it stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UserChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_active: Option<bool>,
    /// The seat that was reserved for who becomes active again, where seats are capped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reservation_id: Option<Uuid>,
}

/// `last_admin` says whether this user is the only active admin of their tenant.
#[derive(Clone, Debug)]
pub enum UserCommand {
    Register(NewUser),
    Update { change: UserChange, last_admin: bool },
    ChangePassword { password_hash: String },
    SetPrivilege { privilege: Option<Privilege>, operator: bool, last_admin: bool },
    IssueCredential(Credential),
    LabelCredential { access_key: String, label: Option<String> },
    RevokeCredential { access_key: String },
    Delete { last_admin: bool },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum UserEvent {
    Registered(NewUser),
    Updated(UserChange),
    PasswordChanged { password_hash: String },
    PrivilegeSet { privilege: Option<Privilege>, operator: bool },
    CredentialIssued(Credential),
    CredentialLabeled { access_key: String, label: Option<String> },
    CredentialRevoked { access_key: String },
    Deleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("the user exists already")]
    Exists,
    #[error("there is no such user")]
    NotFound,
    #[error("A user with that username already exists.")]
    UsernameTaken,
    #[error("A user is already registered with this e-mail address.")]
    EmailTaken,
    #[error(
        "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters."
    )]
    InvalidUsername,
    #[error("The only admin can be neither deleted, disabled nor demoted.")]
    LastAdmin,
    #[error("There is no such key.")]
    NoSuchKey,
    #[error("This key exists already.")]
    KeyTaken,
    #[error("A user has at most {KEYS_MAX} keys.")]
    TooManyKeys,
}

impl DomainError for UserError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "user_exists",
            Self::NotFound => "user_not_found",
            Self::UsernameTaken => "username_taken",
            Self::EmailTaken => "email_taken",
            Self::InvalidUsername => "username_invalid",
            Self::LastAdmin => "last_admin",
            Self::NoSuchKey => "key_not_found",
            Self::KeyTaken => "key_taken",
            Self::TooManyKeys => "too_many_keys",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::Exists | Self::KeyTaken => Refused::Conflict,
            Self::NotFound | Self::NoSuchKey => Refused::NotFound,
            Self::UsernameTaken
            | Self::EmailTaken
            | Self::InvalidUsername
            | Self::LastAdmin
            | Self::TooManyKeys => Refused::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::UsernameTaken | Self::InvalidUsername => Some("username"),
            Self::EmailTaken => Some("email"),
            Self::LastAdmin => Some("non_field_errors"),
            Self::Exists | Self::NotFound | Self::NoSuchKey | Self::KeyTaken | Self::TooManyKeys => None,
        }
    }
}

impl Aggregate for User {
    const KIND: &'static str = "user";
    // 2: with keys.
    const STATE_REV: i16 = 2;

    type Command = UserCommand;
    type Event = UserEvent;
    type Error = UserError;

    fn decide(&self, command: UserCommand) -> Result<Vec<UserEvent>, UserError> {
        match command {
            UserCommand::Register(_) if self.life != Life::Unborn => Err(UserError::Exists),
            UserCommand::Register(user) if !is_valid_username(&user.username) => {
                Err(UserError::InvalidUsername)
            }
            UserCommand::Register(user) => Ok(vec![UserEvent::Registered(user)]),
            _ if self.life != Life::Alive => Err(UserError::NotFound),
            UserCommand::Update { change, last_admin } => self.update(change, last_admin),
            UserCommand::ChangePassword { password_hash } => {
                Ok(vec![UserEvent::PasswordChanged { password_hash }])
            }
            UserCommand::SetPrivilege { privilege, operator, last_admin } => {
                if last_admin && privilege != Some(Privilege::Admin) {
                    return Err(UserError::LastAdmin);
                }
                if (privilege, operator) == (self.privilege, self.operator) {
                    return Ok(vec![]);
                }
                Ok(vec![UserEvent::PrivilegeSet { privilege, operator }])
            }
            UserCommand::IssueCredential(_) if self.credentials.len() >= KEYS_MAX => {
                Err(UserError::TooManyKeys)
            }
            UserCommand::IssueCredential(new) => Ok(vec![UserEvent::CredentialIssued(new)]),
            UserCommand::LabelCredential { access_key, label } => {
                let key = self.credential(&access_key).ok_or(UserError::NoSuchKey)?;
                Ok(match key.label == label {
                    true => vec![],
                    false => vec![UserEvent::CredentialLabeled { access_key, label }],
                })
            }
            UserCommand::RevokeCredential { access_key } => {
                self.credential(&access_key).ok_or(UserError::NoSuchKey)?;
                Ok(vec![UserEvent::CredentialRevoked { access_key }])
            }
            UserCommand::Delete { last_admin: true } => Err(UserError::LastAdmin),
            UserCommand::Delete { last_admin: false } => Ok(vec![UserEvent::Deleted]),
        }
    }

    fn apply(&mut self, event: &UserEvent) {
        match event {
            UserEvent::Registered(user) => {
                *self = Self {
                    life: Life::Alive,
                    username: user.username.clone(),
                    email: user.email.clone(),
                    first_name: user.first_name.clone(),
                    last_name: user.last_name.clone(),
                    password_hash: user.password_hash.clone(),
                    privilege: user.privilege,
                    operator: user.operator,
                    is_active: true,
                    date_joined: user.at,
                    credentials: vec![],
                };
            }
            UserEvent::Updated(change) => {
                let put = |field: &mut String, new: &Option<String>| {
                    if let Some(new) = new {
                        field.clone_from(new);
                    }
                };
                put(&mut self.username, &change.username);
                put(&mut self.email, &change.email);
                put(&mut self.first_name, &change.first_name);
                put(&mut self.last_name, &change.last_name);
                self.is_active = change.is_active.unwrap_or(self.is_active);
            }
            UserEvent::PasswordChanged { password_hash } => self.password_hash = Some(password_hash.clone()),
            UserEvent::PrivilegeSet { privilege, operator } => {
                (self.privilege, self.operator) = (*privilege, *operator);
            }
            UserEvent::CredentialIssued(new) => self.credentials.push(new.clone()),
            UserEvent::CredentialLabeled { access_key, label } => {
                if let Some(key) = self.credentials.iter_mut().find(|key| key.access_key == *access_key) {
                    key.label.clone_from(label);
                }
            }
            UserEvent::CredentialRevoked { access_key } => {
                self.credentials.retain(|key| key.access_key != *access_key);
            }
            UserEvent::Deleted => self.life = Life::Gone,
        }
    }

    fn taken(constraint: &str) -> Option<UserError> {
        match constraint {
            "accounts_tenant_id_username_key" | "directory_users_tenant_id_username_key" => {
                Some(UserError::UsernameTaken)
            }
            "accounts_tenant_id_lower_idx" => Some(UserError::EmailTaken),
            "credentials_access_key_key" => Some(UserError::KeyTaken),
            _ => None,
        }
    }
}

impl User {
    /// Whether they are there and may sign in.
    pub fn is_present(&self) -> bool {
        self.life == Life::Alive && self.is_active
    }

    /// Their key of a name.
    pub fn credential(&self, access_key: &str) -> Option<&Credential> {
        self.credentials.iter().find(|key| key.access_key == access_key)
    }

    /// Keeps of a change what is one.
    fn update(&self, change: UserChange, last_admin: bool) -> Result<Vec<UserEvent>, UserError> {
        let differs = |new: Option<String>, old: &String| new.filter(|new| new != old);
        let reservation_id = change.reservation_id;
        let mut change = UserChange {
            username: differs(change.username, &self.username),
            email: differs(change.email, &self.email),
            first_name: differs(change.first_name, &self.first_name),
            last_name: differs(change.last_name, &self.last_name),
            is_active: change.is_active.filter(|new| *new != self.is_active),
            reservation_id: None,
        };
        if change.is_active == Some(true) {
            change.reservation_id = reservation_id;
        }
        if change.username.as_deref().is_some_and(|name| !is_valid_username(name)) {
            return Err(UserError::InvalidUsername);
        }
        if last_admin && change.is_active == Some(false) {
            return Err(UserError::LastAdmin);
        }
        Ok(if change == UserChange::default() { vec![] } else { vec![UserEvent::Updated(change)] })
    }
}

/// Whether a name is one that CVAT's clients accept: `^[\w.@+-]+$`.
pub fn is_valid_username(name: &str) -> bool {
    let allowed = |letter: char| letter.is_alphanumeric() || "_.@+-".contains(letter);
    !name.is_empty() && name.chars().count() <= USERNAME_MAX && name.chars().all(allowed)
}

#[cfg(test)]
mod tests;
