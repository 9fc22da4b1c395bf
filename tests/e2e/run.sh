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
# The command line that a scenario runs.
EVENKEEL=$(dirname "$program")/evenkeel
for built in "$program" "$EVENKEEL"; do
  [[ -x $built ]] || { echo "tests/e2e/run.sh: no $built: call hack/images.sh first" >&2; exit 1; }
done

HELM=$(hack/tools.sh helm)/helm
KUBECONFIG=$(hack/cluster.sh kubeconfig)
export HELM KUBECONFIG EVENKEEL
exec hack/cluster.sh exec "$program" run "$@"
