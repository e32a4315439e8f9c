{{/* A service's variables, as a list: the chart's own, then `extraEnvs`, of which the last of a name counts:
(dict "root" $ "service" "projects"). README.md has the table of what each means. */}}
{{- define "annomesh.env" -}}
{{- $settings := include "annomesh.settings" . | fromYaml }}
{{- $all := concat (include "annomesh.ownEnv" . | fromYamlArray) .root.Values.extraEnvs $settings.extraEnvs }}
{{- $last := dict }}
{{- range $index, $variable := $all }}
{{- $_ := set $last $variable.name $index }}
{{- end }}
{{- $kept := list }}
{{- range $index, $variable := $all }}
{{- if eq $index (get $last $variable.name) }}
{{- $kept = append $kept $variable }}
{{- end }}
{{- end }}
{{- toYaml $kept }}
{{- end }}

{{- define "annomesh.ownEnv" -}}
{{- $values := .root.Values }}
{{- $full := include "annomesh.fullname" .root }}
{{- $secret := include "annomesh.secret" .root }}
{{- $service := .service }}
- name: HTTP_ADDRESS
  value: 0.0.0.0:8080
- name: MESH_ADDRESS
  value: 0.0.0.0:8081
- name: MESH_PEERS
  value: {{ range $index, $name := keys $values.services | sortAlpha }}{{ if $index }},{{ end }}{{ $name }}=http://{{ $full }}-{{ $name }}:8081{{ end }}
{{ include "annomesh.fromSecret" (dict "name" "MESH_SECRET" "secret" $secret) }}
- name: PUBLIC_URL
  value: {{ include "annomesh.publicUrl" .root | quote }}
- name: LOG_FORMAT
  value: {{ $values.log.format }}
- name: RUST_LOG
  value: {{ $values.log.filter | quote }}
{{- with $values.otlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- if or $values.redis.enabled $values.redis.external.host }}
{{- $redis := $values.redis.external }}
{{- if or $values.redis.enabled $redis.auth }}
{{ include "annomesh.fromSecret" (dict "name" "REDIS_PASSWORD" "secret" ($values.redis.existingSecret | default $secret)) }}
{{- end }}
- name: REDIS_URL
  {{- if $values.redis.enabled }}
  value: redis://:$(REDIS_PASSWORD)@{{ $full }}-redis:6379/0
  {{- else }}
  value: {{ if $redis.tls }}rediss{{ else }}redis{{ end }}://{{ if $redis.auth }}:$(REDIS_PASSWORD)@{{ end }}{{ $redis.host }}:{{ $redis.port }}/0
  {{- end }}
{{- end }}
{{- if ne $service (include "annomesh.storeless" .root) }}
{{ include "annomesh.storeEnv" .root }}
{{- end }}
{{- if eq $service "identity" }}
- name: ADMIN_USERNAME
  value: {{ $values.admin.username | quote }}
- name: ADMIN_EMAIL
  value: {{ $values.admin.email | quote }}
{{ include "annomesh.fromSecret" (dict "name" "ADMIN_PASSWORD" "secret" $secret) }}
{{ include "annomesh.fromSecret" (dict "name" "CLEARML__secure__credentials__supervisor__user_key" "key" "SUPERVISOR_USER_KEY" "secret" $secret "optional" true) }}
{{ include "annomesh.fromSecret" (dict "name" "CLEARML__secure__credentials__supervisor__user_secret" "key" "SUPERVISOR_USER_SECRET" "secret" $secret "optional" true) }}
{{- end }}
{{- if eq $service "webhooks" }}
{{- with $values.webhooksAllowedTargets }}
- name: WEBHOOKS_ALLOWED_TARGETS
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- if eq $service "media" }}
{{ include "annomesh.storageEnv" .root }}
{{- end }}
{{- end }}

