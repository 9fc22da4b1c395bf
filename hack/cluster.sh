#!/usr/bin/env bash
# The Kubernetes cluster of the end-to-end tests: three nodes in the zones a, b and c, with CoreDNS.
#
#   hack/cluster.sh up                            make it; returns when nodes and CoreDNS are ready
#   hack/cluster.sh down                          remove it and all that it left
#   hack/cluster.sh kubeconfig                    print the path of the administrator's kubeconfig
#   hack/cluster.sh kubectl ARGS...
#   hack/cluster.sh load ARCHIVE...               put images onto every node (hack/image.sh writes such archives)
#   hack/cluster.sh exec CMD...                   run where pods' and Services' addresses and the API server are reachable
#   hack/cluster.sh node N CMD...                 run on node N, where `ctr -n k8s.io` sees its containers
#   hack/cluster.sh signal NAMESPACE/POD SIGNAL [CONTAINER]   to the main process of a container: STOP, CONT, KILL, ...
#   hack/cluster.sh kill N | start N              power off: all that runs there dies at once | power on again
#   hack/cluster.sh cut N | join N                pull the network cable: all that runs there lives on | plug it in again
#   hack/cluster.sh stats                         memory and processor time used so far
#
# CLUSTER chooses how it is made: `namespaces` (the default: on this machine, as root, without a Docker engine) or
# `kind`. All that differs between the two lies in hack/cluster/$CLUSTER.sh; the tests know only these commands.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage() { sed -n '2,/^[^#]/{/^#/s/^# \?//p}' "${BASH_SOURCE[0]}"; }

case ${1:-} in
  up | down | kubeconfig | kubectl | load | exec | node | signal | kill | start | cut | join | stats) ;;
  help | --help | -h) usage; exit ;;
  *) usage >&2; exit 2 ;;
esac
case ${CLUSTER:=namespaces} in
  namespaces | kind) exec "$here/cluster/$CLUSTER.sh" "$@" ;;
  *) echo "hack/cluster.sh: CLUSTER is namespaces or kind, not $CLUSTER" >&2; exit 2 ;;
esac
