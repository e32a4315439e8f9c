//! What a tenant may use of one thing: what its plan in identity says, unless an operator says otherwise.

use aws_lc_rs::digest;
use contracts::billing::Entitlement as Fact;
use event_store::{Aggregate, DomainError, Refused};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// What one source grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// None for no limit.
    pub limit: Option<Decimal>,
    /// Whether a place must be reserved before it is taken.
    pub hard: bool,
    /// Whether it may be used at all.
    pub allowed: bool,
}

impl Grant {
    /// As much as one likes: what holds where nobody has said anything.
    pub const FREE: Self = Self { limit: None, hard: false, allowed: true };

    /// A number of places that cannot be passed.
    pub fn capped(limit: Decimal) -> Self {
        Self { limit: Some(limit), hard: true, allowed: true }
    }

    /// A feature that one has, or not.
    pub fn feature(allowed: bool) -> Self {
        Self { allowed, ..Self::FREE }
    }
}

/// What is asked of an entitlement; the key is the same in all its commands.
#[derive(Clone, Debug)]
pub enum EntitlementCommand {
    /// The tenant, as identity keeps it, grants this now, or nothing in particular.
    GrantByTenant { key: String, grant: Option<Grant> },
    /// An operator grants this whatever the tenant says, or no longer.
    Override { key: String, grant: Option<Grant> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum EntitlementEvent {
    GrantedByTenant { key: String, grant: Option<Grant> },
    Overridden { key: String, grant: Option<Grant> },
}

/// Why an entitlement refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntitlementError {
    #[error("A limit is a number from 0 on.")]
    Negative,
    #[error("This limit belongs to another key.")]
    OtherKey,
}

impl DomainError for EntitlementError {
    fn code(&self) -> &'static str {
        match self {
            Self::Negative => "limit_negative",
            Self::OtherKey => "limit_of_another_key",
        }
    }

    fn kind(&self) -> Refused {
        match self {
            Self::Negative => Refused::Invalid,
            Self::OtherKey => Refused::Conflict,
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::Negative => Some("limit"),
            Self::OtherKey => None,
        }
    }
}

/// An entitlement's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entitlement {
    pub key: String,
    pub by_tenant: Option<Grant>,
    pub by_operator: Option<Grant>,
}

impl Entitlement {
    /// The id of a key's stream, the same in every tenant. 52 bits of a digest: a number that JavaScript reads
    /// too, and far more of them than a deployment has keys; [`EntitlementError::OtherKey`] guards the rest.
    pub fn id(key: &str) -> i64 {
        let digest = digest::digest(&digest::SHA256, key.as_bytes());
        let bytes = digest.as_ref().iter().take(8).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        (bytes >> 12).cast_signed().max(1)
    }

    /// What holds.
    pub fn grant(&self) -> Grant {
        self.by_operator.or(self.by_tenant).unwrap_or(Grant::FREE)
    }

    /// What holds, as others are told.
    pub fn fact(&self) -> Fact {
        let Grant { limit, hard, allowed } = self.grant();
        let limit = limit.map(|limit| limit.normalize().to_string());
        Fact { key: self.key.clone(), limit, hard, allowed }
    }
}

impl Aggregate for Entitlement {
    const KIND: &'static str = "entitlement";
    type Command = EntitlementCommand;
    type Event = EntitlementEvent;
    type Error = EntitlementError;

    fn decide(&self, command: EntitlementCommand) -> Result<Vec<EntitlementEvent>, EntitlementError> {
        let (key, grant) = match &command {
            EntitlementCommand::GrantByTenant { key, grant }
            | EntitlementCommand::Override { key, grant } => (key, grant),
        };
        if !self.key.is_empty() && self.key != *key {
            return Err(EntitlementError::OtherKey);
        }
        if grant.and_then(|grant| grant.limit).is_some_and(|limit| limit < Decimal::ZERO) {
            return Err(EntitlementError::Negative);
        }
        Ok(match command {
            EntitlementCommand::GrantByTenant { key, grant } if grant != self.by_tenant => {
                vec![EntitlementEvent::GrantedByTenant { key, grant }]
            }
            EntitlementCommand::Override { key, grant } if grant != self.by_operator => {
                vec![EntitlementEvent::Overridden { key, grant }]
            }
            EntitlementCommand::GrantByTenant { .. } | EntitlementCommand::Override { .. } => vec![],
        })
    }

    fn apply(&mut self, event: &EntitlementEvent) {
        match event {
            EntitlementEvent::GrantedByTenant { key, grant } => {
                self.key.clone_from(key);
                self.by_tenant = *grant;
            }
            EntitlementEvent::Overridden { key, grant } => {
                self.key.clone_from(key);
                self.by_operator = *grant;
            }
        }
    }
}

