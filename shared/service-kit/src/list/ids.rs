//! The ids on a page, and how many rows the whole list has, in one pass over what the caller may see.

use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use event_store::{Sql, Tx};

use super::{ListQuery, Window};
use crate::Refusal;

#[derive(diesel::QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(diesel::QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl ListQuery {
    /// Finds the ids of the requested page, in its order. `column` is that of the ids, and `conditions` appends
    /// everything from `FROM` to the end of `WHERE`. What is shown of them is read by another statement, so that
    /// only a page's rows are joined with what they show.
    ///
    /// # Errors
    /// 404 for a page that is not there.
    pub async fn page_ids(
        &self,
        tx: &mut Tx,
        column: &str,
        conditions: impl Fn(&mut Sql),
    ) -> Result<(Vec<i64>, Window), Refusal> {
        let ids = async |tx: &mut Tx, window: &Window| {
            let mut sql = Sql::composed(format!("SELECT {column} AS id, count(*) OVER () AS count"));
            conditions(&mut sql);
            self.push_order_and_page(&mut sql, window);
            let rows: Vec<Row> = sql.load(&mut **tx).await.map_err(event_store::StoreError::from)?;
            let count = rows.as_slice().first().map(|row| row.count);
            Ok::<_, Refusal>((rows.into_iter().map(|row| row.id).collect::<Vec<_>>(), count))
        };
        // Where a page with a number begins is known without the count.
        if let Some(guess) = self.guess() {
            match ids(tx, &guess).await? {
                (found, Some(count)) => return Ok((found, self.window(count)?)),
                // Nothing at the beginning is nothing at all.
                (found, None) if guess.is_first() => return Ok((found, self.window(0)?)),
                (_, None) => {}
            }
        }
        let mut sql = Sql::composed("SELECT count(*) AS count");
        conditions(&mut sql);
        let Count { count } = sql.get_result(&mut **tx).await.map_err(event_store::StoreError::from)?;
        let window = self.window(count)?;
        let (found, _) = ids(tx, &window).await?;
        Ok((found, window))
    }
}
