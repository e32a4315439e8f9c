//! A tenant: a paying company.

use std::collections::BTreeSet;

use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};

use super::Life;

/// The longest name: it is a label of a host name.
const NAME_MAX: usize = 63;
/// The fewest and the most letters of what people call it.
const DISPLAY_NAME: std::ops::RangeInclusive<usize> = 3..=150;
/// How many domains it may have.
const DOMAINS_MAX: usize = 100;

/// Labels that hosts have anyway: a tenant of that name would catch everybody's sign-in.
const RESERVED: &[&str] = &["localhost", "www", "api", "app", "mesh", "annomesh"];

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tenant {
    pub life: Life,
    /// A label of a host.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    pub allowance: Allowance,
    /// Domains of its people's e-mail addresses.
    pub domains: BTreeSet<String>,
}

/// What it may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Allowance {
    /// How many users; absent for any number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub allowed_users: Option<i64>,
    /// Features; absent for all that the deployment has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub features: Option<Vec<String>>,
    /// Features that are taken away.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub exclude_features: Vec<String>,
}

/// What of an allowance is to change; absent means that it stays.
#[derive(Clone, Debug, Default)]
pub struct AllowanceChange {
    pub allowed_users: Option<i64>,
    pub features: Option<Vec<String>>,
    pub exclude_features: Option<Vec<String>>,
}

#[derive(Clone, Debug)]
pub enum TenantCommand {
    Create { name: String, display_name: String, allowance: Allowance },
    Allow(AllowanceChange),
    SetDomains { domains: BTreeSet<String> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum TenantEvent {
    Created {
        name: String,
        /// Empty in the first events: then it is the name.
        #[serde(default)]
        display_name: String,
        #[serde(default)]
        allowance: Allowance,
    },
    Allowed {
        allowance: Allowance,
    },
    DomainsSet {
        domains: BTreeSet<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    #[error("the tenant exists already")]
    Exists,
    #[error("there is no such tenant")]
    NotFound,
    #[error("tenant with this name already exists.")]
    NameTaken,
    #[error("company with this name already exists.")]
    DisplayNameTaken,
    #[error("Enter a name of lower-case letters, digits and hyphens that begins with a letter.")]
    InvalidName,
    #[error("A company's name has {} to {} characters.", DISPLAY_NAME.start(), DISPLAY_NAME.end())]
    InvalidDisplayName,
    #[error("allowed_users must be a positive number.")]
    InvalidAllowedUsers,
    #[error("The name of a feature has 1 to 100 letters, digits, `_` and `-`.")]
    InvalidFeature,
    #[error("A domain is like `example.com`.")]
    InvalidDomain,
    #[error("A tenant has at most {DOMAINS_MAX} domains.")]
    TooManyDomains,
    #[error("A domain belongs to another tenant.")]
    DomainTaken,
}

impl DomainError for TenantError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "tenant_exists",
            Self::NotFound => "tenant_not_found",
            Self::NameTaken => "tenant_name_taken",
            Self::DisplayNameTaken => "company_name_taken",
            Self::InvalidName => "tenant_name_invalid",
            Self::InvalidDisplayName => "company_name_invalid",
            Self::InvalidAllowedUsers => "allowed_users_invalid",
            Self::InvalidFeature => "feature_invalid",
            Self::InvalidDomain => "domain_invalid",
            Self::TooManyDomains => "too_many_domains",
            Self::DomainTaken => "domain_taken",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::Exists | Self::DomainTaken => Refused::Conflict,
            Self::NotFound => Refused::NotFound,
            Self::NameTaken
            | Self::DisplayNameTaken
            | Self::InvalidName
            | Self::InvalidDisplayName
            | Self::InvalidAllowedUsers
            | Self::InvalidFeature
            | Self::InvalidDomain
            | Self::TooManyDomains => Refused::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::Exists | Self::NotFound => None,
            Self::NameTaken | Self::DisplayNameTaken | Self::InvalidName | Self::InvalidDisplayName => {
                Some("name")
            }
            Self::InvalidAllowedUsers => Some("allowed_users"),
            Self::InvalidFeature => Some("features"),
            Self::InvalidDomain | Self::TooManyDomains | Self::DomainTaken => Some("domains"),
        }
    }
}

impl Aggregate for Tenant {
    const KIND: &'static str = "tenant";
    // 2: with allowance and domains.
    const STATE_REV: i16 = 2;

    type Command = TenantCommand;
    type Event = TenantEvent;
    type Error = TenantError;

