#!/usr/bin/env bash
# Plays docker-compose.yml for real on a Debian 12 machine that has a Docker engine and no container registry: makes images
# under the names that compose and the Dockerfile say, builds the services' images, starts the mesh, tells the stories to it
# through Traefik, scales, kills and restarts it under load, and measures. By hand, not in CI; an hour on two cores, most of
# it compiling. Images that are there already are kept.
#
#   rehearse.sh images     stand-ins for Debian, Rust, PostgreSQL, Kafka, Redis and Traefik; then the services' images
#   rehearse.sh up         starts the mesh and says how long it took
#   rehearse.sh play       the stories; the images' sizes, and what idle services hold in memory
#   rehearse.sh replicas   requests/s with one and with three of projects, and what each container spends on one
#   rehearse.sh refuse     what a wrong password, a weak secret and a changed topic are answered
#   rehearse.sh scale      three of projects, two of media: the stories once more; then each container is killed under load
#   rehearse.sh roll       two of each service, restarted one after the other under 200 requests/s
#   rehearse.sh down       removes containers and volumes
#   rehearse.sh            all of it
#
# Needs: dockerd with its bridge network, docker compose 2, debootstrap, rustup's toolchain, mvn and Java, go, wrk, and .venv
# with cvat-sdk (README.md).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
work=${REHEARSAL_DIR:-/tmp/annomesh-rehearsal}
stand_ins=$root/infra/docker/rehearsal
cd "$root"
mkdir -p "$work"
# A project of its own, with secrets of its own: `down` removes volumes, and not those of a mesh that somebody uses.
export COMPOSE_PROJECT_NAME=annomesh-rehearsal COMPOSE_ENV_FILES=$work/env
services=()
for folder in services/*/; do services+=("$(basename "$folder")"); done

fail() {
    echo "rehearse.sh: $*" >&2
    exit 1
}

has() {
    docker image inspect "$1" >/dev/null 2>&1
}

# The image that compose names for a service.
image() {
    sed -n "/^  $1:\$/,/^  [a-z]*:\$/s/^    image: //p" docker-compose.yml
}

# The image that the Dockerfile begins with, by its first word.
base() {
    sed -n "s/^FROM \($1:[^ ]*\).*\$/\1/p" infra/docker/Dockerfile | head -n 1
}

# Builds IMAGE from the Dockerfile on standard input and the folder CONTEXT, unless it is there.
build() {
    if has "$1"; then return; fi
    local context=${2:-$work/empty}
    mkdir -p "$context"
    docker build --quiet --network host --tag "$1" --file - "$context" >/dev/null
    echo "made $1"
}

debian() {
    if has "$(base debian)"; then return; fi
    if [ ! -d "$work/debian" ]; then
        command -v debootstrap >/dev/null || fail "debootstrap is needed"
        debootstrap --variant=minbase bookworm "$work/debian.new" >"$work/debootstrap.log" 2>&1
        rm -rf "$work/debian.new"/var/cache/apt/archives/*.deb "$work/debian.new"/var/lib/apt/lists/*
        mv "$work/debian.new" "$work/debian"
    fi
    tar -C "$work/debian" -c . | docker import - "$(base debian)" >/dev/null
    echo "made $(base debian)"
}

# This machine's compiler, and the authorities that it trusts.
rust() {
    if has "$(base rust)"; then return; fi
    local version
    version=$(base rust | sed 's/rust:\([0-9.]*\).*/\1/')
    rm -rf "$work/rust"
    mkdir -p "$work/rust"
    cp -rL "$(rustup run "$version" rustc --print sysroot)" "$work/rust/toolchain"
    cp /etc/ssl/certs/ca-certificates.crt "$work/rust/authorities.crt"
    build "$(base rust)" "$work/rust" <<DOCKERFILE
FROM $(base debian)
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends ca-certificates gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY toolchain /usr/local
COPY authorities.crt /usr/local/share/authorities.crt
ENV CARGO_HTTP_CAINFO=/usr/local/share/authorities.crt CARGO_HOME=/usr/local/cargo
DOCKERFILE
}

