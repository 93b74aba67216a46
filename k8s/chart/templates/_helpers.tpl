{{/* The labels of an object, but for the one that selects; the argument is "agent" or "collector". */}}
{{- define "podwire.labels" -}}
app.kubernetes.io/name: podwire
app.kubernetes.io/component: {{ . }}
app.kubernetes.io/part-of: podwire
{{- end }}

{{/* The image, and what else each container that runs podwire has. */}}
{{- define "podwire.image" -}}
{{- $image := .Values.image -}}
{{- $repository := required "image.repository is not set: name the image that you have pushed, such as registry.your.company/podwire" $image.repository -}}
{{- $version := $image.digest | empty | ternary (printf ":%s" ($image.tag | default .Chart.AppVersion)) (printf "@%s" $image.digest) -}}
image: {{ printf "%s%s" $repository $version | quote }}
imagePullPolicy: {{ $image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* A container's security context; the argument is the list of capabilities that it needs. */}}
{{- define "podwire.securityContext" -}}
securityContext:
  privileged: false
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    {{- with . }}
    add: {{ toJson . }}
    {{- end }}
{{- end }}

{{/* A value of a setting as its variable has it. Numbers come as floating point. */}}
{{- define "podwire.text" -}}
{{- if kindIs "slice" . }}{{ join "," . }}
{{- else if kindIs "bool" . }}{{ ternary "on" "off" . }}
{{- else if kindIs "float64" . }}{{ int64 . }}
{{- else }}{{ . }}{{ end }}
{{- end }}

{{/* Variables for a container; the argument is a dictionary of settings. */}}
{{- define "podwire.variables" -}}
{{- if eq (.PODWIRE_SENSOR_POLICY | default "all") "one" }}
- name: PODWIRE_NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- end }}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ include "podwire.text" $value | quote }}
{{- end }}
{{- end }}

{{/* The settings that hold: those that parts of the chart bring, and over them those that are given. */}}
{{- define "podwire.settings" -}}
{{- $settings := dict -}}
{{- if .Values.names.enabled -}}
{{- $_ := set $settings "PODWIRE_CNI_CACHE" "/var/lib/cni/results" -}}
{{- end -}}
{{- if .Values.podTaps.enabled -}}
{{- $_ := set $settings "PODWIRE_TAP" "pod" -}}
{{- end -}}
{{- if .Values.passive.enabled -}}
{{- $settings = merge $settings (dict
      "PODWIRE_LISTEN" "2002"
      "PODWIRE_PASSWORD_FILE" "/etc/podwire/users/users"
      "PODWIRE_DATA_PORTS" "40000-40015"
      "PODWIRE_RING_MEMORY" "512MiB"
      "PODWIRE_QUEUE_MEMORY" "32MiB") -}}
{{- end -}}
{{- if .Values.tls.enabled -}}
{{- $settings = merge $settings (dict
      "PODWIRE_TLS_CERTIFICATE" "/etc/podwire/tls/tls.crt"
      "PODWIRE_TLS_KEY" "/etc/podwire/tls/tls.key") -}}
{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $_ := set $settings $name $value -}}
{{- end -}}
{{- end -}}
{{- if and .Values.collector.enabled (not $settings.EXTRAHOP_SENSOR_IP) -}}
{{- $_ := set $settings "EXTRAHOP_SENSOR_IP" "podwire-collector" -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end }}

{{/* "true" if agents hand over to each other; the argument is the settings. */}}
{{- define "podwire.handsOver" -}}
{{- if ne (include "podwire.text" (.PODWIRE_HANDOVER | default "off")) "off" }}true{{ end -}}
{{- end }}

{{/* How an update replaces pods: as it is given, or with two agents on a node where they hand over. */}}
{{- define "podwire.updateStrategy" -}}
{{- $settings := include "podwire.settings" . | fromYaml -}}
{{- $strategy := deepCopy .Values.updateStrategy -}}
{{- if not $strategy -}}
{{- $one := dict "maxSurge" 0 "maxUnavailable" "10%" -}}
{{- $two := dict "maxSurge" "10%" "maxUnavailable" 0 -}}
{{- $isOne := include "podwire.handsOver" $settings | empty -}}
{{- $strategy = dict "type" "RollingUpdate" "rollingUpdate" (ternary $one $two $isOne) -}}
{{- end -}}
{{- /* Kubernetes takes only one of the two, and the other one's default there is 1. */ -}}
{{- if and (include "podwire.surges" $strategy) (not (hasKey $strategy.rollingUpdate "maxUnavailable")) -}}
{{- $_ := set $strategy.rollingUpdate "maxUnavailable" 0 -}}
{{- end -}}
{{- toYaml $strategy -}}
{{- end }}

{{/* "true" if an update has two agents on a node for a time; the argument is its strategy. */}}
{{- define "podwire.surges" -}}
{{- $rolling := .rollingUpdate | default dict -}}
{{- if not (has ($rolling.maxSurge | default 0 | toString) (list "0" "0%")) }}true{{ end -}}
{{- end }}

{{/* The capabilities of the agent, and of its doctor. */}}
{{- define "podwire.capabilities" -}}
{{- $names := list "NET_RAW" "NET_ADMIN" -}}
{{- if .Values.ciliumServices.enabled }}{{ $names = append $names "BPF" }}{{ end -}}
{{- toJson $names -}}
{{- end }}

