//! Lists as CVAT 2.72 answers them: pages, sort, search, simple filters and the JSON-logic `filter`.
//!
//! A service says once, as a constant, what clients may name ([`ListFields`]); [`ListQuery::parse`] reads the
//! query string against it; the result appends itself to the service's own statement. What a client wrote is
//! only ever a bound parameter: the text of the statement is made of the service's columns and our operators.
//!
//! ```text
//! const PROJECTS: ListFields = ListFields::new(
//!     "p.id",
//!     &[
//!         Field::new("id", "p.id", Kind::Integer).without_simple(),
//!         Field::new("name", "p.name", Kind::Text).searchable(),
//!         Field::new("owner", "owner.username", Kind::Text).searchable(),
//!         Field::new("updated_date", "p.updated_at", Kind::Timestamp).without_simple(),
//!     ],
//! );
//! let query = ListQuery::from_query_string(request.query_string(), &PROJECTS)?;
//! let mut total = Sql::composed("SELECT count(*) AS count FROM projects p JOIN … WHERE true");
//! query.push_where(&mut total);                       // … then the permission's own condition
//! let window = query.window(count)?;                  // 404 when the page does not exist
//! let mut rows = Sql::composed("SELECT … FROM projects p JOIN … WHERE true");
//! query.push_where(&mut rows);
//! query.push_order_and_page(&mut rows, &window);
//! Page::new(results, &window, &absolute_request_url)
//! ```
//!
//! Behaviour is that of CVAT's filter backends (`cvat/apps/engine/filters.py`, `pagination.py`) on DRF 3.15 and
//! later; error texts are those of `reference/cvat-api.md` §1.1. Where CVAT fails with 500, we answer 400.

mod condition;
mod error;
mod fields;
mod ids;
mod json_logic;
mod page;
mod parameters;
mod python;
mod search;
mod simple;
mod value;

#[cfg(test)]
mod filter_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use event_store::sql::Sql;

use condition::Condition;
use page::{PageNumber, PageSize};

pub use error::ListError;
pub use fields::{Field, Kind, ListFields, Order};
pub use json_logic::{MAX_FILTER_BYTES, MAX_FILTER_DEPTH};
pub use page::{MAX_PAGE_SIZE, Page, Window};
pub use parameters::{Place, parameters};
pub use search::{MAX_SEARCH_BYTES, MAX_SEARCH_TERMS};

/// Pages with a greater number are not guessed at: 10,000 rows each, their offset is still a number.
const GUESSED_MAX: i64 = 1_000_000;

/// A list request that has been read and found valid.
#[derive(Debug, Clone, PartialEq)]
pub struct ListQuery {
    conditions: Vec<Condition>,
    order: Vec<Order>,
    number: PageNumber,
    size: PageSize,
}

impl ListQuery {
    /// Reads the pairs of a query string, already percent-decoded.
    ///
    /// Parameters that `fields` does not know are ignored, and of a repeated parameter the last one counts:
    /// both as Django does. Errors come in the order of CVAT 2.72's filter backends: simple filters, search,
    /// JSON-logic; an impossible page is the last to be noticed.
    ///
    /// # Errors
    /// 400 for a filter, search or value that makes no sense, 404 for a page that cannot exist.
    pub fn parse<K, V>(
        pairs: impl IntoIterator<Item = (K, V)>,
        fields: &ListFields,
    ) -> Result<Self, ListError>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut parameters = HashMap::new();
        for (name, value) in pairs {
            parameters.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        }
        let parameter = |name: &str| parameters.get(name).map_or("", String::as_str);

        let mut conditions = simple::parse(parameter, fields)?;
        conditions.extend(search::parse(parameter("search"), fields)?);
        conditions.extend(json_logic::parse(parameter("filter"), fields)?);
        Ok(Self {
            conditions,
            order: fields.order(parameter("sort")),
            number: PageNumber::parse(parameter("page"))?,
            size: PageSize::parse(parameter("page_size")),
        })
    }

    /// Reads a raw query string (`page=2&filter=%7B…`, no `?`).
    ///
    /// # Errors
    /// As [`ListQuery::parse`].
    pub fn from_query_string(query: &str, fields: &ListFields) -> Result<Self, ListError> {
        Self::parse(url::form_urlencoded::parse(query.as_bytes()), fields)
    }

    /// Appends ` AND …` for every condition; the statement so far must end inside a `WHERE`, and its text depend on
    /// few things: without a condition it is prepared once, because half of what a page costs is planning it.
    pub fn push_where(&self, sql: &mut Sql) {
        if self.conditions.is_empty() && self.order.len() <= 2 {
            sql.has_few_forms();
        }
        for condition in &self.conditions {
            sql.push(" AND ");
            condition.push(sql);
        }
    }

    /// Finds the requested page among `count` rows.
    ///
    /// It stands before [`ListQuery::push_order_and_page`] because `page=last` has no number until the rows
    /// are counted, and because a page out of range must be refused, not answered with nothing.
    ///
    /// # Errors
    /// 404 `Invalid page.` when there is no such page; page 1 of nothing exists.
    pub fn window(&self, count: i64) -> Result<Window, ListError> {
        Window::new(count, self.number, self.size)
    }

    /// The requested page as if the list were long enough; none for `page=last`.
    fn guess(&self) -> Option<Window> {
        match self.number {
            PageNumber::At(number) if number <= GUESSED_MAX => {
                Window::new(number * self.size.0.unwrap_or(1), self.number, self.size).ok()
            }
            _ => None,
        }
    }

    /// Appends ` ORDER BY … LIMIT … OFFSET …`; with `page_size=all` there is no limit.
    pub fn push_order_and_page(&self, sql: &mut Sql, window: &Window) {
        for (index, order) in self.order.iter().enumerate() {
            sql.push(if index == 0 { " ORDER BY " } else { ", " });
            sql.push(order.column).push(if order.descending { " DESC" } else { " ASC" });
        }
        window.push(sql);
    }
}
