//! One event with its projection, 32 clients.

use super::Run;
use super::append::{Shape, measure};
use crate::measure::Row;

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let shape =
        Shape { name: "append of one event with its projection", events: 1, projected: true, target: 0.6 };
    measure(run, &shape).await
}
