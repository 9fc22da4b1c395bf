//! How a proxy learns that an endpoint is broken: by checks of its own, and by how requests are answered.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// How a proxy learns that an endpoint is broken.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Checks that every proxy makes by itself, apart from requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveHealthCheck>,

    /// Judges endpoints by how they answer requests, and takes out those that fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self.interval) >= duration('100ms') && duration(self.interval) <= duration('1h')")
        .message("interval must be from 100ms to 1h").field_path(".interval"))]
    #[x_kube(validation = Rule::new("duration(self.baseEjectionTime) >= duration('100ms') && duration(self.baseEjectionTime) <= duration('1h')")
        .message("baseEjectionTime must be from 100ms to 1h").field_path(".baseEjectionTime"))]
    #[x_kube(validation = Rule::new("duration(self.maxEjectionTime) >= duration('100ms') && duration(self.maxEjectionTime) <= duration('24h')")
        .message("maxEjectionTime must be from 100ms to 24h").field_path(".maxEjectionTime"))]
    #[x_kube(validation = Rule::new("duration(self.baseEjectionTime) <= duration(self.maxEjectionTime)")
        .message("baseEjectionTime must not be longer than maxEjectionTime").field_path(".baseEjectionTime"))]
    pub passive: Option<PassiveHealthCheck>,

    /// If less than this part of a backend's endpoints is healthy, in per cent, requests go to all of them, healthy or
    /// not: so many at once are rather checked wrongly than broken. 0: never.
    #[serde(default = "default_panic_threshold")]
    #[schemars(range(min = 0, max = 100))]
    pub panic_threshold: u8,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self { active: None, passive: None, panic_threshold: default_panic_threshold() }
    }
}

const fn default_panic_threshold() -> u8 {
    50
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
#[x_kube(validation = Rule::new("self.expectedStatuses.all(range, range.size() == 3 || range.substring(0, 3) <= range.substring(4))")
    .message("a range of expectedStatuses must not end below its start").field_path(".expectedStatuses"))]
pub struct HttpHealthCheck {
    /// Path, and query if any.
    #[serde(default = "default_path")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*$"))]
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

/// Takes an endpoint out for a while because of how it answers requests, as Envoy's outlier detection does and with its
/// defaults. The last endpoint of a backend is never taken out.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PassiveHealthCheck {
    /// Server errors in a row (500 to 599, no connection, no answer) that take an endpoint out. 0: never by this.
    #[schemars(range(min = 0, max = 1000))]
    pub consecutive_5xx: u32,

    /// Gateway errors in a row (502, 503, 504, no connection, no answer) that take an endpoint out. 0: never by this.
    #[schemars(range(min = 0, max = 1000))]
    pub consecutive_gateway_errors: u32,

    /// By success rate: an endpoint far below the others.
    pub success_rate: SuccessRate,

    /// By the part of its requests that fail.
    pub failure_percentage: FailurePercentage,

    /// Time between two looks at rates.
    pub interval: Duration,

    /// Time of the first ejection; each further one takes that much longer. It begins anew with single requests on
    /// probation. With `active`, a check that passes ends an ejection at once.
    pub base_ejection_time: Duration,

    /// Longest time of an ejection, but for up to a tenth that is added at random lest many come back at once.
    pub max_ejection_time: Duration,

    /// Most endpoints of a backend that are out at a time, in per cent of them; one always may be, if another is
    /// healthy.
    #[schemars(range(min = 0, max = 100))]
    pub max_ejection_percent: u8,
}

impl Default for PassiveHealthCheck {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_errors: 5,
            success_rate: SuccessRate::default(),
            failure_percentage: FailurePercentage::default(),
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 10,
        }
    }
}

/// An endpoint goes whose success rate is below the mean by so many standard deviations.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct SuccessRate {
    /// Endpoints with enough requests below which nothing is judged.
    #[schemars(range(min = 2, max = 1000))]
    pub minimum_endpoints: u16,

    /// Requests of an endpoint in an interval below which it is not judged.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub minimum_requests: u32,

    /// Standard deviations, in hundredths. 0: no endpoint goes by this.
    #[schemars(range(min = 0, max = 1000))]
    pub deviations_percent: u16,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { minimum_endpoints: 5, minimum_requests: 100, deviations_percent: 190 }
    }
}

/// An endpoint goes of whose requests this part or more failed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct FailurePercentage {
    /// Per cent of its requests. 0: no endpoint goes by this.
    #[schemars(range(min = 0, max = 100))]
    pub percent: u8,

    /// Endpoints with enough requests below which nothing is judged.
    #[schemars(range(min = 1, max = 1000))]
    pub minimum_endpoints: u16,

    /// Requests of an endpoint in an interval below which it is not judged.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub minimum_requests: u32,
}

impl Default for FailurePercentage {
    fn default() -> Self {
        Self { percent: 85, minimum_endpoints: 5, minimum_requests: 50 }
    }
}
