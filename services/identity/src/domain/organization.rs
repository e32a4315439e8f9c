//! An organization: a workspace inside a tenant.

use chrono::{DateTime, Utc};
use event_store::{Aggregate, DomainError, Refused};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Life;

/// The longest slug, in characters.
pub const SLUG_MAX: usize = 16;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Organization {
    pub life: Life,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub contact: Map<String, Value>,
    /// Absent when the owner was deleted.
    pub owner_id: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a new organization is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewOrganization {
    pub slug: String,
    pub name: String,
    pub description: String,
    pub contact: Map<String, Value>,
    pub owner_id: i64,
    pub at: DateTime<Utc>,
}

/// What of an organization is to change; absent means that it stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OrganizationChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slug: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<Map<String, Value>>,
}

#[derive(Clone, Debug)]
pub enum OrganizationCommand {
    Create(NewOrganization),
    Update {
        change: OrganizationChange,
        at: DateTime<Utc>,
    },
    /// Its owner is being deleted.
    LoseOwner {
        at: DateTime<Utc>,
    },
    Delete,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum OrganizationEvent {
    Created(NewOrganization),
    Updated { change: OrganizationChange, at: DateTime<Utc> },
    OwnerLost { at: DateTime<Utc> },
    Deleted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrganizationError {
    #[error("the organization exists already")]
    Exists,
    #[error("there is no such organization")]
    NotFound,
    #[error("organization with this slug already exists.")]
    SlugTaken,
    #[error("Enter a valid \u{201c}slug\u{201d} consisting of letters, numbers, underscores or hyphens.")]
    InvalidSlug,
}

impl DomainError for OrganizationError {
    fn code(&self) -> &'static str {
        match self {
            Self::Exists => "organization_exists",
            Self::NotFound => "organization_not_found",
            Self::SlugTaken => "slug_taken",
            Self::InvalidSlug => "slug_invalid",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::Exists => Refused::Conflict,
            Self::NotFound => Refused::NotFound,
            Self::SlugTaken | Self::InvalidSlug => Refused::Invalid,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::SlugTaken | Self::InvalidSlug => Some("slug"),
            Self::Exists | Self::NotFound => None,
        }
    }
}

impl Aggregate for Organization {
    const KIND: &'static str = "organization";

    type Command = OrganizationCommand;
    type Event = OrganizationEvent;
    type Error = OrganizationError;

    fn decide(&self, command: OrganizationCommand) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        match command {
            OrganizationCommand::Create(_) if self.life != Life::Unborn => Err(OrganizationError::Exists),
            OrganizationCommand::Create(new) if !is_valid_slug(&new.slug) => {
                Err(OrganizationError::InvalidSlug)
            }
            OrganizationCommand::Create(new) => Ok(vec![OrganizationEvent::Created(new)]),
            _ if self.life != Life::Alive => Err(OrganizationError::NotFound),
            OrganizationCommand::Update { change, at } => self.update(change, at),
            OrganizationCommand::LoseOwner { .. } if self.owner_id.is_none() => Ok(vec![]),
            OrganizationCommand::LoseOwner { at } => Ok(vec![OrganizationEvent::OwnerLost { at }]),
            OrganizationCommand::Delete => Ok(vec![OrganizationEvent::Deleted]),
        }
    }

    fn apply(&mut self, event: &OrganizationEvent) {
        match event {
            OrganizationEvent::Created(new) => {
                *self = Self {
                    life: Life::Alive,
                    slug: new.slug.clone(),
                    name: new.name.clone(),
                    description: new.description.clone(),
                    contact: new.contact.clone(),
                    owner_id: Some(new.owner_id),
                    created_at: new.at,
                    updated_at: new.at,
                };
            }
            OrganizationEvent::Updated { change, at } => {
                let put = |field: &mut String, new: &Option<String>| {
                    if let Some(new) = new {
                        field.clone_from(new);
                    }
                };
                put(&mut self.slug, &change.slug);
                put(&mut self.name, &change.name);
                put(&mut self.description, &change.description);
                if let Some(contact) = &change.contact {
                    self.contact.clone_from(contact);
                }
                self.updated_at = *at;
            }
            OrganizationEvent::OwnerLost { at } => {
                self.owner_id = None;
                self.updated_at = *at;
            }
            OrganizationEvent::Deleted => self.life = Life::Gone,
        }
    }

