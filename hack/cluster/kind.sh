#!/usr/bin/env bash
# The cluster as kind makes it, in a Docker engine on Linux. Called by hack/cluster.sh, which says what the commands do.
#
# NOT TESTED by the project's own CI, which has no Docker engine: there the cluster of namespaces.sh runs. Kept small,
# and to the same words, for those who have one. Shown is only that kind accepts kind-config.yaml.
#
#   STATE   folder of this cluster; another folder is another cluster beside it
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${STATE:=${EVENKEEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel}/kind}"
STATE=$(realpath --canonicalize-missing "$STATE")
# shellcheck source=common.sh
source "$here/common.sh"

name=evenkeel-$(sha256sum <<<"$STATE" | cut -c 1-8)
kubeconfig=$STATE/kubeconfig

container() { # of node N: kind's names of the workers are ...-worker, ...-worker2, ...-worker3
  [[ ${1:-} == [123] ]] || fail "not a node from 1 to 3: ${1:-}"
  [[ $1 == 1 ]] && echo "$name-worker" || echo "$name-worker$1"
}
on_node() { local node=$1; shift; docker exec --interactive "$node" "$@"; }
api() { "$bin/kubectl" --kubeconfig "$kubeconfig" "$@"; }
control_plane() { docker inspect --format "$1" "$name-control-plane"; }

up() {
  [[ ! -e $STATE/ready ]] || return 0
  down # what is left of one that was not finished
  mkdir -p "$STATE"
  "$bin/kind" create cluster --name "$name" --config "$here/../../kind-config.yaml" --kubeconfig "$kubeconfig" --wait 180s >&2
  # By the address of its container, the API server is reached from the machine and by what `exec` starts alike.
  api config set-cluster "kind-$name" \
    --server="https://$(control_plane '{{.NetworkSettings.Networks.kind.IPAddress}}'):6443" >/dev/null
  api wait --for=condition=Ready node --all --timeout=120s >/dev/null
  api --namespace kube-system rollout status deployment/coredns --timeout=120s >/dev/null
  touch "$STATE/ready"
}

down() {
  [[ -e $STATE ]] || return 0
  "$bin/kind" delete cluster --name "$name" --kubeconfig "$kubeconfig" >&2
  rm -rf "$STATE"
}

load() {
  local archive n
  for archive; do
    for n in 1 2 3; do import_image "$(container $n)" "$archive"; done
  done
}

# Pods' and Services' addresses are routed on every node, so on the control plane's.
in_network() {
  local as_root=()
  ((EUID == 0)) || as_root=(sudo --preserve-env)
  exec "${as_root[@]}" nsenter --target "$(control_plane '{{.State.Pid}}')" --net -- "$@"
}

# Packets are dropped, as kubelet and Docker would both notice a link that is down.
cable() { # N --insert|--delete
  local node
  node=$(container "$1")
  on_node "$node" iptables --table raw "$2" PREROUTING --in-interface eth0 --jump DROP
  on_node "$node" iptables --table mangle "$2" POSTROUTING --out-interface eth0 --jump DROP
}

main() {
  local command=$1 node
  shift
  command -v docker >/dev/null || fail "kind needs a Docker engine: use CLUSTER=namespaces"
  bin=$("$here/../tools.sh" kind kubectl)
  case $command in
    up) up; return ;;
    down) down; return ;;
    kubeconfig) echo "$kubeconfig"; return ;;
  esac
  [[ -e $STATE/ready ]] || fail "there is none in $STATE: call 'up' first"
  case $command in
    kubectl) exec "$bin/kubectl" --kubeconfig "$kubeconfig" "$@" ;;
    exec) in_network "$@" ;;
    node) node=$(container "${1:-}"); shift; on_node "$node" "$@" ;;
    load) load "$@" ;;
    signal) signal_container "$@" ;;
    kill) docker kill "$(container "${1:-}")" >/dev/null ;;
    start) docker start "$(container "${1:-}")" >/dev/null ;;
    cut) cable "${1:-}" --insert ;;
    join) cable "${1:-}" --delete ;;
    stats) docker stats --no-stream "$name-control-plane" "$(container 1)" "$(container 2)" "$(container 3)" ;;
  esac
}

main "$@"
