#!/usr/bin/env bash
# The cluster in Linux namespaces of this machine. Called by hack/cluster.sh, which says what the commands do.
#
# One `unshare` holds the cluster, and one more in it each node: no packet leaves, no process or mount outlives the
# cluster, and killing one process ends it. Tests join by `nsenter`.
#
#   STATE   folder of this cluster; another folder is another cluster beside it
#   NODES   how many nodes (3)
#   GRACE   seconds without a sign of life after which a node counts as gone (8; Kubernetes' own default is 50)
#   EVICT   seconds after which the pods of such a node are evicted (300, Kubernetes' own default)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${STATE:=${EVENKEEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel}/cluster}"
STATE=$(realpath --canonicalize-missing "$STATE")
: "${NODES:=3}" "${GRACE:=8}" "${EVICT:=300}" "${BIN:=}"
export STATE NODES GRACE EVICT BIN
# shellcheck source=common.sh
source "$here/common.sh"
# shellcheck source=namespaces/settings.sh
source "$here/namespaces/settings.sh"
# shellcheck source=namespaces/certificates.sh
source "$here/namespaces/certificates.sh"

cgroup=evenkeel-$(sha256sum <<<"$STATE" | cut -c 1-8)
readonly cgroup programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl coredns pause)

# --- processes ---

# Prints the number of the process that file $1 notes, if it lives.
process() {
  local pid start stat
  { read -r pid start <"$1" && read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 1
  [[ $(start_time "$stat") == "$start" ]] && echo "$pid"
}
cluster_process() { process "$STATE/process"; }
node_process() { process "$STATE/node-$1/process"; }

# Only the network is the cluster's: the command sees the caller's files and gets the caller's signals.
in_network() { exec nsenter --target "$(cluster_process)" --net -- "$@"; }
in_node() {
  local pid
  pid=$(node_process "$1") || fail "node $1 does not run"
  shift
  nsenter --target "$pid" --all --wd="$PWD" -- "$@"
}
on_node() { local name=$1; shift; in_node "${name#node-}" "$@"; }
api() { (in_network "$BIN/kubectl" --kubeconfig "$STATE/admin.kubeconfig" "$@"); }

# --- cgroups ---

cgroup_mounts() { findmnt --raw --noheadings --types cgroup,cgroup2 --output TARGET,FSTYPE,FS-OPTIONS | grep '^/sys/fs/cgroup/'; }
hierarchies() { cgroup_mounts | cut -d ' ' -f 1; }

# In every hierarchy a cgroup for the cluster, and in it one for the control plane and one for each node.
make_cgroups() {
  local hierarchy part
  for hierarchy in $(hierarchies); do
    mkdir -p "$hierarchy/$cgroup"
    if [[ -e $hierarchy/$cgroup/cpuset.cpus ]]; then # is empty until told otherwise, and no process can join
      cat "$hierarchy/cpuset.cpus" >"$hierarchy/$cgroup/cpuset.cpus"
      cat "$hierarchy/cpuset.mems" >"$hierarchy/$cgroup/cpuset.mems"
      echo 1 >"$hierarchy/$cgroup/cgroup.clone_children"
    fi
    for part in control $(seq -f node-%g "$NODES"); do mkdir -p "$hierarchy/$cgroup/$part"; done
  done
}

join_cgroup() {
  local hierarchy
  for hierarchy in $(hierarchies); do echo "$BASHPID" >"$hierarchy/$cgroup/$1/cgroup.procs"; done
}

# Removes the cgroups of which $1 is the path in every hierarchy, or those in them only, if $2 is `inside`.
remove_cgroups() {
  local hierarchy depth=0
  [[ ${2:-} == inside ]] && depth=1
  for hierarchy in $(hierarchies); do
    [[ ! -e $hierarchy/$1 ]] || find "$hierarchy/$1" -mindepth $depth -depth -type d -exec rmdir {} + || return 1
  done
}

# --- up ---

up() {
  ((EUID == 0)) || fail "the cluster needs root, to make namespaces"
  [[ -n $(cgroup_mounts) ]] || fail "this machine has cgroup v2 alone, which this cluster does not know yet: use CLUSTER=kind"
  [[ $NODES =~ ^[1-9][0-9]?$ ]] || fail "NODES is a number from 1 to 99, not $NODES"
  ! process "$STATE/up" >/dev/null || fail "another 'up' is at work on $STATE"
  if [[ -e $STATE/ready ]] && cluster_process >/dev/null; then return; fi
  down # what is left of a cluster that died, or of an 'up' that was killed
  "$here/../packages.sh"
  BIN=$("$here/../tools.sh" "${programs[@]}")
  mkdir -p "$STATE" "$logs"
  declare -p NODES GRACE EVICT BIN >"$STATE/settings"
  note_process "$STATE/up"
  trap 'failed_up' EXIT
  trap 'exit 130' INT TERM HUP
  write_images
  make_certificates
  make_cgroups
  start_control
  for n in $(seq "$NODES"); do start_node "$n"; done
  route_services
  within 120 api_is_ready
  deploy_dns
  for n in $(seq "$NODES"); do within 120 node_is_registered "$n"; done
  api wait --for=condition=Ready node --all --timeout=120s >/dev/null
  api --namespace kube-system rollout status deployment/coredns --timeout=120s >/dev/null
  touch "$STATE/ready"
  rm "$STATE/up"
  trap - EXIT
}

failed_up() {
  echo "cluster: could not be made; the ends of its logs:" >&2
  tail -n 8 "$logs"/*.log >&2 || true
  down
}

write_images() {
  mkdir -p "$STATE/images"
  "$here/../image.sh" "$STATE/images/pause.tar" evenkeel.local/pause:cluster /pause "$BIN/pause=/pause"
  "$here/../image.sh" "$STATE/images/coredns.tar" evenkeel.local/coredns:cluster /coredns "$BIN/coredns=/coredns"
}

# What lives on after this script must not hold what its caller opened: a lock, or the pipe whose end he waits for.
detach() {
  local descriptor
  for descriptor in /proc/self/fd/*; do
    descriptor=${descriptor##*/}
    ((descriptor < 3 || descriptor == 255)) || exec {descriptor}>&-
  done
}

