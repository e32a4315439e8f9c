//! What clients may name in one collection, and the columns behind the names.

/// The type of a field's column: decides which operands are accepted and how they are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `text`, `varchar`.
    Text,
    /// A text column with a closed set of values; a simple filter refuses others, as Django's choices do.
    Choice(&'static [&'static str]),
    /// `smallint`, `integer` or `bigint`; bound as `bigint`.
    Integer,
    /// `boolean`.
    Boolean,
    /// `timestamptz`.
    Timestamp,
    /// `uuid`.
    Uuid,
}

/// A name that clients use and the SQL that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// What clients say, e.g. `owner`; never `page`, `page_size`, `sort`, `search` or `filter`.
    pub name: &'static str,
    /// Trusted SQL that enters statements as it is: a column (`u_owner.username`) or an expression in
    /// parentheses, of a type that fits `kind`.
    pub column: &'static str,
    /// The column's type.
    pub kind: Kind,
    /// `?search=` looks here.
    pub search: bool,
    /// `?filter=` may name it.
    pub filter: bool,
    /// `?sort=` may name it.
    pub sort: bool,
    /// `?<name>=value` filters by equality.
    pub simple: bool,
}

impl Field {
    /// A field that can be filtered by, sorted by and given as a simple filter, but is not searched.
    pub const fn new(name: &'static str, column: &'static str, kind: Kind) -> Self {
        Self { name, column, kind, search: false, filter: true, sort: true, simple: true }
    }

    /// The same field, also looked at by `?search=`.
    pub const fn searchable(mut self) -> Self {
        self.search = true;
        self
    }

    /// The same field, not to be named in `?filter=`.
    pub const fn without_filter(mut self) -> Self {
        self.filter = false;
        self
    }

    /// The same field, not to be named in `?sort=`.
    pub const fn without_sort(mut self) -> Self {
        self.sort = false;
        self
    }

    /// The same field, without `?<name>=value`.
    pub const fn without_simple(mut self) -> Self {
        self.simple = false;
        self
    }

    /// The column as text, for the operators that look inside it; Django casts in the same way.
    pub(super) fn as_text(&self) -> TextColumn {
        TextColumn { column: self.column, cast: !matches!(self.kind, Kind::Text | Kind::Choice(_)) }
    }
}

/// A column read as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TextColumn {
    pub column: &'static str,
    pub cast: bool,
}

/// One term of an `ORDER BY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Trusted SQL, as [`Field::column`].
    pub column: &'static str,
    /// `DESC` instead of `ASC`.
    pub descending: bool,
}

impl Order {
    /// Smallest first.
    pub const fn ascending(column: &'static str) -> Self {
        Self { column, descending: false }
    }

    /// Greatest first.
    pub const fn descending(column: &'static str) -> Self {
        Self { column, descending: true }
    }
}

/// A collection as its clients see it. Made once, as a constant.
#[derive(Debug, Clone, Copy)]
pub struct ListFields {
    id_column: &'static str,
    fields: &'static [Field],
    default_order: &'static [Order],
}

impl ListFields {
    /// A collection in CVAT's usual default order, `-id`.
    ///
    /// `id_column` must be unique in the collection: it ends every order, so that rows that compare equal
    /// neither repeat nor go missing between two pages.
    pub const fn new(id_column: &'static str, fields: &'static [Field]) -> Self {
        Self { id_column, fields, default_order: &[] }
    }

    /// The same collection in another default order (CVAT: labels `id`, invitations `-created_date`, assets
    /// `uuid`, webhook deliveries `-updated_date`).
    pub const fn ordered_by(mut self, order: &'static [Order]) -> Self {
        self.default_order = order;
        self
    }

    /// The fields, for the API document.
    pub const fn fields(&self) -> &'static [Field] {
        self.fields
    }

    pub(super) fn filter_field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.filter && field.name == name)
    }

    /// Reads `sort`: a comma list with `-` prefixes. CVAT drops unknown names silently, and falls back to the
    /// default order when nothing is left.
    ///
    /// The tie breaker takes the direction of the last term: a sort and its negation are then exact reverses.
    pub(super) fn order(&self, sort: &str) -> Vec<Order> {
        let mut order: Vec<Order> = Vec::new();
        for term in sort.split(',').map(str::trim) {
            let (name, descending) = term.strip_prefix('-').map_or((term, false), |name| (name, true));
            let Some(field) = self.fields.iter().find(|field| field.sort && field.name == name) else {
                continue;
            };
            // A column that comes again decides nothing, and a long list must not make a long statement.
            if order.iter().all(|earlier| earlier.column != field.column) {
                order.push(Order { column: field.column, descending });
            }
        }
        if order.is_empty() {
            order.extend_from_slice(self.default_order);
        }
        if order.iter().all(|term| term.column != self.id_column) {
            let descending = order.last().is_none_or(|term| term.descending);
            order.push(Order { column: self.id_column, descending });
        }
        order
    }
}
