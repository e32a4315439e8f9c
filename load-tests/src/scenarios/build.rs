//! A clean build of the workspace, and of the third-party crates that it names, alone.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use super::Run;
use crate::measure::{Row, Target, alternate, fsync};

/// Minutes each, so as few as there can be; `--rounds` may only lower it.
const ROUNDS_MAX: usize = 1;
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let folder = Folder(std::env::temp_dir().join(format!("annomesh-load-{}-build", std::process::id())));
    let hollow = folder.0.join("hollow");
    hollow_out(Path::new(ROOT), &hollow)?;
    let target = folder.0.join("target");
    let (values, baselines) = alternate(
        run.rounds.min(ROUNDS_MAX),
        async || clean_build(Path::new(ROOT), &target),
        async || clean_build(&hollow, &target),
    )
    .await?;
    let row = Row {
        name: "clean cargo build of the workspace".to_owned(),
        unit: "s",
        values,
        baselines,
        target: Some(Target::RatioAtMost(1.5)),
    };
    Ok(vec![row, fsync(&folder.0)?])
}

/// Seconds of a build into an empty target folder, which is removed again.
fn clean_build(workspace: &Path, target: &Path) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut command = Command::new("cargo");
    command.args(["build", "--workspace", "--locked", "--offline"]).current_dir(workspace);
    let status = command.env("CARGO_TARGET_DIR", target).status().context("cannot run cargo")?;
    let seconds = began.elapsed().as_secs_f64();
    ensure!(status.success(), "{} does not build", workspace.display());
    std::fs::remove_dir_all(target)?;
    Ok(seconds)
}

/// Copies the manifests, with nothing in the crates: what is left to build is what others wrote.
fn hollow_out(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for file in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
        std::fs::copy(from.join(file), to.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    let mut members = vec![PathBuf::from("infra/local"), PathBuf::from("load-tests")];
    for parent in ["services", "shared"] {
        for member in std::fs::read_dir(from.join(parent))? {
            members.push(Path::new(parent).join(member?.file_name()));
        }
    }
    for member in members.iter().filter(|member| from.join(member).join("Cargo.toml").exists()) {
        std::fs::create_dir_all(to.join(member).join("src"))?;
        // Targets that a manifest names, and the tests that it names, must be there.
        std::fs::create_dir_all(to.join(member).join("tests/it"))?;
        std::fs::copy(from.join(member).join("Cargo.toml"), to.join(member).join("Cargo.toml"))?;
        std::fs::write(to.join(member).join("src/lib.rs"), "")?;
        std::fs::write(to.join(member).join("tests/it/main.rs"), "")?;
        if from.join(member).join("src/main.rs").exists() {
            std::fs::write(to.join(member).join("src/main.rs"), "fn main() {}\n")?;
        }
    }
    Ok(())
}

/// Removed in the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