start_control() {
  (
    detach
    join_cgroup control
    exec setsid unshare --net --mount --pid --uts --ipc --fork --kill-child=KILL --propagation private \
      "$here/namespaces/control.sh" >"$logs/control.log" 2>&1 </dev/null
  ) &
  within 30 cluster_process
  within 30 ip_in_network link show nodes
}

start_node() {
  local n=$1
  ! node_process "$n" >/dev/null || return 0
  mkdir -p "$STATE/node-$n"
  rm -f "$STATE/node-$n/process"
  # Of its last life. kubelet would wait 3 s for each cgroup, and the old cable goes a moment after the node.
  within 30 remove_cgroups "$cgroup/node-$n" inside
  within 30 not ip_in_network link show "node-$n"
  (
    detach
    join_cgroup "node-$n"
    # Not the cluster's mounts, whose /proc would not tell the node its number on the machine.
    exec setsid nsenter --target "$(cluster_process)" --net --pid -- \
      unshare --cgroup --net --mount --pid --uts --ipc --fork --kill-child=KILL --propagation private \
      "$here/namespaces/node.sh" "$n" "$(cgroup_mounts)" >>"$logs/node-$n.log" 2>&1 </dev/null
  ) &
  within 30 node_process "$n"
  ip_in_network link add "node-$n" type veth peer name eth0 address "02:00:00:00:00:$(printf %02x "$n")" netns "$(node_process "$n")"
  ip_in_network link set "node-$n" master nodes up
}

ip_in_network() { (in_network ip "$@"); }

