//! Ten events of one stream in one transaction: what the store itself costs, hence without a projection.

use super::Run;
use super::append::{Shape, measure};
use crate::measure::Row;

pub async fn run(run: &Run) -> anyhow::Result<Vec<Row>> {
    let shape = Shape { name: "append of ten events at once", events: 10, projected: false, target: 0.75 };
    measure(run, &shape).await
}
