//! What a meter came to in windows of time, in the tenant of the transaction.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};

use super::levels::whole;
use crate::domain::amount::Amount;
use crate::domain::curve::{Curve, Quarter, Window};
use crate::domain::level::Step;
use crate::domain::quarter::quarter_of;
use crate::meters::{Kind, Meter};

/// What is asked.
pub struct Question {
    pub meter: &'static Meter,
    /// In order, each beginning where the one before it ends; at least one.
    pub windows: Vec<Window>,
    /// Some of the meter's dimensions.
    pub group_by: Vec<&'static str>,
    /// What has passed counts.
    pub now: DateTime<Utc>,
}

/// One number of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Which window, from 0.
    pub window: usize,
    /// The dimensions' values, in the order of the question.
    pub groups: Vec<Option<String>>,
    pub amount: Amount,
}

/// Answers in the tenant of the transaction; windows and groups in which there was nothing may be missing.
pub async fn read(tx: &mut Tx, question: &Question) -> Result<Vec<Cell>, StoreError> {
    let amounts = match question.meter.kind {
        Kind::Count | Kind::Sum => return sums(tx, question).await,
        Kind::UniqueActive { series } => unique(tx, series, question).await?,
        Kind::Peak { series } => curve(tx, series, question).await?.peaks(&question.windows),
        Kind::Integral { series, .. } => curve(tx, series, question).await?.integrals(&question.windows),
    };
    let cell = |(window, amount)| Cell { window, groups: vec![], amount: Amount::Whole(amount) };
    Ok(amounts.into_iter().enumerate().map(cell).collect())
}

impl Question {
    /// Where windows begin and the last one ends.
    fn bounds(&self) -> Vec<DateTime<Utc>> {
        let last = self.windows.last().map(|(_, end)| *end);
        self.windows.iter().map(|(begin, _)| *begin).chain(last).collect()
    }

    fn ends(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        match self.windows.as_slice() {
            [] => (self.now, self.now),
            [(begin, _), ..] => (*begin, self.windows[self.windows.len() - 1].1),
        }
    }
}

async fn sums(tx: &mut Tx, question: &Question) -> Result<Vec<Cell>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        bucket: i32,
        #[diesel(sql_type = Array<Nullable<Text>>)]
        groups: Vec<Option<String>>,
        #[diesel(sql_type = Text)]
        value: String,
    }
    let (first, last) = question.ends();
    // Names of dimensions are constants of ours.
    let groups: Vec<String> = question.group_by.iter().map(|dim| format!("dims::json ->> '{dim}'")).collect();
    let rows: Vec<Row> = Sql::templated(format!(
        "SELECT width_bucket(quarter, $1) AS bucket, ARRAY[{}]::text[] AS groups, sum(value)::text AS value \
         FROM usage_quarter WHERE tenant_id = es_tenant() AND meter = $2 AND quarter >= $3 AND quarter < $4 \
         GROUP BY 1, 2 ORDER BY 1, 2",
        groups.join(", ")
    ))
    .bind::<Array<Timestamptz>>(question.bounds())
    .bind::<Text>(question.meter.name)
    .bind::<Timestamptz>(first)
    .bind::<Timestamptz>(last)
    .load(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let value = row.value.parse();
            let value = value.map_err(|_| StoreError::Corrupt(format!("{} is no decimal", row.value)))?;
            let window = usize::try_from(row.bucket - 1).unwrap_or_default();
            Ok(Cell { window, groups: row.groups, amount: Amount::Decimal(value) })
        })
        .collect()
}

/// The sum of a series' levels around the windows.
async fn curve(tx: &mut Tx, series: &'static str, question: &Question) -> Result<Curve, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Before {
        #[diesel(sql_type = Text)]
        level: String,
    }
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Timestamptz)]
        quarter: DateTime<Utc>,
        #[diesel(sql_type = Text)]
        delta: String,
        #[diesel(sql_type = Text)]
        moment: String,
        #[diesel(sql_type = Text)]
        rise: String,
    }
    let (first, last) = question.ends();
    let before: Before = Sql::fixed(
        "SELECT coalesce(sum(delta), 0)::text AS level FROM level_quarter \
         WHERE tenant_id = es_tenant() AND series = $1 AND quarter < $2",
    )
    .bind::<Text>(series)
    .bind::<Timestamptz>(first)
    .get_result(&mut **tx)
    .await?;
    let rows: Vec<Row> = Sql::fixed(
        "SELECT quarter, delta::text AS delta, moment::text AS moment, rise::text AS rise FROM level_quarter \
         WHERE tenant_id = es_tenant() AND series = $1 AND quarter >= $2 AND quarter < $3 ORDER BY quarter",
    )
    .bind::<Text>(series)
    .bind::<Timestamptz>(first)
    .bind::<Timestamptz>(last)
    .load(&mut **tx)
    .await?;
    let quarters = rows.into_iter().map(|row| {
        Ok(Quarter {
            begin: row.quarter,
            delta: whole(&row.delta)?,
            moment: whole(&row.moment)?,
            rise: whole(&row.rise)?,
        })
    });
    Ok(Curve {
        before: whole(&before.level)?,
        quarters: quarters.collect::<Result<_, StoreError>>()?,
        running: running(tx, series, question.now).await?,
        now: question.now,
    })
}

