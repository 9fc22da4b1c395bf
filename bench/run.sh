#!/usr/bin/env bash
# Runs a benchmark on a cluster of its own with Evenkeel on it, and removes the cluster again.
#
#   bench/run.sh propagation [--changes N] [--endpoints N] [--rate N] [--headless]
#   bench/run.sh controller [--changes N] [--rate N] [--pools N] [--endpoints N]
#
# PROFILE is the build of what is measured: image (the default, as in the end-to-end tests), or release, which takes long to build.
# HELM_FLAGS are more flags of `helm install`, such as --set=controller.logLevel=debug.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/env.sh
case ${1:-} in
  propagation | controller) ;;
  *) sed -n '2,/^[^#]/{/^#/s/^# \?//p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
# A program of the machine serves as endpoints and looks into its /proc, so the cluster is on this machine. It is not that of the
# tests, nor are its images.
export CLUSTER=namespaces STATE=$EVENKEEL_CACHE/bench/cluster IMAGES=$EVENKEEL_CACHE/bench/images PROFILE=${PROFILE:-image}

hack/images.sh controller proxy bench >&2
trap 'hack/cluster.sh down' EXIT
hack/cluster.sh up
hack/cluster.sh load "$IMAGES"/{controller,proxy}.tar
KUBECONFIG=$(hack/cluster.sh kubeconfig)
export KUBECONFIG
read -ra more <<<"${HELM_FLAGS:-}"
hack/cluster.sh exec "$(hack/tools.sh helm)/helm" install evenkeel charts/evenkeel --namespace evenkeel-system \
  --create-namespace --values tests/e2e/values.yaml --wait --timeout 120s "${more[@]}" >&2
# Addresses for benchmarks (RFC 2544), all of them local in the cluster's network and nowhere else; it goes with the cluster.
hack/cluster.sh exec ip route add local 198.18.0.0/15 dev lo
hack/cluster.sh exec "$CARGO_TARGET_DIR/$(rustc -vV | sed -n 's/^host: //p')/$PROFILE/evenkeel-bench" "$@"
