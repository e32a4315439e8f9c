//! Users, organizations and memberships as every service knows them.
//!
//! Identity writes these tables itself, in its own append transaction; everywhere else the consumer
//! `directory` feeds them with the very same functions.

use std::collections::{BTreeSet, HashMap};

use bus::Consumer;
use chrono::{DateTime, Utc};
use contracts::identity as facts;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use policy::Role;

/// The tables, for rebuilds.
pub const TABLES: &[&str] = &["directory_users", "directory_organizations", "directory_memberships"];

/// The consumer's name inside its service.
pub const CONSUMER: &str = "directory";

/// The consumer that keeps the directory.
pub fn consumer() -> Consumer {
    Consumer::new(CONSUMER, 1)
        .feeds(TABLES)
        .on::<facts::UserRegistered>(|unit, _, event| {
            Box::pin(async move { Ok(put_user(unit.tx(), &event.user).await?) })
        })
        .on::<facts::UserUpdated>(|unit, _, event| {
            Box::pin(async move { Ok(put_user(unit.tx(), &event.user).await?) })
        })
        .on::<facts::UserDeleted>(|unit, _, event| {
            Box::pin(async move { Ok(delete(unit.tx(), "directory_users", event.user.id).await?) })
        })
        .on::<facts::OrganizationCreated>(|unit, _, event| {
            Box::pin(async move { Ok(put_organization(unit.tx(), &event.organization).await?) })
        })
        .on::<facts::OrganizationUpdated>(|unit, _, event| {
            Box::pin(async move { Ok(put_organization(unit.tx(), &event.organization).await?) })
        })
        .on::<facts::OrganizationDeleted>(|unit, _, event| {
            Box::pin(async move { Ok(end_organization(unit.tx(), event.organization.id).await?) })
        })
        .on::<facts::MembershipCreated>(|unit, _, event| {
            Box::pin(async move { Ok(put_membership(unit.tx(), &event.membership).await?) })
        })
        .on::<facts::MembershipUpdated>(|unit, _, event| {
            Box::pin(async move { Ok(put_membership(unit.tx(), &event.membership).await?) })
        })
        .on::<facts::MembershipDeleted>(|unit, _, event| {
            Box::pin(
                async move { Ok(delete(unit.tx(), "directory_memberships", event.membership.id).await?) },
            )
        })
}

/// Inserts or replaces a user.
pub async fn put_user(tx: &mut Tx, user: &facts::User) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO directory_users (tenant_id, id, username, first_name, last_name, privilege, is_active) \
         VALUES (es_tenant(), $1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, id) DO UPDATE SET \
         username = excluded.username, first_name = excluded.first_name, last_name = excluded.last_name, \
         privilege = excluded.privilege, is_active = excluded.is_active",
    )
    .bind::<BigInt>(user.id)
    .bind::<Text>(user.username.clone())
    .bind::<Text>(user.first_name.clone())
    .bind::<Text>(user.last_name.clone())
    .bind::<Nullable<Text>>(user.privilege.clone())
    .bind::<Bool>(user.is_active)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Inserts or replaces an organization; one that has ended stays so.
pub async fn put_organization(tx: &mut Tx, organization: &facts::Organization) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO directory_organizations (tenant_id, id, slug, name, description, contact, owner_id, \
         created_date, updated_date) VALUES (es_tenant(), $1, $2, $3, $4, $5::text::json, $6, $7, $8) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET slug = excluded.slug, name = excluded.name, \
         description = excluded.description, contact = excluded.contact, owner_id = excluded.owner_id, \
         updated_date = excluded.updated_date WHERE NOT directory_organizations.ended",
    )
    .bind::<BigInt>(organization.id)
    .bind::<Text>(organization.slug.clone())
    .bind::<Text>(organization.name.clone())
    .bind::<Text>(organization.description.clone())
    .bind::<Text>(serde_json::to_string(&organization.contact)?)
    .bind::<Nullable<BigInt>>(organization.owner_id)
    .bind::<Timestamptz>(organization.created_date)
    .bind::<Timestamptz>(organization.updated_date)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes that an organization is no more: for everybody there is none, and nothing can be created in it. The
/// row stays, empty, because another consumer of this service may hear of the deletion before the directory
/// has heard of the creation.
///
/// Whoever takes an organization's things out of it does this first, in the same transaction. It waits for
/// those who are creating something there ([`hold_organization`]), so that what they create is found; whoever
/// comes later is refused, whichever consumer was first.
pub async fn end_organization(tx: &mut Tx, id: i64) -> Result<(), StoreError> {
    tx.lock_name(&end_of(id)).await?;
    Sql::fixed(
        "INSERT INTO directory_organizations (tenant_id, id, slug, name, description, contact, created_date, \
         updated_date, ended) VALUES (es_tenant(), $1, '', '', '', '{}', '-infinity', '-infinity', true) \
         ON CONFLICT (tenant_id, id) DO UPDATE SET slug = '', name = '', description = '', contact = '{}', \
         owner_id = NULL, ended = true",
    )
    .bind::<BigInt>(id)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Keeps an organization from ending until the end of the transaction; returns whether there is such a one.
pub async fn hold_organization(tx: &mut Tx, id: i64) -> Result<bool, StoreError> {
    tx.share_name(&end_of(id)).await?;
    let found = Sql::fixed(
        "SELECT FROM directory_organizations WHERE tenant_id = es_tenant() AND id = $1 AND NOT ended",
    )
    .bind::<BigInt>(id)
    .execute(&mut **tx)
    .await?;
    Ok(found == 1)
}

/// What who ends an organization has to itself, and who creates something in it shares.
fn end_of(organization_id: i64) -> String {
    format!("organization/{organization_id}")
}

/// Inserts or replaces a membership.
pub async fn put_membership(tx: &mut Tx, membership: &facts::Membership) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO directory_memberships (tenant_id, id, organization_id, user_id, role, is_active, joined_date) \
         VALUES (es_tenant(), $1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, id) DO UPDATE SET \
         role = excluded.role, is_active = excluded.is_active, joined_date = excluded.joined_date",
    )
    .bind::<BigInt>(membership.id)
    .bind::<BigInt>(membership.organization_id)
    .bind::<BigInt>(membership.user_id)
    .bind::<Text>(membership.role.clone())
    .bind::<Bool>(membership.is_active)
    .bind::<Nullable<Timestamptz>>(membership.joined_date)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Removes a row of one of [`TABLES`].
