#!/usr/bin/env bash
# Installs the Debian packages that the cluster in namespaces needs, those of them that are missing.
#
#   hack/packages.sh
set -euo pipefail

# what must be there -> the package that has it
declare -rA packages=(
  [containerd]=containerd
  [ctr]=containerd
  [runc]=runc
  [/usr/lib/cni/ptp]=containernetworking-plugins
  [conntrack]=conntrack
  [iptables]=iptables
  [ip]=iproute2
  [openssl]=openssl
  [sysctl]=procps
  [nsenter]=util-linux
  [unshare]=util-linux
  [findmnt]=util-linux
  [flock]=util-linux
  [mount]=mount
)

fail() { echo "hack/packages.sh: $*" >&2; exit 1; }

missing() {
  local need
  for need in "${!packages[@]}"; do
    command -v "$need" >/dev/null || echo "${packages[$need]}"
  done | sort -u
}

# The cluster runs a containerd in each node's namespaces. One on the machine itself nobody asked for: policy-rc.d keeps
# the package from starting it now, and `disable` from starting it at the next boot.
install_quietly() {
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  # A machine that never updated its lists, or did so long ago, asks for versions that are gone.
  apt-get install --yes --no-install-recommends "$@" || { apt-get update && apt-get install --yes --no-install-recommends "$@"; }
  if [[ " $* " == *" containerd "* ]] && command -v systemctl >/dev/null; then systemctl disable --now containerd || true; fi
}

main() {
  local wanted log
  mapfile -t wanted < <(missing)
  ((${#wanted[@]})) || return 0
  command -v apt-get >/dev/null || fail "these are missing, install them by hand (no apt-get here): ${wanted[*]}"
  ((EUID == 0)) || fail "these Debian packages are missing, and only root can install them: ${wanted[*]}"
  echo "installing ${wanted[*]}" >&2
  log=$(mktemp -t evenkeel-packages.XXXXXX)
  (install_quietly "${wanted[@]}") >"$log" 2>&1 </dev/null || fail "apt-get failed: $(tail -n 1 "$log") (log: $log)"
  rm -f "$log"
  mapfile -t wanted < <(missing)
  ((${#wanted[@]} == 0)) || fail "still missing after the installation: ${wanted[*]}"
}

main "$@"
