//! How an endpoint is picked: the algorithms and their parameters, a union as Gateway API has them.

mod adaptive;
mod hash;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use adaptive::{Adaptive, AdaptiveSignal, PrometheusPage};
pub use hash::{
    ConsistentHash, HashFunction, HashKey, HashKeyType, HashTable, HashTableType, Maglev, Ring, SourceIpHash,
};

use crate::Duration;

/// How an endpoint is picked. The field named as the type holds its parameters; with type Auto, those of the algorithms
/// that it may choose count too.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.powerOfTwoChoices) || self.type == 'PowerOfTwoChoices' || (self.type == 'Auto' && has(self.auto) && has(self.auto.allowed) && 'PowerOfTwoChoices' in self.auto.allowed)")
    .message("powerOfTwoChoices needs type PowerOfTwoChoices, or Auto that may choose it").field_path(".powerOfTwoChoices"))]
#[x_kube(validation = Rule::new("!has(self.leastRequest) || self.type == 'LeastRequest' || (self.type == 'Auto' && (!has(self.auto) || !has(self.auto.allowed) || 'LeastRequest' in self.auto.allowed))")
    .message("leastRequest needs type LeastRequest, or Auto that may choose it").field_path(".leastRequest"))]
#[x_kube(validation = Rule::new("!has(self.leastResponseTime) || self.type == 'LeastResponseTime' || (self.type == 'Auto' && (!has(self.auto) || !has(self.auto.allowed) || 'LeastResponseTime' in self.auto.allowed))")
    .message("leastResponseTime needs type LeastResponseTime, or Auto that may choose it").field_path(".leastResponseTime"))]
#[x_kube(validation = Rule::new("!has(self.sourceIPHash) || self.type == 'SourceIPHash'")
    .message("sourceIPHash needs type SourceIPHash").field_path(".sourceIPHash"))]
#[x_kube(validation = Rule::new("!has(self.consistentHash) || self.type == 'ConsistentHash'")
    .message("consistentHash needs type ConsistentHash").field_path(".consistentHash"))]
#[x_kube(validation = Rule::new("!has(self.prequal) || self.type == 'Prequal' || (self.type == 'Auto' && (!has(self.auto) || !has(self.auto.allowed) || 'Prequal' in self.auto.allowed))")
    .message("prequal needs type Prequal, or Auto that may choose it").field_path(".prequal"))]
#[x_kube(validation = Rule::new("!has(self.weightedByLoad) || self.type == 'WeightedByLoad' || (self.type == 'Auto' && (!has(self.auto) || !has(self.auto.allowed) || 'WeightedByLoad' in self.auto.allowed))")
    .message("weightedByLoad needs type WeightedByLoad, or Auto that may choose it").field_path(".weightedByLoad"))]
#[x_kube(validation = Rule::new("!has(self.adaptive) || self.type == 'Adaptive' || (self.type == 'Auto' && has(self.auto) && has(self.auto.allowed) && 'Adaptive' in self.auto.allowed)")
    .message("adaptive needs type Adaptive, or Auto that may choose it").field_path(".adaptive"))]
#[x_kube(validation = Rule::new("!has(self.auto) || self.type == 'Auto'")
    .message("auto needs type Auto").field_path(".auto"))]
#[x_kube(validation = Rule::new("self.type != 'ConsistentHash' || has(self.consistentHash)")
    .message("type ConsistentHash needs consistentHash with its keys").field_path(".consistentHash"))]
pub struct Algorithm {
    /// The algorithm. Every one but RoundRobin honours the weights of endpoints.
    #[serde(default, rename = "type")]
    pub type_: AlgorithmType,

    /// Parameters of PowerOfTwoChoices. Endpoints are drawn by weight, and compared by (requests in flight + 1) /
    /// weight: at light load the heaviest idle one of those drawn takes the request. Take WeightedRoundRobin for shares
    /// by weight at light load too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_of_two_choices: Option<PowerOfTwoChoices>,

    /// Parameters of LeastRequest. It compares (requests in flight + 1) / weight, of equals in turn: at light load the
    /// heaviest idle endpoint of those compared takes the request, and a lighter one only while the heavier ones are
    /// busy. Take WeightedRoundRobin for shares by weight at light load too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_request: Option<LeastRequest>,

