//! Every documented variable is read.

use service_kit::config::SETTINGS;

use super::read;

/// Taken, and of no use: the guide that it is from sets it, and Google's own names suffice.
const UNREAD: &[&str] = &["STORAGE_GCS_PROJECT_ID"];

#[test]
fn every_documented_variable_is_read() {
    // Names are in the table once, and once more where they are read; ClearML's in any case of their letters.
    let code = ["config.rs", "config/storage.rs", "config/supervisor.rs"]
        .map(|file| read(&format!("shared/service-kit/src/{file}")).to_uppercase())
        .map(|text| text.split("#[CFG(TEST)]").next().unwrap().to_owned())
        .join("\n");
    for setting in SETTINGS {
        let times = code.matches(&format!("\"{}\"", setting.name.to_uppercase())).count();
        let wanted = if UNREAD.contains(&setting.name) { 1 } else { 2 };
        assert!(times >= wanted, "{} is documented, but nobody reads it", setting.name);
    }
}
