//! `BalancerPool`: the endpoints that share the traffic of some listeners, and how they share it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::BalancerPoolStatus;
use crate::Duration;

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

    /// How a proxy learns that an endpoint is broken. Without it every ready endpoint counts as healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,

    /// How long a proxy waits, and for what.
    #[serde(default)]
    pub timeouts: Timeouts,
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

    /// Host names for which requests on the fleet's shared port come to this pool too: exact, or `*.` and a domain. Of two
    /// pools that claim the same name, the older has it. The listener's own port takes any Host.
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

    /// Annotations of the Service, such as a cloud's load balancer reads. The ProxyClass says which keys a pool may set.
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
    /// A Service of the pool's namespace; its EndpointSlices tell the endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceReference>,

    /// Fixed addresses. On Kubernetes only those that the ProxyClass allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub addresses: Option<Vec<StaticAddress>>,

    /// Share of the traffic, in proportion to the other backends' weights, whatever the number of endpoints. 0 takes none.
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

/// How an endpoint is picked. The field named as the type holds its parameters.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.powerOfTwoChoices) || self.type == 'PowerOfTwoChoices'")
    .message("powerOfTwoChoices needs type PowerOfTwoChoices").field_path(".powerOfTwoChoices"))]
#[x_kube(validation = Rule::new("!has(self.leastRequest) || self.type == 'LeastRequest'")
    .message("leastRequest needs type LeastRequest").field_path(".leastRequest"))]
pub struct Algorithm {
    /// The algorithm. Every one but RoundRobin honours the weights of endpoints.
    #[serde(default, rename = "type")]
    pub type_: AlgorithmType,

    /// Parameters of PowerOfTwoChoices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_of_two_choices: Option<PowerOfTwoChoices>,

    /// Parameters of LeastRequest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_request: Option<LeastRequest>,
}

/// The algorithms.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlgorithmType {
    /// One endpoint after the other.
    RoundRobin,
    /// One endpoint after the other, each as often as its weight says, evenly spread.
    WeightedRoundRobin,
    /// An endpoint at random, as likely as its weight says.
    Random,
    /// The endpoint with the fewest requests in flight for its weight, of a few drawn at random.
    PowerOfTwoChoices,
    /// The endpoint with the fewest requests in flight for its weight, of all, or of many in a large pool.
    #[default]
    LeastRequest,
    /// Always the same endpoint for the same client address (rendezvous hashing).
    SourceIPHash,
}

impl AlgorithmType {
    /// The word that a manifest uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "RoundRobin",
            Self::WeightedRoundRobin => "WeightedRoundRobin",
            Self::Random => "Random",
            Self::PowerOfTwoChoices => "PowerOfTwoChoices",
            Self::LeastRequest => "LeastRequest",
            Self::SourceIPHash => "SourceIPHash",
        }
    }
}

/// Parameters of PowerOfTwoChoices.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PowerOfTwoChoices {
    /// How many distinct endpoints are drawn for each request.
    #[serde(default = "two")]
    #[schemars(range(min = 2, max = 10))]
    pub choices: u8,
}

impl Default for PowerOfTwoChoices {
    fn default() -> Self {
        Self { choices: two() }
    }
}

const fn two() -> u8 {
    2
}

/// Parameters of LeastRequest.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LeastRequest {
    /// How many endpoints are compared for each request: all of a backend that has no more, else as many in turn.
    #[serde(default = "sixteen")]
    #[schemars(range(min = 2, max = 64))]
    pub choices: u8,
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self { choices: sixteen() }
    }
}

const fn sixteen() -> u8 {
    16
}

/// How a proxy learns that an endpoint is broken.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Checks that every proxy makes by itself, apart from requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveHealthCheck>,
}

/// A check that every proxy makes of every endpoint, apart from requests. An endpoint counts as healthy until it fails.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.http) || self.type == 'HTTP'")
    .message("http needs type HTTP").field_path(".http"))]
#[x_kube(validation = Rule::new("duration(self.timeout) <= duration(self.interval)")
    .message("timeout must not be longer than interval").field_path(".timeout"))]
pub struct ActiveHealthCheck {
    /// HTTP asks for a page; TCP opens a connection.
    #[serde(rename = "type")]
    pub type_: ActiveHealthCheckType,

    /// Parameters of HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHealthCheck>,

    /// Port to check, if it is not the endpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,

    /// Time between two checks of an endpoint, give or take a tenth.
    #[serde(default = "default_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('1h')")
        .message("interval must be from 100ms to 1h"))]
    pub interval: Duration,

    /// Time after which a check without an answer has failed.
    #[serde(default = "default_check_timeout")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms') && duration(self) <= duration('1m')")
        .message("timeout must be from 10ms to 1m"))]
    pub timeout: Duration,

    /// How many checks in a row must pass before an unhealthy endpoint takes requests again.
    #[serde(default = "default_healthy_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_threshold: u8,

    /// How many checks in a row must fail before an endpoint takes no more requests.
    #[serde(default = "default_unhealthy_threshold")]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_threshold: u8,
}

const fn default_interval() -> Duration {
    Duration::from_secs(5)
}

const fn default_check_timeout() -> Duration {
    Duration::from_secs(1)
}

const fn default_healthy_threshold() -> u8 {
    2
}

const fn default_unhealthy_threshold() -> u8 {
    3
}

/// The kinds of active check.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum ActiveHealthCheckType {
    /// A GET whose response has an expected status.
    Http,
    /// A connection that opens.
    Tcp,
}

/// What a check over HTTP asks for, and what it expects.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpHealthCheck {
    /// Path, and query if any.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[!-~]*$"))]
    pub path: String,

    /// Statuses, or ranges of them such as 200-299, that count as passed.
    #[serde(default = "default_statuses")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "set"),
        inner(length(max = 7), regex(pattern = r"^[1-5][0-9]{2}(-[1-5][0-9]{2})?$")))]
    pub expected_statuses: Vec<String>,
}

impl Default for HttpHealthCheck {
    fn default() -> Self {
        Self { path: default_path(), expected_statuses: default_statuses() }
    }
}

fn default_path() -> String {
    "/".to_owned()
}

fn default_statuses() -> Vec<String> {
    vec!["200-299".to_owned()]
}

/// How long a proxy waits, and for what.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// For a connection to an endpoint to open.
    #[serde(default = "default_connect")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('1m')")
        .message("connect must be from 1ms to 1m"))]
    pub connect: Duration,

    /// From the end of the request to the head of the endpoint's response.
    #[serde(default = "default_request")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('1h')")
        .message("request must be from 1ms to 1h"))]
    pub request: Duration,

    /// For the next bytes of a body, in either direction.
    #[serde(default = "default_stream_idle")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('24h')")
        .message("streamIdle must be from 1ms to 24h"))]
    pub stream_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: default_connect(), request: default_request(), stream_idle: default_stream_idle() }
    }
}

const fn default_connect() -> Duration {
    Duration::from_secs(2)
}

const fn default_request() -> Duration {
    Duration::from_secs(15)
}

const fn default_stream_idle() -> Duration {
    Duration::from_secs(300)
}