/// What a tenant of identity grants, by key: a hard cap on seats, and features one by one. `named` are the
/// features that were named before: those that nobody names any more fall back to what holds for all.
pub fn of_tenant(
    tenant: &contracts::identity::Tenant,
    named: impl IntoIterator<Item = String>,
) -> Vec<(String, Option<Grant>)> {
    let seats = tenant.allowed_users.map(|users| Grant::capped(Decimal::from(users.max(0))));
    let unnamed = tenant.features.as_ref().map(|_| Grant::feature(false));
    let mut features: std::collections::BTreeMap<String, Option<Grant>> =
        named.into_iter().map(|name| (name, unnamed)).collect();
    for name in tenant.features.iter().flatten() {
        features.insert(name.clone(), Some(Grant::feature(true)));
    }
    for name in &tenant.exclude_features {
        features.insert(name.clone(), Some(Grant::feature(false)));
    }
    // A feature must not pass for one of ours.
    features.retain(|name, _| !is_own(name));
    let own = [(SEATS.to_owned(), seats), (FEATURES.to_owned(), unnamed)];
    own.into_iter().chain(features).collect()
}

/// How many users a tenant may have.
pub const SEATS: &str = "seats";
/// How many bytes it may store.
pub const STORAGE_BYTES: &str = "storage_bytes";
/// Whether features may be used that nobody named.
pub const FEATURES: &str = "features";

/// Whether a key is one of billing's own and no feature.
pub fn is_own(key: &str) -> bool {
    matches!(key, SEATS | STORAGE_BYTES | FEATURES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(commands: Vec<EntitlementCommand>) -> Entitlement {
        let mut state = Entitlement::default();
        for command in commands {
            for event in state.decide(command).unwrap() {
                // Through JSON, as the store does.
                state.apply(&serde_json::from_value(serde_json::to_value(&event).unwrap()).unwrap());
            }
        }
        state
    }

    fn by_tenant(grant: Option<Grant>) -> EntitlementCommand {
        EntitlementCommand::GrantByTenant { key: SEATS.into(), grant }
    }

    fn by_operator(grant: Option<Grant>) -> EntitlementCommand {
        EntitlementCommand::Override { key: SEATS.into(), grant }
    }

    fn three() -> Grant {
        Grant::capped(Decimal::from(3))
    }

    #[test]
    fn an_operator_has_the_last_word_until_they_take_it_back() {
        let five = Grant::capped(Decimal::from(5));
        assert_eq!(given(vec![]).grant(), Grant::FREE);
        assert_eq!(given(vec![by_tenant(Some(three()))]).grant(), three());
        let both = vec![by_operator(Some(five)), by_tenant(Some(three()))];
        assert_eq!(given(both.clone()).grant(), five);
        let back = both.into_iter().chain([by_operator(None)]).collect();
        assert_eq!(given(back).grant(), three());
    }

    #[test]
    fn the_same_again_is_no_event() {
        assert!(given(vec![by_tenant(Some(three()))]).decide(by_tenant(Some(three()))).unwrap().is_empty());
        assert!(Entitlement::default().decide(by_operator(None)).unwrap().is_empty());
    }

    #[test]
    fn a_limit_is_not_negative_and_keeps_its_key() {
        let negative = Grant::capped(Decimal::from(-1));
        assert_eq!(
            Entitlement::default().decide(by_operator(Some(negative))),
            Err(EntitlementError::Negative)
        );
        let other = EntitlementCommand::Override { key: "other".into(), grant: None };
        assert_eq!(given(vec![by_tenant(Some(three()))]).decide(other), Err(EntitlementError::OtherKey));
    }

    #[test]
    fn keys_have_ids_of_their_own() {
        let ids: std::collections::BTreeSet<i64> =
            (0..10_000).map(|n| Entitlement::id(&format!("feature-{n}"))).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| (1..1 << 53).contains(id)));
    }

    #[test]
    fn a_tenants_words_become_grants() {
        let tenant = contracts::identity::Tenant {
            name: "acme".into(),
            allowed_users: Some(3),
            features: Some(vec!["reports".into(), "queues".into()]),
            exclude_features: vec!["queues".into(), SEATS.into()],
        };
        let grants: std::collections::BTreeMap<_, _> =
            of_tenant(&tenant, ["gone".to_owned()]).into_iter().collect();
        assert_eq!(grants[SEATS], Some(three()), "a feature cannot pass for a cap");
        assert_eq!(grants[FEATURES], Some(Grant::feature(false)));
        assert_eq!(grants["reports"], Some(Grant::feature(true)));
        assert_eq!(grants["queues"], Some(Grant::feature(false)), "what is taken away counts more");
        assert_eq!(grants["gone"], Some(Grant::feature(false)), "only what is named is granted");
        let all = contracts::identity::Tenant { features: None, exclude_features: vec![], ..tenant };
        let grants: std::collections::BTreeMap<_, _> =
            of_tenant(&all, ["gone".to_owned()]).into_iter().collect();
        assert_eq!((grants["gone"], grants[FEATURES]), (None, None));
    }
}
