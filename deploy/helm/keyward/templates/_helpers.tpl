{{/* Release and chart name, only once if they are equal. */}}
{{- define "keyward.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "keyward.fullname" -}}
{{- $name := include "keyward.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels that select the pods; they never change during the life of a release. */}}
{{- define "keyward.selector" -}}
app.kubernetes.io/name: {{ include "keyward.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "keyward.labels" -}}
{{ include "keyward.selector" . }}
app.kubernetes.io/component: authorization
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "keyward.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "keyward.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "keyward.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* Whether keys are files: no source is configured. */}}
{{- define "keyward.keysAreFiles" -}}
{{- if not .Values.config.source }}yes{{ end -}}
{{- end -}}

{{/* Whether keyward needs the network, for keys or for limits. */}}
{{- define "keyward.isRemote" -}}
{{- $limits := default dict .Values.config.limits -}}
{{- if or .Values.config.source $limits.redis }}yes{{ end -}}
{{- end -}}

{{/* keyward.yaml: config, and what the chart sets. */}}
{{- define "keyward.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $grpc := dict "address" "0.0.0.0:9191" -}}
{{- if .Values.tls.secretName -}}
{{- $tls := dict "cert_file" "/etc/keyward/tls/tls.crt" "key_file" "/etc/keyward/tls/tls.key" -}}
{{- if .Values.tls.clientCaSecretName -}}
{{- $_ := set $tls "client_ca_file" "/etc/keyward/client-ca/ca.crt" -}}
{{- end -}}
{{- $_ := set $grpc "tls" $tls -}}
{{- end -}}
{{- $server := dict "grpc" $grpc "admin" (dict "address" "0.0.0.0:9192") -}}
{{- $_ := set $config "server" (merge $server (default dict $config.server)) -}}
{{- if include "keyward.keysAreFiles" . -}}
{{- $_ := set $config "source" (dict "file" (dict "path" "/etc/keyward/keys")) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Checks that a schema cannot express. */}}
{{- define "keyward.check" -}}
{{- $deadline := dig "server" "deadline" "20s" .Values.config -}}
{{- $seconds := trimSuffix "s" $deadline | int -}}
{{- if ge $seconds (int .Values.terminationGracePeriodSeconds) -}}
{{- $message := "terminationGracePeriodSeconds must be longer than config.server.deadline, %s: the kubelet would kill what still runs" -}}
{{- fail (printf $message $deadline) -}}
{{- end -}}
{{- if and (include "keyward.keysAreFiles" .) (not .Values.keys.secretName) -}}
{{- fail "keys.secretName is empty and config.source is not set: name the Secret that holds the keys, or a remote source" -}}
{{- end -}}
{{- if and (include "keyward.isRemote" .) .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) -}}
{{- fail "networkPolicy.egress is empty: allow the remote source, because nothing else may leave the pods" -}}
{{- end -}}
{{- if and .Values.tls.clientCaSecretName (not .Values.tls.secretName) -}}
{{- fail "tls.clientCaSecretName needs tls.secretName: without TLS no client presents a certificate" -}}
{{- end -}}
{{- end -}}