images() {
    debian
    rust
    build "$(image postgres)" "$stand_ins" <<DOCKERFILE
FROM $(base debian)
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/*
COPY postgres.sh /usr/local/bin/docker-entrypoint.sh
RUN install -d -o postgres -g postgres /var/lib/postgresql/data
ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]
DOCKERFILE
    build "$(image redis)" <<DOCKERFILE
FROM $(base debian)
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
DOCKERFILE
    if ! has "$(image kafka)"; then
        infra/kafka/kafka.sh fetch
        build "$(image kafka)" infra/kafka/.run <<DOCKERFILE
FROM $(base debian)
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends openjdk-17-jre-headless && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 appuser && install -d -o appuser -g appuser /var/lib/kafka/data
COPY libs /opt/kafka/libs
USER appuser
DOCKERFILE
    fi
    if ! has "$(image traefik)"; then
        traefik_program
        build "$(image traefik)" "$work/traefik" <<DOCKERFILE
FROM $(base debian)
COPY traefik /usr/local/bin/traefik
ENTRYPOINT ["/usr/local/bin/traefik"]
DOCKERFILE
    fi
    local began=$SECONDS
    secrets
    docker compose build >"$work/build.log" 2>&1 || { tail -n 30 "$work/build.log"; fail "docker compose build"; }
    echo "built the services' images in $((SECONDS - began)) s"
}

# Traefik's program. `go install` refuses its replace directives, so it is built in a copy of its module.
traefik_program() {
    if [ -x "$work/traefik/traefik" ]; then return; fi
    local version module
    version=$(image traefik | sed 's/.*://')
    module=$(cd "$work" && go mod download -json "github.com/traefik/traefik/v3@$version" | sed -n 's/.*"Dir": "\(.*\)",*/\1/p')
    rm -rf "$work/traefik-src"
    cp -r "$module" "$work/traefik-src"
    chmod -R u+w "$work/traefik-src"
    # The dashboard is embedded, and made by npm; here it is empty.
    mkdir -p "$work/traefik-src/webui/static" "$work/traefik"
    : >"$work/traefik-src/webui/static/index.html"
    (cd "$work/traefik-src" && GOWORK=off CGO_ENABLED=0 go build -ldflags "-s -w" -o "$work/traefik/traefik" ./cmd/traefik)
}

up() {
    secrets
    local began
    began=$(date +%s%N)
    docker compose up --no-build --wait "$@" >"$work/up.log" 2>&1 || { tail -n 30 "$work/up.log"; fail "docker compose up"; }
    echo "ready after $((($(date +%s%N) - began) / 1000000)) ms: docker compose up $*"
}

down() {
    docker compose down --volumes --timeout 20 >/dev/null 2>&1
}

secrets() {
    [ -e "$COMPOSE_ENV_FILES" ] || infra/docker/env.sh "$COMPOSE_ENV_FILES"
}

value() {
    sed -n "s/^$1=//p" "$COMPOSE_ENV_FILES"
}

stories() {
    local story
    for story in story first_task; do
        .venv/bin/python "shared/mesh-tests/sdk/$story.py" "$(value PUBLIC_URL)" admin "$(value ADMIN_PASSWORD)" | tail -n 2
    done
}

play() {
    stories
    local base_size
    base_size=$(docker image inspect --format '{{.Size}}' "$(base debian)")
    for name in "${services[@]}"; do
        docker image inspect --format '{{.Size}}' "$(docker compose images --quiet "$name" | sed -n 1p)" |
            awk -v base="$base_size" -v name="$name" '{printf "image of %s: %.0f MB above its base\n", name, ($1 - base) / 1e6}'
    done
    docker stats --no-stream --format '{{.Name}}: {{.MemUsage}}' | sed 's, / .*,,' | sort
}

# under_load RATE SECONDS STRICT COMMAND…: runs COMMAND while requests come in, which go on a while after it; failed requests
# are counted, and are an error when STRICT says `strict`.
under_load() {
    local rate=$1 seconds=$2 strict=$3
    shift 3
    python3 "$stand_ins/load.py" "$(value PUBLIC_URL)" admin "$(value ADMIN_PASSWORD)" "$seconds" "$rate" "$strict" &
    local load=$!
    # shellcheck disable=SC2064 # this load
    trap "kill $load 2>/dev/null || true" EXIT
    sleep 3
    "$@"
    kill -0 "$load" 2>/dev/null || fail "the load was over before the last of them"
    wait "$load" || fail "see the line above"
    trap - EXIT
}

until_healthy() {
    local waited=0
    until [ "$(docker inspect --format '{{.State.Health.Status}}' "$1")" = healthy ]; do
        waited=$((waited + 1))
        [ "$waited" -lt 400 ] || fail "$1 is not healthy after two minutes"
        sleep 0.3
    done
}

kill_one_of_each() {
    local name container
    for name in "${services[@]}" kafka redis postgres traefik; do
        container=$(docker compose ps --quiet "$name" | sed -n 1p)
        docker kill "$container" >/dev/null
        sleep 1
        # The engine takes a kill for a wish and does not start it again by itself.
        docker start "$container" >/dev/null
        until_healthy "$container"
        echo "$name: killed, and healthy again"
    done
}

restart_each() {
    local name container began stopped
    for name in "${services[@]}"; do
        for container in $(docker compose ps --quiet "$name"); do
            began=$(date +%s%N)
            docker stop --time 15 "$container" >/dev/null
            stopped=$((($(date +%s%N) - began) / 1000000))
            [ "$(docker inspect --format '{{.State.ExitCode}}' "$container")" = 0 ] || fail "$name did not stop by itself"
            [ "$stopped" -le 10000 ] || fail "$name took $stopped ms to stop"
            docker start "$container" >/dev/null
            until_healthy "$container"
            echo "$name: stopped $stopped ms after SIGTERM, healthy again $((($(date +%s%N) - began) / 1000000)) ms after it"
        done
    done
}

