//! The names that subscribers know events by, and which sort of webhook may ask for which (CVAT 2.15, without
//! the events of the whole server).

use serde::{Deserialize, Serialize};

/// Whose events a webhook is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookType {
    #[default]
    Organization,
    Project,
}

impl WebhookType {
    /// Every type.
    pub const ALL: [Self; 2] = [Self::Organization, Self::Project];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Project => "project",
        }
    }

    /// The type of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// The events that a webhook of this type may name, sorted.
    pub fn events(self) -> Vec<String> {
        let mut events: Vec<String> = EVENTS
            .iter()
            .flat_map(|(resource, organization, project)| {
                let actions = match self {
                    Self::Organization => organization,
                    Self::Project => project,
                };
                actions.iter().map(move |action| format!("{action}:{resource}"))
            })
            .collect();
        events.sort_unstable();
        events
    }
}

const ALL: &[&str] = &["create", "update", "delete"];

/// Resource, then its actions for organization webhooks, then those for project webhooks.
const EVENTS: &[(&str, &[&str], &[&str])] = &[
    ("comment", ALL, ALL),
    ("invitation", &["create", "delete"], &[]),
    ("issue", ALL, ALL),
    ("job", ALL, ALL),
    ("membership", ALL, &[]),
    ("organization", &["update", "delete"], &[]),
    ("project", ALL, &["update", "delete"]),
    ("task", ALL, ALL),
];

#[cfg(test)]
mod tests {
    use super::WebhookType;

    #[test]
    fn a_project_webhook_cannot_hear_of_its_project_being_created() {
        let events = WebhookType::Project.events();
        assert!(events.contains(&"update:project".to_owned()));
        assert!(!events.contains(&"create:project".to_owned()));
        assert!(!events.iter().any(|event| event.ends_with(":membership")));
    }

    #[test]
    fn an_organization_webhook_hears_of_everything_inside() {
        let events = WebhookType::Organization.events();
        for event in ["create:project", "update:organization", "delete:membership"] {
            assert!(events.contains(&event.to_owned()), "{event}");
        }
        assert!(!events.contains(&"create:organization".to_owned()));
        assert!(events.is_sorted());
    }
}