/// The steps of the quarter that is not over yet.
async fn running(tx: &mut Tx, series: &'static str, now: DateTime<Utc>) -> Result<Vec<Step>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
        #[diesel(sql_type = Text)]
        delta: String,
    }
    let rows: Vec<Row> = Sql::fixed(
        "SELECT at, sum(step)::text AS delta FROM (\
            SELECT since AS at, level AS step FROM level_segment \
                WHERE tenant_id = es_tenant() AND series = $1 AND since >= $2 AND since < $3 \
            UNION ALL SELECT until, -level FROM level_segment \
                WHERE tenant_id = es_tenant() AND series = $1 AND until >= $2 AND until < $3\
         ) AS step GROUP BY at ORDER BY at",
    )
    .bind::<Text>(series)
    .bind::<Timestamptz>(quarter_of(now))
    .bind::<Timestamptz>(now)
    .load(&mut **tx)
    .await?;
    rows.into_iter().map(|row| Ok(Step { at: row.at, delta: whole(&row.delta)? })).collect()
}

/// How many keys were above zero at some time of each window: those that were when it began, and those that came
/// to be in it and were not before.
async fn unique(tx: &mut Tx, series: &'static str, question: &Question) -> Result<Vec<i128>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        bucket: i32,
        #[diesel(sql_type = BigInt)]
        keys: i64,
    }
    // What ends at the first instant of a window was not in it: an end counts a microsecond earlier.
    const STARTS: &str = "SELECT width_bucket(since, $1) AS bucket, count(*) AS keys FROM level_segment \
        WHERE tenant_id = es_tenant() AND series = $2 AND level > 0 AND since < $3 GROUP BY 1";
    const ENDS: &str = "SELECT width_bucket(until - interval '1 microsecond', $1) AS bucket, count(*) AS keys \
        FROM level_segment WHERE tenant_id = es_tenant() AND series = $2 AND level > 0 AND until <= $3 GROUP BY 1";
    const FRESH: &str = "SELECT bucket, count(DISTINCT key) AS keys FROM (\
            SELECT width_bucket(since, $1) AS bucket, key FROM level_segment \
            WHERE tenant_id = es_tenant() AND series = $2 AND level > 0 AND since >= ($1)[1] AND since < $3\
        ) AS began WHERE NOT EXISTS (\
            SELECT FROM level_segment AS stood WHERE tenant_id = es_tenant() AND series = $2 AND level > 0 \
            AND stood.key = began.key AND stood.since < ($1)[bucket] \
            AND (stood.until IS NULL OR stood.until > ($1)[bucket])\
        ) GROUP BY 1";
    let bounds = question.bounds();
    let end = question.ends().1.min(question.now);
    let mut counted = vec![];
    for text in [STARTS, ENDS, FRESH] {
        let rows: Vec<Row> = Sql::fixed(text)
            .bind::<Array<Timestamptz>>(bounds.clone())
            .bind::<Text>(series)
            .bind::<Timestamptz>(end)
            .load(&mut **tx)
            .await?;
        counted.push(rows.into_iter().map(|row| (row.bucket, row.keys)).collect::<BTreeMap<_, _>>());
    }
    let at = |which: usize, bucket: i32| i128::from(counted[which].get(&bucket).copied().unwrap_or(0));
    let mut standing = 0;
    Ok((0_i32..)
        .zip(&question.windows)
        .map(|(bucket, (begin, _))| {
            standing += at(0, bucket) - at(1, bucket);
            // Who stands will go on standing, but nobody knows how long.
            if *begin < question.now { standing + at(2, bucket + 1) } else { 0 }
        })
        .collect())
}
