//! Making a service's database with no more rights than are needed, again and again.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use event_store::bootstrap::{create, database_name, migrate, urls};
use event_store::{Clock, Database, PoolSizes, Registry, Store};

use crate::world::{number, rows};
use test_kit::database::cluster;

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_who_is_no_superuser_makes_a_database_that_a_store_starts_on() {
    let service = format!("bootstrap{}", std::process::id());
    let database = database_name(&service);
    let superuser = cluster().await.url("postgres");
    let mut admin = AsyncPgConnection::establish(&superuser).await.unwrap();
    let maker = format!("{service}_maker");
    admin
        .batch_execute(&format!(
            "DO $$ BEGIN CREATE ROLE annomesh_runtime NOLOGIN; EXCEPTION WHEN duplicate_object THEN END $$; \
             DO $$ BEGIN CREATE ROLE annomesh_kernel NOLOGIN; EXCEPTION WHEN duplicate_object THEN END $$; \
             CREATE ROLE {maker} LOGIN CREATEDB CREATEROLE; \
             GRANT annomesh_runtime, annomesh_kernel TO {maker} WITH ADMIN OPTION"
        ))
        .await
        .unwrap();
    let url = superuser.replace("annomesh@", &format!("{maker}@"));
    assert_ne!(url, superuser);
    let password = |login: &str| format!("it's {login}'s; DROP TABLE es_event --");

    for _ in 0..2 {
        create(&url, &database, &service, password).await.unwrap();
        let urls = urls(&url, &database, &service, password).unwrap();
        migrate(&urls, vec![], &["account", "project"]).await.unwrap();
        let store = Database::connect(urls, PoolSizes { runtime: 1, kernel: 1 }).await.unwrap();
        let store = Store::new("bootstrap", store, Registry::default(), Clock::system());
        let first = store.new_id_of("account").await.unwrap();
        assert!(store.new_id_of("account").await.unwrap() > first);
    }

    let mut inside = AsyncPgConnection::establish(&cluster().await.url(&database)).await.unwrap();
    let strangers = "SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE datname = current_database() AND grantee = 0";
    assert_eq!(number(&mut inside, strangers).await, 0, "everybody may connect");
    let interval =
        rows(&mut inside, "SELECT current_setting('client_connection_check_interval') AS value").await;
    assert_eq!(interval[0]["value"], "100ms");
    let packing = "SELECT setting, 'lz4' = ANY (enumvals) AS able FROM pg_settings \
        WHERE name = 'default_toast_compression'";
    let packing = &rows(&mut inside, packing).await[0];
    assert!(packing["setting"] == "lz4" || packing["able"] == false, "{packing:?}");
    inside
        .batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20990101000000')")
        .await
        .unwrap();
    let urls = urls(&url, &database, &service, password).unwrap();
    let newer = migrate(&urls, vec![], &[]).await.unwrap_err().to_string();
    assert!(newer.contains("20990101000000") && newer.contains("DATABASE_URL"), "{newer}");
    drop(inside);
    admin.batch_execute(&format!("DROP DATABASE {database} WITH (FORCE)")).await.unwrap();
    let roles =
        ["owner", "runtime", "kernel", "maker"].map(|role| format!("DROP ROLE {service}_{role}")).join("; ");
    admin.batch_execute(&roles).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_unique_whoever_takes_them_and_a_unit_takes_them_in_rising_order() {
    let world = crate::world::World::new().await;
    let take = async || {
        let context = event_store::store::Context::mesh(crate::world::ACME);
        let ids = world.store.transact(&context, async |unit| unit.new_ids_of("account", 10).await);
        let ids = ids.await.unwrap();
        assert!(ids.is_sorted() && ids.len() == 10);
        ids
    };
    let taken = futures::future::join_all((0..20).map(|_| take())).await.concat();
    assert_eq!(taken.iter().collect::<std::collections::BTreeSet<_>>().len(), 200);
}
