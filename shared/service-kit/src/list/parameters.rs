//! The parameters of a list, for the API document: made of what the list really knows, so that no document
//! promises another list than the one that answers.

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::{Field, Kind, ListFields, MAX_PAGE_SIZE};

/// Whether a request for a list may name an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The list is that of the organization, or of all.
    Organization,
    /// The list belongs to one thing, which has its place.
    Thing,
}

/// Declares a type that stands for a list's parameters in `#[utoipa::path(params(…))]`.
///
/// ```text
/// service_kit::list_params!(ProjectList, projects::FIELDS, Place::Organization);
/// ```
#[macro_export]
macro_rules! list_params {
    ($name:ident, $fields:expr, $place:expr) => {
        struct $name;

        impl ::utoipa::IntoParams for $name {
            fn into_params(
                _: impl Fn() -> Option<::utoipa::openapi::path::ParameterIn>,
            ) -> Vec<::utoipa::openapi::path::Parameter> {
                $crate::list::parameters(&$fields, $place)
            }
        }
    };
}

/// The parameters of a list of `fields`.
pub fn parameters(fields: &ListFields, place: Place) -> Vec<Parameter> {
    let all = fields.fields();
    let names = |wanted: fn(&Field) -> bool| {
        all.iter().filter(|field| wanted(field)).map(|field| field.name).collect::<Vec<_>>().join(", ")
    };
    let mut parameters = vec![
        query("page", Type::Integer, "Number of the page, from 1; or `last`"),
        query(
            "page_size",
            Type::String,
            &format!("Rows on a page, 10 if absent, at most {MAX_PAGE_SIZE}; or `all`"),
        ),
        query(
            "sort",
            Type::String,
            &format!(
                "Comma-separated, each with `-` before it for descending: {}",
                names(|field| field.sort)
            ),
        ),
        query(
            "filter",
            Type::String,
            &format!("A JSON-logic rule; its variables are {}", names(|field| field.filter)),
        ),
    ];
    let searched = names(|field| field.search);
    if !searched.is_empty() {
        parameters.push(query("search", Type::String, &format!("Terms that must occur in {searched}")));
    }
    for field in all.iter().filter(|field| field.simple) {
        let (of, description) = match field.kind {
            Kind::Integer => (Type::Integer, "Equal to this".to_owned()),
            Kind::Boolean => (Type::Boolean, "Equal to this".to_owned()),
            Kind::Choice(choices) => (Type::String, format!("One of {}", choices.join(", "))),
            Kind::Text | Kind::Timestamp | Kind::Uuid => (Type::String, "Equal to this".to_owned()),
        };
        parameters.push(query(field.name, of, &description));
    }
    if place == Place::Organization {
        let slug = "Slug of an organization; empty for the personal workspace";
        parameters.push(query("org", Type::String, slug));
        parameters.push(query("org_id", Type::Integer, "Id of an organization"));
        parameters.push(parameter("X-Organization", ParameterIn::Header, Type::String, slug));
    }
    parameters
}

fn query(name: &str, of: Type, description: &str) -> Parameter {
    parameter(name, ParameterIn::Query, of, description)
}

fn parameter(name: &str, place: ParameterIn, of: Type, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(utoipa::openapi::Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(of)))
        .build()
}

#[cfg(test)]
mod tests {
    use super::super::tests::TASKS;
    use super::*;

    #[test]
    fn a_list_documents_what_it_knows() {
        let documented = |place| -> Vec<String> {
            let parameters = parameters(&TASKS, place).into_iter();
            parameters.map(|parameter| serde_json::to_value(parameter).unwrap()["name"].to_string()).collect()
        };
        let alone = documented(Place::Thing);
        for name in ["\"page\"", "\"page_size\"", "\"sort\"", "\"filter\"", "\"search\"", "\"status\""] {
            assert!(alone.iter().any(|known| known == name), "{name}");
        }
        assert!(!alone.contains(&"\"org\"".to_owned()));
        assert_eq!(documented(Place::Organization).len(), alone.len() + 3);
    }
}
