//! The documents. Fields at their default are left out, so that a proxy one version older still understands them; a field
//! that a proxy does not know makes it reject that pool alone.

use std::{collections::BTreeMap, net::SocketAddr};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PoolUid;

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
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
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
    /// How an endpoint is picked.
    pub algorithm: AlgorithmDocument,
    /// Active health check, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheckDocument>,
    /// Time-outs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: TimeoutsDocument,
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
    /// Name of the pod, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// How an endpoint is picked.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "described at evenkeel_balance::Algorithm")]
pub enum AlgorithmDocument {
    RoundRobin {},
    WeightedRoundRobin {},
    Random {},
    PowerOfTwoChoices { choices: u8 },
    LeastRequest { choices: u8 },
    SourceIPHash {},
}

impl From<AlgorithmDocument> for evenkeel_balance::Algorithm {
    fn from(document: AlgorithmDocument) -> Self {
        match document {
            AlgorithmDocument::RoundRobin {} => Self::RoundRobin,
            AlgorithmDocument::WeightedRoundRobin {} => Self::WeightedRoundRobin,
            AlgorithmDocument::Random {} => Self::Random,
            AlgorithmDocument::PowerOfTwoChoices { choices } => Self::PowerOfTwoChoices { choices },
            AlgorithmDocument::LeastRequest { choices } => Self::LeastRequest { choices },
            AlgorithmDocument::SourceIPHash {} => {
                Self::SourceIpHash(evenkeel_balance::SourceIpHash::default())
            }
        }
    }
}

/// An active health check.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheckDocument {
    /// What to ask for; without it, a connection that opens is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheckDocument>,
    /// Port, if it is not the endpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Milliseconds between two checks of an endpoint.
    pub interval_ms: u64,
    /// Milliseconds after which a check has failed.
    pub timeout_ms: u64,
    /// Passed checks in a row that make an endpoint healthy.
    pub healthy_threshold: u8,
    /// Failed checks in a row that make an endpoint unhealthy.
    pub unhealthy_threshold: u8,
}

/// What a check over HTTP asks for.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpCheckDocument {
    /// Path and query.
    pub path: String,
    /// Statuses that pass.
    pub expected_statuses: Vec<StatusRange>,
}

/// HTTP statuses, both ends included.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusRange {
    /// The lowest.
    pub from: u16,
    /// The highest.
    pub to: u16,
}

/// Time-outs in milliseconds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeoutsDocument {
    /// For a connection to open.
    pub connect_ms: u64,
    /// From the end of the request to the head of the response.
    pub request_ms: u64,
    /// For the next bytes of a body, in either direction.
    pub stream_idle_ms: u64,
}

impl Default for TimeoutsDocument {
    fn default() -> Self {
        Self { connect_ms: 2_000, request_ms: 15_000, stream_idle_ms: 300_000 }
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
