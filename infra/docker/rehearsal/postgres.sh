#!/bin/sh
# The entry point of the stand-in for PostgreSQL's image: what the real one does, as far as docker-compose.yml relies on it.
set -eu
export PGDATA="${PGDATA:-/var/lib/postgresql/data}" POSTGRES_USER="${POSTGRES_USER:-postgres}"
PATH="$(echo /usr/lib/postgresql/*/bin):$PATH"

if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 700 "$PGDATA"
    install -d -o postgres -g postgres /run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?is not set}"
    printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
    initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 >/dev/null
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --silent --wait --options="-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do "$script"; done
    pg_ctl --silent --wait --mode=fast stop
fi
exec "$@" -c listen_addresses='*'
