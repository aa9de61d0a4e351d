{{- define "penstock.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "penstock.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "penstock.labels" -}}
{{ include "penstock.selector" . }}
{{ include "penstock.commonLabels" . }}
{{- end -}}

{{- define "penstock.commonLabels" -}}
app.kubernetes.io/part-of: penstock
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "penstock.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "penstock.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* An image reference from a dict with image (repository, tag, digest) and version. */}}
{{- define "penstock.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .version) -}}
{{- end -}}
{{- end -}}

{{- define "penstock.podSecurityContext" -}}
runAsNonRoot: true
{{- if .Values.fixedUsers }}
runAsUser: 65532
runAsGroup: 65532
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "penstock.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What the operator does in each namespace that it looks after. Server-side apply is a patch, and a create where the object is new. */}}
{{- define "penstock.namespacedRules" -}}
- apiGroups: [serving.penstock.dev]
  resources: [inferenceservices]
  verbs: [get, list, watch]
- apiGroups: [serving.penstock.dev]
  resources: [inferenceservices/status, inferenceservices/scale]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments, controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling.k8s.io]
  resources: [verticalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods, resourcequotas]
  verbs: [list, watch]
{{- if eq (.Values.settings.podAccess | default "Direct") "ApiServer" }}
- apiGroups: [""]
  resources: [pods/proxy]
  verbs: [get, create]
{{- end }}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, delete{{ if .Values.router.enabled }}, create, patch{{ end }}]
{{- if .Values.router.enabled }}
# OpenShift asks for it where a slice names pods of another namespace: the router's.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices/restricted]
  verbs: [create]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* 63 characters are all that a Service's name may have. */}}
{{- define "penstock.adapterName" -}}
{{- printf "%s-metrics-adapter" (include "penstock.name" . | trunc 47 | trimSuffix "-") -}}
{{- end -}}

{{- define "penstock.adapterSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: metrics-adapter
{{- end -}}

{{- define "penstock.adapterLabels" -}}
{{ include "penstock.adapterSelector" . }}
{{ include "penstock.commonLabels" . }}
{{- end -}}

{{- define "penstock.adapterSubject" -}}
- kind: ServiceAccount
  name: {{ include "penstock.adapterName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* What the adapter reads in each namespace that it serves the metrics of. */}}
{{- define "penstock.adapterNamespacedRules" -}}
- apiGroups: [serving.penstock.dev]
  resources: [inferenceservices]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- end -}}

{{- define "penstock.routerName" -}}
{{- printf "%s-router" (include "penstock.name" .) -}}
{{- end -}}

{{- define "penstock.routerSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: router
{{- end -}}

{{- define "penstock.routerLabels" -}}
{{ include "penstock.routerSelector" . }}
{{ include "penstock.commonLabels" . }}
{{- end -}}

{{- define "penstock.routerSubject" -}}
- kind: ServiceAccount
  name: {{ include "penstock.routerName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* What the router does in each namespace whose requests it holds: it asks for waking by one field of the status. */}}
{{- define "penstock.routerNamespacedRules" -}}
- apiGroups: [serving.penstock.dev]
  resources: [inferenceservices]
  verbs: [list, watch]
- apiGroups: [serving.penstock.dev]
  resources: [inferenceservices/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- end -}}
