//! `OrganizationRead` of CVAT 2.80.

use std::collections::HashMap;

use contracts::identity::Organization;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{BasicUser, date};
use crate::directory::User;

/// An organization.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrganizationRead {
    pub id: i64,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub created_date: String,
    pub updated_date: String,
    /// Whatever the organization says about how to reach it.
    #[schema(value_type = Object)]
    pub contact: Map<String, Value>,
    /// Null when the owner was deleted.
    pub owner: Option<BasicUser>,
}

impl OrganizationRead {
    /// `base_url` has no slash at the end.
    pub fn new(organization: &Organization, users: &HashMap<i64, User>, base_url: &str) -> Self {
        Self {
            id: organization.id,
            slug: organization.slug.clone(),
            name: organization.name.clone(),
            description: organization.description.clone(),
            created_date: date(organization.created_date),
            updated_date: date(organization.updated_date),
            contact: organization.contact.clone(),
            owner: BasicUser::find(users, organization.owner_id, base_url),
        }
    }
}
