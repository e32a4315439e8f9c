//! Who may do what: permission tables as data, and the one evaluator of them.
//!
//! The rules are CVAT's (policy tables of release 2.72), one table a resource, one row a rule, in `tables/*.csv`.
//! [`Table::decide`] answers whether one thing is allowed, [`Table::visible`] which objects a list shows; both
//! read the same rows, so they cannot disagree. Nothing here does I/O or knows of tenants: another tenant's rows
//! are hidden by the database before anybody asks.
//!
//! ```
//! use policy::{Context, LimitInput, Ownership, Privilege, Relation, Resource, Role, Subject};
//!
//! let worker = Subject { user_id: 7, privilege: Some(Privilege::Worker) };
//! let in_acme = Context::Organization { id: 1, role: Some(Role::Worker) };
//! let assigned = Ownership::NONE.with(Relation::Assignee, true);
//!
//! let projects = policy::table(Resource::Projects);
//! assert!(projects.decide("update:desc", &worker, &in_acme, assigned, &LimitInput::NONE).is_allowed());
//! assert!(!projects.decide("delete", &worker, &in_acme, assigned, &LimitInput::NONE).is_allowed());
//! ```
//!
//! # How a row is read
//! A request is allowed if at least one row of its scope allows it. A row does if all its cells agree:
//!
//! | column | the request must | always agrees |
//! |---|---|---|
//! | `Context` | be about something personal (`Sandbox`) or something of an organization | `N/A` |
//! | `Ownership` | come from somebody who holds one of these relations to the object | `None`, `N/A` |
//! | `Limit` | be about a resource that satisfies this | empty |
//! | `Privilege` | come from somebody with at least this privilege in the tenant, or with `Only` before it, exactly this | `None` |
//! | `Membership` | come from an active member with at least this role | `N/A` |
//!
//! - **Relations add up, and `None` is for everybody.** CVAT's tables write `None` where no relation is *needed*:
//!   a maintainer who is also the assignee may do what any maintainer may. So whoever holds several relations may
//!   do what any of them allows, and gaining a relation never takes a right away.
//! - **No member changes their own role**, although `change:role` is for `None`: one's own membership has one's own
//!   role, and the `Limit` of each such row excludes the role that the row needs and all above it.
//! - **`admin` may do all that a table knows.** It is not in the rows but part of how CVAT reads them: each scope
//!   has one more row, `N/A, N/A, (no limit), Admin, N/A`.
//! - **The organization is the object's**, not the request's, except to create and to list.
//! - In `organizations`, the relations are the caller's role in that organization: see [`Ownership::by_role`].
//! - What no row allows is denied, and so is a scope that no table knows.

mod csv;
mod name;

mod caller;
mod ownership;
mod predicate;
mod rule;
mod table;
#[cfg(test)]
mod tests;

pub use caller::{Context, Privilege, Role, Subject};
pub use csv::{Defect, TableError};
pub use name::UnknownName;
pub use ownership::{Ownership, Relation};
pub use predicate::{Object, Predicate};
pub use rule::LimitInput;
pub use table::{Decision, ListScope, Resource, Table, table, validate_all};
