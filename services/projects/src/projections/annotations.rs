//! `annotations`: one row for each annotation that a job has or had. How they are read is in
//! `annotation_documents.rs`.

use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::RunQueryDsl;
use event_store::{Applied, Change, Sql, StoreError, Tx};

use crate::domain::annotation_items::{Ids, Item, Kind};
use crate::domain::annotations::{Annotations, AnnotationsEvent, Part};

/// Keeps the table. Events belong to the version that the end of their request makes.
pub fn apply<'a>(tx: &'a mut Tx, change: &'a Change<'a, Annotations>) -> Applied<'a> {
    Box::pin(async move {
        let (job_id, version) = (change.id, change.before.version + 1);
        match change.event {
            AnnotationsEvent::Added(items) => {
                for kind in Kind::ALL {
                    insert(tx, job_id, version, kind, items.of(kind)).await?;
                }
            }
            AnnotationsEvent::PartAdded(part) if part.first => {
                insert_first(tx, job_id, version, part).await?;
            }
            AnnotationsEvent::PartAdded(part) => append(tx, job_id, part).await?,
            AnnotationsEvent::Removed(ids) => {
                for kind in Kind::ALL {
                    end(tx, job_id, version, kind, ids.of(kind)).await?;
                }
            }
            AnnotationsEvent::Cleared => end_all(tx, job_id, version).await?,
            AnnotationsEvent::Forgotten => delete(tx, job_id).await?,
            AnnotationsEvent::Changed { .. } => {}
        }
        Ok(())
    })
}

async fn insert(
    tx: &mut Tx,
    job_id: i64,
    version: i64,
    kind: Kind,
    items: &[Item],
) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Item) -> i64| items.iter().map(of).collect::<Vec<i64>>();
    let bodies: Vec<String> = items.iter().map(|item| item.body.get().to_owned()).collect();
    Sql::fixed(
        "INSERT INTO annotations (tenant_id, job_id, kind, id, frame, label_id, from_version, body) \
         SELECT es_tenant(), $1, $2, id, frame, label_id, $3, body \
         FROM unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::text[]) AS t (id, frame, label_id, body)",
    )
    .bind::<BigInt>(job_id)
    .bind::<Text>(kind.name())
    .bind::<BigInt>(version)
    .bind::<Array<BigInt>>(column(|item| item.id))
    .bind::<Array<BigInt>>(column(|item| item.frame))
    .bind::<Array<BigInt>>(column(|item| item.label_id))
    .bind::<Array<Text>>(bodies)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn insert_first(tx: &mut Tx, job_id: i64, version: i64, part: &Part) -> Result<(), StoreError> {
    Sql::fixed(
        "INSERT INTO annotations (tenant_id, job_id, kind, id, frame, label_id, from_version, body) \
         VALUES (es_tenant(), $1, $2, $3, $4, $5, $6, $7)",
    )
    .bind::<BigInt>(job_id)
    .bind::<Text>(part.kind.name())
    .bind::<BigInt>(part.id)
    .bind::<BigInt>(part.frame)
    .bind::<BigInt>(part.label_id)
    .bind::<BigInt>(version)
    .bind::<Text>(part.text.clone())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn append(tx: &mut Tx, job_id: i64, part: &Part) -> Result<(), StoreError> {
    Sql::fixed(
        "UPDATE annotations SET body = body || $4 \
         WHERE tenant_id = es_tenant() AND job_id = $1 AND kind = $2 AND id = $3",
    )
    .bind::<BigInt>(job_id)
    .bind::<Text>(part.kind.name())
    .bind::<BigInt>(part.id)
    .bind::<Text>(part.text.clone())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn end(tx: &mut Tx, job_id: i64, version: i64, kind: Kind, ids: &[i64]) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    Sql::fixed(
        "UPDATE annotations SET to_version = $3 WHERE tenant_id = es_tenant() AND job_id = $1 AND kind = $2 \
         AND id = ANY($4) AND to_version IS NULL",
    )
    .bind::<BigInt>(job_id)
    .bind::<Text>(kind.name())
    .bind::<BigInt>(version)
    .bind::<Array<BigInt>>(ids.to_vec())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn end_all(tx: &mut Tx, job_id: i64, version: i64) -> Result<(), StoreError> {
    Sql::fixed(
        "UPDATE annotations SET to_version = $2 \
         WHERE tenant_id = es_tenant() AND job_id = $1 AND to_version IS NULL",
    )
    .bind::<BigInt>(job_id)
    .bind::<BigInt>(version)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn delete(tx: &mut Tx, job_id: i64) -> Result<(), StoreError> {
    Sql::fixed("DELETE FROM annotations WHERE tenant_id = es_tenant() AND job_id = $1")
        .bind::<BigInt>(job_id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Those of `ids` that a job has now, each once.
pub async fn present(tx: &mut Tx, job_id: i64, ids: &Ids) -> Result<Ids, StoreError> {
    #[derive(diesel::QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let mut found = Ids::default();
    for kind in Kind::ALL {
        if ids.of(kind).is_empty() {
            continue;
        }
        let rows: Vec<Id> = Sql::fixed(
            "SELECT id FROM annotations WHERE tenant_id = es_tenant() AND job_id = $1 AND kind = $2 \
             AND id = ANY($3) AND to_version IS NULL ORDER BY id",
        )
        .bind::<BigInt>(job_id)
        .bind::<Text>(kind.name())
        .bind::<Array<BigInt>>(ids.of(kind).clone())
        .load(&mut **tx)
        .await?;
        *found.of_mut(kind) = rows.into_iter().map(|row| row.id).collect();
    }
    Ok(found)
}
