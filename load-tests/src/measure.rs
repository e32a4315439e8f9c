//! Numbers: rounds in turn, medians, the table and the JSON file.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;
use tokio::task::JoinSet;

/// What a row has to reach.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    ValueAtMost(f64),
    ValueAtLeast(f64),
}

/// One measurement: what each round gave, and what the baseline gave in the same round.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub unit: &'static str,
    pub values: Vec<f64>,
    /// Empty when there is no baseline.
    pub baselines: Vec<f64>,
    pub target: Option<Target>,
}

impl Row {
    fn value(&self) -> f64 {
        median(&self.values)
    }

    fn baseline(&self) -> Option<f64> {
        (!self.baselines.is_empty()).then(|| median(&self.baselines))
    }

    /// The median of the rounds' own ratios: a machine that slows down slows both halves of a round.
    fn ratio(&self) -> Option<f64> {
        let ratios: Vec<f64> =
            self.values.iter().zip(&self.baselines).map(|(ours, raw)| ours / raw).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    fn met(&self) -> Option<bool> {
        Some(match self.target? {
            Target::RatioAtLeast(least) => self.ratio()? >= least,
            Target::RatioAtMost(most) => self.ratio()? <= most,
            Target::ValueAtMost(most) => self.value() <= most,
            Target::ValueAtLeast(least) => self.value() >= least,
        })
    }

    fn json(&self) -> serde_json::Value {
        let target = self.target.map(|target| match target {
            Target::RatioAtLeast(limit)
            | Target::RatioAtMost(limit)
            | Target::ValueAtMost(limit)
            | Target::ValueAtLeast(limit) => limit,
        });
        json!({
            "name": self.name, "value": self.value(), "unit": self.unit, "baseline": self.baseline(),
            "ratio": self.ratio(), "target": target, "met": self.met(),
        })
    }

    fn cells(&self) -> [String; 8] {
        let target = match self.target {
            Some(Target::RatioAtLeast(least)) => format!(">= {least}"),
            Some(Target::RatioAtMost(most)) => format!("<= {most}"),
            Some(Target::ValueAtMost(most)) => format!("<= {most} {}", self.unit),
            Some(Target::ValueAtLeast(least)) => format!(">= {least} {}", self.unit),
            None => "-".to_owned(),
        };
        let met = match self.met() {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "-",
        };
        let dash = || "-".to_owned();
        let mut spread = range(&self.values);
        if !self.baselines.is_empty() {
            spread = format!("{spread} | {}", range(&self.baselines));
        }
        [
            self.name.clone(),
            number(self.value()),
            self.unit.to_owned(),
            self.baseline().map_or_else(dash, number),
            self.ratio().map_or_else(dash, |ratio| format!("{ratio:.2}")),
            target,
            met.to_owned(),
            spread,
        ]
    }
}

/// Runs work on the runtime's threads instead of the main one.
pub async fn aside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> anyhow::Result<T> {
    let mut set = JoinSet::new();
    set.spawn(work);
    Ok(set.join_next().await.context("nothing was done")??)
}

/// Measures ours and the baseline in turn, each first every other time.
pub async fn alternate(
    rounds: usize,
    mut ours: impl AsyncFnMut() -> anyhow::Result<f64>,
    mut baseline: impl AsyncFnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let (mut values, mut baselines) = (vec![], vec![]);
    for round in 0..rounds {
        let (value, raw) = if round % 2 == 0 {
            let value = ours().await?;
            (value, baseline().await?)
        } else {
            let raw = baseline().await?;
            (ours().await?, raw)
        };
        eprintln!("  round {} of {rounds}: {} beside {}", round + 1, number(value), number(raw));
        values.push(value);
        baselines.push(raw);
    }
    Ok((values, baselines))
}

/// The value in the middle; zero of none.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50)
}

/// The smallest value that so many percent of all do not exceed; of an even number the lower middle.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}

/// Microseconds that writing 8 KiB and waiting for the disk take in `folder`: what a commit cannot beat.
pub fn fsync(folder: &Path) -> anyhow::Result<Row> {
    use std::os::unix::fs::FileExt;
    const TIMES: usize = 200;
    let path = folder.join("fsync-probe");
    let file = std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut values = vec![];
    let began = Instant::now();
    while values.len() < TIMES && began.elapsed() < Duration::from_secs(2) {
        let one = Instant::now();
        file.write_all_at(&[7; 8192], 0)?;
        file.sync_data()?;
        values.push(one.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(&path)?;
    Ok(Row {
        name: "fsync of 8 KiB in this run".to_owned(),
        unit: "us",
        values,
        baselines: vec![],
        target: None,
    })
}

/// Prints the rows of a scenario as a table.
pub fn print(scenario: &str, rows: &[Row]) {
    let head =
        ["measurement", "value", "unit", "baseline", "ratio", "target", "met", "least..most (| baseline)"];
    let lines: Vec<[String; 8]> =
        std::iter::once(head.map(str::to_owned)).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    println!("\n{scenario}");
    for cells in &lines {
        let mut line = String::from(" ");
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let numeric = matches!(column, 1 | 3 | 4);
            let padded = if numeric { format!(" {cell:>width$} ") } else { format!(" {cell:<width$} ") };
            line.push_str(&padded);
        }
        println!("{}", line.trim_end());
    }
}

/// Writes `<folder>/<scenario>.json`.
pub fn write(folder: &Path, scenario: &str, rows: &[Row]) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{scenario}.json"));
    let text =
        serde_json::to_string_pretty(&json!({ "rows": rows.iter().map(Row::json).collect::<Vec<_>>() }))?;
    std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

fn range(values: &[f64]) -> String {
    format!("{}..{}", number(percentile(values, 0)), number(percentile(values, 100)))
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!((percentile(&values, 0), median(&values), percentile(&values, 100)), (1.0, 3.0, 5.0));
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&hundred, 99), 99.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds() {
        let row = |target| Row {
            name: "x".into(),
            unit: "/s",
            // The machine was twice as fast in the second round, for both.
            values: vec![60.0, 140.0, 50.0],
            baselines: vec![100.0, 200.0, 100.0],
            target: Some(target),
        };
        assert_eq!(row(Target::RatioAtLeast(0.6)).ratio(), Some(0.6));
        assert_eq!(row(Target::RatioAtLeast(0.6)).met(), Some(true));
        assert_eq!(row(Target::RatioAtMost(0.5)).met(), Some(false));
        assert_eq!(row(Target::ValueAtMost(60.0)).met(), Some(true));
    }
}
