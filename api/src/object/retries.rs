//! When a request is sent again.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// When a request is sent again, to an endpoint that it has not been to. What may have been acted on is sent again only
/// if its method is idempotent (GET, HEAD, OPTIONS, TRACE, PUT, DELETE) and it has no body. Budget and rate are each
/// proxy's own.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// How many times a request is sent again at most. 0: never, not even one that was never sent.
    #[serde(default = "default_attempts")]
    #[schemars(range(min = 0, max = 10))]
    pub attempts: u8,

    /// What a request is sent again after.
    #[serde(default = "default_on")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub on: Vec<RetryOn>,

    /// Statuses of a response after which a request is sent again. The last response is the client's, whatever its
    /// status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"), inner(range(min = 400, max = 599)))]
    pub codes: Vec<u16>,

    /// Which part of the requests may be retries, so that they do not bury endpoints that are in trouble.
    #[serde(default)]
    pub budget: RetryBudget,

    /// Retries that are allowed whatever the budget says, so that a pool with few requests has some.
    #[serde(default)]
    pub min_retry_rate: RequestRate,
}

const fn default_attempts() -> u8 {
    1
}

fn default_on() -> Vec<RetryOn> {
    vec![RetryOn::NotSent, RetryOn::Closed]
}

/// What went wrong with a request that is sent again.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// No connection, or one that closed before anything of the request was sent: whatever its method and body.
    NotSent,
    /// The endpoint closed the connection before its response.
    Closed,
    /// No response within `timeouts.request`.
    Timeout,
}

/// A part of the requests, as in Gateway API's XBackendTrafficPolicy.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RetryBudget {
    /// Retries in per cent of the requests of the interval.
    #[serde(default = "default_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: u8,

    /// Time over which requests and retries are counted.
    #[serde(default = "default_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')")
        .message("interval must be from 1s to 1h"))]
    pub interval: Duration,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: default_percent(), interval: default_interval() }
    }
}

const fn default_percent() -> u8 {
    20
}

const fn default_interval() -> Duration {
    Duration::from_secs(10)
}

/// A number of requests in a time, as in Gateway API's XBackendTrafficPolicy.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RequestRate {
    /// Requests in the interval.
    #[serde(default = "default_count")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub count: u32,

    /// Time over which they are counted.
    #[serde(default = "default_rate_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('1h')")
        .message("interval must be from 100ms to 1h"))]
    pub interval: Duration,
}

impl Default for RequestRate {
    fn default() -> Self {
        Self { count: default_count(), interval: default_rate_interval() }
    }
}

const fn default_count() -> u32 {
    10
}

const fn default_rate_interval() -> Duration {
    Duration::from_secs(1)
}
