//! A pool over endpoints that no pod stands behind: a Service without a selector, and one EndpointSlice that is written
//! here.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// Namespace of all that the benchmarks make.
pub(crate) const NAMESPACE: &str = "bench";
/// Name of the one port, in Services, slices and pools.
const PORT_NAME: &str = "http";
/// The label that ties a slice to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A Service, its slice and its pool, all of one name.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) name: String,
    /// Where all endpoints listen.
    pub(crate) port: u16,
    /// Of all endpoints, ready or not.
    pub(crate) addresses: Vec<Ipv4Addr>,
    /// The Service has no ClusterIP, so that kube-proxy has nothing to do with it.
    pub(crate) is_headless: bool,
}

impl Backend {
    /// The Service, its slice and its pool, in this order; `ready` tells which addresses are.
    fn objects(&self, ready: impl Fn(usize) -> bool) -> [Value; 3] {
        let Self { name, port, is_headless, .. } = self;
        let metadata = json!({"name": name, "namespace": NAMESPACE});
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"ports": [{"name": PORT_NAME, "port": 80, "targetPort": port}]},
        });
        if *is_headless {
            service["spec"]["clusterIP"] = "None".into();
        }
        let mut slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
            "addressType": "IPv4",
            "ports": [{"name": PORT_NAME, "port": port, "protocol": "TCP"}],
            "endpoints": self.endpoints(ready),
        });
        slice["metadata"]["labels"] = json!({SERVICE_NAME: name});
        let pool = json!({
            "apiVersion": "evenkeel.dev/v1alpha1", "kind": "BalancerPool", "metadata": metadata,
            "spec": {
                "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}],
                "backends": [{"service": {"name": name, "port": PORT_NAME}}],
                "algorithm": {"type": "RoundRobin"},
            },
        });
        [service, slice, pool]
    }

    /// The endpoints of the slice, as a merge patch of it writes them too.
    pub(crate) fn endpoints(&self, ready: impl Fn(usize) -> bool) -> Value {
        let endpoint = |(number, address): (usize, &Ipv4Addr)| {
            let ready = ready(number);
            json!({"addresses": [address], "conditions": {"ready": ready, "serving": ready, "terminating": false}})
        };
        self.addresses.iter().enumerate().map(endpoint).collect()
    }
}

/// The namespace with all of `backends` in it, for one `kubectl apply`; `ready` tells which addresses of each are.
pub(crate) fn manifest(backends: &[Backend], ready: impl Fn(usize) -> bool) -> String {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let objects = backends.iter().flat_map(|backend| backend.objects(&ready));
    let items: Vec<_> = [namespace].into_iter().chain(objects).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}
