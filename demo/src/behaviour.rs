//! What the endpoint is told to do: how slow, how broken, how dead it is.
//!
//! The types here cannot hold nonsense; [`document`] is the JSON form, and the one parser of it and of
//! the flags.

pub mod document;

use std::num::NonZeroU32;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};

/// Longest latency: means above it are rejected, and samples above it are cut to it.
pub const MAX_LATENCY: Duration = Duration::from_secs(60);
/// Most CPU time that one request may burn.
pub const MAX_CPU_BURN: Duration = Duration::from_secs(10);
/// Longest queue in front of the concurrency limit.
pub const MAX_QUEUE: u32 = 65_536;

/// How the endpoint answers. The default is at once, always well, and without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Behaviour {
    /// How long a request takes, beside the CPU it burns.
    pub latency: Latency,
    /// How many requests fail, and how.
    pub errors: Errors,
    /// How many requests are worked on at once; `None` is all of them.
    pub concurrency: Option<Concurrency>,
    /// CPU time that each request burns, at most [`MAX_CPU_BURN`].
    pub cpu_burn: Duration,
    /// The utilization that responses report, as Open Request Cost Aggregation has it; `None` for no report.
    pub utilization: Option<Share>,
    /// What `/health` says.
    pub health: Health,
    /// What becomes of connections.
    pub connections: Connections,
}

/// The distribution of latencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// The same for every request.
    Constant {
        /// That latency.
        mean: Duration,
    },
    /// Memoryless, as of a queue with one worker.
    Exponential {
        /// The mean.
        mean: Duration,
    },
    /// Long-tailed, as most real services.
    LogNormal {
        /// The mean of the latency itself, not of its logarithm.
        mean: Duration,
        /// Standard deviation of the latency's natural logarithm.
        sigma: f64,
    },
}

impl Default for Latency {
    fn default() -> Self {
        Self::Constant { mean: Duration::ZERO }
    }
}

/// Which requests fail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// The chance that a request fails.
    pub rate: Share,
    /// The status of a failed request.
    pub status: StatusCode,
    /// Whether failures come at once, ahead of queue, burn and latency, as of a process whose own
    /// dependency is down. Such an endpoint looks idle, and attracts traffic that is sent by load.
    pub fast: bool,
}

impl Default for Errors {
    fn default() -> Self {
        Self { rate: Share::NONE, status: StatusCode::INTERNAL_SERVER_ERROR, fast: false }
    }
}

/// A share of a whole, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(f64);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0.0);
    /// All of it.
    pub const ALL: Self = Self(1.0);

    /// `None` unless `share` lies between 0 and 1.
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// The share as a number between 0 and 1.
    pub fn as_f64(self) -> f64 {
        self.0
    }
}

/// How many requests are worked on at once, and how many wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Requests worked on at once.
    pub limit: NonZeroU32,
    /// Requests that wait beyond those; further ones are answered 503.
    pub queue: u32,
}

/// What `/health` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// 200.
    #[default]
    Ok,
    /// 503.
    Failing,
    /// Nothing, until this changes or the endpoint shuts down; then as it says by then.
    Hanging,
}

/// What becomes of connections. All but `Accept` also reset those that are open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connections {
    /// They are served.
    #[default]
    Accept,
    /// They are refused by the kernel, as where no process listens. The port is kept meanwhile.
    Refuse,
    /// They are accepted and reset.
    Reset,
}
