#!/usr/bin/env bash
# Builds the Go programs that the tests use, each once, and prints the folder that holds them.
#
#   hack/tools.sh PROGRAM...       for example: BIN=$(hack/tools.sh kubectl helm)
#   hack/tools.sh all
#
# Each folder of hack/tools pins one module by go.mod and go.sum. What is built from it is kept in the cache under a
# name made of their content, so that a new pin is a new program and everything else stays.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${EVENKEEL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/evenkeel}/tools

# program -> folder of hack/tools, package
declare -rA programs=(
  [kube-apiserver]="kubernetes k8s.io/kubernetes/cmd/kube-apiserver"
  [kube-controller-manager]="kubernetes k8s.io/kubernetes/cmd/kube-controller-manager"
  [kube-scheduler]="kubernetes k8s.io/kubernetes/cmd/kube-scheduler"
  [kubelet]="kubernetes k8s.io/kubernetes/cmd/kubelet"
  [kube-proxy]="kubernetes k8s.io/kubernetes/cmd/kube-proxy"
  [kubectl]="kubernetes k8s.io/kubernetes/cmd/kubectl"
  [etcd]="etcd go.etcd.io/etcd/server/v3"
  [helm]="helm helm.sh/helm/v4/cmd/helm"
  [coredns]="coredns github.com/coredns/coredns"
  [kubeconform]="kubeconform github.com/yannh/kubeconform/cmd/kubeconform"
  [kind]="kind sigs.k8s.io/kind"
  [pause]="cluster evenkeel.dev/hack/tools/cluster/pause"
  [probe]="cluster evenkeel.dev/hack/tools/cluster/probe"
)

fail() { echo "hack/tools.sh: $*" >&2; exit 1; }

# The version of module $2 that folder $1 pins.
pinned() { awk -v module="$2" '$1 == module || $2 == module { for (i = 1; i <= NF; i++) if ($i ~ /^v[0-9]/) { print $i; exit } }' "$here/tools/$1/go.mod"; }

# The linker flags that make the programs of folder $1 tell their version; without them kubectl and /version say v0.0.0.
stamp() {
  local version major minor package
  case $1 in
    kubernetes)
      version=$(pinned kubernetes k8s.io/kubernetes)
      IFS=. read -r major minor _ <<<"${version#v}"
      for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        printf -- '-X %s=%s ' "$package.gitVersion" "$version" "$package.gitMajor" "$major" "$package.gitMinor" "$minor" \
          "$package.gitTreeState" archive "$package.gitCommit" unknown
      done ;;
    helm) printf -- '-X helm.sh/helm/v4/internal/version.version=%s' "$(pinned helm helm.sh/helm/v4)" ;;
    kubeconform) printf -- '-X main.version=%s' "$(pinned kubeconform github.com/yannh/kubeconform)" ;;
  esac
}

# The folder of the cache for what is built from folder $1 of hack/tools: its name changes with any file in there.
built() {
  local key
  key=$({ sources "$1"; stamp "$1"; } | sha256sum)
  echo "$cache/$1-${key:0:16}"
}
sources() {
  (cd "$here/tools/$1" && find . -type f \( -name 'go.*' -o -name '*.go' \) -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

# Builds program $1, of folder $2 and package $3, unless another call has done so while this one waited for the lock.
build() {
  local program=$1 folder=$2 package=$3 to log lock
  to=$(built "$folder")
  log=$to.log
  mkdir -p "$to"
  exec {lock}>"$to.lock"
  flock --wait 1800 "$lock" || fail "another build has held $to.lock for half an hour"
  if [[ ! -x $to/$program ]]; then
    command -v go >/dev/null || fail "cannot build $program: go is missing; install Go 1.26 or later and call this again"
    echo "building $program (once; log: $log)" >&2
    # Built under another name and renamed, so that a build which is cut off leaves no half a program.
    (cd "$here/tools/$folder" && CGO_ENABLED=0 GOWORK=off GOFLAGS='' nice -n "${EVENKEEL_NICE:-0}" \
      go build -mod=readonly -buildvcs=false -trimpath -ldflags="-s -w $(stamp "$folder")" -o "$to/.$program" "$package") >"$log" 2>&1 ||
      fail "cannot build $program: $(grep -v '^go: downloading' "$log" | tail -n 1) (log: $log)"
    mv "$to/.$program" "$to/$program"
  fi
  exec {lock}>&-
}

main() {
  local program folder package folders all_built="" bin
  (($#)) || { sed -n '2,5s/^# \?//p' "$0" >&2; exit 2; }
  [[ $* == all ]] && set -- "${!programs[@]}"
  # One flat folder of links for each set of pins: callers need one path, whatever the programs are built from.
  mapfile -t folders < <(printf '%s\n' "${programs[@]}" | cut -d ' ' -f 1 | sort -u)
  for folder in "${folders[@]}"; do all_built+=$(built "$folder"); done
  bin=$(sha256sum <<<"$all_built")
  bin=$cache/bin-${bin:0:16}
  mkdir -p "$bin"
  for program; do
    [[ -n ${programs[$program]:-} ]] || fail "unknown program: $program (known: all ${!programs[*]})"
    [[ -x $bin/$program ]] && continue
    read -r folder package <<<"${programs[$program]}"
    build "$program" "$folder" "$package"
    ln -sfn "$(built "$folder")/$program" "$bin/$program"
  done
  echo "$bin"
}

main "$@"
