//! How long a proxy waits.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::Duration;

/// How long a proxy waits, and for what.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
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

    /// For the next bytes of a body, in either direction. Until the endpoint begins to answer, a client has 60s at
    /// most.
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
