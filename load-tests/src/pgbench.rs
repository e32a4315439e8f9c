//! The raw baseline: pgbench plays statements on the same cluster as the same role.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use event_store::cluster::Binaries;

/// What a client does once, before its first script: it shows pgbench a statement before the pipeline, because
/// version 15 cannot prepare inside of one.
fn once(statements: &str) -> String {
    format!("\\if :first\nSELECT 1;\n{statements}\\set first 0\n\\endif\n")
}

/// A script, run over and over by several clients.
#[derive(Clone)]
pub struct Pgbench {
    program: PathBuf,
    url: String,
    script: PathBuf,
    clients: u32,
    variables: Vec<String>,
}

impl Pgbench {
    /// Prepares to run `script` in `url`'s database; `folder` takes the script's file.
    ///
    /// # Errors
    /// When the machine has no pgbench.
    pub fn new(folder: &Path, url: &str, clients: u32, script: &str) -> anyhow::Result<Self> {
        let binaries = Binaries::find().context(Binaries::HOW_TO_INSTALL)?;
        let beside = binaries.folder().join("pgbench");
        let program = if beside.exists() { beside } else { "pgbench".into() };
        let path = folder.join("baseline.sql");
        std::fs::write(&path, once("") + script)?;
        Ok(Self {
            program,
            url: url.to_owned(),
            script: path,
            clients,
            variables: vec!["first=1".to_owned()],
        })
    }

    /// Sets a variable that each client begins with.
    pub fn with(mut self, name: &str, value: i64) -> Self {
        self.variables.push(format!("{name}={value}"));
        self
    }

    /// Lets each client begin with these statements, as the owner of the connection and in no transaction.
    pub fn beginning_with(self, statements: &str) -> anyhow::Result<Self> {
        let script = std::fs::read_to_string(&self.script)?;
        std::fs::write(&self.script, script.replacen(&once(""), &once(statements), 1))?;
        Ok(self)
    }

    /// Runs it for so long; returns scripts a second.
    ///
    /// # Errors
    /// With pgbench's own words when a client failed.
    pub fn run(&self, seconds: u64) -> anyhow::Result<f64> {
        self.play(seconds, &[])
    }

    /// Runs it for so long, over and over or so many times a second; returns the milliseconds that each script took,
    /// with a rate since it was due.
    ///
    /// # Errors
    /// As [`Pgbench::run`].
    pub fn time_each(&self, seconds: u64, rate: Option<u32>) -> anyhow::Result<Vec<f64>> {
        let folder = self.script.with_extension("times");
        std::fs::create_dir_all(&folder)?;
        let mut options = vec!["--log".to_owned(), format!("--log-prefix={}/log", folder.display())];
        options.extend(rate.map(|rate| format!("--rate={rate}")));
        self.play(seconds, &options)?;
        let mut took = vec![];
        for file in std::fs::read_dir(&folder)? {
            for line in std::fs::read_to_string(file?.path())?.lines() {
                // Client, number, microseconds, …
                let microseconds = line.split(' ').nth(2).and_then(|text| text.parse::<f64>().ok());
                took.push(microseconds.with_context(|| format!("pgbench logged {line}"))? / 1e3);
            }
        }
        std::fs::remove_dir_all(&folder)?;
        Ok(took)
    }

    fn play(&self, seconds: u64, more: &[String]) -> anyhow::Result<f64> {
        let mut command = Command::new(&self.program);
        command.args(["--no-vacuum", "--protocol=prepared"]).args(more);
        command.arg(format!("--client={}", self.clients)).arg(format!("--jobs={}", self.clients.min(2)));
        command.arg(format!("--time={seconds}")).arg("--file").arg(&self.script);
        for variable in &self.variables {
            command.arg(format!("--define={variable}"));
        }
        let output = command.arg(&self.url).output().context("cannot run pgbench")?;
        let (text, trouble) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            bail!("pgbench failed: {trouble}");
        }
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.with_context(|| format!("pgbench printed no rate: {text}"))
    }
}

/// Begins a transaction of a tenant in one round trip, as `event_store::Tx` does.
pub fn begin(tenant: impl std::fmt::Display) -> String {
    format!("\\startpipeline\nBEGIN;\nSET LOCAL app.tenant = '{tenant}';\n\\endpipeline\n")
}

/// A statement of ours as a line of a script, with `values` for `$1`, `$2`, …
pub fn play(statement: &str, values: &[&str]) -> String {
    // From the last to the first, because `$1` is the beginning of `$10`.
    let filled =
        values.iter().enumerate().rev().fold(statement.to_owned(), |text, (index, value)| {
            text.replace(&format!("${}", index + 1), value)
        });
    debug_assert!(!filled.contains('$'), "a parameter has no value: {filled}");
    filled + ";\n"
}

#[cfg(test)]
mod tests {
    use super::play;

    #[test]
    fn parameters_are_filled_in_by_number() {
        let values = ["a", "b", "c", "d", "e", "f", "g", "h", "i", ":ten"];
        assert_eq!(play("SELECT $1, $10, $2", &values), "SELECT a, :ten, b;\n");
    }
}
