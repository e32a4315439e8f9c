//! Which organization a request is about, and what its caller is there.

use std::future::{Ready, ready};

use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest};
use event_store::Tx;
use policy::{Context, Decision, ListScope, Relation, Role};
use serde_json::json;
use url::form_urlencoded;

use crate::directory::{self, Organization};
use crate::news::News;
pub use crate::visibility::{Columns, push_predicate};
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
            let Ok(header) = header.to_str().map(str::to_owned) else {
                return conflict("X-Organization is not printable ASCII.");
            };
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

impl Scope {
    /// Resolves a selection by what this service knows.
    ///
    /// # Errors
    /// 404 for an organization that does not exist, 403 for one that the caller is not in; both rest on
    /// identity's news.
    pub async fn find(tx: &mut Tx, caller: &Caller, selection: &Selection) -> Result<Self, Refusal> {
        let found = match selection {
            Selection::Personal => return Ok(Self::Personal),
            Selection::Nothing => {
                return Ok(Self::All(directory::memberships_of(tx, caller.user_id()).await?));
            }
            Selection::Slug(slug) => directory::organization_by_slug(tx, slug).await?,
            Selection::Id(id) => directory::organization(tx, *id).await?,
        };
        let organization = found.ok_or_else(|| no_organization(selection))?;
        let role = directory::role(tx, organization.id, caller.user_id()).await?;
        if role.is_none() && !caller.is_admin() {
            return Err(not_permitted(caller, organization.id));
        }
        Ok(Self::Organization { organization, role })
    }

    /// The same for something that is about to be created there: the organization stays until the end of the
    /// transaction. Whoever hears of its deletion meanwhile waits, and then finds what was created; whoever
    /// has heard of it already keeps it from being created.
    ///
    /// # Errors
    /// As [`Scope::find`].
    pub async fn hold(tx: &mut Tx, caller: &Caller, selection: &Selection) -> Result<Self, Refusal> {
        let scope = Self::find(tx, caller, selection).await?;
        match scope.organization_id() {
            Some(id) if !directory::hold_organization(tx, id).await? => Err(no_organization(selection)),
            _ => Ok(scope),
        }
    }
}

fn no_organization(selection: &Selection) -> Refusal {
    let (name, news) = match selection {
        Selection::Slug(slug) => (slug.clone(), News::named("identity", "organization", slug)),
        Selection::Id(id) => (id.to_string(), News::of("identity", "organization", *id)),
        Selection::Nothing | Selection::Personal => return Refusal::not_found(),
    };
    let detail = format!("{name} organization does not exist.");
    Refusal::new(StatusCode::NOT_FOUND, "not_found", detail).unless(news)
}

fn not_permitted(caller: &Caller, organization_id: i64) -> Refusal {
    Refusal::forbidden().unless(News::of_membership(organization_id, caller.user_id()))
}

/// Asks a permission table about something in an organization, or in a personal workspace, by what this
/// service knows. A thing that exists is in its own organization, whichever the request names.
///
/// # Errors
/// 403 when it is denied, which rests on identity's news: the caller may have been promoted a moment ago.
pub async fn permit(
    tx: &mut Tx,
    caller: &Caller,
    organization_id: Option<i64>,
    decide: impl Fn(&Context) -> Decision,
) -> Result<(), Refusal> {
    let context = match organization_id {
        None => Context::Sandbox,
        Some(id) => Context::Organization { id, role: directory::role(tx, id, caller.user_id()).await? },
    };
    match (decide(&context), organization_id) {
        (Decision::Allow, _) => Ok(()),
        (Decision::Deny, Some(id)) => Err(not_permitted(caller, id)),
        (Decision::Deny, None) => Err(Refusal::forbidden()),
    }
}

impl Kit {
    /// Resolves a selection; waits for identity's log where this service may not know yet.
    ///
    /// # Errors
    /// As [`Scope::find`], and 503 when the news cannot be had.
    pub async fn scope(&self, caller: &Caller, selection: &Selection) -> Result<Scope, Refusal> {
        self.read_late(caller, async |tx| Scope::find(tx, caller, selection).await).await
    }

    /// Asks a permission table, as [`permit`] does; a refusal is given only after identity's news.
    ///
    /// # Errors
    /// 403 when it is denied, 503 when the news cannot be had.
    pub async fn permit(
        &self,
        caller: &Caller,
        organization_id: Option<i64>,
        decide: impl Fn(&Context) -> Decision,
    ) -> Result<(), Refusal> {
        self.read_late(caller, async |tx| permit(tx, caller, organization_id, &decide).await).await
    }
}

/// The relations of a caller to a thing with an owner and perhaps an assignee.
pub fn ownership(user_id: i64, owner: Option<i64>, assignee: Option<i64>) -> policy::Ownership {
    policy::Ownership::NONE
        .with(Relation::Owner, owner == Some(user_id))
        .with(Relation::Assignee, assignee == Some(user_id))
}
