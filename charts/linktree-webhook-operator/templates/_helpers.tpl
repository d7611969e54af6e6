{{/* The name of everything this release owns, at most 63 characters. */}}
{{- define "operator.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "operator.name" .) -}}
{{- end -}}

{{/* A Role of its own, beside that of the same namespace where it is looked after too. */}}
{{- define "operator.leaseRole" -}}
{{- printf "%s-lease" (include "operator.name" . | trunc 57 | trimSuffix "-") -}}
{{- end -}}

{{- define "operator.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* What identifies the operator's pods. The NetworkPolicies it makes for receivers let in pods with this `name`. */}}
{{- define "operator.selectorLabels" -}}
app.kubernetes.io/name: linktree-webhook-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "simulator.selectorLabels" -}}
app.kubernetes.io/name: linktree-simulator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels every object of the release carries besides its selector labels. */}}
{{- define "chart.labels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: linktree-webhook-operator
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Pod Security Standards, "restricted". */}}
{{- define "pod.securityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "container.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* The authorities of probe.caBundle as a volume and its mount; nothing where none are given. */}}
{{- define "probe.volumes" -}}
{{- with .Values.probe.caBundle }}
{{- if .configMap -}}
volumes:
- {name: probe-ca, configMap: {name: {{ .configMap }}}}
{{- else if .secret -}}
volumes:
- {name: probe-ca, secret: {secretName: {{ .secret }}}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "probe.volumeMounts" -}}
{{- if include "probe.volumes" . -}}
volumeMounts:
- {name: probe-ca, mountPath: /etc/probe-ca, readOnly: true}
{{- end }}
{{- end -}}

{{/* What the operator may do, in every namespace it looks after and nowhere else. */}}
{{- define "operator.rules" -}}
- apiGroups: [webhooks.linktree-operator.dev]
  resources: [linktreewebhooks, linktreeconnections]
  verbs: [get, list, watch, patch, update]
- apiGroups: [webhooks.linktree-operator.dev]
  resources: [linktreewebhooks/status, linktreeconnections/status]
  verbs: [patch, update]
# The receivers. Secrets: Linktree's token and sink credentials are read; signing secrets and route files are written.
- apiGroups: [""]
  resources: [secrets, services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: [get, list, watch, create, patch, delete]
# Whether or not the cluster has the Gateway API.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
# Why a receiver is not up; and a pod's annotation is touched so that the kubelet refreshes its mounted route file.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- with .Values.addressables }}
# Sinks that say themselves where they are.
{{- range . }}
- apiGroups: {{ toJson .apiGroups }}
  resources: {{ toJson .resources }}
  verbs: [get]
{{- end }}
{{- end }}
{{- end -}}
