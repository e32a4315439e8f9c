//! CVAT's representations of what several services show.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::directory::User;

pub mod job;
pub mod membership;
pub mod organization;
pub mod project;
pub mod task;

/// A user, as CVAT shows one inside other things.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BasicUser {
    pub url: String,
    pub id: i64,
    pub username: String,
    pub first_name: String,
    pub last_name: String,
}

impl BasicUser {
    /// `base_url` has no slash at the end.
    pub fn new(user: &User, base_url: &str) -> Self {
        Self {
            url: format!("{base_url}/api/users/{}", user.id),
            id: user.id,
            username: user.username.clone(),
            first_name: user.first_name.clone(),
            last_name: user.last_name.clone(),
        }
    }

    /// The user of an id, if there is one and it is known.
    pub fn find(users: &HashMap<i64, User>, id: Option<i64>, base_url: &str) -> Option<Self> {
        id.and_then(|id| users.get(&id)).map(|user| Self::new(user, base_url))
    }
}

/// A date as CVAT writes it: UTC with microseconds and `Z`.
pub fn date(date: chrono::DateTime<chrono::Utc>) -> String {
    date.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}
