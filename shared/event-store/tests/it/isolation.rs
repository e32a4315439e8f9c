//! Row-level security: the traps that others fell into, and who may see what.

use contracts::TenantId;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use event_store::store::Context;
use event_store::{Database, DatabaseUrls, ExecuteError, PoolSizes, Sql, StoreError};

use crate::account::{Account, AccountCommand, AccountError};
use crate::check::assert_consistent;
use crate::world::{ACME, Dice, GLOBEX, World, execute, execute_in, new_account_id, number, rows};

/// A world in which both tenants have an account, a note and an idempotency key.
async fn two_tenants() -> World {
    let world = World::with_pool(1).await;
    for tenant in [ACME, GLOBEX] {
        let id = new_account_id();
        execute_in(&world.store, tenant, id, AccountCommand::Open("alice".into())).await.unwrap();
        execute_in(&world.store, tenant, id, AccountCommand::Note("secret".into())).await.unwrap();
    }
    world
}

async fn as_role(url: &str) -> AsyncPgConnection {
    AsyncPgConnection::establish(url).await.unwrap()
}

/// What PostgreSQL answers to a statement that must fail.
async fn refusal(connection: &mut AsyncPgConnection, statement: &str) -> String {
    match connection.batch_execute(statement).await {
        Ok(()) => panic!("allowed: {statement}"),
        Err(error) => error.to_string(),
    }
}

fn texts(rows: &[serde_json::Value], column: &str) -> Vec<String> {
    rows.iter().map(|row| row[column].as_str().unwrap().to_owned()).collect()
}

const TABLES: &str = "SELECT c.oid, c.relname, c.relrowsecurity, c.relforcerowsecurity, EXISTS (SELECT FROM \
    pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id' AND NOT attisdropped) AS has_tenant \
    FROM pg_class c WHERE relkind IN ('r', 'p', 'm', 'v') AND relnamespace = 'public'::regnamespace";