{{/* What both the agent and its doctor see of volumes. */}}
{{- define "podwire.mounts" -}}
{{- $settings := include "podwire.settings" . | fromYaml -}}
{{- if .Values.names.enabled }}
- name: cni-results
  mountPath: {{ $settings.PODWIRE_CNI_CACHE | quote }}
  readOnly: true
{{- end }}
{{- if .Values.passive.enabled }}
- name: users
  mountPath: /etc/podwire/users
  readOnly: true
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  mountPath: /etc/podwire/tls
  readOnly: true
{{- end }}
{{- if .Values.podTaps.enabled }}
- name: network-namespaces
  mountPath: {{ $settings.PODWIRE_NETNS | default "/run/netns" | quote }}
  readOnly: true
  # Without it the namespaces of pods that come later would be plain files.
  mountPropagation: HostToContainer
{{- end }}
{{- if .Values.ciliumServices.enabled }}
- name: bpf
  mountPath: /sys/fs/bpf
  readOnly: true
  # Cilium may mount it after the agent has started.
  mountPropagation: HostToContainer
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A probe of the agent; the arguments are the values and the path. */}}
{{- define "podwire.httpGet" -}}
{{- /* With metrics the kubelet asks at the pod's address, which is the node's. */ -}}
httpGet: { {{- if not .values.metrics.enabled }}host: 127.0.0.1, {{ end }}port: {{ .values.httpPort }}, path: {{ quote .path }}}
{{- end }}

{{/* Fails, with what to do, where values are right each by itself and not together. */}}
{{- define "podwire.check" -}}
{{- $settings := include "podwire.settings" . | fromYaml -}}
{{- $values := .Values -}}
{{- if not $settings.PODNET -}}
{{- fail "settings.PODNET is not set: name the networks of all pods, such as {10.244.0.0/16}" -}}
{{- end -}}
{{- if and (not $settings.EXTRAHOP_SENSOR_IP) (not $values.passive.enabled) -}}
{{- fail "settings.EXTRAHOP_SENSOR_IP is not set: name a sensor, or set collector.enabled or passive.enabled" -}}
{{- end -}}
{{- if not $values.passive.enabled -}}
{{- range list "PODWIRE_LISTEN" "PODWIRE_ALLOW" "PODWIRE_ALLOW_NULL_LOGIN" -}}
{{- if has (get $settings . | default false | toString) (list "false" "off" "[]") | not -}}
{{- fail (printf "settings.%s is for clients that dial: set passive.enabled, too" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (not $values.tls.enabled) (ne ($settings.PODWIRE_TLS_PEERS | default "all") "all") -}}
{{- fail "settings.PODWIRE_TLS_PEERS is for TLS: set tls.enabled, too" -}}
{{- end -}}
{{- if and (not $values.podTaps.enabled) (or (ne ($settings.PODWIRE_TAP | default "host") "host") (eq (include "podwire.text" $settings.PODWIRE_POD_INTERFACES) "on")) -}}
{{- fail "settings.PODWIRE_TAP and settings.PODWIRE_POD_INTERFACES need the opener: set podTaps.enabled, too" -}}
{{- end -}}
{{- if and $values.names.enabled (not (hasPrefix "/" (toString $settings.PODWIRE_CNI_CACHE))) -}}
{{- fail "names.enabled needs a folder: leave settings.PODWIRE_CNI_CACHE out, or name one" -}}
{{- end -}}
{{- if and $settings.PODWIRE_FILTER $settings.PODWIRE_FILTER_FILE -}}
{{- fail "settings.PODWIRE_FILTER and settings.PODWIRE_FILTER_FILE are both set: give one of them" -}}
{{- end -}}
{{- $sensors := include "podwire.text" $settings.EXTRAHOP_SENSOR_IP -}}
{{- if and (contains "*" $sensors) (ne ($settings.PODWIRE_SENSOR_POLICY | default "all") "one") -}}
{{- fail "settings.EXTRAHOP_SENSOR_IP has weights, which are for nodes that choose: set settings.PODWIRE_SENSOR_POLICY to one" -}}
{{- end -}}
{{- if and (contains "://" $sensors) (eq ($settings.PODWIRE_FRAMES | default "wire") "raw") -}}
{{- fail "frames as the kernel has them are too long for tunnels: leave settings.PODWIRE_FRAMES out, or feed sensors over RPCAP" -}}
{{- end -}}
{{- $hasHandover := include "podwire.handsOver" $settings -}}
{{- if and $hasHandover $values.passive.enabled -}}
{{- fail "settings.PODWIRE_HANDOVER is a name, and agents that listen for clients (passive.enabled) cannot hand over: leave it out" -}}
{{- end -}}
{{- $surges := include "podwire.updateStrategy" . | fromYaml | include "podwire.surges" -}}
{{- if and $surges $values.passive.enabled -}}
{{- fail "updateStrategy.rollingUpdate.maxSurge is above 0, but with passive.enabled agents declare a port, which two pods of a node cannot have, and an update would wait for ever: leave updateStrategy out, or set maxSurge to 0 and maxUnavailable to 10%" -}}
{{- end -}}
{{- if and $surges (not $hasHandover) -}}
{{- fail "updateStrategy.rollingUpdate.maxSurge is above 0, but settings.PODWIRE_HANDOVER is not set, and during an update both agents of a node would report everything: give it a name, or leave updateStrategy out" -}}
{{- end -}}
{{- if and $values.prometheusOperator.enabled (not $values.metrics.enabled) -}}
{{- fail "prometheusOperator.enabled needs what is to be asked: set metrics.enabled, too" -}}
{{- end -}}
{{- if and $values.collector.nodeNetworks (not $values.collector.enabled) -}}
{{- fail "collector.nodeNetworks is for a collector: set collector.enabled, too" -}}
{{- end -}}
{{- end }}