    /// Parameters of LeastResponseTime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self.decay) >= duration('100ms') && duration(self.decay) <= duration('10m')")
        .message("decay must be from 100ms to 10m").field_path(".decay"))]
    #[x_kube(validation = Rule::new("duration(self.errorPenalty) <= duration('5m')")
        .message("errorPenalty must be at most 5m").field_path(".errorPenalty"))]
    pub least_response_time: Option<LeastResponseTime>,

    /// Parameters of SourceIPHash.
    #[serde(default, rename = "sourceIPHash", skip_serializing_if = "Option::is_none")]
    pub source_ip_hash: Option<SourceIpHash>,

    /// Parameters of ConsistentHash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHash>,

    /// Parameters of Prequal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self.maxAge) >= duration('10ms') && duration(self.maxAge) <= duration('1m')")
        .message("maxAge must be from 10ms to 1m").field_path(".maxAge"))]
    #[x_kube(validation = Rule::new("duration(self.errorPenalty) <= duration('5m')")
        .message("errorPenalty must be at most 5m").field_path(".errorPenalty"))]
    #[x_kube(validation = Rule::new("self.probesPerRequest + self.extraProbesPercent >= 1 && (self.probesPerRequest < 8 || self.extraProbesPercent == 0)")
        .message("probesPerRequest and extraProbesPercent must make more than 0 and at most 8").field_path(".probesPerRequest"))]
    #[x_kube(validation = Rule::new("!has(self.probe) || self.signals == 'Probes'")
        .message("probe needs signals Probes").field_path(".probe"))]
    #[x_kube(validation = Rule::new("self.signals != 'Probes' || has(self.probe)")
        .message("signals Probes needs probe, with its path").field_path(".probe"))]
    #[x_kube(validation = Rule::new("!has(self.probe) || (duration(self.probe.timeout) >= duration('1ms') && duration(self.probe.timeout) <= duration('1s'))")
        .message("timeout must be from 1ms to 1s").field_path(".probe.timeout"))]
    pub prequal: Option<Prequal>,

    /// Parameters of WeightedByLoad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self.blackout) <= duration('1h')")
        .message("blackout must be at most 1h").field_path(".blackout"))]
    #[x_kube(validation = Rule::new("duration(self.expiration) >= duration('1s') && duration(self.expiration) <= duration('24h')")
        .message("expiration must be from 1s to 24h").field_path(".expiration"))]
    #[x_kube(validation = Rule::new("duration(self.update) >= duration('100ms') && duration(self.update) <= duration('10m')")
        .message("update must be from 100ms to 10m").field_path(".update"))]
    pub weighted_by_load: Option<WeightedByLoad>,

    /// Parameters of Adaptive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self.interval) >= duration('100ms') && duration(self.interval) <= duration('10m')")
        .message("interval must be from 100ms to 10m").field_path(".interval"))]
    #[x_kube(validation = Rule::new("!has(self.prometheus) || self.signals.exists(s, s in ['CPU', 'Memory'])")
        .message("prometheus needs the signal CPU or Memory, or nobody goes by it").field_path(".prometheus"))]
    #[x_kube(validation = Rule::new("!has(self.prometheus) || (duration(self.prometheus.timeout) >= duration('10ms') && duration(self.prometheus.timeout) <= duration('1m'))")
        .message("timeout must be from 10ms to 1m").field_path(".prometheus.timeout"))]
    pub adaptive: Option<Adaptive>,

    /// Parameters of Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self.dwell) >= duration('1s') && duration(self.dwell) <= duration('24h')")
        .message("dwell must be from 1s to 24h").field_path(".dwell"))]
    #[x_kube(validation = Rule::new("self.allowed.all(t, !(t in ['Auto', 'SourceIPHash', 'ConsistentHash']))")
        .message("Auto chooses among algorithms that need no key").field_path(".allowed"))]
    pub auto: Option<Auto>,
}

