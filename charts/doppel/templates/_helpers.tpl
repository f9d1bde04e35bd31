{{/*
The chart has no manifests of its own. manifests/ are links to the plain ones, which kubectl apply -k installs, and the
templates say what values and the release change in them.
*/}}

{{/* The objects of one plain manifest, as a JSON list, under the release's names. Called with (list $ "rbac.yaml"). */}}
{{- define "doppel.objects" -}}
{{- $root := first . -}}
{{- $objects := list -}}
{{- range splitList "\n---\n" ($root.Files.Get (printf "manifests/%s" (last .))) -}}
  {{- $object := fromYaml . -}}
  {{- $metadata := $object.metadata -}}
  {{- $_ := set $metadata "name" (include "doppel.renamed" (list $root $metadata.name)) -}}
  {{- $_ := set $metadata "labels" (merge (include "doppel.labels" $root | fromYaml) (default dict $metadata.labels)) -}}
  {{- if $metadata.namespace -}}
    {{- $_ := set $metadata "namespace" $root.Release.Namespace -}}
  {{- end -}}
  {{- with $object.roleRef -}}
    {{- $_ := set . "name" (include "doppel.renamed" (list $root .name)) -}}
  {{- end -}}
  {{- range $object.subjects -}}
    {{- $_ := set . "name" (include "doppel.serviceAccount" $root) -}}
    {{- $_ := set . "namespace" $root.Release.Namespace -}}
  {{- end -}}
  {{- $objects = append $objects $object -}}
{{- end -}}
{{- toJson $objects -}}
{{- end -}}

{{/* What is called doppel or doppel-x in the plain manifests is FULLNAME or FULLNAME-x here. */}}
{{- define "doppel.renamed" -}}
{{- regexReplaceAll "^doppel(-|$)" (last .) (printf "%s${1}" (include "doppel.fullname" (first .))) -}}
{{- end -}}

{{/* 40 characters, so that what is added to it stays within 63. */}}
{{- define "doppel.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := printf "%s-%s" .Release.Name $name -}}
{{- if contains $name .Release.Name -}}
  {{- $full = .Release.Name -}}
{{- end -}}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "doppel.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "doppel.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
  {{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
  {{- include "doppel.renamed" (list . "doppel-operator") -}}
{{- else -}}
  {{- fail "serviceAccount.create is false: name the ServiceAccount that is there in serviceAccount.name (the namespace's default one would give the operator's rights to every pod)" -}}
{{- end -}}
{{- end -}}

{{- define "doppel.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- default (printf "%s:%s" .Values.image.repository $tag) .Values.image.image -}}
{{- end -}}