#[tokio::test(flavor = "multi_thread")]
async fn trap_1_the_owner_sees_no_row_without_a_tenant_because_security_is_forced() {
    let world = two_tenants().await;
    let unforced =
        format!("SELECT relname FROM ({TABLES}) AS t WHERE has_tenant AND NOT relforcerowsecurity");
    assert_eq!(world.rows(&unforced).await, Vec::<serde_json::Value>::new());
    for url in [&world.database.urls.owner, &world.database.urls.runtime] {
        let mut connection = as_role(url).await;
        for table in ["es_stream", "es_event", "es_contract", "es_event_pending", "accounts", "notes"] {
            assert_eq!(number(&mut connection, &format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
            assert!(
                world.number(&format!("SELECT count(*) FROM {table}")).await > 0,
                "{table} proves nothing"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_2_a_tenant_that_is_over_reads_as_empty_and_empty_means_no_rows() {
    let world = two_tenants().await;
    let mut connection = as_role(&world.database.urls.runtime).await;
    connection.batch_execute(&format!("BEGIN; SET LOCAL app.tenant = '{ACME}'")).await.unwrap();
    assert_eq!(number(&mut connection, "SELECT count(*) FROM accounts").await, 1);
    connection.batch_execute("COMMIT").await.unwrap();
    let setting = rows(&mut connection, "SELECT current_setting('app.tenant', true) AS tenant").await;
    assert_eq!(setting[0]["tenant"], "", "PostgreSQL has changed; the policy's nullif may go");
    assert_eq!(number(&mut connection, "SELECT count(*) FROM accounts").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_3_no_code_sets_a_tenant_that_outlives_its_transaction() {
    let world = two_tenants().await;
    let mut connection = as_role(&world.database.urls.runtime).await;
    connection.batch_execute(&format!("BEGIN; SET app.tenant = '{ACME}'; COMMIT")).await.unwrap();
    assert_eq!(number(&mut connection, "SELECT count(*) FROM accounts").await, 1, "the trap is gone?");

    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for folder in [source.clone(), source.join("inbox")] {
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            for (line, text) in text.lines().enumerate().filter(|(_, text)| text.contains("app.tenant")) {
                assert!(
                    text.contains("SET LOCAL app.tenant = '{tenant}'"),
                    "{}:{}",
                    file.display(),
                    line + 1
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_4_nothing_is_written_for_another_tenant_and_no_key_tells_what_another_tenant_has() {
    let world = two_tenants().await;
    let mut tx = world.store.database().tenant(ACME).await.unwrap();
    for statement in [
        format!("INSERT INTO accounts VALUES ('{GLOBEX}', 5, 'mallory', 0, 1)"),
        format!("UPDATE accounts SET tenant_id = '{GLOBEX}'"),
        format!("INSERT INTO es_event_pending VALUES (99, '{GLOBEX}')"),
        format!(
            "INSERT INTO es_job (tenant_id, name, subject_id, due_at) VALUES ('{GLOBEX}', 'x', 1, now())"
        ),
    ] {
        tx.savepoint().await.unwrap();
        let answer = refusal(&mut tx, &statement).await;
        assert!(answer.contains("row-level security"), "{statement}: {answer}");
        tx.rollback_to_savepoint().await.unwrap();
    }
    tx.rollback().await.unwrap();

    // Surrogate keys that the database itself gives out cannot be probed by a tenant.
    let allowed = [
        "es_contract_pending_pkey",
        "es_contract_pkey",
        "es_contract_position_pkey",
        "es_contract_position_seq_key",
        "es_event_pending_pkey",
        "es_event_pkey",
        "es_event_position_pkey",
        "es_event_position_seq_key",
        "es_job_pkey",
    ];
    let without_tenant = world
        .rows(&format!(
            "SELECT indexrelid::regclass::text AS name FROM pg_index JOIN ({TABLES}) AS t ON indrelid = t.oid \
             WHERE has_tenant AND indisunique AND NOT EXISTS (SELECT FROM pg_attribute \
             WHERE attrelid = indrelid AND attname = 'tenant_id' AND attnum = ANY (indkey)) ORDER BY 1"
        ))
        .await;
    assert_eq!(texts(&without_tenant, "name"), allowed);
    let foreign_keys = world.number("SELECT count(*) FROM pg_constraint WHERE contype = 'f'").await;
    assert_eq!(foreign_keys, 0, "the check of a foreign key passes row-level security");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_5_there_is_no_view_that_looks_with_its_owners_eyes() {
    let world = World::new().await;
    let views = "SELECT count(*) FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = 'public'::regnamespace \
                 AND NOT coalesce(reloptions @> '{security_invoker=true}', false)";
    assert_eq!(world.number(views).await, 0);
    let definer = "SELECT count(*) FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace";
    assert_eq!(world.number(definer).await, 0, "a function that runs as its owner is the same trap");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_6_what_a_user_writes_is_a_value_and_never_sql() {
    let world = two_tenants().await;
    let attack = format!("x'); SELECT set_config('app.tenant', '{GLOBEX}', true); --");
    let id = crate::world::open(&world.store, &attack).await;
    execute(&world.store, id, AccountCommand::Note(attack.clone())).await.unwrap();
    let mut search = Sql::composed("SELECT 1 FROM accounts WHERE name = ");
    search.push_text(attack.clone());
    let mut tx = world.store.database().tenant(ACME).await.unwrap();
    assert_eq!(search.execute(&mut *tx).await.unwrap(), 1);
    assert_eq!(number(&mut tx, "SELECT count(*) FROM accounts").await, 2, "the tenant was changed");
    tx.commit().await.unwrap();
    assert_consistent(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_7_the_tenant_is_part_of_the_index_condition() {
    let world = two_tenants().await;
    let mut tx = world.store.database().tenant(ACME).await.unwrap();
    tx.batch_execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off").await.unwrap();
    for (query, index) in [
        ("SELECT * FROM es_stream WHERE kind = 'account' AND stream_id = 1", "es_stream_pkey"),
        (
            "SELECT * FROM es_event WHERE kind = 'account' AND stream_id = 1",
            "es_event_tenant_id_kind_stream_id_version_key",
        ),
        ("SELECT * FROM accounts WHERE name = 'alice'", "accounts_tenant_id_name_key"),
    ] {
        #[derive(diesel::QueryableByName)]
        struct Line {
            #[diesel(sql_type = diesel::sql_types::Text, column_name = "QUERY PLAN")]
            line: String,
        }
        let plan: Vec<Line> = Sql::composed(format!("EXPLAIN {query}")).load(&mut *tx).await.unwrap();
        let plan = plan.iter().map(|line| line.line.as_str()).collect::<Vec<_>>().join("\n");
        let condition = plan.lines().find(|line| line.contains("Index Cond")).unwrap_or_default();
        assert!(plan.contains(index) && condition.contains("current_setting"), "{plan}");
    }
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_has_a_tenants_wall_but_these() {
    let world = World::new().await;
    let open = world
        .rows(&format!(
            "SELECT relname FROM ({TABLES}) AS t WHERE NOT (has_tenant AND relrowsecurity AND relforcerowsecurity \
             AND EXISTS (SELECT FROM pg_policy WHERE polrelid = t.oid AND polname = 'tenant' AND polroles = '{{0}}' \
             AND polcmd = '*' AND polpermissive AND pg_get_expr(polqual, t.oid) = '(tenant_id = es_tenant())' \
             AND pg_get_expr(polwithcheck, t.oid) = '(tenant_id = es_tenant())')) ORDER BY relname"
        ))
        .await;
    let allowed = ["__diesel_schema_migrations", "es_checkpoint", "es_head", "es_lease", "inbox_offset"];
    assert_eq!(texts(&open, "relname"), allowed);
    let others = world
        .rows(
            "SELECT polrelid::regclass::text || ' ' || polname AS name FROM pg_policy \
               WHERE polname <> 'tenant' AND polroles <> ARRAY['annomesh_kernel'::regrole::oid] ORDER BY 1",
        )
        .await;
    assert_eq!(texts(&others, "name"), Vec::<String>::new(), "a policy widens the wall for others");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runtime_role_cannot_rewrite_history_nor_the_kernels_tables() {
    let world = two_tenants().await;
    let mut tx = world.store.database().tenant(ACME).await.unwrap();
    for statement in [
        "UPDATE es_event SET data = '{}'",
        "DELETE FROM es_event",
        "TRUNCATE es_event",
        "UPDATE es_contract SET data = '{}'",
        "DELETE FROM es_contract",
        "TRUNCATE es_contract",
        "UPDATE es_head SET position = 0",
        "INSERT INTO es_lease VALUES ('x', 1, 'x')",
        "UPDATE es_checkpoint SET position = 0",
        "SELECT FROM es_lease",
        "CREATE TABLE public.mine (id int)",
        "ALTER TABLE accounts DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON accounts",
        "SET ROLE annomesh_kernel",
        "SELECT FROM __diesel_schema_migrations",
    ] {
        tx.savepoint().await.unwrap();
        let answer = refusal(&mut tx, statement).await;
        assert!(
            answer.contains("permission denied") || answer.contains("must be owner"),
            "{statement}: {answer}"
        );
        tx.rollback_to_savepoint().await.unwrap();
    }
    tx.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_role_sees_the_event_tables_of_all_tenants_and_nothing_else() {
    let world = two_tenants().await;
    let granted = world
        .rows("SELECT c.relname || ' ' || string_agg(p, ' ' ORDER BY p) AS rights FROM pg_class c, unnest(ARRAY[\
               'SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p \
               WHERE relkind IN ('r', 'v', 'm') AND relnamespace IN ('public'::regnamespace, 'rebuild'::regnamespace) \
               AND has_table_privilege('annomesh_kernel', c.oid, p) GROUP BY c.relname ORDER BY 1")
        .await;
    let wanted = [
        "accounts SELECT", // the tests' own, as identity's sessions are
        "es_checkpoint INSERT SELECT UPDATE",
        "es_contract SELECT",
        "es_contract_pending DELETE SELECT",
        "es_contract_position INSERT SELECT",
        "es_event SELECT",
        "es_event_pending DELETE SELECT",
        "es_event_position INSERT SELECT",
        "es_head SELECT UPDATE",
        "es_idempotency DELETE SELECT",
        "es_job DELETE SELECT UPDATE",
        "es_lease INSERT SELECT UPDATE",
        "es_stream SELECT",
        "inbox_offset SELECT",
        "inbox_parked SELECT",
        "inbox_stream SELECT",
    ];
    assert_eq!(texts(&granted, "rights"), wanted);
    let mut tx = world.store.database().kernel().await.unwrap();
    assert_eq!(number(&mut tx, "SELECT count(*) FROM es_event").await, 4);
    assert!(refusal(&mut tx, "SELECT FROM notes").await.contains("permission denied"));
    tx.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_does_not_start_as_a_role_that_could_get_round_the_walls() {
    let world = World::new().await;
    // Roles belong to the whole server; this one goes with the world's name.
    let (bypass, member) =
        (format!("bypass_{}", world.database.name), format!("member_{}", world.database.name));
    world
        .admin_does(&format!(
            "CREATE ROLE {bypass} LOGIN BYPASSRLS; GRANT annomesh_runtime TO {bypass}; \
             CREATE ROLE {member} LOGIN; GRANT eventstoretest_owner TO {member}"
        ))
        .await;
    let good = world.database.urls.clone();
    let as_login = |name: &str| good.runtime.replace("eventstoretest_runtime", name);
    let bad = [good.owner.clone(), world.admin_url().await, as_login(&bypass), as_login(&member)];
    for url in bad {
        for urls in [
            DatabaseUrls { runtime: url.clone(), ..good.clone() },
            DatabaseUrls { kernel: url.clone(), ..good.clone() },
        ] {
            let refused = Database::connect(urls, PoolSizes { runtime: 1, kernel: 1 }).await;
            assert!(matches!(refused, Err(StoreError::PrivilegedRole(_))), "{url}");
        }
    }
    world.admin_does(&format!("DROP ROLE {bypass}; DROP ROLE {member}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_tenants_and_aborts_on_one_connection_never_show_a_foreign_row() {
    let world = World::with_pool(1).await;
    let tenants: Vec<TenantId> = (10..15).map(|n| TenantId(uuid::Uuid::from_u128(n))).collect();
    let mut dice = Dice::new(7);
    for _ in 0..300 {
        let tenant = tenants[dice.below(5) as usize];
        let end = dice.below(5);
        let name = format!("account {}", dice.below(40));
        let context = Context::mesh(tenant);
        let work = world.store.transact(&context, async |unit| {
            let seen = rows(
                unit.tx(),
                "SELECT DISTINCT tenant_id AS t FROM accounts UNION SELECT tenant_id FROM es_event",
            )
            .await;
            assert!(seen.iter().all(|row| row["t"] == tenant.to_string()), "{seen:?} in {tenant}");
            unit.execute::<Account>(new_account_id(), AccountCommand::Open(name.clone())).await?;
            match end {
                0 => Err(ExecuteError::Refused(AccountError::BadAmount)),
                1 => std::future::pending().await,
                2 => Err(unit
                    .tx()
                    .batch_execute("SELECT 1 / 0")
                    .await
                    .map_err(StoreError::from)
                    .unwrap_err()
                    .into()),
                _ => Ok(()),
            }
        });
        let limit =
            if end == 1 { std::time::Duration::from_millis(5) } else { std::time::Duration::from_secs(10) };
        match tokio::time::timeout(limit, work).await {
            Err(_)
            | Ok(Ok(()) | Err(ExecuteError::Refused(_) | ExecuteError::Store(StoreError::Database(_)))) => {}
            Ok(Err(error)) => panic!("{error:?}"),
        }
    }
    assert!(world.number("SELECT count(DISTINCT tenant_id) FROM accounts").await == 5);
    assert_consistent(&world).await;
}
