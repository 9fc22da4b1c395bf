#!/usr/bin/env bash
# Tests the cluster itself: makes one, looks at all that hack/cluster.sh promises, removes it, and compares the machine
# with what it was before.
#
#   hack/cluster/test.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${EVENKEEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel}
export CLUSTER=${CLUSTER:-namespaces}
export STATE=$cache/cluster-test
readonly here cache cluster=$here/../cluster.sh neighbour=$cache/cluster-test-neighbour
# shellcheck source=common.sh
source "$here/common.sh"

passed=0 failed=0

# Runs a function as a test; its commands must all succeed. Its output is shown if it fails.
check() {
  local title=$1 status start=$SECONDS
  shift
  # Neither `if` nor `||` around it: within these bash goes on after a command that fails.
  set +e
  (set -e; "$@") >"$work/output" 2>&1
  status=$?
  set -e
  if ((status == 0)); then
    passed=$((passed + 1))
    echo "ok     $title ($((SECONDS - start)) s)"
  else
    failed=$((failed + 1))
    echo "FAILED $title ($((SECONDS - start)) s)"
    sed 's/^/       /' "$work/output"
  fi
}

expect() { # WANT GOT
  [[ $1 == "$2" ]] || { printf 'want: %s\ngot:  %s\n' "$1" "$2"; return 1; }
}

# --- what the tests ask ---

api() { "$cluster" kubectl "$@"; }
field() { api --namespace probe get "$1" --output jsonpath="$2"; }
pods() { field pods '{range .items[*]}{.metadata.name}{"\n"}{end}'; }
addresses() { field pods '{range .items[*]}{.status.podIP}{"\n"}{end}'; }
first_pod() { field pods '{.items[0].metadata.name}'; }
pod_on() { api --namespace probe get pods --field-selector "spec.nodeName=$1" --output jsonpath='{.items[0].metadata.name}'; }
address_of() { field "pod/$1" '{.status.podIP}'; }
restarts_of() { field "pod/$1" '{.status.containerStatuses[0].restartCount}'; }
in_pod() { local pod=$1; shift; api --namespace probe exec "$pod" -- /probe "$@"; }
from_outside() { "$cluster" exec "$probe" "$@"; }
node() { field nodes '{.items[*].metadata.name}' | tr ' ' '\n' | grep -- "$1\$"; }
wait_for() { api --namespace probe wait --timeout=120s --for="$1" "$2"; }
rollout() { api --namespace probe rollout status daemonset/probe --timeout=120s; }

# --- the tests ---

nodes_are_ready_in_three_zones() {
  expect 'a b c' "$(api get nodes --selector topology.kubernetes.io/zone --output \
    jsonpath='{range .items[*]}{.metadata.labels.topology\.kubernetes\.io/zone}{"\n"}{end}' | sort | xargs)"
  api wait --for=condition=Ready nodes --all --timeout=1s
}

version_is_the_pinned_one() { api version | grep 'Server Version: v1.35.4'; }

up_again_changes_nothing() {
  local before
  before=$(api get namespace kube-system --output jsonpath='{.metadata.uid}')
  "$cluster" up
  expect "$before" "$(api get namespace kube-system --output jsonpath='{.metadata.uid}')"
}

image_loads_and_a_pod_starts_on_every_node() {
  "$here/../image.sh" "$work/probe.tar" evenkeel.local/probe:test /probe "$probe=/probe"
  "$cluster" load "$work/probe.tar"
  api apply --server-side --filename "$here/test.yaml"
  rollout
  expect 3 "$(pods | wc -l)"
}

image_is_reproducible() {
  cp "$probe" "$work/copy"
  chmod 700 "$work/copy"
  (umask 077 && "$here/../image.sh" "$work/again.tar" evenkeel.local/probe:test /probe "$work/copy=/probe")
  cmp "$work/probe.tar" "$work/again.tar"
}

pods_reach_one_another() {
  local from to all
  all=$(pods)
  for from in $all; do
    for to in $all; do expect "$to" "$(in_pod "$from" get "http://$(address_of "$to"):8080")"; done
  done
}

# From every pod, and every pod from it: also the one on the same node, and the asking pod itself.
service_reaches_every_pod() {
  local from all
  all=$(pods)
  for from in $all; do within 60 all_answer in_pod "$from"; done
}
service_is_reached_from_outside() { within 60 all_answer from_outside; }
all_answer() {
  local url
  url=http://$(field service/probe '{.spec.clusterIP}')
  for _ in {1..6}; do "$@" get "$url"; done >>"$work/answers"
  expect "$(pods | sort)" "$(sort -u "$work/answers")" && rm "$work/answers"
}

names_resolve() {
  local pod address all
  address=$(field service/probe '{.spec.clusterIP}')
  all=$(pods)
  for pod in $all; do
    expect "$address" "$(in_pod "$pod" lookup probe)"
    expect "$address" "$(in_pod "$pod" lookup probe.probe.svc.cluster.local)"
    expect "$address" "$(in_pod "$pod" lookup alias.probe.svc.cluster.local)"
    not in_pod "$pod" lookup example.com
  done
}

logs_are_readable() {
  local pod all
  all=$(pods)
  for pod in $all; do expect "$pod listens on :8080" "$(api --namespace probe logs "$pod")"; done
}

ports_are_forwarded() {
  local pod
  pod=$(first_pod)
  api --namespace probe port-forward "$pod" 18080:8080 &
  forward=$! # global: the trap runs after this function
  trap 'kill "$forward"' EXIT
  within 30 from_outside get http://127.0.0.1:18080
  expect "$pod" "$(from_outside get http://127.0.0.1:18080)"
}

