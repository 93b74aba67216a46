{{/* The pod template of the agents; the arguments are the chart's root, and the revision, empty for none. */}}
{{- define "podwire.agentPod" -}}
{{- $root := .root -}}
{{- $revision := .revision -}}
{{- $values := $root.Values -}}
{{- $settings := include "podwire.settings" $root | fromYaml -}}
{{- $capabilities := include "podwire.capabilities" $root | fromJsonArray -}}
{{- $mounts := include "podwire.mounts" $root | trim -}}
metadata:
  labels:
    component: extrahop-rpcapd
    {{- include "podwire.labels" "agent" | nindent 4 }}
  annotations:
    {{- merge (dict) $values.podAnnotations (dict "kubectl.kubernetes.io/default-container" "podwire") | toYaml | nindent 4 }}
spec:
  # The host-side ends of the pods' veths are in the node's network.
  hostNetwork: true
  {{- if $values.collector.enabled }}
  # Otherwise pods in the node's network ask the node's resolver, which knows no services.
  dnsPolicy: ClusterFirstWithHostNet
  {{- end }}
  serviceAccountName: podwire
  automountServiceAccountToken: false
  enableServiceLinks: false
  priorityClassName: {{ $values.priorityClass.name | quote }}
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ quote . }}
    {{- end }}
  {{- end }}
  # What is captured is forwarded for a second at most.
  terminationGracePeriodSeconds: 10
  nodeSelector:
    {{- merge (dict "kubernetes.io/os" "linux") $values.nodeSelector | toYaml | nindent 4 }}
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
          - matchExpressions:
              # `kubectl label node NODE extrahop/norpcapd=` keeps a node out, whatever the value.
              - key: extrahop/norpcapd
                operator: DoesNotExist
              # No nodes, but machines without a place for agents.
              - key: eks.amazonaws.com/compute-type
                operator: NotIn
                values: [fargate]
              - key: type
                operator: NotIn
                values: [virtual-kubelet]
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    # Capabilities of a pod go to root only; they are all that this root has.
    runAsUser: 0
    runAsGroup: 0
    {{- with $values.seLinuxType }}
    seLinuxOptions:
      type: {{ quote . }}
    {{- end }}
    seccompProfile:
      type: RuntimeDefault
  {{- if $values.doctor.enabled }}
  initContainers:
    - name: doctor
      {{- include "podwire.image" $root | nindent 6 }}
      args: [doctor]
      env:
        {{- include "podwire.variables" (omit $settings "PODWIRE_HANDOVER") | trim | nindent 8 }}
        {{- if ne (int $values.httpPort) 9464 }}
        - name: PODWIRE_HTTP
          value: 127.0.0.1:{{ $values.httpPort }}
        {{- end }}
      {{- include "podwire.securityContext" $capabilities | nindent 6 }}
      resources:
        requests: {cpu: 100m, memory: 128Mi}
        limits: {memory: 512Mi}
      {{- with $mounts }}
      volumeMounts:
        {{- . | nindent 8 }}
      {{- end }}
  {{- end }}
  containers:
    - name: podwire
      {{- include "podwire.image" $root | nindent 6 }}
      args: [agent]
      env:
        {{- include "podwire.variables" $settings | trim | nindent 8 }}
        {{- if $values.metrics.enabled }}
        - name: HOST_IP
          valueFrom:
            fieldRef:
              fieldPath: status.hostIP
        # The loopback's stays, for `kubectl port-forward`. The brackets are for IPv6, and right for
        # IPv4, too.
        - name: PODWIRE_HTTP
          value: "127.0.0.1:{{ $values.httpPort }},[$(HOST_IP)]:{{ $values.httpPort }}"
        {{- else }}
        - name: PODWIRE_HTTP
          value: 127.0.0.1:{{ $values.httpPort }}
        {{- end }}
        {{- with $revision }}
        # Its readiness probe asks for it: at the same port the older agent answers until this one forwards.
        - name: PODWIRE_REVISION
          value: {{ quote . }}
        {{- end }}
      {{- if $values.passive.enabled }}
      ports:
        - name: rpcap
          containerPort: {{ regexFind "[0-9]+$" (include "podwire.text" $settings.PODWIRE_LISTEN) }}
      {{- end }}
      {{- include "podwire.securityContext" $capabilities | nindent 6 }}
      resources:
        {{- $resources := deepCopy $values.resources }}
        {{- if $values.passive.enabled }}
        {{- $resources = merge (dict "limits" (dict "memory" $values.passive.memoryLimit)) $resources }}
        {{- end }}
        {{- toYaml $resources | nindent 8 }}
      startupProbe:
        {{- include "podwire.httpGet" (dict "values" $values "path" "/healthz") | nindent 8 }}
        periodSeconds: 1
        failureThreshold: 60
      # Ready: packets have a way out. An update waits for that, but for nobody who was not so before.
      readinessProbe:
        {{- include "podwire.httpGet" (dict "values" $values "path" (empty $revision | ternary "/readyz" (printf "/readyz?revision=%s" $revision))) | nindent 8 }}
        periodSeconds: 5
        timeoutSeconds: 2
        failureThreshold: 2
      # Alive: its threads go on. Nothing that a restart cannot mend is asked.
      livenessProbe:
        {{- include "podwire.httpGet" (dict "values" $values "path" "/healthz") | nindent 8 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      {{- if or $mounts $values.podTaps.enabled }}
      volumeMounts:
        {{- if $values.podTaps.enabled }}
        - name: opener
          mountPath: /run/podwire
          readOnly: true
        {{- end }}
        {{- with $mounts }}
        {{- . | nindent 8 }}
        {{- end }}
      {{- end }}
    {{- if $values.podTaps.enabled }}
    # It has the right to enter namespaces, and reads nothing but the agent's requests of 16 bytes.
    - name: opener
      {{- include "podwire.image" $root | nindent 6 }}
      args: [opener]
      {{- with pick $settings "PODWIRE_POD_INTERFACES" "PODWIRE_LOG_LEVEL" "PODWIRE_LOG_FORMAT" }}
      env:
        {{- include "podwire.variables" . | trim | nindent 8 }}
      {{- end }}
      {{- include "podwire.securityContext" (list "NET_RAW" "SYS_ADMIN") | nindent 6 }}
      resources:
        requests: {cpu: 10m, memory: 16Mi}
        limits: {memory: 64Mi}
      volumeMounts:
        - name: opener
          mountPath: /run/podwire
      startupProbe:
        exec: {command: [/usr/bin/podwire, opener, --check]}
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        exec: {command: [/usr/bin/podwire, opener, --check]}
        periodSeconds: 30
        timeoutSeconds: 5
        failureThreshold: 3
    {{- end }}
  {{- with include "podwire.volumes" $root | trim }}
  volumes:
    {{- . | nindent 4 }}
  {{- end }}
{{- end }}
