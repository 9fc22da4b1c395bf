//! The algorithms and their parameters. Every default is the one that its source gives, or that our measurements do.

use std::time::Duration;

use crate::hash::HashFunction;

/// How an endpoint of a backend is picked.
#[derive(Clone, Debug, PartialEq)]
pub enum Algorithm {
    /// One after the other, whatever the weights; only slow start thins an endpoint's turns.
    RoundRobin,
    /// One after the other, each as often as its weight says, evenly spread.
    WeightedRoundRobin,
    /// At random, as likely as the weight says.
    Random,
    /// Of `choices` distinct endpoints drawn at random by weight the one with the lowest (in flight + 1) / weight
    /// (Mitzenmacher 2001).
    PowerOfTwoChoices {
        /// How many are drawn, from 2.
        choices: u8,
    },
    /// Of `choices` endpoints in turn, or of all, the one with the lowest (in flight + 1) / weight; of equals the next
    /// in turn.
    LeastRequest {
        /// How many are compared, from 2; all, if there are no more.
        choices: u8,
    },
    /// Of some drawn by weight the one with the lowest latency * (in flight + 1) / weight.
    LeastResponseTime(LeastResponseTime),
    /// Always the same endpoint for the same client network.
    SourceIpHash(SourceIpHash),
    /// Always the same endpoint for the same key.
    ConsistentHash(ConsistentHash),
    /// The fastest of those that are not busier than usual.
    Prequal(Prequal),
    /// Weights from the load that endpoints report.
    WeightedByLoad(WeightedByLoad),
    /// Weights from what is seen of the endpoints, in small bounded steps.
    Adaptive(Adaptive),
    /// One of several, chosen by evidence.
    Auto(Auto),
}

impl Algorithm {
    /// The name in the API.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "RoundRobin",
            Self::WeightedRoundRobin => "WeightedRoundRobin",
            Self::Random => "Random",
            Self::PowerOfTwoChoices { .. } => "PowerOfTwoChoices",
            Self::LeastRequest { .. } => "LeastRequest",
            Self::LeastResponseTime(_) => "LeastResponseTime",
            Self::SourceIpHash(_) => "SourceIPHash",
            Self::ConsistentHash(_) => "ConsistentHash",
            Self::Prequal(_) => "Prequal",
            Self::WeightedByLoad(_) => "WeightedByLoad",
            Self::Adaptive(_) => "Adaptive",
            Self::Auto(_) => "Auto",
        }
    }

    /// Whether a pick compares how many requests are in flight to endpoints, or Auto's model has to know.
    pub(crate) const fn compares_loads(&self) -> bool {
        match self {
            Self::RoundRobin
            | Self::WeightedRoundRobin
            | Self::Random
            | Self::SourceIpHash(_)
            | Self::WeightedByLoad(_)
            | Self::Adaptive(_) => false,
            Self::ConsistentHash(parameters) => parameters.bounded_load.is_some(),
            Self::PowerOfTwoChoices { .. }
            | Self::LeastRequest { .. }
            | Self::LeastResponseTime(_)
            | Self::Prequal(_)
            | Self::Auto(_) => true,
        }
    }

    /// Whether a key decides, and not a draw or a turn.
    #[must_use]
    pub const fn is_by_key(&self) -> bool {
        matches!(self, Self::SourceIpHash(_) | Self::ConsistentHash(_))
    }
}

/// Peak EWMA (Finagle, Linkerd): an average of latencies that rises at once and falls slowly.
#[derive(Clone, Debug, PartialEq)]
pub struct LeastResponseTime {
    /// How many endpoints are drawn, from 2 to 10; of up to three, all are compared in turn.
    pub choices: u8,
    /// Time after which a latency counts 1/e.
    pub decay: Duration,
    /// What an error (429, 5xx, no answer) counts as at least; its Retry-After, capped at 300 s, may say more.
    pub error_penalty: Duration,
}

impl Default for LeastResponseTime {
    fn default() -> Self {
        Self { choices: 2, decay: Duration::from_secs(10), error_penalty: Duration::from_secs(5) }
    }
}

/// Hashing of the client's address, on a ring of 160 points per unit of weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceIpHash {
    /// The hash function of both keys and endpoints.
    pub function: HashFunction,
    /// How many leading bits of an IPv4 address count, at most 32.
    pub ipv4_prefix: u8,
    /// How many leading bits of an IPv6 address count, at most 128.
    pub ipv6_prefix: u8,
}

impl Default for SourceIpHash {
    fn default() -> Self {
        Self { function: HashFunction::XxHash64, ipv4_prefix: 32, ipv6_prefix: 128 }
    }
}

/// Hashing of a key taken from the request.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsistentHash {
    /// How keys are mapped to endpoints.
    pub table: Table,
    /// The hash function of both keys and endpoints.
    pub function: HashFunction,
    /// An endpoint takes at most so many times its fair part of the requests in flight (Mirrokni, Thorup, Zadimoghaddam
    /// 2018), above 1; the request goes on to the next one then. Without it, a key's endpoint takes all of the key's
    /// requests.
    pub bounded_load: Option<f64>,
}

impl Default for ConsistentHash {
    fn default() -> Self {
        Self { table: Table::default(), function: HashFunction::XxHash64, bounded_load: None }
    }
}

/// How keys are mapped to endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Points on a ring (Karger 1997); an endpoint that goes moves only its own keys.
    Ring {
        /// Points per unit of weight; halved while the ring would have more than 2^19 points.
        points_per_weight: u32,
    },
    /// A table filled in turns (Maglev, NSDI 2016): evenest, and one look-up; moves a few keys more than it must.
    Maglev {
        /// A prime; 100 times the number of endpoints for about 1 % of imbalance.
        size: u32,
    },
    /// The highest hash of key and endpoint (Thaler and Ravishankar 1998): moves exactly what it must; O(n) a pick.
    Rendezvous,
}

