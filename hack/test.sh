#!/usr/bin/env bash
# Everything that is tested, part by part. A part that cannot run here is named at the end; under CI=true it fails instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/env.sh
skipped=()
CLUSTER=${CLUSTER:-namespaces}

part() { # what it is called, what it needs, the command
  local name=$1 needs=$2 missing=() need
  shift 2
  for need in $needs; do
    case $need in
      root) [[ $(id -u) == 0 || $CLUSTER == kind ]] || missing+=(root) ;;
      # The cluster in namespaces makes nodes of cgroups, and gets programs as Debian packages (hack/README.md).
      cgroup-v1) [[ $CLUSTER == kind ]] || grep -q '^[^ ]* [^ ]* cgroup ' /proc/mounts || missing+=("$need (or CLUSTER=kind)") ;;
      apt-get) [[ $CLUSTER == kind ]] || command -v apt-get >/dev/null || missing+=("$need (or CLUSTER=kind)") ;;
      *) command -v "$need" >/dev/null || missing+=("$need") ;;
    esac
  done
  if ((${#missing[@]})); then
    skipped+=("$name: needs ${missing[*]}")
    return
  fi
  printf '\n== %s\n' "$name"
  local start=$SECONDS
  "$@"
  printf '== %s: passed in %d s\n' "$name" $((SECONDS - start))
}

models() { # with a folder of their own: other flags would build everything anew
  CARGO_TARGET_DIR=$CARGO_TARGET_DIR/loom RUSTFLAGS="${RUSTFLAGS:-} --cfg loom" \
    cargo test --locked -p evenkeel-balance --lib model
}

on_cluster() { # images, cluster, tests, and the cluster is gone again
  hack/images.sh
  hack/cluster.sh up
  trap 'hack/cluster.sh down' EXIT
  hack/cluster.sh load "$EVENKEEL_CACHE"/images/*.tar
  tests/e2e/run.sh
  hack/cluster.sh down
  trap - EXIT
}

# The tests of the config channel's page run its commands; without these they pass over them.
for tool in curl jq sha256sum; do
  command -v "$tool" >/dev/null || skipped+=("docs/config-channel.md: needs $tool")
done
part 'unit, property, config channel and raw sockets' cargo \
  cargo test --workspace --locked --exclude evenkeel-apiserver-tests --exclude evenkeel-e2e
part 'what threads share, in every interleaving' cargo models
part 'the demo' 'cargo curl' hack/demo-test.sh
part 'a real API server' 'cargo go' \
  cargo test --locked -p evenkeel-apiserver-tests
part 'chart and manifests' go hack/chart-test.sh
part 'the cluster itself' 'root go cgroup-v1 apt-get' hack/cluster/test.sh
part 'end to end on a real cluster' 'root go cargo cgroup-v1 apt-get' on_cluster

if ((${#skipped[@]})); then
  printf '\nNot run here:\n'
  printf '  %s\n' "${skipped[@]}"
  if [[ ${CI:-} == true ]]; then exit 1; fi
fi