{{/* Of services that have a database and events. */}}
{{- define "annomesh.storeEnv" -}}
{{- $full := include "annomesh.fullname" . }}
{{- $secret := include "annomesh.secret" . }}
{{- $database := .Values.postgresql.external }}
{{ include "annomesh.fromSecret" (dict "name" "DATABASE_PASSWORD" "secret" (.Values.postgresql.existingSecret | default $secret)) }}
- name: DATABASE_URL
  {{- if .Values.postgresql.enabled }}
  value: postgresql://annomesh:$(DATABASE_PASSWORD)@{{ $full }}-postgresql:5432/postgres
  {{- else }}
  value: postgresql://{{ $database.username }}:$(DATABASE_PASSWORD)@{{ required "postgresql.external.host: name the server, or set postgresql.enabled" $database.host }}:{{ $database.port }}/{{ $database.database }}
  {{- end }}
{{- $kafka := .Values.kafka }}
{{- $brokers := ternary (printf "%s-kafka:9092" $full) $kafka.external.brokers $kafka.enabled }}
{{- if $brokers }}
{{- $protocol := ternary "sasl_plaintext" $kafka.external.securityProtocol $kafka.enabled }}
- name: KAFKA_BROKERS
  value: {{ $brokers | quote }}
{{- with $kafka.topicPrefix }}
- name: KAFKA_TOPIC_PREFIX
  value: {{ . | quote }}
{{- end }}
- name: KAFKA_SECURITY_PROTOCOL
  value: {{ $protocol }}
{{- if hasPrefix "sasl" $protocol }}
- name: KAFKA_SASL_MECHANISM
  value: {{ ternary "SCRAM-SHA-512" $kafka.external.saslMechanism $kafka.enabled }}
- name: KAFKA_SASL_USERNAME
  value: {{ ternary "annomesh" $kafka.external.saslUsername $kafka.enabled | quote }}
{{ include "annomesh.fromSecret" (dict "name" "KAFKA_SASL_PASSWORD" "secret" ($kafka.existingSecret | default $secret)) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where media keeps pictures. */}}
{{- define "annomesh.storageEnv" -}}
{{- $persistence := .Values.global.persistence }}
- name: ANNOMESH_DATA
  value: /data
- name: STORAGE_FREE_MIB_MIN
  value: {{ $persistence.freeMiBMin | quote }}
- name: STORAGE_TYPE
  value: {{ $persistence.type }}
{{- if eq $persistence.type "s3" }}
{{- with $persistence.config.s3 }}
- name: STORAGE_AWS_BUCKET_NAME
  value: {{ required "global.persistence.config.s3.bucket: name the bucket" .bucket | quote }}
- name: STORAGE_AWS_REGION_NAME
  value: {{ .region | quote }}
- name: STORAGE_AWS_ENDPOINT_URL
  value: {{ .endpoint | quote }}
- name: STORAGE_AWS_FOLDER
  value: {{ .folder | quote }}
{{- if .accessKeyExistingSecret }}
{{ include "annomesh.fromSecret" (dict "name" "STORAGE_AWS_ACCESS_KEY_ID" "secret" .accessKeyExistingSecret "key" .accessKeyExistingSecretKey) }}
{{ include "annomesh.fromSecret" (dict "name" "STORAGE_AWS_SECRET_ACCESS_KEY" "secret" (.secretKeyExistingSecret | default .accessKeyExistingSecret) "key" .secretKeyExistingSecretKey) }}
{{- end }}
{{- end }}
{{- else if eq $persistence.type "gcs" }}
{{- with $persistence.config.gcs }}
- name: STORAGE_GCS_BUCKET_NAME
  value: {{ required "global.persistence.config.gcs.bucket: name the bucket" .bucket | quote }}
- name: STORAGE_GCS_PROJECT_ID
  value: {{ .projectID | quote }}
- name: STORAGE_GCS_ENDPOINT
  value: {{ .endpoint | quote }}
- name: STORAGE_GCS_FOLDER
  value: {{ .folder | quote }}
{{- if .applicationCredentialsJSONExistingSecret }}
- name: GOOGLE_APPLICATION_CREDENTIALS
  value: /secrets/gcs/key.json
{{- end }}
{{- end }}
{{- else if eq $persistence.type "azure" }}
{{- with $persistence.config.azure }}
- name: STORAGE_AZURE_ACCOUNT_NAME
  value: {{ required "global.persistence.config.azure.storageAccountName: name the account" .storageAccountName | quote }}
- name: STORAGE_AZURE_CONTAINER_NAME
  value: {{ required "global.persistence.config.azure.containerName: name the container" .containerName | quote }}
- name: STORAGE_AZURE_ENDPOINT_URL
  value: {{ .endpoint | quote }}
- name: STORAGE_AZURE_FOLDER
  value: {{ .folder | quote }}
{{- if .storageAccountKeyExistingSecret }}
{{ include "annomesh.fromSecret" (dict "name" "STORAGE_AZURE_ACCOUNT_KEY" "secret" .storageAccountKeyExistingSecret "key" .storageAccountKeyExistingSecretKey) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
