//! `?search=`: every term must appear in one of the collection's search fields, letter case ignored.

use super::condition::Condition;
use super::{ListError, ListFields};

/// More distinct terms than this are refused: each of them costs a scan of every search field.
pub const MAX_SEARCH_TERMS: usize = 32;

/// A longer search is refused.
pub const MAX_SEARCH_BYTES: usize = 4 * 1024;

/// Reads `search`. A collection without search fields ignores it, as DRF does.
pub(super) fn parse(search: &str, fields: &ListFields) -> Result<Vec<Condition>, ListError> {
    if search.contains('\0') {
        return Err(ListError::message(ListError::NULL_CHARACTERS));
    }
    let columns: Vec<_> =
        fields.fields().iter().filter(|field| field.search).map(|field| field.as_text()).collect();
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    if search.len() > MAX_SEARCH_BYTES {
        return Err(ListError::message(format!(
            "search: more than {MAX_SEARCH_BYTES} bytes are not supported"
        )));
    }
    let mut terms = Vec::new();
    for term in split(search) {
        if !terms.contains(&term) {
            terms.push(term);
        }
        if terms.len() > MAX_SEARCH_TERMS {
            return Err(ListError::message(format!(
                "search: more than {MAX_SEARCH_TERMS} terms are not supported"
            )));
        }
    }
    Ok(terms.into_iter().map(|text| Condition::Mentions { columns: columns.clone(), text }).collect())
}

/// Splits at blanks, then at commas; a quoted phrase stays whole (DRF 3.15, which CVAT 2.72 runs on).
fn split(search: &str) -> impl Iterator<Item = String> {
    words(search)
        .flat_map(|word| {
            let word = word.trim_matches(',');
            match unquoted(word) {
                Some(phrase) => vec![phrase],
                None => word.split(',').map(|term| term.trim().to_owned()).collect(),
            }
        })
        .filter(|term| !term.is_empty())
}

/// The words of a text, where a blank inside a closed quotation does not end a word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim_start();
    std::iter::from_fn(move || {
        let (word, after) = rest.split_at(word_length(rest)?);
        rest = after.trim_start();
        Some(word)
    })
}

/// The length of the word that `text` begins with, `None` at the end of the text.
fn word_length(text: &str) -> Option<usize> {
    let mut end = 0;
    while let Some(next) = text[end..].chars().next().filter(|next| !next.is_whitespace()) {
        let quotation = if matches!(next, '"' | '\'') { quotation_length(&text[end..], next) } else { None };
        end += quotation.unwrap_or(next.len_utf8());
    }
    (end > 0).then_some(end)
}

/// The length of the quotation that `text` begins with; `None` when nothing closes it, and the mark is then a
/// letter like any other.
fn quotation_length(text: &str, mark: char) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        if character == mark {
            return Some(index + mark.len_utf8());
        }
        if character == '\\' {
            characters.next();
        }
    }
    None
}

/// The inside of a word that is one quotation, its escapes undone.
fn unquoted(word: &str) -> Option<String> {
    let mark = word.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
    let inside = word.strip_prefix(mark)?.strip_suffix(mark)?;
    Some(inside.replace(&format!("\\{mark}"), &mark.to_string()).replace(r"\\", r"\"))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn terms_are_split_at_blanks_and_commas_but_not_in_quotations() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  ,  , ", &[]),
            ("cat", &["cat"]),
            ("cat dog,bird\tfish\u{2003}ant", &["cat", "dog", "bird", "fish", "ant"]),
            ("cat,,dog,", &["cat", "dog"]),
            (r#""my project" cat"#, &["my project", "cat"]),
            (r#"'my project',cat"#, &["'my project'", "cat"]),
            (r#",'my project',"#, &["my project"]),
            (r#""say \"hi\" \\ now""#, &[r#"say "hi" \ now"#]),
            (r#""open end"#, &["\"open", "end"]),
            ("it's a cat's", &["it's a cat's"]),
            ("it's fine", &["it's", "fine"]),
            (r#"""#, &["\""]),
            (r#""""#, &[]),
            (r#""\"#, &[r#""\"#]),
        ];
        for (search, terms) in table {
            assert_eq!(split(search).collect::<Vec<_>>(), *terms, "{search:?}");
        }
    }
}
