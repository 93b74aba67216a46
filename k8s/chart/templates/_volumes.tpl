{{/* The volumes of the agents' pods. */}}
{{- define "podwire.volumes" -}}
{{- $settings := include "podwire.settings" . | fromYaml -}}
{{- if .Values.names.enabled }}
- name: cni-results
  hostPath:
    path: {{ $settings.PODWIRE_CNI_CACHE | quote }}
    type: DirectoryOrCreate
{{- end }}
{{- if .Values.passive.enabled }}
- name: users
  secret:
    secretName: {{ .Values.passive.secretName | quote }}
    # 0400: podwire warns of a file that others can read.
    defaultMode: 256
{{- end }}
{{- if .Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ .Values.tls.secretName | quote }}
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
    path: {{ $settings.PODWIRE_NETNS | default "/run/netns" | quote }}
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

{{/* The kinds of the agents' volumes as OpenShift names them, the plain ones always among them. */}}
{{- define "podwire.volumeKinds" -}}
{{- $kinds := list "configMap" "emptyDir" "secret" -}}
{{- range include "podwire.volumes" . | trim | fromYamlArray -}}
{{- range $kind, $_ := omit . "name" -}}
{{- $kinds = append $kinds (get (dict "cephfs" "cephFS" "vsphereVolume" "vsphere") $kind | default $kind) -}}
{{- end -}}
{{- end -}}
{{- $kinds | uniq | sortAlpha | toJson -}}
{{- end }}
