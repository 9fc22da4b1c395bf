#!/usr/bin/env bash
# End-to-end tests on the cluster that is up, with the images that are on its nodes (hack/images.sh, hack/cluster.sh load).
#
#   tests/e2e/run.sh              install by the chart, then all scenarios
#   tests/e2e/run.sh 3 5          only these
#   tests/e2e/run.sh --installed  what is installed is used as it is
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source hack/env.sh
profile=${PROFILE:-image}
# The program that is in the image too: the client of a scenario.
program=$CARGO_TARGET_DIR/$(rustc -vV | sed -n 's/^host: //p')/$profile/evenkeel-e2e
[[ -x $program ]] || { echo "tests/e2e/run.sh: no $program: call hack/images.sh first" >&2; exit 1; }

HELM=$(hack/tools.sh helm)/helm
KUBECONFIG=$(hack/cluster.sh kubeconfig)
export HELM KUBECONFIG
exec hack/cluster.sh exec "$program" run "$@"
