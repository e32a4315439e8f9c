#!/usr/bin/env bash
# Writes `.env` with random secrets, which docker-compose.yml reads and starts nothing without. Run it once; it never
# changes a file that is there, because the databases remember its secrets.
set -euo pipefail

file=${1:-"$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)/.env"}
if [ -e "$file" ]; then
    echo "env.sh: $file is there already; its secrets are those that the databases know" >&2
    exit 1
fi

# 32 random bytes, in letters that mean nothing to a shell, an URL or a Java option.
secret() {
    head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

umask 077
cat >"$file.new" <<ENV
# Made by infra/docker/env.sh. Keep it: with another MESH_SECRET, webhooks' secrets and users' keys are void.

# Where the front door listens on this machine, and what people call it. Put TLS in front before it leaves this machine.
FRONT_DOOR=127.0.0.1:8080
PUBLIC_URL=http://localhost:8080

# The first admin signs in by these.
ADMIN_USERNAME=admin
ADMIN_EMAIL=admin@localhost
ADMIN_PASSWORD=$(secret)

# The operator's key, for system.create_company and the like.
SUPERVISOR_USER_KEY=$(secret)
SUPERVISOR_USER_SECRET=$(secret)

MESH_SECRET=$(secret)
POSTGRES_PASSWORD=$(secret)
DATABASE_PASSWORD=$(secret)
KAFKA_SASL_PASSWORD=$(secret)
REDIS_PASSWORD=$(secret)

# Pictures lie in a volume, unless these name a bucket; README.md has the table of STORAGE_*.
STORAGE_TYPE=
STORAGE_AWS_BUCKET_NAME=
STORAGE_AWS_REGION_NAME=
STORAGE_AWS_ACCESS_KEY_ID=
STORAGE_AWS_SECRET_ACCESS_KEY=
STORAGE_AWS_ENDPOINT_URL=
STORAGE_AWS_FOLDER=
ENV
# Refuses if somebody made it meanwhile.
ln "$file.new" "$file" && rm "$file.new"
echo "wrote $file; the first admin's password is in it"
