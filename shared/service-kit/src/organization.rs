//! Which organization a request is about, and what its caller is there.

use std::future::{Ready, ready};

use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest};
use event_store::Sql;
use policy::{Context, Decision, ListScope, Predicate, Relation, Role};
use serde_json::json;
use url::form_urlencoded;

use crate::directory::{self, Organization};
use crate::{Caller, Kit, Refusal};

/// What a request says: `?org=`, `?org_id=` or the header `X-Organization`. An extractor.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// Nothing was said: lists show everything that the caller may see.
    Nothing,
    /// It was said and empty: the personal workspace.
    Personal,
    Slug(String),
    Id(i64),
}

impl Selection {
    /// Reads a request, by CVAT's rules for contradictions.
    pub fn of(request: &HttpRequest) -> Result<Self, Refusal> {
        let conflict = |text: &str| Err(Refusal::body(StatusCode::BAD_REQUEST, "invalid", json!([text])));
        let (mut slug, mut id) = (None, None);
        for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
            match name.as_ref() {
                "org" => slug = Some(value.into_owned()),
                "org_id" => id = Some(value.into_owned()),
                _ => {}
            }
        }
        if let Some(header) = request.headers().get("x-organization") {
            let header = header.to_str().unwrap_or_default().to_owned();
            if slug.as_ref().is_some_and(|slug| *slug != header) {
                return conflict("You cannot specify different organizations in the query and the header.");
            }
            slug = Some(header);
        }
        match (slug, id) {
            (Some(_), Some(_)) => conflict(
                "You cannot specify \"org_id\" query parameter with \"org\" query parameter or \"X-Organization\" HTTP header at the same time.",
            ),
            (None, Some(id)) if id.is_empty() => Ok(Self::Personal),
            (None, Some(id)) => match id.parse() {
                Ok(id) => Ok(Self::Id(id)),
                Err(_) => conflict("org_id: A valid integer is required."),
            },
            (Some(slug), None) if slug.is_empty() => Ok(Self::Personal),
            (Some(slug), None) => Ok(Self::Slug(slug)),
            (None, None) => Ok(Self::Nothing),
        }
    }
}

impl FromRequest for Selection {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

/// A selection after the directory was asked.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Everything that the caller may see; holds the memberships.
    All(Vec<(i64, Role)>),
    Personal,
    Organization {
        organization: Organization,
        role: Option<Role>,
    },
}

impl Scope {
    /// The organization that something new belongs to.
    pub fn organization_id(&self) -> Option<i64> {
        match self {
            Self::Organization { organization, .. } => Some(organization.id),
            _ => None,
        }
    }

    /// For a decision about something new.
    pub fn context(&self) -> Context {
        match self {
            Self::Organization { organization, role } => {
                Context::Organization { id: organization.id, role: *role }
            }
            _ => Context::Sandbox,
        }
    }

    /// For a list.
    pub fn list(&self) -> ListScope<'_> {
        match self {
            Self::All(memberships) => ListScope::All { memberships },
            _ => ListScope::Within(self.context()),
        }
    }
}

impl Kit {
    /// Resolves a selection; waits for identity's log where this service may not know yet.
    ///
    /// # Errors
    /// 404 for an organization that does not exist, 403 for one that the caller is not in.
    pub async fn scope(&self, caller: &Caller, selection: &Selection) -> Result<Scope, Refusal> {
        if *selection == Selection::Personal {
            return Ok(Scope::Personal);
        }
        let mut tx = self.store.database().tenant(caller.tenant()).await?;
        let found = match selection {
            Selection::Nothing | Selection::Personal => {
                let memberships = directory::memberships_of(&mut tx, caller.user_id()).await?;
                tx.commit().await?;
                return Ok(Scope::All(memberships));
            }
            Selection::Slug(slug) => directory::organization_by_slug(&mut tx, slug).await?,
            Selection::Id(id) => directory::organization(&mut tx, *id).await?,
        };
        tx.commit().await?;
        let organization = match found {
            Some(organization) => organization,
            None => self.late_organization(caller, selection).await?,
        };
        let role = self.role(caller, organization.id).await?;
        if role.is_none() && !caller.is_admin() {
            return Err(Refusal::forbidden());
        }
        Ok(Scope::Organization { organization, role })
    }

    async fn late_organization(
        &self,
        caller: &Caller,
        selection: &Selection,
    ) -> Result<Organization, Refusal> {
        let (name, known) = match selection {
            Selection::Slug(slug) => {
                (slug.clone(), self.await_named(caller.tenant(), "identity", "organization", slug).await?)
            }
            Selection::Id(id) => (
                id.to_string(),
                self.await_stream(caller.tenant(), "identity", "organization", *id).await?.then_some(*id),
            ),
            _ => (String::new(), None),
        };
        let mut tx = self.store.database().tenant(caller.tenant()).await?;
        let found = match known {
            Some(id) => directory::organization(&mut tx, id).await?,
            None => None,
        };
        tx.commit().await?;
        found.ok_or_else(|| {
            Refusal::new(StatusCode::NOT_FOUND, "not_found", format!("{name} organization does not exist."))
        })
    }