impl Default for Table {
    fn default() -> Self {
        Self::Ring { points_per_weight: 160 }
    }
}

/// Prequal (NSDI 2024).
#[derive(Clone, Debug, PartialEq)]
pub struct Prequal {
    /// Endpoints asked per request; the fraction by chance. At most 8.
    pub probes: f64,
    /// Answers dropped per request, the oldest and the worst in turn; the fraction by chance.
    pub removals: f64,
    /// Age at which an answer is dropped.
    pub max_age: Duration,
    /// Quantile of requests in flight above which an endpoint is hot, 0 to 1.
    pub hot_quantile: f64,
    /// The paper's m: most answers kept, from 2 to 16. Without it 0.3 of the endpoints, from 2 to 16.
    pub answers: Option<u8>,
    /// The paper's delta, from 0: how much faster answers come in than they are used up and dropped.
    pub surplus: f64,
    /// Most uses of an answer, from 1: the paper's rule grows without bound where the pool is as large as the set.
    pub max_uses: f64,
    /// What an error counts as at least.
    pub error_penalty: Duration,
    /// Where answers come from.
    pub signals: Signals,
}

impl Default for Prequal {
    fn default() -> Self {
        Self {
            probes: 3.0,
            removals: 1.0,
            max_age: Duration::from_secs(1),
            hot_quantile: 0.840_896_415_253_714_6, // 2^-0.25
            answers: None,
            surplus: 1.0,
            max_uses: 4.0,
            error_penalty: Duration::from_secs(5),
            signals: Signals::InBand,
        }
    }
}

/// Where Prequal's answers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signals {
    /// What this proxy itself sees: each probe reads the endpoint's in-flight count and recent latencies. Free.
    InBand,
    /// What the caller brings to [`Balancer::answer`](crate::Balancer::answer): answers of probes, or of response
    /// headers.
    Fed,
}

/// Client-side weighted round robin (gRFC A58): qps / (utilization + eps / qps * penalty).
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedByLoad {
    /// Named metrics whose maximum is the utilization, by `named_metrics.NAME` or `utilization.NAME`; if none is
    /// reported, the application's counts, else the CPU's.
    pub metrics: Vec<String>,
    /// How much the rate of errors counts.
    pub error_penalty: f64,
    /// How long an endpoint must have reported before its weight is used.
    pub blackout: Duration,
    /// How long a report counts.
    pub expiration: Duration,
    /// Time between two computations of the weights, at least 100 ms.
    pub update: Duration,
}

impl Default for WeightedByLoad {
    fn default() -> Self {
        Self {
            metrics: Vec::new(),
            error_penalty: 1.0,
            blackout: Duration::from_secs(10),
            expiration: Duration::from_secs(180),
            update: Duration::from_secs(1),
        }
    }
}

/// Weights that follow what is seen of the endpoints: each step moves an endpoint's factor against its excess over the
/// mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptive {
    /// What is looked at; those without data are left out.
    pub signals: Vec<AdaptiveSignal>,
    /// Lowest factor on the configured weight, above 0: a trickle, so that recovery is noticed.
    pub min: f64,
    /// Highest factor on the configured weight.
    pub max: f64,
    /// How much of a new measurement enters the smoothed one, above 0 to 1.
    pub smoothing: f64,
    /// Excess over the mean that moves nothing, as a part of it.
    pub hysteresis: f64,
    /// Time between two steps.
    pub interval: Duration,
    /// Where CPU and memory come from.
    pub usage: UsageSource,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            signals: vec![
                AdaptiveSignal::Cpu,
                AdaptiveSignal::InFlight,
                AdaptiveSignal::ResponseTime,
                AdaptiveSignal::ErrorRate,
            ],
            min: 0.1,
            max: 10.0,
            smoothing: 0.3,
            hysteresis: 0.1,
            interval: Duration::from_secs(5),
            usage: UsageSource::Reports,
        }
    }
}

/// Where [`Adaptive`] has CPU and memory from. One source for all endpoints: what is compared must be in the same
/// units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageSource {
    /// The load reports of responses: utilizations.
    Reports,
    /// What the caller brings to [`Tuner::set_usage`](crate::Tuner::set_usage); reports count for neither then.
    Fed,
}

/// What [`Adaptive`] may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdaptiveSignal {
    /// CPU in use.
    Cpu,
    /// Memory in use.
    Memory,
    /// Requests in flight from this proxy.
    InFlight,
    /// Mean latency of the answers since the last step.
    ResponseTime,
    /// Part of the requests since the last step that failed.
    ErrorRate,
}

/// A choice among algorithms by evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Auto {
    /// What may be chosen, the first to begin with; Auto itself and algorithms by key are never chosen.
    pub allowed: Vec<Algorithm>,
    /// How long a choice stands at least.
    pub dwell: Duration,
    /// How much better another must score, as a part of the present one's: at most 0.9.
    pub hysteresis: f64,
    /// Time between two looks at the evidence.
    pub interval: Duration,
}

impl Default for Auto {
    fn default() -> Self {
        Self {
            allowed: vec![
                Algorithm::LeastRequest { choices: 16 },
                Algorithm::Prequal(Prequal::default()),
                Algorithm::LeastResponseTime(LeastResponseTime::default()),
                Algorithm::WeightedByLoad(WeightedByLoad::default()),
                Algorithm::RoundRobin,
            ],
            dwell: Duration::from_secs(30),
            hysteresis: 0.1,
            interval: Duration::from_secs(2),
        }
    }
}
