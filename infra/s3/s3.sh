#!/usr/bin/env bash
# A real S3 server on loopback, for the tests that want one: s3s-fs, built by cargo. See README.md.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
version=0.14.1
server="$here/.bin/bin/s3s-fs"
run=${S3_RUN_DIR:-"$here/.run"}
port=${S3_PORT:-29000}
bucket=${S3_BUCKET:-pictures}
# Known to everybody who reads this: the server listens on loopback only.
key=${S3_ACCESS_KEY:-tests}
secret=${S3_SECRET_KEY:-tests-only}

start_limit_seconds=10

fail() {
    echo "s3.sh: $*" >&2
    exit 1
}

usage() {
    echo "usage: s3.sh fetch|start|stop|status|reset   (see README.md)" >&2
    exit 2
}

fetch() {
    if [ "$("$server" --version 2>/dev/null)" = "s3s-fs $version" ]; then return; fi
    # Quickly built rather than fast.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_DEBUG=false \
        cargo install --quiet --locked --force --features binary --root "$here/.bin" "s3s-fs@$version" >&2 ||
        fail "cargo could not build s3s-fs $version"
}

# Sets `pid` to the server of this run folder; fails if there is none. The command line is looked at because the
# number in the file may be another process's by now.
find_server() {
    pid=$(cat "$run/pid" 2>/dev/null) || return 1
    [ -n "$pid" ] || return 1
    local line
    line=$({ tr '\0' ' ' <"/proc/$pid/cmdline" || ps -o command= -p "$pid"; } 2>/dev/null) || return 1
    case $line in *"s3s-fs"*"$run/data"*) return 0 ;; *) return 1 ;; esac
}

listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null
}

# What to export to use it: the product's own settings, and where its files are for the tests that count them.
settings() {
    cat <<SETTINGS
STORAGE_TYPE=s3
STORAGE_AWS_ENDPOINT_URL=http://127.0.0.1:$port
STORAGE_AWS_BUCKET_NAME=$bucket
STORAGE_AWS_REGION_NAME=us-east-1
STORAGE_AWS_ACCESS_KEY_ID=$key
STORAGE_AWS_SECRET_ACCESS_KEY=$secret
SETTINGS
}

start() {
    mkdir -p "$run"
    run=$(cd "$run" && pwd -P)
    if ! find_server; then
        fetch
        if listens; then fail "port $port is in use: set S3_PORT"; fi
        # A bucket is a folder of its own.
        mkdir -p "$run/data/$bucket"
        nohup "$server" --host 127.0.0.1 --port "$port" --access-key "$key" --secret-key "$secret" "$run/data" \
            </dev/null >"$run/server.log" 2>&1 &
        echo $! >"$run/pid"
        disown
        local end=$((SECONDS + start_limit_seconds))
        until listens; do
            if [ "$SECONDS" -ge "$end" ]; then
                tail -n 15 "$run/server.log" >&2
                stop
                fail "the server did not answer within $start_limit_seconds s"
            fi
            sleep 0.1
        done
    fi
    settings
}

stop() {
    if [ -d "$run" ]; then run=$(cd "$run" && pwd -P); fi
    if find_server; then
        kill -TERM "$pid" 2>/dev/null || true
        local end=$((SECONDS + 5))
        while find_server; do
            if [ "$SECONDS" -ge "$end" ]; then kill -KILL "$pid" 2>/dev/null || true; fi
            sleep 0.1
        done
    fi
    rm -f "$run/pid"
}

status() {
    if [ -d "$run" ]; then run=$(cd "$run" && pwd -P); fi
    find_server || {
        echo "stopped"
        exit 3
    }
    echo "running: process $pid on 127.0.0.1:$port"
}

case ${1:-} in
    fetch) fetch ;;
    start) start ;;
    stop) stop ;;
    status) status ;;
    reset)
        stop
        rm -rf "$run/data" "$run/server.log"
        ;;
    *) usage ;;
esac
