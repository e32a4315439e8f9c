//! The table `quota`: what is taken of each cap, and what is promised.

use std::collections::HashMap;

use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;
use event_store::{Sql, StoreError, Tx};
use rust_decimal::Decimal;

/// How much of a quota is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Places {
    pub used: Decimal,
    pub reserved: Decimal,
}

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    key: String,
    #[diesel(sql_type = Text)]
    used: String,
    #[diesel(sql_type = Text)]
    reserved: String,
}

/// All quotas of the tenant of the transaction, by key.
pub async fn all(tx: &mut Tx) -> Result<HashMap<String, Places>, StoreError> {
    let rows: Vec<Row> = Sql::fixed(
        "SELECT key, used::text AS used, reserved::text AS reserved FROM quota WHERE tenant_id = es_tenant()",
    )
    .load(&mut **tx)
    .await?;
    rows.into_iter().map(|row| Ok((row.key.clone(), row.places()?))).collect()
}

/// Locks a quota's row, which it makes if there is none; whoever wants a place waits here.
pub async fn lock(tx: &mut Tx, key: &str) -> Result<Places, StoreError> {
    let row: Row = Sql::fixed(
        "INSERT INTO quota (tenant_id, key) VALUES (es_tenant(), $1) \
         ON CONFLICT (tenant_id, key) DO UPDATE SET used = quota.used \
         RETURNING key, used::text AS used, reserved::text AS reserved",
    )
    .bind::<Text>(key.to_owned())
    .get_result(&mut **tx)
    .await?;
    row.places()
}

/// Writes what is used now.
pub async fn set_used(tx: &mut Tx, key: &str, used: Decimal) -> Result<(), StoreError> {
    Sql::fixed("UPDATE quota SET used = $2::text::numeric WHERE tenant_id = es_tenant() AND key = $1")
        .bind::<Text>(key.to_owned())
        .bind::<Text>(used.to_string())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Takes back what was promised: one amount for each key, of which one may be there several times.
pub async fn unreserve(tx: &mut Tx, amounts: Vec<(String, String)>) -> Result<(), StoreError> {
    if amounts.is_empty() {
        return Ok(());
    }
    let (keys, amounts): (Vec<_>, Vec<_>) = amounts.into_iter().unzip();
    Sql::fixed(
        "UPDATE quota SET reserved = reserved - freed.amount \
         FROM (SELECT key, sum(amount::numeric) AS amount FROM unnest($1::text[], $2::text[]) AS t (key, amount) \
            GROUP BY key) AS freed \
         WHERE tenant_id = es_tenant() AND quota.key = freed.key",
    )
    .bind::<Array<Text>>(keys)
    .bind::<Array<Text>>(amounts)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl Row {
    fn places(&self) -> Result<Places, StoreError> {
        let decimal =
            |text: &str| text.parse().map_err(|_| StoreError::Corrupt(format!("{text} is no decimal")));
        Ok(Places { used: decimal(&self.used)?, reserved: decimal(&self.reserved)? })
    }
}
