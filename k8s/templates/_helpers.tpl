{{/* Services without a database. */}}
{{- define "annomesh.storeless" -}}gateway{{- end }}

{{- define "annomesh.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for `-postgresql` and `-migrate-analytics` behind it. */}}
{{- define "annomesh.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "annomesh.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "annomesh.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What never changes of a component's labels: (dict "root" $ "component" "projects"). */}}
{{- define "annomesh.selector" -}}
app.kubernetes.io/name: {{ include "annomesh.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "annomesh.labels" -}}
{{ include "annomesh.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* A service's settings over the defaults, as YAML: (dict "root" $ "service" "projects"). */}}
{{- define "annomesh.settings" -}}
{{- $own := index .root.Values.services .service | default dict }}
{{- mustMergeOverwrite (deepCopy .root.Values.defaults) (deepCopy $own) | toYaml }}
{{- end }}

{{- define "annomesh.image" -}}
{{- $image := .root.Values.image }}
{{- with $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}/{{ .service }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "annomesh.secret" -}}
{{- required "existingSecret: name the Secret with MESH_SECRET, ADMIN_PASSWORD and the stores' passwords (k8s/README.md)" .Values.existingSecret }}
{{- end }}

{{- define "annomesh.publicUrl" -}}
{{- if .Values.publicUrl }}
{{- .Values.publicUrl }}
{{- else }}
{{- $host := (first .Values.ingress.hosts).host }}
{{- if .Values.ingress.tls }}https{{ else }}http{{ end }}://{{ $host }}
{{- end }}
{{- end }}

{{/* Pictures in a volume, which one replica has. */}}
{{- define "annomesh.mediaVolume" -}}
{{- if eq .Values.global.persistence.type "volume" }}true{{ end }}
{{- end }}

{{- define "annomesh.mediaClaim" -}}
{{- .Values.global.persistence.config.volume.existingClaim | default (printf "%s-media" (include "annomesh.fullname" .)) }}
{{- end }}

{{- define "annomesh.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Of a pod whose program runs as this user: (dict "user" 10001). */}}
{{- define "annomesh.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "annomesh.fromSecret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key | default .name }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end }}