    /// The caller's role in an organization; none only after identity's log was waited for.
    pub async fn role(&self, caller: &Caller, organization_id: i64) -> Result<Option<Role>, Refusal> {
        let mut tx = self.store.database().tenant(caller.tenant()).await?;
        let role = directory::role(&mut tx, organization_id, caller.user_id()).await?;
        tx.commit().await?;
        if role.is_some() || caller.is_admin() {
            return Ok(role);
        }
        let name = format!("{organization_id}/{}", caller.user_id());
        if self.await_named(caller.tenant(), "identity", "membership", &name).await?.is_none() {
            return Ok(None);
        }
        let mut tx = self.store.database().tenant(caller.tenant()).await?;
        let role = directory::role(&mut tx, organization_id, caller.user_id()).await?;
        tx.commit().await?;
        Ok(role)
    }

    /// Asks a permission table about something in an organization, or in a personal workspace. A refusal
    /// that rests on identity's state is given only after identity's log was waited for: the caller may have
    /// been promoted a moment ago.
    ///
    /// # Errors
    /// 403 when it is denied, 503 when the news cannot be had.
    pub async fn permit(
        &self,
        caller: &Caller,
        organization_id: Option<i64>,
        decide: impl Fn(&Context) -> Decision,
    ) -> Result<(), Refusal> {
        if decide(&self.context_of(caller, organization_id).await?).is_allowed() {
            return Ok(());
        }
        let Some(id) = organization_id else { return Err(Refusal::forbidden()) };
        let name = format!("{id}/{}", caller.user_id());
        if self.await_named(caller.tenant(), "identity", "membership", &name).await?.is_none() {
            return Err(Refusal::forbidden());
        }
        match decide(&self.context_of(caller, organization_id).await?) {
            Decision::Allow => Ok(()),
            Decision::Deny => Err(Refusal::forbidden()),
        }
    }

    /// The context of a thing that exists, from its own organization; the request's is ignored.
    pub async fn context_of(
        &self,
        caller: &Caller,
        organization_id: Option<i64>,
    ) -> Result<Context, Refusal> {
        match organization_id {
            None => Ok(Context::Sandbox),
            Some(id) => Ok(Context::Organization { id, role: self.role(caller, id).await? }),
        }
    }
}

/// Where a table keeps what permissions are about. The texts are SQL expressions of ours.
#[derive(Clone, Copy)]
pub struct Columns {
    pub organization: &'static str,
    pub owner: Option<&'static str>,
    pub assignee: Option<&'static str>,
    pub project_owner: Option<&'static str>,
    pub project_assignee: Option<&'static str>,
    pub task_owner: Option<&'static str>,
    pub task_assignee: Option<&'static str>,
}

impl Columns {
    /// A table that knows its organization and nobody who is related to its rows.
    pub const fn of(organization: &'static str) -> Self {
        Self {
            organization,
            owner: None,
            assignee: None,
            project_owner: None,
            project_assignee: None,
            task_owner: None,
            task_assignee: None,
        }
    }
}

/// Appends ` AND (…)` for what the caller may see.
pub fn push_predicate(sql: &mut Sql, predicate: &Predicate, columns: &Columns, user_id: i64) {
    sql.push(" AND ");
    predicate_sql(sql, predicate, columns, user_id);
}

fn predicate_sql(sql: &mut Sql, predicate: &Predicate, columns: &Columns, user_id: i64) {
    match predicate {
        Predicate::Everything => {
            sql.push("TRUE");
        }
        Predicate::Nothing => {
            sql.push("FALSE");
        }
        Predicate::And(parts) => joined(sql, parts, " AND ", columns, user_id),
        Predicate::Or(parts) => joined(sql, parts, " OR ", columns, user_id),
        Predicate::Organization(id) => {
            sql.push(columns.organization).push(" = ").push_i64(*id);
        }
        Predicate::OrganizationIn(ids) => {
            sql.push(columns.organization).push(" = ANY(");
            sql.push_bind::<diesel::sql_types::Array<diesel::sql_types::BigInt>>(ids.clone()).push(")");
        }
        Predicate::AnyOrganization => {
            sql.push(columns.organization).push(" IS NOT NULL");
        }
        Predicate::NoOrganization => {
            sql.push(columns.organization).push(" IS NULL");
        }
        Predicate::Related(relation) => {
            let column = match relation {
                Relation::Owner => columns.owner,
                Relation::Assignee => columns.assignee,
                Relation::ProjectOwner => columns.project_owner,
                Relation::ProjectAssignee => columns.project_assignee,
                Relation::TaskOwner => columns.task_owner,
                Relation::TaskAssignee => columns.task_assignee,
                Relation::SelfUser | Relation::Worker | Relation::Supervisor | Relation::Maintainer => None,
            };
            // A relation that this table cannot express is one that nobody has: never "no filter".
            match column {
                Some(column) => sql.push(column).push(" = ").push_i64(user_id),
                None => sql.push("FALSE"),
            };
        }
    }
}

fn joined(sql: &mut Sql, parts: &[Predicate], word: &str, columns: &Columns, user_id: i64) {
    sql.push("(");
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            sql.push(word);
        }
        predicate_sql(sql, part, columns, user_id);
    }
    sql.push(")");
}

/// The relations of a caller to a thing with an owner and perhaps an assignee.
pub fn ownership(user_id: i64, owner: Option<i64>, assignee: Option<i64>) -> policy::Ownership {
    policy::Ownership::NONE
        .with(Relation::Owner, owner == Some(user_id))
        .with(Relation::Assignee, assignee == Some(user_id))
}

impl Default for Columns {
    fn default() -> Self {
        Self::of("organization_id")
    }
}
