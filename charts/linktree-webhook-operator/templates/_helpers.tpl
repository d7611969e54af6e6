{{/* The name of the release's objects, at most 63 characters. */}}
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

{{/* The Role for the lease. It needs its own name, because the release's namespace may also be a watched namespace. */}}
{{- define "operator.leaseRole" -}}
{{- printf "%s-lease" (include "operator.name" . | trunc 57 | trimSuffix "-") -}}
{{- end -}}

{{/* The ClusterRole for finalizing webhooks. */}}
{{- define "operator.finalizerRole" -}}
{{- printf "%s-finalizer" (include "operator.name" . | trunc 53 | trimSuffix "-") -}}
{{- end -}}

{{/*
The watched namespaces that can have a Role, as JSON. One that was deleted, or is being deleted, would make an upgrade
fail. Without a cluster (helm template), and before the release's own namespace exists, all count.
*/}}
{{- define "operator.namespaces" -}}
{{- $namespaces := list -}}
{{- $connected := lookup "v1" "Namespace" "" .Release.Namespace -}}
{{- range .Values.watchNamespaces -}}
{{- $found := and $connected (lookup "v1" "Namespace" "" .) -}}
{{- if or (not $connected) (and $found (not $found.metadata.deletionTimestamp)) -}}
{{- $namespaces = append $namespaces . -}}
{{- end -}}
{{- end -}}
{{- toJson $namespaces -}}
{{- end -}}

{{- define "operator.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}

{{/* The labels of the operator's pods. The receivers' NetworkPolicies allow ingress from pods with this `name`. */}}
{{- define "operator.selectorLabels" -}}
app.kubernetes.io/name: linktree-webhook-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "simulator.selectorLabels" -}}
app.kubernetes.io/name: linktree-simulator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of every object of the release, in addition to its selector labels. */}}
{{- define "chart.labels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: linktree-webhook-operator
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Complies with the Pod Security Standard "restricted". */}}
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

{{/* The CA bundle as a volume and its mount; empty if none is configured. */}}
{{- define "caBundle.volumes" -}}
{{- with .Values.caBundle }}
{{- if .configMap -}}
volumes:
- {name: ca-bundle, configMap: {name: {{ .configMap }}}}
{{- else if .secret -}}
volumes:
- {name: ca-bundle, secret: {secretName: {{ .secret }}}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "caBundle.volumeMounts" -}}
{{- if include "caBundle.volumes" . -}}
volumeMounts:
- {name: ca-bundle, mountPath: /etc/linktree-ca, readOnly: true}
{{- end }}
{{- end -}}

{{/* The path of the CA bundle in the operator's and the simulator's pods. */}}
{{- define "caBundle.file" -}}
/etc/linktree-ca/{{ .Values.caBundle.key }}
{{- end -}}

{{/* The operator's rights in each watched namespace. */}}
{{- define "operator.rules" -}}
# Reads webhooks, and patches their finalizer.
- apiGroups: [webhooks.linktree-operator.dev]
  resources: [linktreewebhooks]
  verbs: [get, list, watch, patch]
- apiGroups: [webhooks.linktree-operator.dev]
  resources: [linktreeconnections]
  verbs: [get, list, watch]
# Reports the state of both. A status write is an apply, which is a patch.
- apiGroups: [webhooks.linktree-operator.dev]
  resources: [linktreewebhooks/status, linktreeconnections/status]
  verbs: [patch]
# The receivers' objects. In Secrets, the operator reads Linktree's token and the sinks' credentials, and writes signing
# secrets and route files.
- apiGroups: [""]
  resources: [secrets, services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: [get, list, watch, create, patch, delete]
# Granted whether or not the cluster has the Gateway API.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
# Read to report why a receiver is not ready; patched so that the kubelet refreshes the mounted route file.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
# The claims of the journals. list: finds those whose webhook is gone, by their label. patch: marks such a claim, and
# removes the mark when a webhook of that namespace and name exists again. delete: after an hour with the mark. RBAC can
# restrict none of them to a label, and the names of the claims are not known before; the StatefulSet controller creates
# them, and the operator neither reads nor watches any other.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, patch, delete]
# Events about webhooks, repeated ones as a patch; list: the Events of a receiver's StatefulSet, which alone say why its
# pod is refused.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch, list]
{{- with .Values.addressables }}
# Reads the address of addressable sinks.
{{- range . }}
- apiGroups: {{ toJson .apiGroups }}
  resources: {{ toJson .resources }}
  verbs: [get]
{{- end }}
{{- end }}
{{- end -}}