    fn decide(&self, command: TenantCommand) -> Result<Vec<TenantEvent>, TenantError> {
        match command {
            TenantCommand::Create { .. } if self.life != Life::Unborn => Err(TenantError::Exists),
            TenantCommand::Create { name, display_name, allowance } => {
                check_names(&name, &display_name)?;
                Ok(vec![TenantEvent::Created { name, display_name, allowance: checked(allowance)? }])
            }
            _ if self.life != Life::Alive => Err(TenantError::NotFound),
            TenantCommand::Allow(change) => {
                let now = self.allowance.clone();
                let allowance = checked(Allowance {
                    allowed_users: change.allowed_users.or(now.allowed_users),
                    features: change.features.or(now.features),
                    exclude_features: change.exclude_features.unwrap_or(now.exclude_features),
                })?;
                Ok(match allowance == self.allowance {
                    true => vec![],
                    false => vec![TenantEvent::Allowed { allowance }],
                })
            }
            TenantCommand::SetDomains { domains } => {
                if domains.len() > DOMAINS_MAX {
                    return Err(TenantError::TooManyDomains);
                }
                if !domains.iter().all(|domain| is_valid_domain(domain)) {
                    return Err(TenantError::InvalidDomain);
                }
                Ok(if domains == self.domains { vec![] } else { vec![TenantEvent::DomainsSet { domains }] })
            }
        }
    }

    fn apply(&mut self, event: &TenantEvent) {
        match event {
            TenantEvent::Created { name, display_name, allowance } => {
                self.life = Life::Alive;
                self.name.clone_from(name);
                self.display_name.clone_from(if display_name.is_empty() { name } else { display_name });
                self.allowance.clone_from(allowance);
            }
            TenantEvent::Allowed { allowance } => self.allowance.clone_from(allowance),
            TenantEvent::DomainsSet { domains } => self.domains.clone_from(domains),
        }
    }

    fn taken(constraint: &str) -> Option<TenantError> {
        match constraint {
            "tenants_name_key" => Some(TenantError::NameTaken),
            "tenants_display_name_key" => Some(TenantError::DisplayNameTaken),
            "tenant_domains_pkey" => Some(TenantError::DomainTaken),
            _ => None,
        }
    }
}

impl Tenant {
    /// A label of a host that resembles what people call it; `number` tells apart those that are alike.
    pub fn name_for(display_name: &str, number: usize) -> String {
        let mut name = String::new();
        for letter in display_name.chars().map(|letter| letter.to_ascii_lowercase()) {
            if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
                name.push(letter);
            } else if !name.ends_with('-') {
                name.push('-');
            }
        }
        let name = name.trim_matches('-');
        let begins_well = name.starts_with(|first: char| first.is_ascii_lowercase());
        let name = match (name.is_empty(), begins_well && !RESERVED.contains(&name)) {
            (true, _) => "tenant".to_owned(),
            (false, true) => name.to_owned(),
            (false, false) => format!("tenant-{name}"),
        };
        let suffix = if number < 2 { String::new() } else { format!("-{number}") };
        let kept: String = name.chars().take(NAME_MAX - suffix.len()).collect();
        format!("{}{suffix}", kept.trim_end_matches('-'))
    }
}

fn check_names(name: &str, display_name: &str) -> Result<(), TenantError> {
    if !is_valid_name(name) {
        return Err(TenantError::InvalidName);
    }
    let letters = display_name.chars().count();
    let plain = display_name.trim() == display_name && !display_name.chars().any(char::is_control);
    if !DISPLAY_NAME.contains(&letters) || !plain { Err(TenantError::InvalidDisplayName) } else { Ok(()) }
}

/// An allowance with its features in order and once each.
fn checked(allowance: Allowance) -> Result<Allowance, TenantError> {
    if allowance.allowed_users.is_some_and(|users| !(1..=i64::from(i32::MAX)).contains(&users)) {
        return Err(TenantError::InvalidAllowedUsers);
    }
    let in_order = |features: Vec<String>| -> Result<Vec<String>, TenantError> {
        let features: BTreeSet<String> = features.into_iter().collect();
        if !features.iter().all(|feature| is_valid_feature(feature)) {
            return Err(TenantError::InvalidFeature);
        }
        Ok(features.into_iter().collect())
    };
    Ok(Allowance {
        allowed_users: allowance.allowed_users,
        features: allowance.features.map(in_order).transpose()?,
        exclude_features: in_order(allowance.exclude_features)?,
    })
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

fn is_valid_feature(name: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    (1..=100).contains(&name.len()) && name.chars().all(plain)
}

/// Lower-case labels, at least two of them.
fn is_valid_domain(domain: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|l| l.is_ascii_lowercase() || l.is_ascii_digit() || l == '-')
    };
    domain.len() <= 253 && domain.contains('.') && domain.split('.').all(label)
}

#[cfg(test)]
mod tests;
