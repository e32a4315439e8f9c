#!/bin/sh
# Runs once, when PostgreSQL makes its data folder. The services make their databases, and three roles each, by
# themselves (shared/event-store/src/bootstrap.rs); all that they need is one role that may, and that is no superuser.
set -eu
: "${DATABASE_PASSWORD:?is not set: run infra/docker/env.sh}"

# The password goes in by a variable of psql's, so that no letter of it can be taken for SQL.
psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --set password="$DATABASE_PASSWORD" <<'SQL'
CREATE ROLE annomesh LOGIN CREATEDB CREATEROLE NOSUPERUSER NOBYPASSRLS PASSWORD :'password';
SQL
