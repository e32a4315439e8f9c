#!/usr/bin/env bash
# Plays docker-compose.yml for real on a Debian 12 machine that has a Docker engine and no container registry: makes images
# under the names that compose and the Dockerfile say, starts the mesh, tells the stories to it through Traefik, scales,
# stops and kills. By hand, not in CI; about an hour on two cores, half of it compiling.
#
#   rehearse.sh images     stand-ins for Debian, PostgreSQL, Kafka, Redis, Traefik
#   rehearse.sh programs   the services' images: the Dockerfile's last stage with programs compiled on this machine
#   rehearse.sh up         starts the mesh and says how long it took
#   rehearse.sh play       the stories; sizes and memory
#   rehearse.sh scale      three of projects, two of media; one of each is killed, all are restarted, under load
#   rehearse.sh down       removes containers and volumes
#
# Needs: docker (dockerd --iptables=false --bridge=none --storage-driver=vfs is enough), docker compose 2, debootstrap,
# mvn and Java for Kafka's jars, go for Traefik, and .venv with cvat-sdk (README.md).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
work=${REHEARSAL_DIR:-/tmp/annomesh-rehearsal}
profile=${REHEARSAL_PROFILE:-release}
cd "$root"
mkdir -p "$work"

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

# Builds IMAGE from the Dockerfile on standard input and the folder CONTEXT, unless it is there.
build() {
    if has "$1"; then return; fi
    local context=${2:-$work/empty}
    mkdir -p "$context"
    docker build --quiet --network host --tag "$1" --file - "$context" >/dev/null
    echo "made $1, $(docker image inspect --format '{{.Size}}' "$1" | awk '{printf "%.0f MB", $1 / 1e6}')"
}

debian() {
    local tag
    tag=$(sed -n 's/^FROM \(debian:.*\)$/\1/p' infra/docker/Dockerfile)
    echo "$tag"
    if has "$tag"; then return; fi
    if [ ! -d "$work/debian" ]; then
        command -v debootstrap >/dev/null || fail "debootstrap is needed"
        debootstrap --variant=minbase bookworm "$work/debian.new" >"$work/debootstrap.log" 2>&1
        rm -rf "$work/debian.new"/var/cache/apt/archives/*.deb "$work/debian.new"/var/lib/apt/lists/*
        mv "$work/debian.new" "$work/debian"
    fi
    tar -C "$work/debian" -c . | docker import - "$tag" >/dev/null
}

images() {
    local base
    base=$(debian)
    build "$(image postgres)" infra/docker/stand-ins <<DOCKERFILE
FROM $base
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends postgresql && rm -rf /var/lib/apt/lists/*
COPY postgres.sh /usr/local/bin/docker-entrypoint.sh
RUN install -d -o postgres -g postgres /var/lib/postgresql/data
ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]
DOCKERFILE
    build "$(image redis)" <<DOCKERFILE
FROM $base
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/*
DOCKERFILE
    infra/kafka/kafka.sh fetch
    build "$(image kafka)" infra/kafka/.run <<DOCKERFILE
FROM $base
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends openjdk-17-jre-headless && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 appuser && install -d -o appuser -g appuser /var/lib/kafka/data
COPY libs /opt/kafka/libs
USER appuser
DOCKERFILE
    if ! has "$(image traefik)"; then
        traefik_program
        build "$(image traefik)" "$work/traefik" <<DOCKERFILE
FROM $base
COPY traefik /usr/local/bin/traefik
ENTRYPOINT ["/usr/local/bin/traefik"]
DOCKERFILE
    fi
}

# Traefik's program. \`go install\` refuses its replace directives, so it is built in a copy of its module.
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

programs() {
    grep -q '^12' /etc/debian_version 2>/dev/null || fail "programs of this machine run in the image only where both are Debian 12"
    local services=() name folder=$profile
    for name in services/*/; do services+=("$(basename "$name")"); done
    if [ "$profile" = dev ]; then folder=debug; fi
    OPENSSL_STATIC=1 cargo build --locked --profile "$profile" --features service-kit/kafka-tls "${services[@]/#/--package=}"
    rm -rf "$work/programs"
    mkdir -p "$work/programs/out"
    for name in "${services[@]}"; do
        strip -o "$work/programs/out/$name" "target/$folder/$name"
    done
    # The real last stage; what it takes from stages before it is here.
    { echo "FROM $(debian) AS tools"
      echo 'RUN apt-get update && apt-get install -qy --no-install-recommends ca-certificates'
      echo 'FROM scratch AS programs'
      echo 'COPY out /out'
      sed -n '/^FROM debian/,$p' infra/docker/Dockerfile; } >"$work/programs/Dockerfile"
    for name in "${services[@]}"; do
        DOCKER_BUILDKIT=0 docker build --quiet --network host --build-arg SERVICE="$name" \
            --tag "annomesh/$name:0.1.0" "$work/programs" >/dev/null
    done
    sizes
}

