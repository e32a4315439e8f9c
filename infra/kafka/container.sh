#!/usr/bin/env bash
# The broker of docker-compose.yml and of the chart: one node of Kafka 4 (KRaft), to whom clients prove by SASL/SCRAM-SHA-512
# who they are. Formats its data folder at the first start, with the user `annomesh`.
#
#   container.sh            starts it
#   container.sh healthy    whether it answers
#   container.sh password   tells the running node that KAFKA_SASL_PASSWORD is another now
set -euo pipefail

data=${KAFKA_DATA:-/var/lib/kafka/data}
properties=${KAFKA_PROPERTIES:-/tmp/server.properties}
logging=${KAFKA_LOGGING:-/tmp/log4j2.properties}
libs=${KAFKA_LIBS:-/opt/kafka/libs}
address=${KAFKA_ADVERTISED_ADDRESS:-kafka:9092}

# Asks for the versions it speaks, on the listener that only this container reaches.
healthy() {
    exec 3<>/dev/tcp/127.0.0.1/9094
    printf '\0\0\0\012\0\022\0\0\0\0\0\001\377\377' >&3
    IFS= read -r -t 2 -d '' -u 3 _
}

tool() {
    java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$libs/*" "$@"
}

write_properties() {
    cat >"$properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
# Clients come by 9092 and prove who they are; the other two are reached from inside this container only.
listeners=CLIENT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093,INSIDE://127.0.0.1:9094
advertised.listeners=CLIENT://$address,INSIDE://127.0.0.1:9094
listener.security.protocol.map=CLIENT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT,INSIDE:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=INSIDE
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.client.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs=$data/log
# A topic is created by its publisher, with the partitions it wants.
auto.create.topics.enable=false
# One node: there is nobody to replicate to.
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A killed node may come back when its old session has run out.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
# What consumers have not read by then they read from the producers' logs.
log.retention.hours=168
log.cleaner.dedupe.buffer.size=8388608
PROPERTIES
    cat >"$logging" <<'LOGGING'
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
LOGGING
}

start() {
    : "${KAFKA_SASL_PASSWORD:?is not set: run infra/docker/env.sh}"
    if [ "${#KAFKA_SASL_PASSWORD}" -lt 16 ]; then
        echo "KAFKA_SASL_PASSWORD must have at least 16 characters" >&2
        exit 1
    fi
    write_properties
    if [ ! -f "$data/log/meta.properties" ]; then
        # 16 random bytes as Kafka writes them; the first letter is fixed, because a leading `-` would be an option.
        local id
        id="A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)"
        # What it says holds what the password is checked by, so only complaints are passed on.
        if ! tool kafka.tools.StorageTool format --cluster-id "$id" --config "$properties" \
            --add-scram "SCRAM-SHA-512=[name=annomesh,password=$KAFKA_SASL_PASSWORD]" >/dev/null; then
            echo "the data folder $data could not be formatted" >&2
            exit 1
        fi
    fi
    unset KAFKA_SASL_PASSWORD
    # Several options on purpose.
    # shellcheck disable=SC2086
    exec java ${KAFKA_HEAP_OPTS:--Xms256m -Xmx256m} -XX:+UseSerialGC -XX:-UsePerfData \
        -Dlog4j2.configurationFile="$logging" -cp "$libs/*" kafka.Kafka "$properties"
}

password() {
    tool kafka.admin.ConfigCommand --bootstrap-server 127.0.0.1:9094 --alter --entity-type users --entity-name annomesh \
        --add-config "SCRAM-SHA-512=[password=$KAFKA_SASL_PASSWORD]"
}

case ${1:-start} in
    start) start ;;
    healthy) healthy ;;
    password) password ;;
    *) echo "container.sh: start, healthy or password" >&2; exit 2 ;;
esac