    fn taken(constraint: &str) -> Option<OrganizationError> {
        (constraint == "directory_organizations_tenant_id_slug_key").then_some(OrganizationError::SlugTaken)
    }
}

impl Organization {
    /// Keeps of a change what is one.
    fn update(
        &self,
        change: OrganizationChange,
        at: DateTime<Utc>,
    ) -> Result<Vec<OrganizationEvent>, OrganizationError> {
        let differs = |new: Option<String>, old: &String| new.filter(|new| new != old);
        let change = OrganizationChange {
            slug: differs(change.slug, &self.slug),
            name: differs(change.name, &self.name),
            description: differs(change.description, &self.description),
            contact: change.contact.filter(|new| *new != self.contact),
        };
        if change.slug.as_deref().is_some_and(|slug| !is_valid_slug(slug)) {
            return Err(OrganizationError::InvalidSlug);
        }
        let nothing = change == OrganizationChange::default();
        Ok(if nothing { vec![] } else { vec![OrganizationEvent::Updated { change, at }] })
    }
}

/// Whether a slug matches `^[-a-zA-Z0-9_]{1,16}$`.
pub fn is_valid_slug(slug: &str) -> bool {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    !slug.is_empty() && slug.len() <= SLUG_MAX && slug.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::given;

    fn acme() -> NewOrganization {
        NewOrganization {
            slug: "acme".into(),
            name: "Acme".into(),
            description: String::new(),
            contact: Map::new(),
            owner_id: 7,
            at: DateTime::default(),
        }
    }

    fn created() -> Organization {
        given(&[OrganizationEvent::Created(acme())])
    }

    fn update(change: OrganizationChange) -> OrganizationCommand {
        OrganizationCommand::Update { change, at: DateTime::default() }
    }

    #[test]
    fn an_organization_is_created_once_under_a_valid_slug() {
        let create =
            |slug: &str| OrganizationCommand::Create(NewOrganization { slug: slug.into(), ..acme() });
        assert_eq!(
            Organization::default().decide(create("acme")),
            Ok(vec![OrganizationEvent::Created(acme())])
        );
        assert_eq!(created().decide(create("acme")), Err(OrganizationError::Exists));
        for slug in ["", "a b", "ä", "a.b", &"a".repeat(17)] {
            assert_eq!(
                Organization::default().decide(create(slug)),
                Err(OrganizationError::InvalidSlug),
                "{slug}"
            );
        }
    }

    #[test]
    fn an_update_keeps_only_what_changes() {
        let same = OrganizationChange { slug: Some("acme".into()), ..OrganizationChange::default() };
        assert_eq!(created().decide(update(same)), Ok(vec![]));
        let change = OrganizationChange { name: Some("Acme Ltd".into()), ..OrganizationChange::default() };
        let updated = OrganizationEvent::Updated { change: change.clone(), at: DateTime::default() };
        assert_eq!(created().decide(update(change)), Ok(vec![updated]));
        let bad = OrganizationChange { slug: Some("a b".into()), ..OrganizationChange::default() };
        assert_eq!(created().decide(update(bad)), Err(OrganizationError::InvalidSlug));
    }

    #[test]
    fn an_owner_is_lost_once() {
        let at = DateTime::default();
        let lost = OrganizationEvent::OwnerLost { at };
        assert_eq!(created().decide(OrganizationCommand::LoseOwner { at }), Ok(vec![lost.clone()]));
        let orphan: Organization = given(&[OrganizationEvent::Created(acme()), lost]);
        assert_eq!(orphan.decide(OrganizationCommand::LoseOwner { at }), Ok(vec![]));
        let nothing = Organization::default();
        assert_eq!(nothing.decide(OrganizationCommand::LoseOwner { at }), Err(OrganizationError::NotFound));
    }

    #[test]
    fn what_is_deleted_is_gone() {
        assert_eq!(created().decide(OrganizationCommand::Delete), Ok(vec![OrganizationEvent::Deleted]));
        let gone: Organization = given(&[OrganizationEvent::Created(acme()), OrganizationEvent::Deleted]);
        assert_eq!(gone.decide(OrganizationCommand::Delete), Err(OrganizationError::NotFound));
    }
}
