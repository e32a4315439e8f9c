//! From one event to the messages of all webhooks that asked for it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::TimeDelta;
use contracts::Envelope;
use event_store::inbox::HandlerError;
use event_store::{StoreError, Unit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use service_kit::cvat::BasicUser;
use service_kit::directory::{self, User};

use super::body::Body;
use crate::deliveries::messages::{NewMessage, queue};
use crate::projections::webhooks;

/// How long a message waits for the names of people whom the directory does not know yet. They come by
/// another stream, usually long before.
const PATIENCE: Duration = Duration::from_millis(100);
/// Of an event that is older nobody is waited for: who is not known by now was deleted.
const FRESH: TimeDelta = TimeDelta::seconds(2);

/// What happened, as CVAT names it.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    Create,
    Update,
    Delete,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Whose webhooks an event concerns.
pub struct Place {
    pub organization_id: Option<i64>,
    pub project_id: Option<i64>,
}

/// What receivers are told about.
pub trait Subject: Serialize + DeserializeOwned + Send + Sync {
    /// The second half of the event's name, and the key in the body.
    const RESOURCE: &'static str;
    /// Where it belongs.
    fn place(&self, envelope: &Envelope) -> Place;
    /// The users whom it shows.
    fn people(&self) -> Vec<i64>;
    /// CVAT's representation.
    fn render(&self, users: &HashMap<i64, User>, base_url: &str) -> serde_json::Result<Value>;
}

/// Queues an event for every webhook that asked for it.
pub async fn tell<S: Subject>(
    unit: &mut Unit,
    envelope: &Envelope,
    action: Action,
    subject: &S,
    before_update: Option<&Map<String, Value>>,
) -> Result<(), HandlerError> {
    let event = format!("{}:{}", action.as_str(), S::RESOURCE);
    let place = subject.place(envelope);
    let hooks =
        webhooks::subscribers(unit.tx(), envelope, &event, place.organization_id, place.project_id).await?;
    if hooks.is_empty() {
        return Ok(());
    }
    let old = before_update.map(|changes| before(subject, changes)).transpose()?;
    let mut people: BTreeSet<i64> = subject.people().into_iter().chain(envelope.actorid).collect();
    people.extend(old.iter().flat_map(Subject::people));
    let is_fresh = unit.store().clock().now() - envelope.time < FRESH;
    let users = users(unit, &people, if is_fresh { PATIENCE } else { Duration::ZERO }).await?;
    let base_url = unit.store().public_url().to_owned();
    let shown = subject.render(&users, &base_url)?;
    let before_update = match &old {
        Some(old) => event_store::before_update(&old.render(&users, &base_url)?, &shown),
        None => Map::new(),
    };
    let changed_fields = before_update.keys().cloned().collect::<Vec<_>>().join(",");
    let sender = BasicUser::find(&users, envelope.actorid, &base_url);
    for webhook_id in hooks {
        let body = Body {
            event: &event,
            resource: S::RESOURCE,
            subject: &shown,
            before_update: &before_update,
            sender: &sender,
            webhook_id,
        };
        let message = NewMessage {
            webhook_id,
            event: event.clone(),
            event_id: envelope.id,
            sequence: Some(envelope.streamversion),
            body: serde_json::to_string(&body)?,
            changed_fields: changed_fields.clone(),
            redelivery: false,
        };
        queue(unit, message).await?;
    }
    Ok(())
}

/// The subject before an update: as it is, with the old values put back.
fn before<S: Subject>(subject: &S, changes: &Map<String, Value>) -> serde_json::Result<S> {
    let mut fields = serde_json::to_value(subject)?;
    if let Value::Object(fields) = &mut fields {
        fields.extend(changes.clone());
    }
    serde_json::from_value(fields)
}

/// The users of these ids, waited for a moment. Somebody who was deleted stays unknown.
async fn users(
    unit: &mut Unit,
    ids: &BTreeSet<i64>,
    patience: Duration,
) -> Result<HashMap<i64, User>, StoreError> {
    let mut taken = unit.store().wake().follow_taken();
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        taken.mark_unchanged();
        let users = directory::users(unit.tx(), ids.iter().copied()).await?;
        if users.len() == ids.len() || tokio::time::timeout_at(deadline, taken.changed()).await.is_err() {
            return Ok(users);
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::event::Example;
    use contracts::projects::Project;
    use serde_json::json;

    use super::*;

    fn user(id: i64, username: &str) -> (i64, User) {
        let names = String::new;
        (id, User { id, username: username.into(), first_name: names(), last_name: names() })
    }

    #[test]
    fn what_changed_is_shown_as_receivers_know_it() {
        let users = HashMap::from_iter([user(7, "alice"), user(8, "bob")]);
        let project = Project { assignee_id: Some(8), ..Project::example() };
        let changes = json!({ "assignee_id": 7, "name": "old", "labels": [] });
        let old = before(&project, changes.as_object().unwrap()).unwrap();
        let (old, new) =
            (old.render(&users, "http://x").unwrap(), project.render(&users, "http://x").unwrap());
        let changed = event_store::before_update(&old, &new);
        // Labels are a link in CVAT's representation, so they are never part of the difference.
        assert_eq!(changed.keys().collect::<Vec<_>>(), ["assignee", "name"]);
        assert_eq!(changed["assignee"]["username"], "alice");
        assert_eq!(changed["name"], "old");
    }

    #[test]
    fn every_resource_renders_its_example() {
        let users = HashMap::from_iter([user(7, "alice")]);
        let project = Project::example().render(&users, "http://x").unwrap();
        assert_eq!(project["owner"]["url"], "http://x/api/users/7");
        let task = contracts::projects::Task::example().render(&users, "http://x").unwrap();
        assert_eq!((&task["url"], &task["mode"]), (&json!("http://x/api/tasks/21"), &json!("annotation")));
        let job = contracts::projects::Job::example().render(&users, "http://x").unwrap();
        assert_eq!((&job["assignee"]["username"], &job["frame_count"]), (&json!("alice"), &json!(100)));
        let membership = contracts::identity::Membership::example().render(&users, "http://x").unwrap();
        assert_eq!(membership["user"]["username"], "alice");
        let organization = contracts::identity::Organization::example().render(&users, "http://x").unwrap();
        assert_eq!(organization["slug"], "wonderland");
    }
}
