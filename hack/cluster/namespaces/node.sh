#!/usr/bin/env bash
# Process 1 of a node's namespaces: makes them look like a machine of their own, and runs containerd, kubelet and
# kube-proxy there. Killing it is pulling the plug of that machine.
#
#   node.sh N CGROUP-MOUNTS     (lines of: path, type, options)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../common.sh
source "$here/../common.sh"
# shellcheck source=settings.sh
source "$here/settings.sh"

readonly n=$1 cgroup_mounts=$2 node=node-$1 disk=$STATE/node-$1

make_filesystem() {
  local folder
  mount --no-mtab -t proc proc /proc # with an mtab it would leave /run/mount on the machine
  # What containerd, kubelet and the CNI plugins leave behind goes away with the node. What a machine keeps through a
  # power cut, images and logs, lies on the disk.
  for folder in /run /var/log /var/lib; do mount --no-mtab -t tmpfs tmpfs "$folder"; done
  mkdir -p /run/netns /run/lock
  for folder in /var/lib/containerd /var/lib/kubelet /var/log/pods; do
    mkdir -p "$folder" "$disk/${folder##*/}"
    mount --bind "$disk/${folder##*/}" "$folder"
  done
}

# A sysfs of this network, and cgroups with this node's at their root. With the machine's own, every kubelet would watch
# the containers of all nodes, and a killed node would take half a minute to come back.
make_cgroups() {
  local path type options
  umount --recursive --lazy /sys
  mount -t sysfs sysfs /sys
  mount -t tmpfs tmpfs /sys/fs/cgroup
  while read -r path type options; do
    mkdir -p "$path"
    options=${options#r[ow]}
    options=${options#,}
    [[ $options == name=* ]] && options=none,$options # a hierarchy without a controller
    if [[ $type == cgroup2 ]]; then mount -t cgroup2 cgroup2 "$path"; else mount -t cgroup -o "$options" cgroup "$path"; fi
  done <<<"$cgroup_mounts"
}

# kubelet sets these for the whole machine, as no namespace holds them. So it gets files that already say what it wants.
shield_sysctls() {
  local setting path
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    path=${setting%=*}
    mkdir -p "/run/sysctl/${path%/*}"
    echo "${setting#*=}" >"/run/sysctl/$path"
    mount --bind "/run/sysctl/$path" "/proc/sys/$path"
  done
}

make_network() {
  local other
  ip link set lo up
  within 30 ip link show eth0 # namespaces.sh plugs the cable in
  ip address add "$(node_address "$n")/24" dev eth0
  ip link set eth0 up
  ip route add default via "$bridge_address"
  for other in $(seq "$NODES"); do
    [[ $other == "$n" ]] || ip route add "$(node_pods "$other")" via "$(node_address "$other")"
  done
  sysctl -qw net.ipv4.ip_forward=1
  # An attempt to reach a pod that died leads all that come from the same port of the same client to that pod, for as long
  # as conntrack remembers it: two minutes, while a busy client's ports come round in seconds.
  sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_syn_sent=5
}

start_containerd() {
  mkdir -p "$disk/cni"
  # ptp, not bridge: every packet of a pod is routed by the node, so that kube-proxy's rules see also the answers between
  # two pods of one node. It enforces no NetworkPolicy.
  cat >"$disk/cni/10-pods.conflist" <<EOF
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "$(node_pods "$n")"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
  cat >"$disk/containerd.toml" <<EOF
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "evenkeel.local/pause:cluster"
  restrict_oom_score_adj = true
  cni = {bin_dir = "/usr/lib/cni", conf_dir = "$disk/cni"}
[plugins."io.containerd.internal.v1.opt"]
  path = "$disk/opt"
EOF
  launch "containerd-$n" containerd --config "$disk/containerd.toml"
  within 60 ctr version
}

# The cluster's own images. kubelet must find them when it starts its first pod.
load_images() {
  local archive
  for archive in "$STATE"/images/*.tar; do import_image "$node" "$archive"; done
}
on_node() { shift && "$@"; }

start_kubelet() {
  echo "nameserver 127.0.0.1" >/run/resolv.conf # of pods with dnsPolicy Default: nobody answers, at once
  cat >"$disk/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
authentication: {webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $pki/$node.crt
tlsPrivateKeyFile: $pki/$node.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [$dns_address]
clusterDomain: cluster.local
resolvConf: /run/resolv.conf
volumePluginDir: /var/lib/kubelet/plugins
nodeLeaseDurationSeconds: $GRACE
syncFrequency: 5s # how soon a changed Secret or ConfigMap reaches a running pod (a minute otherwise)
enforceNodeAllocatable: []
# Loaded images come from nowhere else, so a full disk must not make kubelet remove them, nor evict pods.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi}
EOF
  "$BIN/kubelet" --config="$disk/kubelet.yaml" --kubeconfig="$STATE/$node.kubeconfig" \
    --hostname-override="$node" --node-ip="$(node_address "$n")" \
    --node-labels="topology.kubernetes.io/region=r,topology.kubernetes.io/zone=$(node_zone "$n")"
}

start_kube_proxy() {
  cat >"$disk/kube-proxy.yaml" <<EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clusterCIDR: $pod_range
clientConnection: {kubeconfig: $STATE/proxy.kubeconfig}
hostnameOverride: $node
conntrack: {maxPerCore: 0, min: 0} # the table's size is the machine's, not the node's: leave it
# 1 s otherwise, also for 0s, in which packets still go to pods that are gone: a look-up in DNS then takes 5 s.
iptables: {minSyncPeriod: 20ms}
EOF
  "$BIN/kube-proxy" --config="$disk/kube-proxy.yaml"
}

note_process "$disk/process"
make_filesystem
make_cgroups
shield_sysctls
hostname "$node"
make_network
start_containerd
load_images
within 120 test -e "$STATE/api-ready" # kubelet waits ever longer between its tries to register
launch "kubelet-$n" start_kubelet
launch "kube-proxy-$n" start_kube_proxy
wait