sizes() {
    local base name
    base=$(docker image inspect --format '{{.Size}}' "$(debian)")
    for name in services/*/; do
        name=$(basename "$name")
        docker image inspect --format '{{.Size}}' "annomesh/$name:0.1.0" |
            awk -v base="$base" -v name="$name" '{printf "image of %s: %.0f MB above its base\n", name, ($1 - base) / 1e6}'
    done
}

up() {
    [ -e .env ] || infra/docker/env.sh
    local began=$SECONDS
    docker compose up --no-build --wait "$@"
    echo "ready after $((SECONDS - began)) s"
}

down() {
    docker compose down --volumes --timeout 20
}

value() {
    sed -n "s/^$1=//p" .env
}

story() {
    .venv/bin/python shared/mesh-tests/sdk/first_task.py "$(value PUBLIC_URL)" admin "$(value ADMIN_PASSWORD)"
    .venv/bin/python shared/mesh-tests/sdk/story.py "$(value PUBLIC_URL)" admin "$(value ADMIN_PASSWORD)"
}

play() {
    story
    docker stats --no-stream --format '{{.Name}} {{.MemUsage}}' | sort
}

# Runs COMMAND while requests come in; COMMAND's failures are ours, failed requests are counted.
under_load() {
    local seconds=$1 rate=$2
    shift 2
    python3 infra/docker/load.py "$(value PUBLIC_URL)" admin "$(value ADMIN_PASSWORD)" "$seconds" "$rate" &
    local load=$!
    sleep 3
    "$@"
    wait "$load"
}

kill_one_of_each() {
    local name container
    for name in services/*/; do
        container=$(docker compose ps --quiet "$(basename "$name")" | head -n 1)
        docker kill "$container" >/dev/null
        sleep 1
        # The engine takes a kill for a wish and does not start it again by itself.
        docker start "$container" >/dev/null
        sleep 3
    done
}

restart_each() {
    local name container
    for name in services/*/; do
        for container in $(docker compose ps --quiet "$(basename "$name")"); do
            docker restart --time 15 "$container" >/dev/null
            until [ "$(docker inspect --format '{{.State.Health.Status}}' "$container")" = healthy ]; do sleep 0.3; done
        done
    done
}

scale() {
    up --scale projects=3 --scale media=2
    docker compose ps --format '{{.Service}}' | sort | uniq -c
    story
    echo "killed one after the other, 20 requests/s:"
    under_load 60 20 kill_one_of_each
    echo "restarted one after the other, two of each, 200 requests/s:"
    local name two=()
    for name in services/*/; do two+=(--scale "$(basename "$name")=2"); done
    up "${two[@]}"
    under_load 240 200 restart_each
}

case ${1:-} in
    images | programs | up | play | scale | down) "$@" ;;
    *) fail "images, programs, up, play, scale or down" ;;
esac
