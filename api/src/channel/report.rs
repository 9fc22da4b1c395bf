//! What a proxy answers.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PoolUid;

/// Answer 200 to a PUT or PATCH: the request path uses the new state, but for the pools rejected.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// Epoch received.
    pub epoch: u64,
    /// Revision received.
    pub revision: u64,
    /// Hash of the pools received, rejected ones included.
    pub hash: String,
    /// Pools that keep their last good version (or have none), and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<PoolUid, Vec<Rejection>>,
}

/// Why a pool was rejected.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// Path of the field within the pool's document.
    pub field: String,
    /// What is wrong with it, and the way out.
    pub message: String,
}

/// Answer to GET /v1/snapshot: a snapshot that can be PUT as it is (the additional members are for reading).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedSnapshot {
    /// Epoch received; 0 before the first push.
    pub epoch: u64,
    /// Revision received; 0 before the first push.
    pub revision: u64,
    /// Hash of the pools received.
    pub hash: String,
    /// The pools as received.
    pub pools: BTreeMap<PoolUid, serde_json::Value>,
    /// The versions in use of the pools that were rejected, where there is one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub active: BTreeMap<PoolUid, serde_json::Value>,
    /// Pools rejected, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<PoolUid, Vec<Rejection>>,
}

/// Answer to GET /v1/pools: the heartbeat, and what this proxy knows of its pools.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PoolsReport {
    /// Epoch received; 0 before the first push.
    pub epoch: u64,
    /// Revision received; 0 before the first push.
    pub revision: u64,
    /// Hash of the pools received.
    pub hash: String,
    /// Pools rejected, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected: BTreeMap<PoolUid, Vec<Rejection>>,
    /// Pools in use.
    pub pools: BTreeMap<PoolUid, PoolReport>,
}

/// What a proxy knows of a pool. Counters start with the proxy and survive pushes.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PoolReport {
    /// Namespace of the pool.
    pub namespace: String,
    /// Name of the pool.
    pub name: String,
    /// Generation in use.
    pub generation: i64,
    /// Responses sent to clients, those that the proxy made itself included.
    pub requests: u64,
    /// Requests sent a second time, to another endpoint.
    pub retries: u64,
    /// Requests that wait until an endpoint has room.
    #[serde(default)]
    pub queued: u64,
    /// What became of sessions, if the pool has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<SessionsReport>,
    /// The algorithm in use: the pool's, or the one that Auto has chosen.
    pub algorithm: String,
    /// What Auto goes by, if it is the pool's algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<AutoReport>,
    /// The zone of this proxy, where the pool goes by that and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The region of this proxy, where the pool goes by that and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Backends whose requests go to all endpoints, for too few are healthy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub panicking: Vec<String>,
    /// Endpoints by identity.
    pub endpoints: BTreeMap<String, EndpointReport>,
}

/// Requests that an endpoint answered, by what became of their sessions.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SessionsReport {
    /// Those that brought none, so that one began.
    pub begun: u64,
    /// Those that went to the endpoint of their session.
    pub kept: u64,
    /// Those whose session moved, for its endpoint is gone, takes no requests, or failed.
    pub moved: u64,
    /// Those that went elsewhere, for the endpoint of their session was full; it keeps the session.
    pub passed_over: u64,
}

/// A choice of Auto.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AutoReport {
    /// Seconds since it was made.
    pub seconds_ago: u64,
    /// Why, in words.
    pub reason: String,
    /// How much the endpoints differ, lastingly: standard deviation of the logarithm of what each is capable of.
    pub spread: f64,
    /// Part of the endpoints that report their load, from 0 to 1.
    pub reporting: f64,
    /// The score of each algorithm that may be chosen and can be used now; lower is better.
    pub scores: BTreeMap<String, f64>,
    /// By how many requests, played again through each of the algorithms, older ones counting less; 0: the scores are
    /// predictions.
    #[serde(default)]
    pub played: u32,
}

