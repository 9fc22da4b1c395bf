# shellcheck shell=bash
# The cluster's certificates and the kubeconfigs that hold them. A cluster is short-lived, and so are these: 30 days.
# Read by namespaces.sh.
# shellcheck disable=SC2154 # bridge_address, pki: of settings.sh

make_certificates() {
  local n
  mkdir -p "$pki"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=evenkeel-cluster \
    -keyout "$pki/ca.key" -out "$pki/ca.crt" 2>/dev/null
  openssl ecparam -name prime256v1 -genkey -noout -out "$pki/service-account.key"
  openssl ec -in "$pki/service-account.key" -pubout -out "$pki/service-account.pub" 2>/dev/null

  certificate api-server /CN=kube-apiserver \
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:10.96.0.1,IP:$bridge_address,IP:127.0.0.1"
  certificate front-proxy /CN=front-proxy-client # what the API server shows to aggregated API servers
  certificate admin /O=system:masters/CN=admin
  certificate controller-manager /CN=system:kube-controller-manager
  certificate scheduler /CN=system:kube-scheduler
  certificate proxy /CN=system:kube-proxy
  for n in admin controller-manager scheduler proxy; do kubeconfig_of "$n"; done
  for n in $(seq "$NODES"); do
    certificate "node-$n" "/O=system:nodes/CN=system:node:node-$n" "DNS:node-$n,IP:$(node_address "$n")"
    kubeconfig_of "node-$n"
  done
}

certificate() { # NAME SUBJECT [ALTERNATIVE-NAMES]
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" \
    -keyout "$pki/$1.key" -out "$pki/$1.csr" 2>/dev/null
  openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 30 -out "$pki/$1.crt" \
    -extfile <(printf 'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' "${3:-DNS:$1}") 2>/dev/null
}

# The certificates are inside it, so that a copy of the file is enough.
kubeconfig_of() {
  (umask 077 && cat >"$STATE/$1.kubeconfig") <<EOF
apiVersion: v1
kind: Config
clusters:
- {name: evenkeel, cluster: {server: "$api_server", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}
users:
- {name: $1, user: {client-certificate-data: $(base64 -w0 "$pki/$1.crt"), client-key-data: $(base64 -w0 "$pki/$1.key")}}
contexts:
- {name: evenkeel, context: {cluster: evenkeel, user: $1}}
current-context: evenkeel
EOF
}
