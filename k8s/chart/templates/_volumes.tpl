{{/* The volumes of the agents' pods. */}}
{{- define "podwire.volumes" -}}
{{- $settings := include "podwire.settings" . | fromYaml -}}
{{- if .Values.names.enabled }}
- name: cni-results
  hostPath:
    path: {{ $settings.PODWIRE_CNI_CACHE }}
    type: DirectoryOrCreate
{{- end }}
{{- if .Values.passive.enabled }}
- name: users
  secret:
    secretName: {{ .Values.passive.secretName }}
    # 0400: podwire warns of a file that others can read.
    defaultMode: 256
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ .Values.tls.secretName }}
    defaultMode: 256
{{- end }}
{{- if .Values.podTaps.enabled }}
# The opener's socket, for the two containers alone.
- name: opener
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
- name: network-namespaces
  hostPath:
    path: {{ $settings.PODWIRE_NETNS | default "/run/netns" }}
    type: DirectoryOrCreate
{{- end }}
{{- if .Values.ciliumServices.enabled }}
- name: bpf
  hostPath:
    path: /sys/fs/bpf
    type: Directory
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
