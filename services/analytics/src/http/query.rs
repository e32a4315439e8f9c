//! What a reader may ask for. A parameter that is unknown or makes no sense is refused: a misspelt filter
//! that is ignored would show more than was asked for.

use service_kit::Refusal;

use crate::event::Filter;

/// Events on a page when the reader names no number.
const LIMIT_DEFAULT: i64 = 100;
/// Events on a page at most.
pub const LIMIT_MAX: i64 = 1_000;
/// Event types in one filter at most.
const TYPES_MAX: usize = 100;

/// A query that has been read and found valid.
#[derive(Debug, PartialEq)]
pub struct EventQuery {
    pub filter: Filter,
    /// The cursor that the reader has reached.
    pub after: Option<i64>,
    pub limit: Option<i64>,
}

impl EventQuery {
    /// Reads a raw query string.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub fn parse(query: &str) -> Result<Self, Refusal> {
        let mut parsed = Self { filter: Filter::default(), after: None, limit: None };
        let mut seen: Vec<String> = vec![];
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if seen.iter().any(|other| *other == name) {
                return Err(Refusal::field(&name, "Give this parameter once."));
            }
            match name.as_ref() {
                "type" => parsed.filter.types = types(&value)?,
                "subject" => parsed.filter.subject = Some(subject(&value)?),
                "after" => parsed.after = Some(cursor("after", &value)?),
                "limit" => parsed.limit = Some(limit(&value)?),
                // Read by service_kit::Selection.
                "org" | "org_id" => {}
                other => {
                    let known =
                        "There is no such parameter; there are type, subject, after, limit, org and org_id.";
                    return Err(Refusal::field(other, known));
                }
            }
            seen.push(name.into_owned());
        }
        Ok(parsed)
    }

    /// Events on the page.
    pub fn limit(&self) -> i64 {
        self.limit.unwrap_or(LIMIT_DEFAULT)
    }
}

/// Reads a cursor: a whole number that is not negative.
pub fn cursor(name: &str, value: &str) -> Result<i64, Refusal> {
    match value.parse() {
        Ok(cursor) if cursor >= 0 => Ok(cursor),
        _ => Err(Refusal::field(name, "Give a cursor: a whole number from 0 on.")),
    }
}

fn limit(value: &str) -> Result<i64, Refusal> {
    match value.parse() {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(Refusal::field("limit", format!("Give a whole number from 1 to {LIMIT_MAX}."))),
    }
}

fn types(value: &str) -> Result<Vec<String>, Refusal> {
    let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
    if names.len() > TYPES_MAX {
        return Err(Refusal::field("type", format!("Name at most {TYPES_MAX} types.")));
    }
    let catalog = contracts::catalog();
    match names.iter().find(|name| !catalog.iter().any(|event| event.name == **name)) {
        Some(unknown) => {
            Err(Refusal::field("type", format!("\"{unknown}\" is no event type; /asyncapi.json lists them.")))
        }
        None => Ok(names),
    }
}

fn subject(value: &str) -> Result<String, Refusal> {
    let well_formed = value.split_once('/').is_some_and(|(kind, id)| {
        !kind.is_empty()
            && kind.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
            && id.parse::<i64>().is_ok()
    });
    if well_formed {
        Ok(value.to_owned())
    } else {
        Err(Refusal::field("subject", "Give a kind and an id, such as project/42."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str) -> String {
        EventQuery::parse(query).unwrap_err().cvat_body().to_string()
    }

    #[test]
    fn a_query_is_read() {
        let query = "type=projects.project_created.v1,identity.session_started.v1&subject=project%2F42\
                     &after=9&limit=1000&org=wonderland";
        let read = EventQuery::parse(query).unwrap();
        assert_eq!(read.filter.types, ["projects.project_created.v1", "identity.session_started.v1"]);
        assert_eq!(read.filter.subject.as_deref(), Some("project/42"));
        assert_eq!((read.after, read.limit()), (Some(9), 1000));
        let empty = EventQuery::parse("").unwrap();
        assert_eq!((empty.filter, empty.after, empty.limit), (Filter::default(), None, None));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for bad in ["limit=0", "limit=1001", "limit=ten", "limit=", "limit=-1"] {
            assert!(refused(bad).contains("limit"), "{bad}");
        }
        for bad in ["after=-1", "after=", "after=x", "after=9223372036854775808"] {
            assert!(refused(bad).contains("after"), "{bad}");
        }
        for bad in ["type=", "type=project_created", "type=projects.project_created.v1,"] {
            assert!(refused(bad).contains("type"), "{bad}");
        }
        for bad in ["subject=project", "subject=project/x", "subject=/1", "subject=Project/1", "subject="] {
            assert!(refused(bad).contains("subject"), "{bad}");
        }
        assert!(refused("tpye=projects.project_created.v1").contains("tpye"));
        assert!(refused("after=1&after=2").contains("once"));
    }
}
