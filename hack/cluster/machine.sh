#!/usr/bin/env bash
# Prints all that a cluster might leave behind on the machine, for a comparison of before and after.
#
#   hack/cluster/machine.sh
#
# It looks at the whole machine: another cluster that comes or goes meanwhile is a difference, too.
set -euo pipefail

section() {
  local title=$1
  shift
  { "$@" 2>/dev/null || true; } | LC_ALL=C sort -u | sed "s|^|$title: |"
}

# shellcheck disable=SC2009 # pgrep cannot leave out zombies
# Those that a cluster is made of: others come and go meanwhile.
processes() {
  ps -e -o state=,comm=,args= | sed -n 's/^[^Z] *//p' | grep -E '^(etcd|kube|containerd|runc|ctr|unshare|coredns|pause|probe|conntrack|node\.sh|control\.sh)'
}
namespaces() { find /proc/[0-9]*/ns/ -mindepth 1 -printf '%l\n' | grep -E '^(net|mnt|pid|uts|ipc|cgroup):'; }
mounts() { cut -d ' ' -f 4-5 /proc/self/mountinfo; }
network() {
  ip -oneline link | sed 's/^[0-9]*: //'
  ip -oneline address | sed 's/^[0-9]*: //; s/valid_lft.*//'
  ip netns list
  ip rule list
  ip route list table all
}
firewall() { { iptables-save; ip6tables-save; } | grep -v '^#' | sed 's/\[[0-9:]*\]//'; }
# The first level of each hierarchy: further down others are at work, such as who runs this.
cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d; }
files() {
  find /run /var/lib /var/log /etc/cni /etc/containerd /opt/cni /opt/containerd /tmp/evenkeel* \
  ! -path '/var/lib/apt/*' ! -path '/var/lib/dpkg/*'
}
# Without those that change by themselves.
settings() { sysctl --all | grep -E '^(kernel|vm|net)\.' | grep -vE 'random|ns_last_pid|count|tty\.nr|pty\.nr|stat|neigh\..*\.gc'; }

section process processes
section namespace namespaces
section mount mounts
section network network
section firewall firewall
section cgroup cgroups
section file files
section setting settings
