//! What a start leaves in the data folder, seen through the binary: it must not start a second time.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

/// A folder of one test, removed at its end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The launcher on a data folder, with a database that is not there, so that it ends at once.
fn start(data: &std::path::Path) -> std::process::Output {
    annomesh(data).env("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none").output().unwrap()
}

pub fn annomesh(data: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annomesh"));
    command.env_clear().env("ANNOMESH_DATA", data);
    command.env("HTTP_ADDRESS", "127.0.0.1:0").env("MESH_ADDRESS", "127.0.0.1:0");
    command
}

#[test]
fn secrets_are_private_and_stay_the_same() {
    let scratch = Scratch::new("secrets");
    let data = scratch.0.join("data");
    let first = start(&data);
    assert!(!first.status.success());
    let file = data.join("secrets.env");
    let kept = std::fs::read_to_string(&file).unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    // Root's lets the server's account pass through, without looking around.
    assert!([0o700, 0o711].contains(&mode(&data)));
    let value = |name: &str| {
        let line = kept.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name}")).to_owned()
    };
    assert_eq!(value("MESH_SECRET").len(), 64);
    assert_eq!(value("ADMIN_USERNAME"), "admin");
    assert!(value("ADMIN_PASSWORD").len() >= 16);
    start(&data);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kept);
}

#[test]
fn a_start_that_fails_says_why_in_one_line() {
    let scratch = Scratch::new("line");
    let output = start(&scratch.0.join("data"));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with("annomesh: DATABASE_URL"), "{error}");
}

#[test]
fn a_setting_that_is_not_ours_to_read_stops_the_start() {
    let scratch = Scratch::new("unknown");
    let output = annomesh(&scratch.0).env("MESH_SECERT", "x").output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("MESH_SECERT"));
}

#[test]
fn commands_say_that_no_mesh_runs_and_make_no_folder() {
    let scratch = Scratch::new("looking");
    let data = scratch.0.join("data");
    for command in ["status", "events", "demo"] {
        let output = annomesh(&data).arg(command).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains("`cargo run`"), "{command}: {error}");
    }
    assert!(!data.exists());
}

#[test]
fn reset_removes_what_is_ours_and_asks_first() {
    let scratch = Scratch::new("reset");
    let data = scratch.0.join("data");
    start(&data);
    std::fs::write(data.join("notes.txt"), "mine").unwrap();
    assert!(!annomesh(&data).arg("reset").output().unwrap().status.success());
    assert!(data.join("secrets.env").exists());
    assert!(annomesh(&data).args(["reset", "--yes"]).output().unwrap().status.success());
    let left: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["notes.txt"]);
}
