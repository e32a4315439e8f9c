#!/usr/bin/env bash
# One small Kafka node on loopback, for the tests that want a real broker. No Docker: jars fetched by Maven
# and Java 17. See README.md. Works with the bash 3.2 of macOS.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
libs="$here/.run/libs"
run=${BROKER_RUN_DIR:-"$here/.run"}
port=${BROKER_PORT:-19092}
controller_port=${BROKER_CONTROLLER_PORT:-$((port + 1))}
extra=${BROKER_EXTRA_PROPERTIES:-}
scram_port=${BROKER_SCRAM_PORT:-}
scram_password=${BROKER_SCRAM_PASSWORD:-annomesh-annomesh}

start_limit_seconds=60
stop_limit_seconds=12

fail() {
    echo "kafka.sh: $*" >&2
    exit 1
}

usage() {
    echo "usage: kafka.sh fetch|start|stop|status|reset   (see README.md)" >&2
    exit 2
}

# Sets `java` to a Java of at least version 17.
find_java() {
    java=java
    if [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ]; then java="$JAVA_HOME/bin/java"; fi
    local version
    version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1) || true
    if [ -z "$version" ] || [ "$version" -lt 17 ]; then
        fail "Java 17 or newer is needed (apt-get install openjdk-17-jre-headless); found: ${version:-none}"
    fi
}

fetch() {
    # The list that the jars were fetched by lies beside them, so a changed list is noticed.
    if cmp -s "$here/pom.xml" "$libs/pom.xml"; then return; fi
    find_java
    command -v mvn >/dev/null || fail "Maven is needed to fetch Kafka (apt-get install maven)"
    mkdir -p "$here/.run"
    exec 7>"$here/.run/fetch.lock"
    if command -v flock >/dev/null; then flock 7; fi
    if cmp -s "$here/pom.xml" "$libs/pom.xml"; then return; fi
    local new="$here/.run/libs-new-$$"
    rm -rf "$here"/.run/libs-new-*
    mvn --quiet --batch-mode --strict-checksums --file "$here/pom.xml" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        -DoutputDirectory="$new" -DincludeScope=runtime >&2 || fail "Maven could not fetch Kafka's jars"
    cp "$here/pom.xml" "$new/pom.xml"
    rm -rf "$libs"
    mv "$new" "$libs"
    echo "fetched $(find "$libs" -name '*.jar' | wc -l | tr -d ' ') jars into $libs" >&2
}

# Sets `pid` to the node of this run folder; fails if there is none. The command line is looked at because the
# number in the file may be another process's by now.
find_node() {
    pid=$(cat "$run/pid" 2>/dev/null) || return 1
    [ -n "$pid" ] || return 1
    local line
    line=$({ tr '\0' ' ' <"/proc/$pid/cmdline" || ps -o command= -p "$pid"; } 2>/dev/null) || return 1
    case $line in *"kafka.Kafka $run/server.properties"*) return 0 ;; *) return 1 ;; esac
}

# Asks for the versions it speaks (ApiVersions, version 0) and waits two seconds for the answer, whose first
# byte is zero. Kafka's own tools would take seconds to start for the same.
answers() {
    (
        exec 3<>"/dev/tcp/127.0.0.1/$port" &&
            printf '\0\0\0\012\0\022\0\0\0\0\0\001\377\377' >&3 &&
            IFS= read -r -t 2 -d '' -u 3 _
    ) 2>/dev/null
}

listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

write_properties() {
    cat >"$run/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$run/data
# A topic is created by its publisher, with the partitions it wants.
auto.create.topics.enable=false
# One node: there is nobody to replicate to.
default.replication.factor=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A group of one is complete at once.
group.initial.rebalance.delay.ms=0
# A killed node may come back when its old session has run out.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
# Small: two cores, a quarter of a gigabyte. (The cleaner's default buffer of 128 MiB would not fit.)
num.network.threads=1
num.io.threads=2
background.threads=2
num.recovery.threads.per.data.dir=1
group.coordinator.threads=1
share.coordinator.threads=1
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=2097152
PROPERTIES
    if [ -n "$scram_port" ]; then
        cat >>"$run/server.properties" <<PROPERTIES
# The last line of a name counts.
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port,SCRAM://127.0.0.1:$scram_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port,SCRAM://127.0.0.1:$scram_port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SCRAM:SASL_PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
PROPERTIES
    fi
    if [ -n "$extra" ]; then
        [ -r "$extra" ] || fail "BROKER_EXTRA_PROPERTIES names $extra, which cannot be read"
        # The last line of a name counts.
        printf '\n# From %s\n' "$extra" >>"$run/server.properties"
        cat "$extra" >>"$run/server.properties"
    fi
}