# What runs in the cluster's network but on no node reaches Services through the nodes whose cable is plugged in.
route_services() {
  local n hops=()
  for n in $(seq "$NODES"); do
    [[ -z $(ip_in_network link show up dev "node-$n" 2>/dev/null) ]] || hops+=(nexthop via "$(node_address "$n")")
  done
  if ((${#hops[@]})); then
    ip_in_network route replace "$service_range" table 96 "${hops[@]}"
  else
    ip_in_network route flush table 96
  fi
}

api_is_ready() {
  cluster_process >/dev/null || { echo "process 1 of the cluster ended"; return 3; }
  [[ -e $STATE/api-ready ]]
}

node_is_registered() {
  node_process "$1" >/dev/null || { echo "process 1 of the node ended"; return 3; }
  api get "node/node-$1"
}

deploy_dns() { api apply --server-side --filename "$here/coredns.yaml" >/dev/null; }

# --- down ---

down() {
  local pid network
  [[ -e $STATE ]] || return 0
  [[ -e $STATE/settings ]] || rmdir "$STATE" 2>/dev/null || fail "$STATE is not the folder of a cluster"
  if pid=$(cluster_process); then
    network=$(readlink "/proc/$pid/ns/net") || network=gone
    kill -KILL "$pid" 2>/dev/null || true
    within 30 not cluster_process
    end_processes_in "$network"
  fi
  within 30 remove_cgroups "$cgroup"
  rm -rf --one-file-system "$STATE"
}

# Ends what `exec` still runs in the cluster's network: it would keep that alive. Not this script, nor who called it.
end_processes_in() {
  local network=$1 path pid spare=" $$ " parent=$$
  while ((parent > 1)); do
    parent=$(awk '/^PPid:/ {print $2}' "/proc/$parent/status")
    spare+="$parent "
  done
  while read -r network path; do
    pid=${path#/proc/}
    pid=${pid%%/*}
    [[ $network != "$1" || $spare == *" $pid "* ]] || kill -KILL "$pid" 2>/dev/null || true
  done < <(find /proc/[0-9]*/ns/net -maxdepth 0 -printf '%l %p\n' 2>/dev/null)
}

# --- the life of nodes ---

kill_node() {
  local pid
  pid=$(node_process "$1") || return 0
  kill -KILL "$pid"
  within 30 not node_process "$1"
  within 30 not ip_in_network link show "node-$1"
  route_services
}

plug() { # N down|up
  node_process "$1" >/dev/null || fail "node $1 does not run"
  ip_in_network link set "node-$1" "$2"
  route_services
}

load() {
  local archive n imports=()
  for archive; do
    [[ -r $archive ]] || fail "no such archive: $archive"
  done
  for archive; do
    for n in $(seq "$NODES"); do
      node_process "$n" >/dev/null || continue
      import_image "node-$n" "$archive" &
      imports+=($!)
    done
  done
  for n in "${imports[@]}"; do wait "$n" || fail "an image could not be loaded"; done
}

stats() {
  local part memory
  for part in "" /control $(seq -f /node-%g "$NODES"); do
    memory=/sys/fs/cgroup/memory/$cgroup$part
    printf '%s rss=%dMiB usage=%dMiB cpu=%ss\n' "${part:-all}" \
      "$(awk '/^total_rss |^total_shmem / {sum += $2} END {printf "%d", sum / 1048576}' "$memory/memory.stat")" \
      "$(($(<"$memory/memory.usage_in_bytes") / 1048576))" \
      "$(awk '{printf "%.2f", $1 / 1e9}' "/sys/fs/cgroup/cpuacct/$cgroup$part/cpuacct.usage")"
  done
}

is_node() { [[ $1 =~ ^[1-9][0-9]*$ ]] && (($1 <= NODES)); }

main() {
  local command=$1
  shift
  case $command in
    up) up; return ;;
    down) down; return ;;
    kubeconfig) echo "$STATE/admin.kubeconfig"; return ;;
  esac
  cluster_process >/dev/null || fail "there is none in $STATE: call 'up' first"
  # shellcheck source=/dev/null
  source "$STATE/settings"
  case $command in
    kill | start | cut | join | node) is_node "${1:-}" || fail "not a node from 1 to $NODES: ${1:-}" ;;
  esac
  case $command in
    kubectl) in_network "$BIN/kubectl" --kubeconfig "$STATE/admin.kubeconfig" "$@" ;;
    exec) in_network "$@" ;;
    node) in_node "$@" ;;
    load) load "$@" ;;
    signal) signal_container "$@" ;;
    kill) kill_node "$1" ;;
    start) start_node "$1"; route_services ;;
    cut) plug "$1" down ;;
    join) plug "$1" up ;;
    stats) stats ;;
  esac
}

main "$@"
