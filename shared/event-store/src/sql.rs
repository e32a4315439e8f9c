//! SQL text with typed, positional parameters.
//!
//! Diesel caches the prepared form of its own queries but never of `sql_query`. The statements on the
//! append path are few, constant and hot, so they must be cached; lists are composed at run time from a
//! filter, a search and a permission, so they must be composable. [`Sql`] is both: [`Sql::fixed`] is cached
//! by its text, [`Sql::composed`] is not. A value never enters the text: it is always a bound parameter.

use std::borrow::Cow;

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{self, HasSqlType};

/// One bound parameter; boxed because a composed statement does not know its parameters' types.
trait Parameter: Send + Sync {
    fn push<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()>;
}

struct Bound<T, ST> {
    value: T,
    sql_type: std::marker::PhantomData<fn() -> ST>,
}

impl<T, ST> Parameter for Bound<T, ST>
where
    T: ToSql<ST, Pg> + Send + Sync,
    Pg: HasSqlType<ST>,
{
    fn push<'b>(&'b self, pass: &mut AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()> {
        pass.push_bind_param_value_only::<ST, T>(&self.value)
    }
}

/// A statement, or a part of one, with the values of its parameters `$1`, `$2`, …
pub struct Sql {
    text: Cow<'static, str>,
    cached: bool,
    parameters: Vec<Box<dyn Parameter>>,
}

impl Sql {
    /// A constant statement: prepared once per connection and cached by its text.
    pub fn fixed(text: &'static str) -> Self {
        Self { text: Cow::Borrowed(text), cached: true, parameters: Vec::new() }
    }

    /// A statement put together from the code's own constants: few forms, so it is cached too.
    pub fn templated(text: String) -> Self {
        Self { text: Cow::Owned(text), cached: true, parameters: Vec::new() }
    }

    /// The beginning of a statement that is put together at run time; not cached, because the number of its forms
    /// has no bound, unless [`Sql::has_few_forms`] says otherwise.
    pub fn composed(text: impl Into<String>) -> Self {
        Self { text: Cow::Owned(text.into()), cached: false, parameters: Vec::new() }
    }

    /// Says of a composed statement that what its text depends on has few values, so that it may be cached.
    pub fn has_few_forms(&mut self) -> &mut Self {
        self.cached = true;
        self
    }

    /// Gives the next parameter (`$1` is the first) its value. For [`Sql::fixed`] text that already names it.
    pub fn bind<ST>(mut self, value: impl ToSql<ST, Pg> + Send + Sync + 'static) -> Self
    where
        ST: 'static,
        Pg: HasSqlType<ST>,
    {
        self.parameters.push(Box::new(Bound { value, sql_type: std::marker::PhantomData }));
        self
    }

    /// Appends text that carries no parameters.
    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Appends a placeholder (`$n`) and its value.
    pub fn push_bind<ST>(&mut self, value: impl ToSql<ST, Pg> + Send + Sync + 'static) -> &mut Self
    where
        ST: 'static,
        Pg: HasSqlType<ST>,
    {
        self.parameters.push(Box::new(Bound::<_, ST> { value, sql_type: std::marker::PhantomData }));
        let placeholder = format!("${}", self.parameters.len());
        self.push(&placeholder)
    }

    /// Appends an integer placeholder.
    pub fn push_i64(&mut self, value: i64) -> &mut Self {
        self.push_bind::<sql_types::BigInt>(value)
    }

    /// Appends a text placeholder.
    pub fn push_text(&mut self, value: impl Into<String>) -> &mut Self {
        self.push_bind::<sql_types::Text>(value.into())
    }

    /// The text, for tests and logs; values are never part of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many parameters are bound.
    pub fn parameter_count(&self) -> usize {
        self.parameters.len()
    }
}

impl QueryFragment<Pg> for Sql {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()> {
        if !self.cached {
            pass.unsafe_to_cache_prepared();
        }
        pass.push_sql(&self.text);
        for parameter in &self.parameters {
            parameter.push(&mut pass)?;
        }
        Ok(())
    }
}

impl QueryId for Sql {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for Sql {
    type SqlType = sql_types::Untyped;
}