format() {
    if [ -f "$run/data/meta.properties" ]; then return; fi
    local id scram=()
    if [ -n "$scram_port" ]; then scram=(--add-scram "SCRAM-SHA-512=[name=annomesh,password=$scram_password]"); fi
    # 16 random bytes as Kafka writes them; the first letter is fixed, because a leading `-` would be an option.
    id="A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)"
    "$java" -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -cp "$libs/*" \
        kafka.tools.StorageTool format --cluster-id "$id" --config "$run/server.properties" ${scram[@]+"${scram[@]}"} \
        >"$run/format.log" 2>&1 || fail "the data folder could not be formatted:$(printf '\n'; tail -n 15 "$run/format.log")"
}

start() {
    mkdir -p "$run"
    run=$(cd "$run" && pwd -P)
    # One start at a time, where there is flock (macOS has none).
    exec 8>"$run/start.lock"
    if command -v flock >/dev/null; then flock -w $((start_limit_seconds * 2)) 8 || fail "another start hangs"; fi
    if find_node; then
        # The port of the node that runs, whatever this call's environment says.
        port=$(sed -n 's/^advertised.listeners=.*:\([0-9]*\)$/\1/p' "$run/server.properties" | head -n 1)
        wait_until_ready
        return
    fi
    find_java
    fetch
    for taken in "$port" "$controller_port" $scram_port; do
        if listens "$taken"; then fail "port $taken is in use: set BROKER_PORT and BROKER_CONTROLLER_PORT"; fi
    done
    write_properties
    format
    : >"$run/server.log"
    # No terminal and none of our files, so that nobody who reads our output waits for the node. A small heap
    # and only the quick compiler: it starts fast rather than running fast, which is what tests want.
    nohup "$java" -Xms96m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData \
        -XX:MaxDirectMemorySize=64m -Dannomesh.kafka.log="$run/server.log" \
        -Dlog4j2.configurationFile="$here/log4j2.properties" \
        -cp "$libs/*" kafka.Kafka "$run/server.properties" </dev/null >"$run/console.log" 2>&1 7>&- 8>&- &
    echo $! >"$run/pid"
    disown
    wait_until_ready
}

wait_until_ready() {
    local end=$((SECONDS + start_limit_seconds)) missing=0
    until grep -q 'Kafka Server started' "$run/server.log" 2>/dev/null && answers; do
        # Seen for a second, because a process that has only just been forked does not show its command line yet.
        if find_node; then missing=0; else missing=$((missing + 1)); fi
        if [ "$missing" -ge 10 ]; then
            tail -n 15 "$run/console.log" "$run/server.log" >&2
            fail "the node ended while starting"
        fi
        if [ "$SECONDS" -ge "$end" ]; then
            tail -n 15 "$run/console.log" "$run/server.log" >&2
            stop
            fail "the node did not answer within $start_limit_seconds s"
        fi
        sleep 0.1
    done
    echo "KAFKA_BROKERS=127.0.0.1:$port"
}

stop() {
    if [ -d "$run" ]; then run=$(cd "$run" && pwd -P); fi
    if ! find_node; then
        rm -f "$run/pid"
        return
    fi
    kill -TERM "$pid" 2>/dev/null || true
    local end=$((SECONDS + stop_limit_seconds))
    while find_node; do
        if [ "$SECONDS" -ge "$end" ]; then
            echo "kafka.sh: process $pid did not stop in $stop_limit_seconds s: killing it" >&2
            kill -KILL "$pid" 2>/dev/null || true
            end=$((SECONDS + 2))
        fi
        sleep 0.1
    done
    rm -f "$run/pid"
}

status() {
    if [ -d "$run" ]; then run=$(cd "$run" && pwd -P); fi
    if ! find_node; then
        echo "stopped"
        exit 3
    fi
    port=$(sed -n 's/^advertised.listeners=.*:\([0-9]*\)$/\1/p' "$run/server.properties" | head -n 1)
    local memory answer="answers"
    memory=$(ps -o rss= -p "$pid" 2>/dev/null | tr -d ' ') || true
    answers || answer="does not answer"
    echo "running: process $pid on 127.0.0.1:$port, $((${memory:-0} / 1024)) MB, $answer"
    [ "$answer" = answers ] || exit 1
}

reset() {
    stop
    rm -rf "$run/data" "$run/server.properties" "$run/server.log" "$run/console.log" "$run/format.log"
}

case ${1:-} in
    fetch) fetch ;;
    start) start ;;
    stop) stop ;;
    status) status ;;
    reset) reset ;;
    *) usage ;;
esac
