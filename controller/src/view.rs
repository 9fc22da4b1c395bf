//! What people are shown: pools, endpoints and proxies as rows. Served as JSON at `/api/v1/{pools,endpoints,proxies}`;
//! every number in it was computed or reported.

use std::collections::BTreeMap;

use evenkeel_api::{
    channel::{HealthChange, Quantiles, RecentReport},
    object::{BalancerPoolStatus, ServiceType},
};
use serde::{Deserialize, Serialize};

/// Everything that is shown.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The pools, by namespace and name.
    pub pools: Vec<PoolRow>,
    /// The endpoints, by pool, backend and identity.
    pub endpoints: Vec<EndpointRow>,
    /// The proxies, by class and name.
    pub proxies: Vec<ProxyRow>,
    /// What is wrong with files, where files are the source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// A pool.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PoolRow {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Class.
    pub class: Option<String>,
    /// Algorithm that the pool asks for; `status.algorithm` is the one in use.
    pub algorithm: Option<String>,
    /// Type of the pool's Service.
    pub service_type: Option<ServiceType>,
    /// Listeners, as `name:port`.
    pub listeners: Vec<String>,
    /// The status as people see it on the object.
    pub status: BalancerPoolStatus,
    /// Responses sent to clients, over all proxies that report.
    pub requests: u64,
    /// Requests sent again, over all proxies that report.
    pub retries: u64,
}

/// An endpoint.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EndpointRow {
    /// Namespace of the pool.
    pub namespace: String,
    /// Name of the pool.
    pub pool: String,
    /// Key of the backend.
    pub backend: String,
    /// Identity.
    pub id: String,
    /// Address and port.
    pub address: String,
    /// Name of the pod, if it is one.
    pub pod: Option<String>,
    /// Weight.
    pub weight: u32,
    /// Weight with all that adapts it, as the mean over the proxies that report; 0 if it takes no new requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_weight: Option<f64>,
    /// Terminating, or of weight 0.
    pub draining: bool,
    /// Proxies that hold it for healthy.
    pub healthy_on: u32,
    /// Live proxies of the class.
    pub proxies: u32,
    /// Why proxies hold it for unhealthy, by proxy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unhealthy_reasons: BTreeMap<String, String>,
    /// Requests in flight, over all proxies that report.
    pub in_flight: u64,
    /// Requests sent, over all proxies that report.
    pub requests: u64,
    /// Requests failed, over all proxies that report.
    pub failures: u64,
    /// What it did in about the last minute, over all proxies that report; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent: Option<RecentRow>,
    /// How its health changed lately, by proxy, the latest first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub history: BTreeMap<String, Vec<HealthChange>>,
}

/// What an endpoint did in about the last minute.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecentRow {
    /// Requests that were answered, or failed.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Part of the requests that did not fail, from 0 to 1.
    pub success_rate: f64,
    /// Quantiles of the response time, each the highest of any proxy's; absent without a response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_time: Option<Quantiles>,
}

impl RecentRow {
    /// Takes in what another proxy reports.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 requests")]
    pub fn add(&mut self, report: &RecentReport) {
        self.requests += report.requests;
        self.failures += report.failures;
        self.success_rate = 1.0 - self.failures as f64 / self.requests.max(1) as f64;
        let highest = |one: Quantiles, other: Quantiles| Quantiles {
            p50_ms: one.p50_ms.max(other.p50_ms),
            p95_ms: one.p95_ms.max(other.p95_ms),
            p99_ms: one.p99_ms.max(other.p99_ms),
        };
        let both = self.response_time.zip(report.response_time).map(|(one, other)| highest(one, other));
        self.response_time = both.or(self.response_time).or(report.response_time);
    }
}

/// A proxy.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProxyRow {
    /// Name of the pod.
    pub name: String,
    /// Class.
    pub class: String,
    /// Address of the config channel.
    pub address: String,
    /// Node.
    pub node: Option<String>,
    /// Serving and not terminating.
    pub live: bool,
    /// `epoch.revision` that its request path uses.
    pub revision: Option<String>,
    /// That is the newest of its class.
    pub in_sync: bool,
    /// Seconds since it last answered; `None` if it has not yet.
    pub heard_seconds_ago: Option<u64>,
    /// Pools that it rejects.
    pub rejected: u32,
    /// Why the last attempt to reach it failed.
    pub failure: Option<String>,
}
