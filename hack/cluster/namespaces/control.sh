#!/usr/bin/env bash
# Process 1 of the cluster's namespaces: makes the network that ties the nodes together, and runs the control plane on it.
# When it dies, every process of the cluster dies with it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../common.sh
source "$here/../common.sh"
# shellcheck source=settings.sh
source "$here/settings.sh"

make_network() {
  local n
  ip link set lo up
  ip link add nodes type bridge
  ip address add "$bridge_address/24" dev nodes
  ip link set nodes up
  sysctl -qw net.ipv4.ip_forward=1
  for n in $(seq "$NODES"); do ip route add "$(node_pods "$n")" via "$(node_address "$n")"; done
  # Services have addresses on nodes only. What starts here (tests, and the API server's webhooks) reaches them through
  # the nodes of table 96, which namespaces.sh keeps to those that live; what is only forwarded here does not.
  ip rule add iif lo to "$service_range" lookup 96
}

start_store() {
  # The data need not survive a power cut, and fsync would make every write wait for the disk.
  launch etcd "$BIN/etcd" --data-dir="$STATE/etcd" --unsafe-no-fsync --log-level=warn
}

start_api_server() {
  # shellcheck disable=SC2054 # commas within a flag
  local flags=(
    --etcd-servers=http://127.0.0.1:2379
    --advertise-address="$bridge_address"
    --service-cluster-ip-range="$service_range"
    --allow-privileged=true
    --authorization-mode=Node,RBAC
    --enable-admission-plugins=NodeRestriction
    --client-ca-file="$pki/ca.crt"
    --tls-cert-file="$pki/api-server.crt" --tls-private-key-file="$pki/api-server.key"
    # To kubelets, for logs, exec and port-forward. Nodes' names are in no DNS.
    --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key"
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP
    --service-account-issuer=https://kubernetes.default.svc.cluster.local
    --service-account-key-file="$pki/service-account.pub" --service-account-signing-key-file="$pki/service-account.key"
    # For aggregated API servers such as metrics-server. They are asked at their pods' addresses, as kube-proxy does
    # not run here.
    --enable-aggregator-routing=true
    --requestheader-client-ca-file="$pki/ca.crt" --requestheader-allowed-names=front-proxy-client
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group
    --requestheader-extra-headers-prefix=X-Remote-Extra-
    --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key"
    --default-not-ready-toleration-seconds="$EVICT" --default-unreachable-toleration-seconds="$EVICT"
  )
  launch api-server "$BIN/kube-apiserver" "${flags[@]}"
  within 120 "$BIN/kubectl" --kubeconfig "$STATE/admin.kubeconfig" get --raw /readyz
  touch "$STATE/api-ready"
}

start_controllers() {
  local flags=(
    --kubeconfig="$STATE/controller-manager.kubeconfig"
    --leader-elect=false
    --use-service-account-credentials=true
    --root-ca-file="$pki/ca.crt"
    --service-account-private-key-file="$pki/service-account.key"
    --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key"
    --allocate-node-cidrs=false # node.sh tells each node its pods' addresses
    --kube-api-qps=500 --kube-api-burst=500 # with the default of 20 it takes 4 s to make its service accounts' tokens
    --node-monitor-grace-period="${GRACE}s" --node-monitor-period=1s
  )
  launch controller-manager "$BIN/kube-controller-manager" "${flags[@]}"
  launch scheduler "$BIN/kube-scheduler" --kubeconfig="$STATE/scheduler.kubeconfig" --leader-elect=false
}

note_process "$STATE/process"
mount --no-mtab -t proc proc /proc # with an mtab it would leave /run/mount on the machine
mount --no-mtab -t tmpfs tmpfs /run
hostname control
make_network
start_store
start_api_server
start_controllers
wait