restricted_namespace_refuses_a_privileged_pod() {
  api --namespace probe run privileged --image=evenkeel.local/probe:test --privileged >"$work/refusal" 2>&1 && return 1
  grep 'violates PodSecurity "restricted' "$work/refusal"
}

signals_arrive() {
  local pod url
  pod=$(first_pod)
  url=http://$(address_of "$pod"):8080
  "$cluster" signal "probe/$pod" STOP
  not from_outside get "$url"
  "$cluster" signal "probe/$pod" CONT
  within 30 from_outside get "$url"
  expect 0 "$(restarts_of "$pod")"
  "$cluster" signal "probe/$pod" KILL probe
  wait_for 'jsonpath={.status.containerStatuses[0].restartCount}=1' "pod/$pod"
  wait_for condition=Ready "pod/$pod"
}

killed_node_is_missed_and_comes_back() {
  local name pod
  name=$(node 2)
  pod=$(pod_on "$name")
  "$cluster" kill 2
  not from_outside get "http://$(address_of "$pod"):8080"
  wait_for condition=Ready=Unknown "node/$name"
  wait_for condition=Ready=False "pod/$pod"
  within 30 service_answers_ten_times
  "$cluster" start 2
  wait_for condition=Ready "node/$name"
  # The pod is the same, in a new sandbox with a new address.
  within 60 pod_answers "$(pod_on "$name")"
  rollout
}
service_answers_ten_times() {
  local url
  url=http://$(field service/probe '{.spec.clusterIP}')
  for _ in {1..10}; do from_outside get "$url" || return 1; done
}
pod_answers() { expect "$1" "$(from_outside get "http://$(address_of "$1"):8080")"; }

cut_node_lives_on_unreached() {
  local name pod restarts
  name=$(node 3)
  pod=$(pod_on "$name")
  restarts=$(restarts_of "$pod")
  "$cluster" cut 3
  not from_outside get "http://$(address_of "$pod"):8080"
  wait_for condition=Ready=Unknown "node/$name"
  "$cluster" node 3 true
  "$cluster" join 3
  within 30 pod_answers "$pod"
  wait_for condition=Ready "node/$name"
  rollout
  expect "$restarts" "$(restarts_of "$pod")"
}

stats_are_printed() { expect 5 "$("$cluster" stats | grep -c 'cpu=')"; }

neighbour_lives_beside() {
  STATE=$neighbour NODES=1 "$cluster" up
  expect node-1 "$(STATE=$neighbour api get nodes --output jsonpath='{.items[*].metadata.name}')"
  nodes_are_ready_in_three_zones
}

# As after a crash of the machine: nobody called `down`.
dead_cluster_is_made_anew() {
  local pid
  read -r pid _ <"$neighbour/process"
  kill -KILL "$pid"
  within 30 not env STATE="$neighbour" "$cluster" stats
  STATE=$neighbour NODES=1 "$cluster" up
  STATE=$neighbour api get node/node-1
  STATE=$neighbour "$cluster" down
  [[ ! -e $neighbour ]]
}

down_leaves_nothing() {
  "$cluster" down
  "$cluster" down
  not "$cluster" kubectl version
  [[ $CLUSTER == namespaces ]] || return 0
  [[ ! -e $STATE ]]
  within 30 machine_is_as_before
}
machine_is_as_before() {
  "$here/machine.sh" >"$work/after"
  diff "$work/before" "$work/after"
}

main() {
  work=$(mktemp -d -t cluster-test.XXXXXX)
  trap 'status=$?; "$cluster" down; STATE=$neighbour "$cluster" down; rm -rf "$work"; exit $status' EXIT
  # Programs and packages stay on the machine: not what this compares.
  [[ $CLUSTER != namespaces ]] || "$here/../packages.sh"
  probe=$("$here/../tools.sh" probe kubectl)/probe
  STATE=$neighbour "$cluster" down
  "$cluster" down
  "$here/machine.sh" >"$work/before"

  check 'up makes a cluster' "$cluster" up
  ((failed == 0)) || { echo "0 passed, 1 failed"; exit 1; }
  check 'three nodes are ready, in the zones a, b and c' nodes_are_ready_in_three_zones
  check 'up again changes nothing' up_again_changes_nothing
  check 'an image loads, and a pod starts on every node' image_loads_and_a_pod_starts_on_every_node
  check 'an image is the same bytes whoever writes it' image_is_reproducible
  check 'pods reach one another' pods_reach_one_another
  check 'a Service reaches every pod, from every pod' service_reaches_every_pod
  check 'a Service is reached from outside the nodes' service_is_reached_from_outside
  check 'names resolve' names_resolve
  check 'logs are readable' logs_are_readable
  check 'a restricted namespace refuses a privileged pod' restricted_namespace_refuses_a_privileged_pod
  check 'signals arrive' signals_arrive
  check 'a killed node is missed, and comes back' killed_node_is_missed_and_comes_back
  check 'a cut node lives on, unreached' cut_node_lives_on_unreached
  if [[ $CLUSTER == namespaces ]]; then
    check 'the version is the pinned one' version_is_the_pinned_one
    check 'ports are forwarded' ports_are_forwarded
    check 'stats are printed' stats_are_printed
    check 'a second cluster lives beside the first' neighbour_lives_beside
    check 'a cluster that died is made anew' dead_cluster_is_made_anew
  fi
  check 'down leaves nothing' down_leaves_nothing
  echo "$passed passed, $failed failed"
  ((failed == 0))
}

main
