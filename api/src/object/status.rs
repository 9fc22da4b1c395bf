//! What the controller says of a pool: counts, never lists of endpoints, and conditions in Gateway API's words.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Types of conditions.
pub mod condition {
    /// The pool's own fields are meaningful, and its ProxyClass allows them.
    pub const ACCEPTED: &str = "Accepted";
    /// Every Service that the pool names exists and can be used.
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    /// Every live proxy has said that its request path uses this generation.
    pub const PROGRAMMED: &str = "Programmed";
    /// All of the others, and at least one healthy endpoint.
    pub const READY: &str = "Ready";
}

/// Reasons of conditions; the first six are also the reasons of a condition that is true.
#[expect(missing_docs, reason = "each is the word that Gateway API or Kubernetes uses")]
pub mod reason {
    pub const ACCEPTED: &str = "Accepted";
    pub const RESOLVED_REFS: &str = "ResolvedRefs";
    pub const PROGRAMMED: &str = "Programmed";
    pub const READY: &str = "Ready";
    pub const INVALID: &str = "Invalid";
    pub const UNSUPPORTED_VALUE: &str = "UnsupportedValue";
    pub const PENDING: &str = "Pending";
    pub const CONFLICTED: &str = "Conflicted";
    pub const PROXY_CLASS_NOT_FOUND: &str = "ProxyClassNotFound";
    pub const NOT_ALLOWED_BY_CLASS: &str = "NotAllowedByClass";
    pub const BACKEND_NOT_FOUND: &str = "BackendNotFound";
    pub const REF_NOT_PERMITTED: &str = "RefNotPermitted";
    pub const UNSUPPORTED_PROTOCOL: &str = "UnsupportedProtocol";
    pub const PARTIALLY_PROGRAMMED: &str = "PartiallyProgrammed";
    pub const PROXY_REJECTED: &str = "ProxyRejected";
    pub const NO_PROXIES: &str = "NoProxies";
    pub const SERVICE_CONFLICT: &str = "ServiceConflict";
    pub const SERVICE_REFUSED: &str = "ServiceRefused";
    pub const PORTS_EXHAUSTED: &str = "PortsExhausted";
    pub const NOT_ACCEPTED: &str = "NotAccepted";
    pub const NOT_RESOLVED: &str = "NotResolved";
    pub const NOT_PROGRAMMED: &str = "NotProgrammed";
    pub const NO_HEALTHY_ENDPOINT: &str = "NoHealthyEndpoint";
    pub const ADDRESS_PENDING: &str = "AddressPending";
}

/// What the controller says of a pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BalancerPoolStatus {
    /// Accepted, ResolvedRefs, Programmed and Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Conditions of each listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub listeners: Vec<ListenerStatus>,

    /// How many endpoints there are, over all backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<EndpointCounts>,

    /// How many proxies serve the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxies: Option<ProxyCounts>,

    /// The algorithm in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<AlgorithmStatus>,

    /// The newest configuration in which this pool changed, as `epoch.revision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,

    /// SHA-256 of the pool's document as the proxies get it, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,

    /// Where clients reach the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
}

/// Conditions of a listener.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Name of the listener.
    #[schemars(length(max = 15))]
    pub name: String,

    /// Accepted and Programmed.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Counts of endpoints.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EndpointCounts {
    /// Ready endpoints, whatever a proxy thinks of their health, and draining ones.
    pub total: u32,
    /// Ready endpoints that at least half of the live proxies hold for healthy.
    pub healthy: u32,
    /// Ready endpoints that at least half of the live proxies have taken out for how they answer requests.
    #[serde(default)]
    pub ejected: u32,
    /// Endpoints that terminate and still serve, or have weight 0: no new requests.
    pub draining: u32,
    /// Panic: backends whose requests go to all endpoints, healthy or not, on at least half of the live proxies, since
    /// fewer are healthy than `healthCheck.panicThreshold` asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"), inner(length(max = 253)))]
    pub panicking: Vec<String>,
    /// `healthy/total`.
    #[schemars(length(max = 32))]
    pub summary: String,
}

/// Counts of proxies.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ProxyCounts {
    /// Live proxies of the class: serving and not terminating.
    pub total: u32,
    /// Those of them whose request path uses this generation.
    pub programmed: u32,
    /// `programmed/total`.
    #[schemars(length(max = 32))]
    pub summary: String,
}

/// The algorithm in use.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AlgorithmStatus {
    /// Its type, as most live proxies say; with Auto, the one that they have chosen.
    #[schemars(length(max = 64))]
    pub active: String,
    /// Since when it is in use.
    pub since: Time,
    /// Why.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// With Auto: what spoke for each algorithm when this one was chosen. The proxies' GET /v1/pools tells what does
    /// now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub scores: Vec<AlgorithmScore>,
}

/// What speaks for an algorithm.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AlgorithmScore {
    /// Its type.
    #[serde(rename = "type")]
    #[schemars(length(max = 64))]
    pub type_: String,
    /// The tail latency to be expected of it, in per cent of that of the algorithm in use.
    pub percent: u32,
}

/// Where clients reach the pool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// DNS name of the pool's Service, in the namespace of the proxies.
    #[schemars(length(max = 253))]
    pub service: String,
    /// DNS name of the alias in the pool's own namespace.
    #[schemars(length(max = 253))]
    pub alias: String,
    /// Addresses outside of the cluster, as the load balancer says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub external: Vec<String>,
}
