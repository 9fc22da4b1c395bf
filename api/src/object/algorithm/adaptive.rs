//! Weights that follow what is seen of the endpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// Parameters of Adaptive.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Adaptive {
    /// What is looked at. CPU and Memory are what endpoints report in the header `endpoint-load-metrics` (ORCA), or
    /// what their Prometheus pages show where `prometheus` says so; a signal that nobody gives is left out.
    #[schemars(length(min = 1, max = 5), extend("x-kubernetes-list-type" = "set"))]
    pub signals: Vec<AdaptiveSignal>,

    /// Lowest weight, in per cent of the configured one.
    #[schemars(range(min = 1, max = 100))]
    pub minimum_percent: u16,

    /// Highest weight, in per cent of the configured one.
    #[schemars(range(min = 100, max = 10_000))]
    pub maximum_percent: u16,

    /// How much a new measurement counts against those before it, in per cent.
    #[schemars(range(min = 1, max = 100))]
    pub smoothing_percent: u8,

    /// How far from the mean an endpoint may be before its weight moves away from the configured one, in per cent of
    /// the mean. Within that, what its weight has moved goes back bit by bit.
    #[schemars(range(min = 0, max = 100))]
    pub hysteresis_percent: u8,

    /// Time between two steps.
    pub interval: Duration,

    /// CPU and Memory are read from the Prometheus page of each endpoint, over HTTP: by each proxy once in each
    /// `interval`, apart from requests, up to 1 MiB. A page that is larger, late or not in order counts as none; what
    /// no page has shown for three intervals is forgotten. Reports count for neither signal then, for a utilization
    /// does not compare with cores or bytes. CPU counts beside the weight, as requests in flight do; memory as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusPage>,
}

impl Default for Adaptive {
    fn default() -> Self {
        use AdaptiveSignal::{CPU, ErrorRate, InFlight, ResponseTime};
        Self {
            signals: vec![CPU, InFlight, ResponseTime, ErrorRate],
            minimum_percent: 10,
            maximum_percent: 1000,
            smoothing_percent: 30,
            hysteresis_percent: 10,
            interval: Duration::from_secs(5),
            prometheus: None,
        }
    }
}

/// Where an endpoint shows its metrics, in the text format of Prometheus, and which of them count.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusPage {
    /// Path, and query if any.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*$"))]
    pub path: String,

    /// Port to ask, if it is not the endpoint's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,

    /// Time in which the whole page must have come.
    pub timeout: Duration,

    /// The counter of CPU time in seconds: what it grows by in a second is the signal CPU, in cores. Of several series
    /// with this name, the sum.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub cpu_seconds: String,

    /// The gauge that is the signal Memory, in bytes. Of several series with this name, the sum.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub memory_bytes: String,
}

impl Default for PrometheusPage {
    fn default() -> Self {
        Self {
            path: "/metrics".to_owned(),
            port: None,
            timeout: Duration::from_secs(1),
            cpu_seconds: "process_cpu_seconds_total".to_owned(),
            memory_bytes: "process_resident_memory_bytes".to_owned(),
        }
    }
}

/// What Adaptive may look at.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdaptiveSignal {
    /// CPU in use: the reported utilization, or the cores that the Prometheus page shows.
    CPU,
    /// Memory in use: the reported utilization, or the bytes that the Prometheus page shows.
    Memory,
    /// Requests in flight from the proxy.
    InFlight,
    /// Response time.
    ResponseTime,
    /// Part of the requests that fail.
    ErrorRate,
}