scale() {
    up --scale projects=3 --scale media=2
    docker compose ps --format '{{.Service}}' | sort | uniq -c
    for _ in 1 2 3; do stories; done
    echo "killed one after the other, at 20 requests/s:"
    under_load 20 "${KILL_SECONDS:-120}" lenient kill_one_of_each
}

roll() {
    local name two=()
    for name in "${services[@]}"; do two+=(--scale "$name=2"); done
    up "${two[@]}"
    echo "restarted one after the other, two of each, at 200 requests/s:"
    under_load 200 "${ROLL_SECONDS:-240}" strict restart_each
}

# CPU time that a service's containers have used, in microseconds.
spent() {
    local container total=0 one
    for container in $(docker compose ps --quiet "$1"); do
        one=$(cat "/sys/fs/cgroup/cpuacct/docker/$container/cpuacct.usage" 2>/dev/null ||
            awk '/^usage_usec/ {print $2 "000"}' "/sys/fs/cgroup/docker/$container/cpu.stat")
        total=$((total + one / 1000))
    done
    echo "$total"
}

replicas() {
    local count name key before requests
    local watched=(traefik projects postgres identity redis)
    key=$(curl -fsS "$(value PUBLIC_URL)/api/auth/login" -H 'content-type: application/json' \
        -d "{\"username\": \"admin\", \"password\": \"$(value ADMIN_PASSWORD)\"}" | sed 's/.*"key": *"\([^"]*\)".*/\1/')
    for count in 1 3 1 3 1 3; do
        up --scale "projects=$count" --scale media=1
        wrk -t2 -c32 -d3s -H "authorization: Token $key" "$(value PUBLIC_URL)/api/projects" >/dev/null
        before=()
        for name in "${watched[@]}"; do before+=("$(spent "$name")"); done
        wrk -t2 -c32 -d10s -H "authorization: Token $key" "$(value PUBLIC_URL)/api/projects" >"$work/wrk.log"
        requests=$(awk '/requests in/ {print $1}' "$work/wrk.log")
        echo "$count of projects: $(awk '/Requests\/sec/ {print $2}' "$work/wrk.log") requests/s$(sed -n 's/^ *Non-2xx.*: /, refused: /p' "$work/wrk.log")"
        for name in "${watched[@]}"; do
            echo "    CPU of $name for one: $((($(spent "$name") - before[0]) / requests)) us"
            before=("${before[@]:1}")
        done
    done
}

# refused WHY WORD SETTING…: projects must not start so, must say so in one line that names WORD, and must not tell a secret.
refused() {
    local why=$1 word=$2 status=0 said
    shift 2
    timeout 60 docker compose run --name refused --rm --no-deps "${@/#/--env=}" projects >"$work/refused.log" 2>&1 || status=$?
    if [ "$status" -eq 0 ] || [ "$status" -eq 124 ]; then
        docker rm --force refused >/dev/null 2>&1 || true
        fail "$why: it did not end by itself"
    fi
    if grep -q "do-not-show" "$work/refused.log"; then fail "$why: a secret was shown"; fi
    said=$(grep "^Error" "$work/refused.log") || fail "$why: nothing is said, see $work/refused.log"
    [[ $said == *"$word"* && $said != *$'\n'* ]] || fail "$why: $said"
    echo "$why: $said"
}

refuse() {
    refused "a wrong password of Kafka's" KAFKA_SASL_PASSWORD KAFKA_SASL_PASSWORD=wrong-one-do-not-show-it
    refused "a wrong password of PostgreSQL's" DATABASE_URL DATABASE_URL=postgresql://annomesh:do-not-show-it@postgres:5432/postgres
    refused "no database there" DATABASE_URL DATABASE_URL=postgresql://annomesh:do-not-show-it@redis:5432/postgres
    refused "a weak secret" MESH_SECRET MESH_SECRET=do-not-show-it
    refused "no secret" MESH_SECRET MESH_SECRET=
    refused "an unknown setting" KAFKA_BROKER KAFKA_BROKER=kafka:9092
    # On the listener that only Kafka's own container reaches.
    docker compose exec --no-TTY kafka java -cp '/opt/kafka/libs/*' org.apache.kafka.tools.TopicCommand \
        --bootstrap-server 127.0.0.1:9094 --create --if-not-exists --topic other.projects.events --partitions 3 >/dev/null 2>&1
    refused "another partition count" KAFKA_TOPIC_PREFIX KAFKA_TOPIC_PREFIX=other.
}

all() {
    images
    down
    up
    play
    replicas
    refuse
    scale
    roll
    down
}

case ${1:-all} in
    images | up | play | scale | roll | replicas | refuse | down | all) "${@:-all}" ;;
    *) fail "images, up, play, scale, roll, replicas, refuse or down" ;;
esac
