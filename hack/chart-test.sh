#!/usr/bin/env bash
# Tests the chart without a cluster: linted, rendered and refused where it should be. Whether an API server takes what it
# renders is asked by tests/apiserver.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
chart=charts/evenkeel
helm=$(hack/tools.sh helm)/helm
fail() { echo "hack/chart-test.sh: $*" >&2; exit 1; }

render() { "$helm" template evenkeel "$chart" --namespace evenkeel-system "$@"; }

# expects WORDS ARGUMENT...: what is rendered with these arguments contains the words.
expects() {
  local words=$1
  shift
  grep -qF -- "$words" <<<"$(render "$@")" || fail "helm template $*: lacks '$words'"
}

# refuses WORDS ARGUMENT...: nothing is rendered, and the message contains the words.
refuses() {
  local words=$1 message
  shift
  if message=$(render "$@" 2>&1); then fail "helm template $*: not refused"; fi
  grep -qF -- "$words" <<<"$message" || fail "helm template $*: '$words' is not in: $message"
}

for values in "$chart"/ci/*-values.yaml; do
  "$helm" lint --strict "$chart" --values "$values" >/dev/null || fail "helm lint --values $values"
  render --values "$values" >/dev/null
done
hack/generate-manifests.sh --check

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
grep -qx "appVersion: $version" "$chart/Chart.yaml" || fail "Chart.yaml: appVersion is not $version"
grep -qx "        image: evenkeel.local/demo:$version" manifests/examples/00-demo.yaml ||
  fail "manifests/examples/00-demo.yaml: the image is not of $version"

expects 'helm.sh/resource-policy: keep'
expects 'name: evenkeel-proxies-edge' --set classes.edge.replicas=1
expects '--class=default,edge' --set classes.edge.replicas=1
expects 'https://evenkeel-controller.evenkeel-system.svc.corp.example:9443' --set clusterDomain=corp.example
if grep -q '^kind: CustomResourceDefinition' <<<"$(render --set crds.install=false)"; then fail 'crds.install=false installs CRDs'; fi
if grep -q '^kind: Namespace' <<<"$(render)"; then fail 'makes a namespace, which Helm would refuse to adopt'; fi

refuses 'replica' --set controller.replica=3
refuses 'replicas' --set classes.default.replicas=-1
refuses "'Edge' does not match" --set classes.Edge.replicas=1
refuses 'clusterDomain' --set clusterDomain=cluster_local
refuses 'pullPolicy' --set image.pullPolicy=Sometimes
refuses 'type' --set classDefaults.service.type=ExternalName
echo 'chart and manifests: as they should be'