/// The algorithms.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlgorithmType {
    /// One endpoint after the other.
    RoundRobin,
    /// One endpoint after the other, each as often as its weight says, evenly spread.
    WeightedRoundRobin,
    /// An endpoint at random, as likely as its weight says.
    Random,
    /// The endpoint with the fewest requests in flight for its weight, of a few drawn at random.
    PowerOfTwoChoices,
    /// The endpoint with the fewest requests in flight for its weight, of all, or of many in a large pool.
    #[default]
    LeastRequest,
    /// The endpoint with the lowest product of response time and requests in flight, of a few drawn at random (Peak
    /// EWMA).
    LeastResponseTime,
    /// Always the same endpoint for the same client, by the address that connects to the proxy, or for which a peer
    /// within the class's `trustedCIDRs` asks in X-Forwarded-For.
    SourceIPHash,
    /// Always the same endpoint for the same key of the request.
    ConsistentHash,
    /// The fastest endpoint of those that are not busier than usual, by samples taken ahead of the request (Prequal,
    /// NSDI 2024).
    Prequal,
    /// One endpoint after the other, weighted by the load that endpoints report in their responses (gRFC A58).
    WeightedByLoad,
    /// One endpoint after the other, with weights that follow what is seen of the endpoints in small steps.
    Adaptive,
    /// One of several algorithms, chosen by what each proxy sees of the endpoints; `status.algorithm` says which, and
    /// why.
    Auto,
}

impl AlgorithmType {
    /// The word that a manifest uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "RoundRobin",
            Self::WeightedRoundRobin => "WeightedRoundRobin",
            Self::Random => "Random",
            Self::PowerOfTwoChoices => "PowerOfTwoChoices",
            Self::LeastRequest => "LeastRequest",
            Self::LeastResponseTime => "LeastResponseTime",
            Self::SourceIPHash => "SourceIPHash",
            Self::ConsistentHash => "ConsistentHash",
            Self::Prequal => "Prequal",
            Self::WeightedByLoad => "WeightedByLoad",
            Self::Adaptive => "Adaptive",
            Self::Auto => "Auto",
        }
    }
}

/// Parameters of PowerOfTwoChoices.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct PowerOfTwoChoices {
    /// How many distinct endpoints are drawn for each request.
    #[schemars(range(min = 2, max = 10))]
    pub choices: u8,
}

impl Default for PowerOfTwoChoices {
    fn default() -> Self {
        Self { choices: 2 }
    }
}

/// Parameters of LeastRequest.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct LeastRequest {
    /// How many endpoints are compared for each request: all of a backend that has no more, else as many in turn.
    #[schemars(range(min = 2, max = 64))]
    pub choices: u8,
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self { choices: 16 }
    }
}

/// Parameters of LeastResponseTime.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct LeastResponseTime {
    /// How many distinct endpoints are drawn for each request.
    #[schemars(range(min = 2, max = 10))]
    pub choices: u8,

    /// Time after which a response time counts for about a third. A slower one counts at once.
    pub decay: Duration,

    /// What an error (429, 5xx, no answer) counts as, at least, so that fast failures attract nobody.
    pub error_penalty: Duration,
}

impl Default for LeastResponseTime {
    fn default() -> Self {
        Self { choices: 2, decay: Duration::from_secs(10), error_penalty: Duration::from_secs(5) }
    }
}

/// Parameters of Prequal.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Prequal {
    /// Endpoints sampled for each request (the paper's r_probe, with `extraProbesPercent`).
    #[schemars(range(min = 0, max = 8))]
    pub probes_per_request: u8,

    /// Chance that one endpoint more is sampled for a request, in per cent: 2 `probesPerRequest` and 50 here make 2.5
    /// on average.
    #[schemars(range(min = 0, max = 99))]
    pub extra_probes_percent: u8,

    /// Samples dropped for each request, the oldest and the worst in turn (the paper's r_remove, with
    /// `extraRemovalsPercent`).
    #[schemars(range(min = 0, max = 4))]
    pub removals_per_request: u8,

    /// Chance that one sample more is dropped for a request, in per cent.
    #[schemars(range(min = 0, max = 99))]
    pub extra_removals_percent: u8,

    /// Most samples kept of a backend by each thread of a proxy (the paper's m). Without it 16, or for fewer than 54
    /// endpoints three for every ten of them, at least 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 16))]
    pub max_samples: Option<u8>,

    /// Age at which a sample is dropped.
    pub max_age: Duration,

    /// How much faster samples come in than they are used up and dropped, in per cent (the paper's delta): a sample is
    /// used about (100 + this) / 100 / ((1 - samples kept / endpoints) x probes - removals) times, both by request.
    /// More of it uses each sample more often, so that the pool runs dry less, and goes by older news.
    #[schemars(range(min = 0, max = 1000))]
    pub reuse_surplus_percent: u16,

    /// Most requests that go by the same sample, whatever `reuseSurplusPercent` makes of it: in small backends that has
    /// no bound.
    #[schemars(range(min = 1, max = 100))]
    pub max_uses: u8,

    /// An endpoint is busy if more than this part of the samples, in per cent, has fewer requests in flight.
    #[schemars(range(min = 0, max = 100))]
    pub busy_quantile_percent: u8,

    /// What an error (429, 5xx, no answer) counts as, at least, so that fast failures attract nobody.
    pub error_penalty: Duration,

    /// Where samples come from.
    pub signals: PrequalSignals,

    /// What endpoints are asked, with signals Probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<PrequalProbe>,
}

