//! `MembershipRead` of CVAT 2.80.

use std::collections::HashMap;

use contracts::identity::Membership;
use serde::Serialize;
use utoipa::ToSchema;

use super::{BasicUser, date};
use crate::directory::User;

/// A membership.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MembershipRead {
    pub id: i64,
    // CVAT's SDK refuses null, and no answer has it: a membership is deleted with its user. The last event of
    // one may come when the user is gone.
    #[schema(value_type = BasicUser)]
    pub user: Option<BasicUser>,
    /// The organization's id.
    pub organization: i64,
    pub is_active: bool,
    pub joined_date: Option<String>,
    /// `owner`, `maintainer`, `supervisor` or `worker`.
    pub role: String,
    /// The key of the invitation that it came from.
    pub invitation: Option<String>,
}

impl MembershipRead {
    /// `base_url` has no slash at the end.
    pub fn new(membership: &Membership, users: &HashMap<i64, User>, base_url: &str) -> Self {
        Self {
            id: membership.id,
            user: BasicUser::find(users, Some(membership.user_id), base_url),
            organization: membership.organization_id,
            is_active: membership.is_active,
            joined_date: membership.joined_date.map(date),
            role: membership.role.clone(),
            invitation: None,
        }
    }
}
