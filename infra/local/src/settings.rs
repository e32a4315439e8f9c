//! The table of settings, as the README shows it.

use service_kit::config::SETTINGS;

/// Every setting as a Markdown table, without a line end at its end.
pub fn table() -> String {
    let rows = SETTINGS.iter().map(|setting| {
        let default = match setting.default {
            // Words stay words; values are set in code.
            words if words.contains(' ') || words == "none" => words.to_owned(),
            value => format!("`{value}`"),
        };
        format!("| `{}` | {default} | {} |", setting.name, setting.meaning)
    });
    ["| setting | default | meaning |".to_owned(), "|---|---|---|".to_owned()]
        .into_iter()
        .chain(rows)
        .collect::<Vec<_>>()
        .join("\n")
}