pub async fn delete(tx: &mut Tx, table: &'static str, id: i64) -> Result<(), StoreError> {
    debug_assert!(TABLES.contains(&table));
    Sql::templated(format!("DELETE FROM {table} WHERE tenant_id = es_tenant() AND id = $1"))
        .bind::<BigInt>(id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// A user as CVAT shows one to others.
#[derive(Clone, Debug, PartialEq, diesel::QueryableByName)]
pub struct User {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = Text)]
    pub username: String,
    #[diesel(sql_type = Text)]
    pub first_name: String,
    #[diesel(sql_type = Text)]
    pub last_name: String,
}

/// Users by id, for rendering; those that are gone are missing.
pub async fn users(
    tx: &mut Tx,
    ids: impl IntoIterator<Item = i64>,
) -> Result<HashMap<i64, User>, StoreError> {
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<User> = Sql::fixed(
        "SELECT id, username, first_name, last_name FROM directory_users \
         WHERE tenant_id = es_tenant() AND id = ANY($1)",
    )
    .bind::<Array<BigInt>>(ids.into_iter().collect::<Vec<_>>())
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().map(|user| (user.id, user)).collect())
}

/// An organization.
#[derive(Clone, Debug, PartialEq, diesel::QueryableByName)]
pub struct Organization {
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    #[diesel(sql_type = Text)]
    pub slug: String,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub description: String,
    #[diesel(sql_type = Text)]
    pub contact: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub owner_id: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    pub created_date: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub updated_date: DateTime<Utc>,
}

impl Organization {
    /// The organization, as events know one.
    ///
    /// # Errors
    /// When the contact is no JSON object, which is never.
    pub fn fact(self) -> Result<facts::Organization, StoreError> {
        Ok(facts::Organization {
            id: self.id,
            contact: serde_json::from_str(&self.contact)?,
            slug: self.slug,
            name: self.name,
            description: self.description,
            owner_id: self.owner_id,
            created_date: self.created_date,
            updated_date: self.updated_date,
        })
    }
}

/// An organization by its id.
pub async fn organization(tx: &mut Tx, id: i64) -> Result<Option<Organization>, StoreError> {
    let rows: Vec<Organization> = Sql::fixed(
        "SELECT id, slug, name, description, contact::text AS contact, owner_id, created_date, updated_date \
         FROM directory_organizations WHERE tenant_id = es_tenant() AND id = $1 AND NOT ended",
    )
    .bind::<BigInt>(id)
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next())
}

/// An organization by its slug. Outside identity two may have it for a moment, when the news of who took it
/// came before those of who gave it up: then it is the one that changed last.
pub async fn organization_by_slug(tx: &mut Tx, slug: &str) -> Result<Option<Organization>, StoreError> {
    // PostgreSQL would refuse it as an error of ours.
    if slug.contains('\0') {
        return Ok(None);
    }
    let rows: Vec<Organization> = Sql::fixed(
        "SELECT id, slug, name, description, contact::text AS contact, owner_id, created_date, updated_date \
         FROM directory_organizations WHERE tenant_id = es_tenant() AND slug = $1 AND NOT ended \
         ORDER BY updated_date DESC, id DESC LIMIT 1",
    )
    .bind::<Text>(slug.to_owned())
    .load(&mut **tx)
    .await?;
    Ok(rows.into_iter().next())
}

#[derive(diesel::QueryableByName)]
struct MembershipRow {
    #[diesel(sql_type = BigInt)]
    organization_id: i64,
    #[diesel(sql_type = Text)]
    role: String,
}

/// A user's active memberships: organization and role. Outside identity two may be of one organization for a
/// moment, when a user who left is back and the news of their leaving is late: then the newer one counts.
pub async fn memberships_of(tx: &mut Tx, user_id: i64) -> Result<Vec<(i64, Role)>, StoreError> {
    let rows: Vec<MembershipRow> = Sql::fixed(
        "SELECT organization_id, role FROM (SELECT DISTINCT ON (organization_id) organization_id, role, is_active \
         FROM directory_memberships WHERE tenant_id = es_tenant() AND user_id = $1 \
         ORDER BY organization_id, id DESC) m WHERE is_active",
    )
    .bind::<BigInt>(user_id)
    .load(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| match row.role.parse() {
            Ok(role) => Ok((row.organization_id, role)),
            Err(_) => Err(StoreError::Corrupt(format!("a membership has the role {}", row.role))),
        })
        .collect()
}

/// A user's role in an organization, if they are an active member.
pub async fn role(tx: &mut Tx, organization_id: i64, user_id: i64) -> Result<Option<Role>, StoreError> {
    let memberships = memberships_of(tx, user_id).await?;
    Ok(memberships.into_iter().find(|(id, _)| *id == organization_id).map(|(_, role)| role))
}
