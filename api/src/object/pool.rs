//! `BalancerPool`: the endpoints that share the traffic of some listeners, and how they share it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    Algorithm, AlgorithmOverride, BalancerPoolStatus, HealthCheck, Limits, LoadReports, Locality, Retries,
    SessionAffinity, SlowStart, Timeouts,
};

/// What a pool does: where clients come in, which endpoints take the traffic, and how it is shared among them.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "evenkeel.dev",
    version = "v1alpha1",
    kind = "BalancerPool",
    plural = "balancerpools",
    shortname = "bp",
    category = "evenkeel",
    category = "all",
    namespaced,
    status = "BalancerPoolStatus",
    derive = "PartialEq",
    doc = "A pool of endpoints that share the traffic of its listeners.",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,58}[a-z0-9])?$')")
        .message("metadata.name must be a DNS-1035 label of at most 60 characters: a to z, 0 to 9 and -, starting with a letter"),
    printcolumn(name = "Algorithm", type_ = "string", json_path = ".spec.algorithm.type"),
    printcolumn(name = "Endpoints", type_ = "string", json_path = ".status.endpoints.summary",
        description = "healthy / all"),
    printcolumn(name = "Proxies", type_ = "string", json_path = ".status.proxies.summary",
        description = "that carry this generation / all"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].status"),
    printcolumn(name = "Programmed", type_ = "string", json_path = ".status.conditions[?(@.type==\"Programmed\")].status"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct BalancerPoolSpec {
    /// The ProxyClass, that is the fleet of proxies, that serves this pool.
    #[serde(default = "default_class")]
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub proxy_class: String,

    /// Where clients come in. Each listener is a port of the pool's Service; one with hostnames is also reached on the
    /// fleet's shared port.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = Rule::new("self.all(l, self.exists_one(m, m.port == l.port))")
        .message("two listeners have the same port: give each its own"))]
    pub listeners: Vec<Listener>,

    /// The Service through which clients come.
    #[serde(default)]
    pub service: ServiceTemplate,

    /// The Services or addresses whose endpoints take the traffic, each with its share.
    #[schemars(length(min = 1, max = 16))]
    pub backends: Vec<Backend>,

    /// How an endpoint is picked for a request, among the endpoints of the backend whose turn it is.
    #[serde(default)]
    pub algorithm: Algorithm,

    /// Lets single requests name another algorithm, for tests and comparisons. Without it none may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_algorithm_override: Option<AlgorithmOverride>,

    /// How a proxy learns that an endpoint is broken. Without it every ready endpoint counts as healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,

    /// New endpoints take less at first. Without it they take their full weight at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self.window) >= duration('1s') && duration(self.window) <= duration('1h')")
        .message("window must be from 1s to 1h").field_path(".window"))]
    pub slow_start: Option<SlowStart>,

    /// Which endpoints come first by where they are: those in the zone of the proxy, then those in its region, then all
    /// others. On Kubernetes, where slices tell the zones of endpoints and of proxies, and labels of nodes the regions
    /// of zones; addresses are nowhere. What is not known is told in the message of ResolvedRefs. Without it all are
    /// alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,

    /// What becomes of the load that endpoints report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_reports: Option<LoadReports>,

    /// Keeps a client's requests at one endpoint, whatever the algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,

    /// How long a proxy waits, and for what.
    #[serde(default)]
    pub timeouts: Timeouts,

    /// When a request is sent again. Without it once, if nothing of it was ever sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,

    /// How much the endpoints are given at a time. Without it there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

fn default_class() -> String {
    "default".to_owned()
}

/// One port at which clients come in.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Name of the listener, unique in the pool; also the name of the Service's port.
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Port of the pool's Service. With files in place of Kubernetes, the port that the proxy binds.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// What clients speak: HTTP is HTTP/1.1, and HTTP/2 with prior knowledge.
    pub protocol: Protocol,

    /// Host names for which requests on the fleet's shared port come to this pool too: exact, or `*.` and a domain. Of
    /// two pools that claim the same name, the older has it. The listener's own port takes any Host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 253),
        regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")))]
    pub hostnames: Vec<String>,
}

/// What clients speak at a listener.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// HTTP/1.1, and HTTP/2 with prior knowledge, in plain text.
    Http,
}

/// How Kubernetes brings clients to the proxies: fields of the Service that is made for the pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'")
    .message("loadBalancerClass needs type LoadBalancer"))]
#[x_kube(validation = Rule::new("!has(self.externalTrafficPolicy) || self.type != 'ClusterIP'")
    .message("externalTrafficPolicy needs type NodePort or LoadBalancer"))]
pub struct ServiceTemplate {
    /// Type of the Service. The ProxyClass says which types a pool may have.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Annotations of the Service, such as a cloud's load balancer reads. The ProxyClass says which keys a pool may
    /// set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,

    /// Whether nodes pass traffic from outside on to proxies of other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,

    /// The load balancer implementation that serves the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,

    /// Whether the Service has addresses of one IP family or of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_family_policy: Option<IpFamilyPolicy>,
}

/// Type of a pool's Service, as in Kubernetes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceType {
    /// Reached from within the cluster.
    #[default]
    ClusterIP,
    /// Reached at a port of every node too.
    NodePort,
    /// Reached through a load balancer from outside too.
    LoadBalancer,
}

impl ServiceType {
    /// The word that Kubernetes uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Where nodes send traffic from outside, as in Kubernetes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalTrafficPolicy {
    /// To proxies of any node.
    Cluster,
    /// To proxies of the same node, keeping the client's address.
    Local,
}

/// IP families of a Service, as in Kubernetes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamilyPolicy {
    /// One family.
    SingleStack,
    /// Two families where the cluster has them.
    PreferDualStack,
    /// Two families, or an error.
    RequireDualStack,
}

/// A source of endpoints: a Service of the pool's namespace, or a list of addresses.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.service) != has(self.addresses)")
    .message("a backend needs either service or addresses"))]
pub struct Backend {
    /// A Service of the pool's namespace; its EndpointSlices tell the endpoints. The annotation `evenkeel.dev/weight`
    /// of a pod is its weight among them: a whole number from 0 to 1000, 1 without it. 0 drains: no new requests.
    /// RoundRobin takes any other weight for 1. What is no such number counts as 1, and the message of ResolvedRefs
    /// tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceReference>,

    /// Fixed addresses. On Kubernetes only those that the ProxyClass allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), extend("x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["address", "port"]))]
    pub addresses: Option<Vec<StaticAddress>>,

    /// Share of the traffic, in proportion to the other backends' weights, whatever the number of endpoints. 0 takes
    /// none.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: u32,
}

const fn one() -> u32 {
    1
}

/// A port of a Service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReference {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Name or number of the Service's port.
    #[schemars(schema_with = "port_schema")]
    #[x_kube(validation = Rule::new("type(self) == int ? (self >= 1 && self <= 65535) : (self.size() >= 1 && self.size() <= 63)")
        .message("port must be a port's name, or a number from 1 to 65535"))]
    pub port: IntOrString,
}

fn port_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})
}

/// An address that is an endpoint by itself.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StaticAddress {
    /// IPv4 or IPv6 address.
    #[schemars(length(min = 2, max = 45))]
    #[x_kube(validation = Rule::new("isIP(self)").message("address must be an IPv4 or IPv6 address"))]
    pub address: String,

    /// Port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// Weight among the endpoints of the backend. 0 drains: no new requests. RoundRobin takes any other weight for 1.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: u32,
}
