# shellcheck shell=bash
# What both kinds of cluster need. Who reads this file defines `api ARGS...` (kubectl) and `on_node NAME CMD...`.

fail() { echo "cluster: $*" >&2; exit 1; }

# Waits until a command succeeds, $1 seconds at most. Status 3 says that it never will.
within() {
  local end=$((SECONDS + $1)) said status
  shift
  while true; do
    status=0
    said=$("$@" 2>&1) || status=$?
    ((status)) || return 0
    ((status != 3 && SECONDS < end)) || { echo "cluster: gave up on: $* ${said:+($said)}" >&2; return 1; }
    sleep 0.05
  done
}
not() { ! "$@"; }

# Sends a signal to the main process of a container (the pod's first one, if none is named).
signal_container() { # NAMESPACE/POD SIGNAL [CONTAINER]
  local pod=$1 signal=$2 container=${3:-} template found node id
  # shellcheck disable=SC2016 # the template's variables, not the shell's
  template='{{$want := "'$container'"}}{{if not $want}}{{$want = (index .spec.containers 0).name}}{{end}}{{.spec.nodeName}}
    {{- range .status.containerStatuses}}{{if eq .name $want}} {{.containerID}}{{end}}{{end}}
    {{- range .status.initContainerStatuses}}{{if eq .name $want}} {{.containerID}}{{end}}{{end}}'
  found=$(api get pod --namespace "${pod%/*}" "${pod#*/}" --output go-template="$template")
  read -r node id <<<"$found"
  [[ $id == containerd://* ]] || fail "$pod has no container ${container:-that runs}"
  on_node "$node" ctr --namespace k8s.io tasks kill --signal "$signal" "${id#containerd://}"
}

# Imports an image archive into the containerd of a node, and returns when its kubelet can use it: containerd tells the
# part of it that serves kubelet a moment after the import, and marks what that part knows.
import_image() { # NODE ARCHIVE
  on_node "$1" ctr --namespace k8s.io images import --no-unpack - <"$2" >/dev/null
  within 30 images_are_known "$1"
}
images_are_known() {
  local unknown
  unknown=$(on_node "$1" ctr --namespace k8s.io images list --quiet 'labels."io.cri-containerd.image"!=managed')
  [[ -z $unknown ]]
}
