//! The tables `usage_fact` and `usage_quarter`: each fact once, and their sums by quarter of an hour.

use diesel::sql_types::{Array, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};

use super::reading::UsageFact;

/// Writes facts, and adds those that are new to their sums: one that is there already changes nothing. Sums are
/// locked in the order of their keys, so two batches cannot deadlock.
pub async fn write(tx: &mut Tx, facts: Vec<UsageFact>) -> Result<(), StoreError> {
    if facts.is_empty() {
        return Ok(());
    }
    let (mut ids, mut meters, mut dims) = (vec![], vec![], vec![]);
    let (mut sources, mut times, mut values) = (vec![], vec![], vec![]);
    for fact in facts {
        ids.push(fact.id);
        meters.push(fact.meter);
        dims.push(fact.dims);
        sources.push(fact.source);
        times.push(fact.at);
        values.push(fact.value.to_string());
    }
    Sql::fixed(
        "WITH fresh AS (\
            INSERT INTO usage_fact (tenant_id, fact_id, meter, dims, source, occurred_at, value) \
            SELECT es_tenant(), fact_id, meter, dims, source, occurred_at, value::numeric \
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[]) \
                AS t (fact_id, meter, dims, source, occurred_at, value) \
            ON CONFLICT DO NOTHING RETURNING meter, dims, occurred_at, value\
         ) \
         INSERT INTO usage_quarter (tenant_id, meter, quarter, dims, value, facts) \
         SELECT es_tenant(), meter, date_bin('15 minutes', occurred_at, 'epoch'), dims, sum(value), count(*) \
         FROM fresh GROUP BY 2, 3, 4 ORDER BY 2, 3, 4 \
         ON CONFLICT (tenant_id, meter, quarter, dims) DO UPDATE \
         SET value = usage_quarter.value + excluded.value, facts = usage_quarter.facts + excluded.facts",
    )
    .bind::<Array<SqlUuid>>(ids)
    .bind::<Array<Text>>(meters)
    .bind::<Array<Text>>(dims)
    .bind::<Array<Text>>(sources)
    .bind::<Array<Timestamptz>>(times)
    .bind::<Array<Text>>(values)
    .execute(&mut **tx)
    .await?;
    Ok(())
}
