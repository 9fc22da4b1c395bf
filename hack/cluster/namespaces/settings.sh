# shellcheck shell=bash
# What the parts of a cluster in namespaces agree on. Read by namespaces.sh (which works on the machine), control.sh
# (process 1 of the cluster) and node.sh (process 1 of a node). STATE is the folder of this cluster.

# shellcheck disable=SC2034 # read by those three
readonly bridge_address=10.200.0.1 service_range=10.96.0.0/16 pod_range=10.244.0.0/16 dns_address=10.96.0.10
readonly api_server=https://$bridge_address:6443 pki=$STATE/pki logs=$STATE/log

node_address() { echo "10.200.0.$((10 + $1))"; }
node_pods() { echo "10.244.$1.0/24"; }
node_zone() { local zones=(a b c); echo "${zones[($1 - 1) % 3]}"; }

# Starts a program that goes on in the background, with a log of its own.
launch() {
  local name=$1
  shift
  "$@" >>"$logs/$name.log" 2>&1 </dev/null &
}

# Notes the calling process in file $1: its number on the machine, and the time it started, lest a number that was given
# out anew be taken for it. Before it mounts a /proc of its own, process 1 of new namespaces sees the machine's.
note_process() {
  local stat
  read -r stat </proc/self/stat
  echo "${stat%% *} $(start_time "$stat")" >"$1.new"
  mv "$1.new" "$1"
}

# Prints the time when a process started, of which $1 is /proc/PID/stat; nothing if it has ended (and is a zombie).
start_time() {
  local fields
  read -ra fields <<<"${1##*) }"
  case ${fields[0]:-Z} in Z | X) return 1 ;; *) echo "${fields[19]}" ;; esac
}