/// What a proxy knows of an endpoint.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EndpointReport {
    /// Address and port.
    pub address: String,
    /// Key of the backend that it belongs to.
    pub backend: String,
    /// Name of the pod, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Zone that it runs in, where the pool goes by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Region of that zone, where the pool goes by that and it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Weight among the endpoints of its backend, as configured.
    pub weight: u32,
    /// Weight with all that adapts it; 0 if it takes no new requests.
    pub effective_weight: f64,
    /// Terminating, or of weight 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// What active checks found; healthy if there are none.
    pub health: Health,
    /// Why the last check failed, while unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_reason: Option<String>,
    /// Why it is to take no requests, or few, because of how it answered them. In a panic it takes them all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejection: Option<EjectionReport>,
    /// Smoothed response time in milliseconds, as far as it is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_time_ms: Option<f64>,
    /// What its Prometheus page showed last, where Adaptive goes by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageReport>,
    /// What it did lately; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent: Option<RecentReport>,
    /// How its health changed, the last 16 times, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HealthChange>,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests for which it was picked, retries included: all that were sent, and some whose client went away first.
    pub requests: u64,
    /// Requests that failed at the endpoint: no connection, no response or one that broke off, or a status of 500
    /// and above.
    pub failures: u64,
}

impl EndpointReport {
    /// It is to take no requests because of how it answered them; on probation it takes one.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.ejection.as_ref().is_some_and(|ejection| ejection.seconds_left.is_some())
    }

    /// Passes its checks, and has not been taken out for how it answers.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health == Health::Healthy && !self.is_ejected()
    }

    /// Why it takes no requests, if it should.
    #[must_use]
    pub fn why_not(&self) -> Option<String> {
        let ejection = self.ejection.as_ref().filter(|_| self.is_ejected());
        self.unhealthy_reason.clone().or_else(|| Some(format!("ejected: {}", ejection?.reason)))
    }
}

/// What an endpoint uses, by its Prometheus page.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UsageReport {
    /// Seconds since it was read. What is older than three intervals does not count any more.
    pub seconds_ago: u64,
    /// CPU time in use: seconds a second. Absent after the first page, and where it is not looked for or not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
    /// Memory in use; absent where it is not looked for or not shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<f64>,
}

/// What an endpoint did in about the last minute.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecentReport {
    /// The longest time that counts, in seconds; a quarter of it less counts at least.
    pub seconds: u64,
    /// Requests that were answered, or failed.
    pub requests: u64,
    /// Those that failed: no connection, no response or one that broke off, or a status of 500
    /// and above.
    pub failures: u64,
    /// Part of the requests that did not fail, from 0 to 1.
    pub success_rate: f64,
    /// Time to the head of the response, in milliseconds and to about a twentieth; absent without a response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_time: Option<Quantiles>,
}

/// What of a hundred response times how many keep to, in milliseconds.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Quantiles {
    /// 50 of them: the median.
    pub p50_ms: f64,
    /// 95 of them.
    pub p95_ms: f64,
    /// 99 of them.
    pub p99_ms: f64,
}

/// A change of an endpoint's health at a proxy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HealthChange {
    /// Seconds since then.
    pub seconds_ago: u64,
    /// What it changed to.
    pub to: HealthState,
    /// Why, where it was for the worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What an endpoint's health may change to.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Active checks pass.
    Healthy,
    /// Active checks fail.
    Unhealthy,
    /// It was taken out for how it answered requests.
    Ejected,
    /// It is tried with one request after an ejection.
    OnProbation,
    /// An ejection is over.
    Returned,
}

/// Why an endpoint was taken out by passive health checks.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EjectionReport {
    /// Seconds since then.
    pub seconds_ago: u64,
    /// Seconds until it is tried again with one request; absent once it is: it is on probation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u64>,
    /// Why, as a word.
    pub reason: String,
}

/// Health of an endpoint at a proxy.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// Takes requests.
    Healthy,
    /// Takes none.
    Unhealthy,
}

/// Body of every answer that is not 200.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReport {
    /// What is wrong, as a word.
    pub code: ErrorCode,
    /// What is wrong, and the way out.
    pub message: String,
    /// The proxy's epoch, where the order is what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The proxy's revision, where the order is what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// What is wrong with a push.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum ErrorCode {
    /// 403: the certificate is ours, but not a controller's.
    NotController,
    /// 409: the proxy has a newer (epoch, revision), or the same with another hash.
    Stale,
    /// 412: the base named in If-Match is not what the proxy has, or the result has another hash: send the whole.
    UnknownBase,
    /// 413: larger than [`super::MAX_SNAPSHOT_BYTES`].
    TooLarge,
    /// 422: not the JSON that is expected, or a hash that does not fit its pools.
    Unreadable,
    /// 404, 405, 415, 428: no such path, method or media type, or no If-Match.
    Unsupported,
    /// 403 to a pull: the certificate is ours, but not a proxy's.
    NotProxy,
    /// 503 to a pull: this controller has not seen everything yet.
    NotSynced,
}
