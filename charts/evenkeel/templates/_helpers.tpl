{{/*
Names are fixed, not made of the release's: the Lease, the Secrets and the headless Services have names that the programs
know, so a namespace holds one install.
*/}}

{{/* Labels of every object: (dict "root" $ "component" "controller"). */}}
{{- define "evenkeel.labels" -}}
{{ include "evenkeel.selector" . }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* Labels by which pods are selected. */}}
{{- define "evenkeel.selector" -}}
app.kubernetes.io/name: evenkeel
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* An image: (dict "root" $ "program" "proxy"). */}}
{{- define "evenkeel.image" -}}
{{ printf "%s/%s:%s" .root.Values.image.registry .program (.root.Values.image.tag | default .root.Chart.AppVersion) }}
{{- end }}

{{/* What the restricted Pod Security standard wants of a pod. */}}
{{- define "evenkeel.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* And of a container. */}}
{{- define "evenkeel.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/*
Probes on port 9090: (dict "probes" .probes). A start may take a minute; later a pod that does not answer is first taken
out of rotation, and restarted only after twice as many failures.
*/}}
{{- define "evenkeel.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: 1
  timeoutSeconds: {{ .probes.timeoutSeconds }}
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: {{ .probes.periodSeconds }}
  timeoutSeconds: {{ .probes.timeoutSeconds }}
  failureThreshold: {{ .probes.failureThreshold }}
livenessProbe:
  httpGet: {path: /livez, port: admin}
  periodSeconds: {{ .probes.periodSeconds }}
  timeoutSeconds: {{ .probes.timeoutSeconds }}
  failureThreshold: {{ mul 2 .probes.failureThreshold }}
{{- end }}

{{/* Spreads pods over zones and nodes where it can: (dict "labels" (the selector's)). */}}
{{- define "evenkeel.spread" -}}
topologySpreadConstraints:
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  # Of pods of the same version, so that a rollout ends as evenly as it began.
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels: {{- $.labels | nindent 6 }}
{{- end }}
{{- end }}

{{/* Where pods may run: (dict "of" .Values.controller). */}}
{{- define "evenkeel.placement" -}}
{{- with .of.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
