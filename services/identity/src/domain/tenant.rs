//! A tenant: a paying company.

use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};

use super::Life;

/// The longest name: it is a label of a host name.
const NAME_MAX: usize = 63;

/// Labels that hosts have anyway: a tenant of that name would catch everybody's sign-in.
const RESERVED: &[&str] = &["localhost", "www", "api", "app", "mesh", "annomesh"];

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tenant {
    pub life: Life,
    pub name: String,
}

#[derive(Clone, Debug)]
pub enum TenantCommand {
    Create { name: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum TenantEvent {
    Created { name: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    #[error("the tenant exists already")]
    Exists,
    #[error("tenant with this name already exists.")]
    NameTaken,
    #[error("Enter a name of lower-case letters, digits and hyphens that begins with a letter.")]
    InvalidName,
}

impl DomainError for TenantError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "tenant_exists",
            Self::NameTaken => "tenant_name_taken",
            Self::InvalidName => "tenant_name_invalid",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::Exists => Refused::Conflict,
            Self::NameTaken | Self::InvalidName => Refused::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::Exists => None,
            Self::NameTaken | Self::InvalidName => Some("name"),
        }
    }
}

impl Aggregate for Tenant {
    const KIND: &'static str = "tenant";

    type Command = TenantCommand;
    type Event = TenantEvent;
    type Error = TenantError;

    fn decide(&self, command: TenantCommand) -> Result<Vec<TenantEvent>, TenantError> {
        match command {
            TenantCommand::Create { .. } if self.life != Life::Unborn => Err(TenantError::Exists),
            TenantCommand::Create { name } if !is_valid_name(&name) => Err(TenantError::InvalidName),
            TenantCommand::Create { name } => Ok(vec![TenantEvent::Created { name }]),
        }
    }

    fn apply(&mut self, event: &TenantEvent) {
        match event {
            TenantEvent::Created { name } => {
                self.life = Life::Alive;
                self.name.clone_from(name);
            }
        }
    }

    fn taken(constraint: &str) -> Option<TenantError> {
        (constraint == "tenants_name_key").then_some(TenantError::NameTaken)
    }
}

/// A name that can be the first label of a host, and never an address or a label that hosts have anyway.
fn is_valid_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    name.len() <= NAME_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(plain)
        && !RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::given;

    fn create(name: &str) -> TenantCommand {
        TenantCommand::Create { name: name.into() }
    }

    #[test]
    fn a_tenant_is_created_once() {
        let created = TenantEvent::Created { name: "acme".into() };
        assert_eq!(Tenant::default().decide(create("acme")), Ok(vec![created.clone()]));
        assert_eq!(given::<Tenant>(&[created]).decide(create("acme")), Err(TenantError::Exists));
    }

    #[test]
    fn a_name_is_a_label_that_no_host_has_anyway() {
        for name in ["", "Acme", "7up", "127", "a b", "acme-", "localhost", "www", &"a".repeat(64)] {
            assert_eq!(Tenant::default().decide(create(name)), Err(TenantError::InvalidName), "{name}");
        }
    }
}
