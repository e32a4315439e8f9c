//! The tables `level_segment` and `level_quarter`: how high each key stood and how long, and what its steps come to
//! by quarter of an hour.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};

use super::reading::KeyChange;
use crate::domain::curve;
use crate::domain::level::{Change, Segment, Step, follow};

/// A key of a series.
type Key = (String, String);

/// Takes changes in, in the order of their streams.
pub async fn write(tx: &mut Tx, changes: Vec<KeyChange>) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut by_key: BTreeMap<Key, Vec<Change>> = BTreeMap::new();
    for KeyChange { series, key, change } in changes {
        by_key.entry((series.to_owned(), key)).or_default().push(change);
    }
    let mut open = open_segments(tx, by_key.keys()).await?;
    let (mut segments, mut steps) = (vec![], BTreeMap::<String, Vec<Step>>::new());
    for (key, changes) in by_key {
        let (fresh, made) = follow(open.remove(&key), &changes);
        steps.entry(key.0.clone()).or_default().extend(made);
        segments.extend(fresh.into_iter().map(|segment| (key.clone(), segment)));
    }
    write_segments(tx, segments).await?;
    write_quarters(tx, steps).await
}

/// Locks and reads the open segments of keys, in order.
async fn open_segments<'a>(
    tx: &mut Tx,
    keys: impl Iterator<Item = &'a Key>,
) -> Result<BTreeMap<Key, Segment>, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        series: String,
        #[diesel(sql_type = Text)]
        key: String,
        #[diesel(sql_type = Timestamptz)]
        since: DateTime<Utc>,
        #[diesel(sql_type = Text)]
        level: String,
        #[diesel(sql_type = BigInt)]
        version: i64,
    }
    let (series, keys): (Vec<String>, Vec<String>) = keys.cloned().unzip();
    let rows: Vec<Row> = Sql::fixed(
        // One look-up a key: a join may be planned the other way round, over all keys.
        "SELECT series, key, since, level, version FROM unnest($1::text[], $2::text[]) AS t (series, key), \
         LATERAL (SELECT since, level::text AS level, version FROM level_segment AS s \
            WHERE s.tenant_id = es_tenant() AND s.series = t.series AND s.key = t.key AND until IS NULL \
            FOR UPDATE) AS s",
    )
    .bind::<Array<Text>>(series)
    .bind::<Array<Text>>(keys)
    .load(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let level = whole(&row.level)?;
            let segment = Segment { since: row.since, until: None, level, version: row.version };
            Ok(((row.series, row.key), segment))
        })
        .collect()
}

async fn write_segments(tx: &mut Tx, segments: Vec<(Key, Segment)>) -> Result<(), StoreError> {
    let (mut series, mut keys, mut since) = (vec![], vec![], vec![]);
    let (mut until, mut levels, mut versions) = (vec![], vec![], vec![]);
    for ((one_series, key), segment) in segments {
        series.push(one_series);
        keys.push(key);
        since.push(segment.since);
        until.push(segment.until);
        levels.push(segment.level.to_string());
        versions.push(segment.version);
    }
    // In the order of their keys and times: a key's old segment is closed before its next one is opened.
    Sql::fixed(
        "INSERT INTO level_segment (tenant_id, series, key, since, until, level, version) \
         SELECT es_tenant(), series, key, since, until, level::numeric, version \
         FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::bigint[]) \
            AS t (series, key, since, until, level, version) ORDER BY series, key, since \
         ON CONFLICT (tenant_id, series, key, since) DO UPDATE \
         SET until = excluded.until, level = excluded.level, version = excluded.version",
    )
    .bind::<Array<Text>>(series)
    .bind::<Array<Text>>(keys)
    .bind::<Array<Timestamptz>>(since)
    .bind::<Array<Nullable<Timestamptz>>>(until)
    .bind::<Array<Text>>(levels)
    .bind::<Array<BigInt>>(versions)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Adds steps to their quarters, then looks for the highest level of each of these quarters anew: a step that
/// comes late may lie before others.
async fn write_quarters(tx: &mut Tx, steps: BTreeMap<String, Vec<Step>>) -> Result<(), StoreError> {
    let (mut series, mut begins, mut deltas, mut moments) = (vec![], vec![], vec![], vec![]);
    for (one_series, steps) in steps {
        for quarter in curve::quarters(&steps) {
            series.push(one_series.clone());
            begins.push(quarter.begin);
            deltas.push(quarter.delta.to_string());
            moments.push(quarter.moment.to_string());
        }
    }
    if begins.is_empty() {
        return Ok(());
    }
    Sql::fixed(
        "INSERT INTO level_quarter (tenant_id, series, quarter, delta, moment) \
         SELECT es_tenant(), series, quarter, delta::numeric, moment::numeric \
         FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[]) AS t (series, quarter, delta, moment) \
         ORDER BY series, quarter ON CONFLICT (tenant_id, series, quarter) DO UPDATE \
         SET delta = level_quarter.delta + excluded.delta, moment = level_quarter.moment + excluded.moment",
    )
    .bind::<Array<Text>>(series.clone())
    .bind::<Array<Timestamptz>>(begins.clone())
    .bind::<Array<Text>>(deltas)
    .bind::<Array<Text>>(moments)
    .execute(&mut **tx)
    .await?;
    // What ends where something else begins at the same instant is one step; the level before the quarter counts
    // only if nothing changed at its first instant.
    Sql::fixed(
        "INSERT INTO level_quarter (tenant_id, series, quarter, delta, moment, rise) \
         SELECT es_tenant(), q.series, q.quarter, 0, 0, (\
            SELECT greatest(max(level), CASE WHEN min(at) > q.quarter THEN 0 END) FROM (\
                SELECT at, sum(sum(step)) OVER (ORDER BY at) AS level FROM (\
                    SELECT since AS at, level AS step FROM level_segment WHERE tenant_id = es_tenant() \
                        AND series = q.series AND since >= q.quarter AND since < q.quarter + interval '15 minutes' \
                    UNION ALL SELECT until, -level FROM level_segment WHERE tenant_id = es_tenant() \
                        AND series = q.series AND until >= q.quarter AND until < q.quarter + interval '15 minutes'\
                ) AS step GROUP BY at\
            ) AS curve\
         ) \
         FROM unnest($1::text[], $2::timestamptz[]) AS q (series, quarter) \
         ON CONFLICT (tenant_id, series, quarter) DO UPDATE SET rise = excluded.rise",
    )
    .bind::<Array<Text>>(series)
    .bind::<Array<Timestamptz>>(begins)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A whole number of PostgreSQL's `numeric`.
pub fn whole(text: &str) -> Result<i128, StoreError> {
    let digits = text.split_once('.').map_or(text, |(digits, _)| digits);
    digits.parse().map_err(|_| StoreError::Corrupt(format!("{text} is no whole number")))
}