/// Where Prequal's samples come from. What endpoints tell themselves counts the requests of all proxies. It is a load
/// report (ORCA, header `endpoint-load-metrics`) with the named metrics `requests_in_flight` and `latency_ms`; one
/// without them is no sample.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrequalSignals {
    /// What the proxy itself sees of the endpoint: its own requests.
    #[default]
    InBand,
    /// The load reports of responses.
    LoadReports,
    /// Probes: for each request so many endpoints are asked, apart from it, and answer 200 with a load report.
    Probes,
}

/// What endpoints are asked for their load.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PrequalProbe {
    /// Path, and query if any.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*$"))]
    pub path: String,

    /// Port to ask, if it is not the endpoint's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,

    /// Time after which an answer is no sample any more.
    #[serde(default = "default_probe_timeout")]
    pub timeout: Duration,
}

const fn default_probe_timeout() -> Duration {
    Duration::from_millis(3)
}

impl Default for Prequal {
    fn default() -> Self {
        Self {
            probes_per_request: 3,
            extra_probes_percent: 0,
            removals_per_request: 1,
            extra_removals_percent: 0,
            max_samples: None,
            max_age: Duration::from_secs(1),
            reuse_surplus_percent: 100,
            max_uses: 4,
            busy_quantile_percent: 84,
            error_penalty: Duration::from_secs(5),
            signals: PrequalSignals::InBand,
            probe: None,
        }
    }
}

/// Parameters of WeightedByLoad. Endpoints report in the header `endpoint-load-metrics` of their responses (ORCA).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightedByLoad {
    /// Named metrics whose highest value is the utilization. Without them the application's utilization counts, else
    /// the CPU's.
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 128)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,

    /// How much errors count against an endpoint, in per cent.
    #[schemars(range(min = 0, max = 10_000))]
    pub error_penalty_percent: u16,

    /// How long an endpoint must have reported before its reports count.
    pub blackout: Duration,

    /// How long a report counts.
    pub expiration: Duration,

    /// Time between two computations of the weights.
    pub update: Duration,
}

impl Default for WeightedByLoad {
    fn default() -> Self {
        Self {
            metrics: Vec::new(),
            error_penalty_percent: 100,
            blackout: Duration::from_secs(10),
            expiration: Duration::from_secs(180),
            update: Duration::from_secs(1),
        }
    }
}

/// Parameters of Auto.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct Auto {
    /// What may be chosen, the first to begin with: each with the parameters that the field beside `auto` gives it, or
    /// with its defaults. Prequal is better with probes (`prequal.signals`), which are sent only while it is chosen.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub allowed: Vec<AlgorithmType>,

    /// How long a choice stands at least.
    pub dwell: Duration,

    /// How much better than the present one another must be, in per cent.
    #[schemars(range(min = 0, max = 90))]
    pub hysteresis_percent: u8,
}

impl Default for Auto {
    fn default() -> Self {
        use AlgorithmType::{LeastRequest, LeastResponseTime, Prequal, RoundRobin, WeightedByLoad};
        Self {
            allowed: vec![LeastRequest, Prequal, LeastResponseTime, WeightedByLoad, RoundRobin],
            dwell: Duration::from_secs(30),
            hysteresis_percent: 10,
        }
    }
}
