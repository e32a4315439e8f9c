//! The README says what is true.

#[test]
fn the_table_of_settings_is_the_one_in_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let Ok(readme) = std::fs::read_to_string(path) else { return };
    let between =
        readme.split_once("<!-- settings -->").and_then(|(_, rest)| rest.split_once("<!-- /settings -->"));
    let (table, _) = between.expect("README.md has no <!-- settings --> … <!-- /settings -->");
    assert!(
        table.trim() == annomesh::settings::table(),
        "README.md is behind: put the output of `cargo run -- settings` between its two marks"
    );
}
