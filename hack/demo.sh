#!/usr/bin/env bash
# The main job on one machine: a pool over three endpoints of different speed, a light load, and live shares per endpoint.
# Ctrl-C ends it. All that it starts ends with it. DEMO_SECONDS ends it by itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/env.sh
command -v curl >/dev/null || { echo "hack/demo.sh: the load needs curl" >&2; exit 1; }
port=8000 admin=127.0.0.1:9090 seconds=${DEMO_SECONDS:-0}

cargo build --locked -p evenkeel -p evenkeel-demo --bins
bin=$CARGO_TARGET_DIR/debug
folder=$(mktemp -d)
pids=()
finish() {
  trap - EXIT INT TERM
  ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 0' INT TERM

endpoint() { # name, port, mean latency
  "$bin/evenkeel-demo" --name "$1" --listen "127.0.0.1:$2" --latency-distribution exponential --latency-mean "$3" \
    >"$folder/$1.log" 2>&1 &
  pids+=($!)
}
endpoint fast 9001 5ms
endpoint medium 9002 20ms
endpoint slow 9003 80ms

mkdir "$folder/pools"
cp manifests/local/demo.yaml "$folder/pools/demo.yaml"
"$bin/evenkeel" local "$folder/pools" --admin "$admin" >"$folder/local.log" 2>&1 &
pids+=($!)
until curl -fs "http://127.0.0.1:$port/" >/dev/null 2>&1; do
  kill -0 "${pids[-1]}" 2>/dev/null || { tail -n 5 "$folder/local.log" >&2; exit 1; }
  sleep 0.1
done

load() { # keep-alive connections, each with a short pause between its requests
  while :; do
    curl -s --max-time 10 -o /dev/null "http://127.0.0.1:$port/?[1-50]" || true
  done
}
for _ in 1 2 3 4; do load & pids+=($!); done

cat <<EOF

Evenkeel serves the pool default/demo at http://127.0.0.1:$port/
  open    http://$admin/api/v1/endpoints   http://$admin/metrics
  ask     $bin/evenkeel status --server http://$admin
          $bin/evenkeel get pools -o wide --server http://$admin
  edit    $folder/pools/demo.yaml   for instance algorithm.type: RoundRobin, and see the shares change
  log     $folder/local.log
Ctrl-C ends it.

EOF

top=("$bin/evenkeel" top --server "http://$admin")
if ((seconds)); then top+=(--every 2s --count "$(((seconds + 1) / 2))"); fi
"${top[@]}" &
pids+=($!)
wait "${pids[-1]}"
