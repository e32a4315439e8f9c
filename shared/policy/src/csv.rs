//! The tables as text: lines, cells, and what can be wrong with them.

use crate::name::UnknownName;

/// The columns of every table, in their order.
pub(crate) const COLUMNS: [&str; 6] = ["Scope", "Context", "Ownership", "Limit", "Privilege", "Membership"];

/// The cells of one row.
pub(crate) type Row = [String; COLUMNS.len()];

/// A row that cannot be read. A service that meets one refuses to start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tables/{file}.csv:{line}: {defect}")]
pub struct TableError {
    pub file: &'static str,
    pub line: usize,
    pub defect: Defect,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    #[error("the columns are `{0}`, not `{columns}`", columns = COLUMNS.join(","))]
    Columns(String),
    #[error("{0} cells, not {columns}", columns = COLUMNS.len())]
    Cells(usize),
    #[error("a quote that opens or closes no cell")]
    Quote,
    #[error("no scope")]
    NoScope,
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    #[error("a sandbox has no members: Membership must be N/A")]
    SandboxMembership,
    #[error("a list could not be filtered by this view row")]
    Unlistable,
}

/// Returns the rows of a table, each with the number of its line.
///
/// The first line names the columns; every other is a row, so no cell spans lines. A cell that contains a comma or a quote is quoted, and each
/// quote in it is doubled.
pub(crate) fn rows(text: &str) -> impl Iterator<Item = (usize, Result<Row, Defect>)> {
    let header = text.lines().next().unwrap_or_default();
    let refused = (header != COLUMNS.join(",")).then(|| (1, Err(Defect::Columns(header.to_owned()))));
    let rows = text.lines().enumerate().skip(1).map(|(index, line)| (index + 1, row(line)));
    refused.into_iter().chain(rows)
}

fn row(line: &str) -> Result<Row, Defect> {
    cells(line)?.try_into().map_err(|cells: Vec<String>| Defect::Cells(cells.len()))
}

fn cells(line: &str) -> Result<Vec<String>, Defect> {
    let mut cells = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' if quoted && matches!(characters.peek(), None | Some(',')) => quoted = false,
            '"' if !quoted && cell.is_empty() => quoted = true,
            '"' => return Err(Defect::Quote),
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            other => cell.push(other),
        }
    }
    if quoted {
        return Err(Defect::Quote);
    }
    cells.push(cell);
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_may_be_quoted() {
        let line = r#"view,"None, Self","a[""b""] != ""c""",,"#;
        assert_eq!(cells(line).unwrap(), ["view", "None, Self", r#"a["b"] != "c""#, "", ""]);
        assert_eq!(cells(r#""""","","x""#).unwrap(), [r#"""#, "", "x"]);
        assert_eq!(cells("").unwrap(), [""]);
    }

    #[test]
    fn quotes_must_open_and_close_a_cell() {
        for line in [r#"view,"None"#, r#"view"x",None"#, r#""view"x,None"#, r#"view,""""#] {
            assert_eq!(cells(line), Err(Defect::Quote), "{line}");
        }
    }
}
