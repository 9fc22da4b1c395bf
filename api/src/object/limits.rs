//! How much a pool's endpoints are given at a time.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// How much the endpoints are given at a time. The figures are for all proxies of the class together: each of them
/// keeps to its part, which is the figure divided by the number of live proxies, rounded up.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// What one endpoint is given.
    pub per_endpoint: EndpointLimits,

    /// Where requests wait while every endpoint has all that it may, the first that came first served. Without it they
    /// are answered 503 at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
}

/// What one endpoint is given.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EndpointLimits {
    /// Requests at a time. An endpoint that has so many is passed over for the others, those of other backends
    /// included, even by the sessions that it has.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub concurrent_requests: u32,
}

/// Where requests wait.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Requests that wait at a time; one more is answered 503.
    #[serde(default = "default_size")]
    #[schemars(range(min = 1, max = 100_000))]
    pub size: u32,

    /// Time after which a request that waits is answered 503.
    #[serde(default = "default_timeout")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('1m')")
        .message("timeout must be from 1ms to 1m"))]
    pub timeout: Duration,
}

const fn default_size() -> u32 {
    1000
}

const fn default_timeout() -> Duration {
    Duration::from_secs(1)
}
