//! The documents. Fields at their default are left out, so that a proxy one version older still understands them; a
//! field that a proxy does not know makes it reject that pool alone. What a proxy carries out just as the pool says it
//! has the form that it has in the spec; see [`crate::schema`] for its rules.

use std::{collections::BTreeMap, net::SocketAddr};

use ipnet::IpNet;
use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PoolUid;
use crate::object::{
    Algorithm, AlgorithmOverride, HealthCheck, Limits, LoadReports, Locality, Retries, SessionAffinity,
    SlowStart, Timeouts,
};

/// The whole state of a class.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotDocument {
    /// The leadership that sent it: the transition count of the Lease. 0 from a follower that answers a pull.
    pub epoch: u64,
    /// Counts changes within the epoch, from 1.
    pub revision: u64,
    /// Hash of `pools`: see `snapshot_hash`.
    pub hash: String,
    /// The pools of the class, by UID. Kept as they came, so that one bad pool does not spoil the rest.
    pub pools: BTreeMap<PoolUid, serde_json::Value>,
}

/// A change of the whole state: a JSON Merge Patch of its `pools`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotPatch {
    /// As in a snapshot.
    pub epoch: u64,
    /// As in a snapshot.
    pub revision: u64,
    /// Hash of `pools` once the patch is applied.
    pub hash: String,
    /// What changes in `pools`; null removes.
    pub pools: BTreeMap<PoolUid, serde_json::Value>,
}

/// All that a proxy needs to know of a pool.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolDocument {
    /// Namespace of the pool.
    pub namespace: String,
    /// Name of the pool.
    pub name: String,
    /// Generation of the object that this was made from.
    pub generation: i64,
    /// Where clients come in, by listener name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub listeners: BTreeMap<String, ListenerDocument>,
    /// Sources of endpoints, by a key that is stable while the backend names the same Service or addresses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub backends: BTreeMap<String, BackendDocument>,
    /// How an endpoint is picked, as in the pool's spec.
    #[serde(default, skip_serializing_if = "is_default")]
    pub algorithm: Algorithm,
    /// Which other algorithms a request may name, as in the pool's spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_algorithm_override: Option<AlgorithmOverride>,
    /// How endpoints are judged, as in the pool's spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// How new endpoints begin, as in the pool's spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
    /// Which endpoints come first by where they are, as in the pool's spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
    /// Zones of the proxies of the class, by name, as far as they are known. Told only where there is a locality.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub proxy_zones: BTreeMap<String, String>,
    /// Regions of the zones that endpoints of the pool and proxies of the class are in, as far as they are known. Told
    /// only where the locality goes by regions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zone_regions: BTreeMap<String, String>,
    /// What becomes of the load that endpoints report, as in the pool's spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_reports: Option<LoadReports>,
    /// What keeps a client at its endpoint, as in the pool's spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    /// Time-outs, as in the pool's spec.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: Timeouts,
    /// When a request is sent again, as in the pool's spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// How much the endpoints are given at a time, as in the pool's spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Live proxies of the class, each of which takes its part of the limits. Told only where there are limits, or a
    /// locality.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1))]
    pub proxies: u32,
    /// Peers whose forwarding headers are believed.
    #[serde(default, rename = "trustedCIDRs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub trusted_cidrs: Vec<IpNet>,
}

/// A port to bind, and the names under which the shared port leads here too.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerDocument {
    /// Port to bind on every address.
    pub port: u16,
    /// Names that this pool has on the shared port: exact, or `*.` and a domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
}

/// A source of endpoints.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendDocument {
    /// Share of the traffic, in proportion to the other backends'.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// Endpoints by identity: UID of the pod and port, or address and port.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, EndpointDocument>,
}

/// One endpoint.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointDocument {
    /// Address and port.
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// Weight among the endpoints of the backend; 0 drains.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// The pod terminates and still serves: it takes new requests only if the backend has no other.
    #[serde(default, skip_serializing_if = "is_default")]
    pub terminating: bool,
    /// When the pod became ready, by the clock of its node: slow start counts from there. Said only where the pool has
    /// slow start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ready_since: Option<Timestamp>,
    /// Name of the pod, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Zone that it runs in. Told only where there is a locality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl EndpointDocument {
    /// An endpoint of weight 1 that is no pod.
    #[must_use]
    pub const fn at(address: SocketAddr) -> Self {
        Self { address, weight: 1, terminating: false, ready_since: None, pod: None, zone: None }
    }
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_one(weight: &u32) -> bool {
    *weight == 1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
