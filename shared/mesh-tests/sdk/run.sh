#!/usr/bin/env bash
# Starts the built mesh in a folder of its own and plays the stories with the real clients against it.
set -euo pipefail
cd "$(dirname "$0")/../../.."

data=$(mktemp -d)
# Root's PostgreSQL runs as somebody else, who must be able to look into the folder.
chmod 755 "$data"
export ANNOMESH_DATA="$data/mesh" HTTP_ADDRESS=127.0.0.1:${STORY_PORT:-28080} MESH_ADDRESS=127.0.0.1:${STORY_MESH_PORT:-28081}
# Its databases are new, so its topics must be too.
if [ -n "${KAFKA_BROKERS:-}" ]; then export KAFKA_TOPIC_PREFIX="story-$(date +%s)-$$."; fi
export ADMIN_USERNAME=admin ADMIN_PASSWORD="correct horse battery"
cargo build -q -p annomesh
"${CARGO_TARGET_DIR:-target}/debug/annomesh" up >"$data/log" 2>&1 &
mesh=$!
finish() {
  kill "$mesh" 2>/dev/null || true
  wait "$mesh" 2>/dev/null || true
  rm -rf "$data"
}
trap finish EXIT

for _ in $(seq 1 100); do
  curl -fsS "http://$HTTP_ADDRESS/api/server/health/" >/dev/null 2>&1 && break
  kill -0 "$mesh" 2>/dev/null || { cat "$data/log"; exit 1; }
  sleep 0.3
done
for story in story first_task; do
  .venv/bin/python "shared/mesh-tests/sdk/$story.py" "http://$HTTP_ADDRESS" "$ADMIN_USERNAME" "$ADMIN_PASSWORD" || {
    tail -50 "$data/log"
    exit 1
  }
done
