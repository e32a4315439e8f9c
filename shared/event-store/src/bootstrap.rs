//! Makes a service's database: roles, database, migrations, id sequences.
//!
//! Two group roles carry the rights, `annomesh_runtime` and `annomesh_kernel`; each service has three logins
//! of its own, `<service>_owner`, `_runtime` and `_kernel`, and only those may connect to its database.

use std::collections::HashSet;

use diesel::migration::{MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use url::Url;

use crate::db::DatabaseUrls;
use crate::error::StoreError;
use crate::store::id_sequence;

/// The tables that every service has.
const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// No commit waits for the disk: whatever a crash takes back is done again at the next start, and the first
/// commit of a service puts it on the disk before itself.
const UNHURRIED: &str = "SET synchronous_commit = off";

/// The name of a service's database.
pub fn database_name(service: &str) -> String {
    format!("annomesh_{service}")
}

/// The URLs of a service's roles in `database`, on the server of `admin_url`.
///
/// # Errors
/// When `admin_url` is not an URL.
pub fn urls(
    admin_url: &str,
    database: &str,
    service: &str,
    password: impl Fn(&str) -> String,
) -> Result<DatabaseUrls, StoreError> {
    let url = |role: &str| {
        let login = format!("{service}_{role}");
        at(admin_url, database, Some((&login, &password(&login))))
    };
    Ok(DatabaseUrls { owner: url("owner")?, runtime: url("runtime")?, kernel: url("kernel")? })
}

fn at(admin_url: &str, database: &str, login: Option<(&str, &str)>) -> Result<String, StoreError> {
    let bad = |why: &dyn std::fmt::Display| StoreError::Unavailable(format!("DATABASE_URL: {why}"));
    let mut url = Url::parse(admin_url).map_err(|why| bad(&why))?;
    url.set_path(&format!("/{database}"));
    if let Some((name, password)) = login {
        url.set_username(name).map_err(|()| bad(&"an URL like postgresql://role@host/ is needed"))?;
        url.set_password(Some(password))
            .map_err(|()| bad(&"an URL like postgresql://role@host/ is needed"))?;
    }
    Ok(url.into())
}

/// Creates the roles and the database if they are missing, and sets the roles' passwords.
///
/// # Errors
/// When `admin_url`'s role may not create databases and roles.
pub async fn create(
    admin_url: &str,
    database: &str,
    service: &str,
    password: impl Fn(&str) -> String,
) -> Result<(), StoreError> {
    let mut admin = AsyncPgConnection::establish(admin_url).await?;
    admin.batch_execute(UNHURRIED).await?;
    // Roles belong to the whole server; two services that start at once must not both create them.
    admin.batch_execute("SELECT pg_advisory_lock(hashtext('annomesh_bootstrap'))").await?;
    for group in ["annomesh_runtime", "annomesh_kernel"] {
        create_role(&mut admin, group, "NOLOGIN").await?;
    }
    for (role, group) in
        [("owner", None), ("runtime", Some("annomesh_runtime")), ("kernel", Some("annomesh_kernel"))]
    {
        let login = format!("{service}_{role}");
        create_role(&mut admin, &login, "LOGIN").await?;
        let secret = password(&login).replace('\'', "''");
        admin.batch_execute(&format!("ALTER ROLE {login} LOGIN PASSWORD '{secret}'")).await?;
        if let Some(group) = group {
            admin.batch_execute(&format!("GRANT {group} TO {login}")).await?;
        }
    }
    admin.batch_execute(&format!("GRANT {service}_owner TO CURRENT_USER")).await?;
    let exists = diesel_async::RunQueryDsl::execute(
        crate::Sql::fixed("SELECT 1 FROM pg_database WHERE datname = $1")
            .bind::<diesel::sql_types::Text>(database.to_owned()),
        &mut admin,
    )
    .await?;
    if exists == 0 {
        admin
            .batch_execute(&format!(
                "CREATE DATABASE {database} OWNER {service}_owner TEMPLATE template0 ENCODING 'UTF8'"
            ))
            .await?;
    }
    admin
        .batch_execute(&format!(
            "REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC; \
             GRANT CONNECT ON DATABASE {database} TO {service}_owner, {service}_runtime, {service}_kernel; \
             ALTER DATABASE {database} SET client_connection_check_interval = '100ms'"
        ))
        .await?;
    // What not every server grants: lz4, which packs a large event in a third of the time, must be built into it, and
    // only a superuser may choose the language of errors, which is English nearly everywhere as it is.
    for setting in ["default_toast_compression = 'lz4'", "lc_messages = 'C'"] {
        let granted = admin.batch_execute(&format!("ALTER DATABASE {database} SET {setting}")).await;
        if let Err(error) = granted {
            tracing::debug!(database, setting, error = crate::chain(&error), "a setting stays as it is");
        }
    }
    Ok(())
}

async fn create_role(admin: &mut AsyncPgConnection, name: &str, login: &str) -> Result<(), StoreError> {
    admin
        .batch_execute(&format!(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN \
             CREATE ROLE {name} {login} NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE; END IF; END $$"
        ))
        .await?;
    Ok(())
}

/// Runs the pending migrations of the event store and of the service, and makes the id sequences of `kinds`.
///
/// Must run on a multi-threaded runtime.
///
/// # Errors
/// When a migration fails, with its name, or when a newer program than this one has migrated the database.
pub async fn migrate(
    urls: &DatabaseUrls,
    own: Vec<EmbeddedMigrations>,
    kinds: &[&str],
) -> Result<(), StoreError> {
    let mut connection = AsyncPgConnection::establish(&urls.owner).await?;
    connection.batch_execute(UNHURRIED).await?;
    connection.batch_execute("SELECT pg_advisory_lock(hashtext('annomesh_migrate'))").await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let all: Vec<EmbeddedMigrations> = std::iter::once(MIGRATIONS).chain(own).collect();
    refuse_newer(&mut harness, &all)?;
    for migrations in all {
        harness
            .run_pending_migrations(migrations)
            .map_err(|why| StoreError::Unavailable(format!("a migration failed: {why}")))?;
    }
    let mut connection = harness.into_inner();
    for kind in kinds {
        let sequence = id_sequence(kind);
        connection
            .batch_execute(&format!(
                "CREATE SEQUENCE IF NOT EXISTS {sequence}; GRANT USAGE ON SEQUENCE {sequence} TO annomesh_runtime"
            ))
            .await?;
    }
    Ok(())
}

/// Who does not know the newest tables would write what they no longer take, or leave out what they want.
fn refuse_newer(
    harness: &mut impl MigrationHarness<Pg>,
    known: &[EmbeddedMigrations],
) -> Result<(), StoreError> {
    let unreadable = |why: Box<dyn std::error::Error + Send + Sync>| {
        StoreError::Unavailable(format!("the migrations cannot be read: {why}"))
    };
    let mut versions: HashSet<MigrationVersion<'static>> = HashSet::new();
    for source in known {
        let migrations = MigrationSource::<Pg>::migrations(source).map_err(unreadable)?;
        versions.extend(migrations.iter().map(|migration| migration.name().version().as_owned()));
    }
    let applied = harness.applied_migrations().map_err(unreadable)?;
    match applied.into_iter().find(|version| !versions.contains(version)) {
        Some(version) => Err(StoreError::Unavailable(format!(
            "the database has the migration {version}, which this program is too old to know: run a newer one, or \
             let DATABASE_URL name another server"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_reach_the_database_by_socket_and_by_tcp() {
        let socket = urls("postgresql://annomesh@%2Frun%2Fpg/postgres", "db", "projects", |_| "s".into());
        let tcp =
            urls("postgresql://root:x@127.0.0.1:5432/postgres", "db", "projects", |_| "s".into()).unwrap();
        assert_eq!(socket.unwrap().runtime, "postgresql://projects_runtime:s@%2Frun%2Fpg/db");
        assert_eq!(tcp.kernel, "postgresql://projects_kernel:s@127.0.0.1:5432/db");
    }
}
