//! Pages: which rows, how many, and the links to the neighbours.

use std::collections::BTreeMap;

use event_store::sql::Sql;
use serde::Serialize;

use super::ListError;

/// The greatest numeric `page_size`; a greater one is cut to it, and `next` leads on. CVAT has no such limit,
/// but its clients name a big number when they have not thought about it; `page_size=all` really means all.
pub const MAX_PAGE_SIZE: i64 = 10_000;

const DEFAULT_PAGE_SIZE: i64 = 10;

/// The page a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageNumber {
    At(i64),
    /// `page=last`, which DRF knows beside the numbers.
    Last,
}

impl PageNumber {
    pub fn parse(page: &str) -> Result<Self, ListError> {
        match page.trim() {
            "" => Ok(Self::At(1)),
            "last" => Ok(Self::Last),
            number => match number.parse() {
                Ok(number) if number >= 1 => Ok(Self::At(number)),
                _ => Err(ListError::invalid_page()),
            },
        }
    }
}

/// How many rows a page has; `None` is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageSize(pub Option<i64>);

impl PageSize {
    /// Never fails: CVAT 2.72 falls back to 10 for whatever is not a positive integer.
    pub fn parse(size: &str) -> Self {
        use std::num::IntErrorKind::PosOverflow;
        if size == "all" {
            return Self(None);
        }
        Self(Some(match size.trim().parse() {
            Ok(size) if size >= 1 => MAX_PAGE_SIZE.min(size),
            Err(error) if *error.kind() == PosOverflow => MAX_PAGE_SIZE,
            _ => DEFAULT_PAGE_SIZE,
        }))
    }
}

/// The place of one page among the counted rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    count: i64,
    number: i64,
    pages: i64,
    size: Option<i64>,
}

impl Window {
    pub(super) fn new(count: i64, number: PageNumber, size: PageSize) -> Result<Self, ListError> {
        let count = count.max(0);
        // Nothing still has one page: an empty collection is no error.
        let pages = size.0.map_or(1, |size| count.div_euclid(size) + i64::from(count % size > 0)).max(1);
        let number = match number {
            PageNumber::At(number) if number > pages => return Err(ListError::invalid_page()),
            PageNumber::At(number) => number,
            PageNumber::Last => pages,
        };
        Ok(Self { count, number, pages, size: size.0 })
    }

    pub(super) fn is_first(&self) -> bool {
        self.number == 1
    }

    /// How many rows the whole list has.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// The page's number and size, 0 for all.
    #[cfg(test)]
    pub(super) fn placed(&self) -> (i64, i64) {
        (self.number, self.size.unwrap_or(0))
    }

    pub(super) fn push(&self, sql: &mut Sql) {
        if let Some(size) = self.size {
            // No overflow: the page exists, so its offset is less than the count.
            sql.push(" LIMIT ").push_i64(size);
            sql.push(" OFFSET ").push_i64((self.number - 1) * size);
        }
    }
}

/// One page, as DRF's `PageNumberPagination` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// How many rows the whole list has.
    pub count: i64,
    /// The next page's absolute URL. CVAT's SDK loops until it is null.
    pub next: Option<String>,
    /// The previous page's absolute URL.
    pub previous: Option<String>,
    /// The rows of this page.
    pub results: Vec<T>,
}

impl<T> Page<T> {
    /// The page at `window`. `request_url` is the request's absolute URL, its scheme and host as the client
    /// saw them and its query as the client sent it.
    pub fn new(results: Vec<T>, window: &Window, request_url: &str) -> Self {
        let next = (window.number < window.pages).then(|| link(request_url, window.number + 1));
        let previous = (window.number > 1).then(|| link(request_url, window.number - 1));
        Self { count: window.count, next, previous, results }
    }
}

/// The URL with another `page`; page 1 is the URL without one. The parameters are sorted, as DRF sorts them.
fn link(request_url: &str, page: i64) -> String {
    let (address, query) = request_url.split_once('?').unwrap_or((request_url, ""));
    let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        parameters.entry(name.into_owned()).or_default().push(value.into_owned());
    }
    parameters.remove("page");
    if page > 1 {
        parameters.insert("page".to_owned(), vec![page.to_string()]);
    }
    if parameters.is_empty() {
        return address.to_owned();
    }
    let mut encoded = url::form_urlencoded::Serializer::new(String::new());
    for (name, values) in &parameters {
        for value in values {
            encoded.append_pair(name, value);
        }
    }
    format!("{address}?{}", encoded.finish())
}
