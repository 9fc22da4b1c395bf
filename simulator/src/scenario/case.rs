//! One case of a scenario: endpoints, requests, and what happens to them.

use serde::Deserialize;

use crate::{arrivals::Arrivals, service::Service, span::Span};

/// A case.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// Time before anything is measured.
    #[serde(default)]
    pub warmup: Span,
    /// Time whose requests are measured.
    pub measure: Span,
    /// No more than so many requests.
    #[serde(default)]
    pub requests: Option<u64>,
    /// Requests a second at load 1.
    pub rate: f64,
    /// What the rate is multiplied with.
    #[serde(default = "one")]
    pub load: f64,
    /// How they are spread over time.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// How much work each of them is.
    pub service: Service,
    /// The endpoints.
    pub endpoints: Vec<Group>,
    /// Proxies, each with its own view; a request comes to any of them.
    #[serde(default = "one_proxy")]
    pub proxies: usize,
    /// Time between two ticks of a proxy's tuner.
    #[serde(default = "tick")]
    pub tick: Span,
    /// Delay of the network, one way.
    #[serde(default = "network")]
    pub network: Span,
    /// Time after which a request fails, and its server is told.
    #[serde(default)]
    pub deadline: Option<Span>,
    /// What is left of the cores of a server that shares them, while it has no spare ones and more requests than cores.
    #[serde(default = "one")]
    pub contended: f64,
    /// Every so often, two endpoints at random swap their spare capacity.
    #[serde(default)]
    pub swap_spare: Option<Span>,
    /// What happens.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Passive ejection, by its defaults.
    #[serde(default)]
    pub ejection: bool,
    /// Slow start, by its defaults.
    #[serde(default)]
    pub slow_start: bool,
    /// Someone sets the weights for WeightedRoundRobin.
    #[serde(default)]
    pub weights: Option<Weights>,
    /// Endpoints report their load with every answer.
    #[serde(default)]
    pub reports: bool,
    /// What a probe costs the endpoint, as a part of a mean request.
    #[serde(default)]
    pub probe_cost: f64,
    /// Requests have keys.
    #[serde(default)]
    pub keys: Option<Keys>,
    /// Length of the windows of what is shown over time.
    #[serde(default = "window")]
    pub window: Span,
}

/// Endpoints that are alike.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// How many.
    pub count: usize,
    /// How they serve.
    pub server: Kind,
    /// Work done in a second of a core.
    #[serde(default = "one")]
    pub speed: f64,
    /// Configured weight.
    #[serde(default = "one_weight")]
    pub weight: u32,
    /// What changes the speed all the time.
    #[serde(default)]
    pub noise: Option<Noise>,
}

/// How a server serves.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Kind {
    /// All requests at once, each at full speed.
    Unlimited {},
    /// Processor sharing, at most one core for each request.
    Sharing {
        /// Cores allotted.
        cores: f64,
        /// More of them that may be used, as a multiple; evenly spread over the group.
        spare: Range,
    },
    /// So many requests at once, the others wait in their order.
    Workers {
        /// How many.
        count: u32,
        /// Longest queue; a request beyond fails at once [default: no limit].
        #[serde(default)]
        queue: Option<usize>,
    },
}

/// From one number to another.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Lowest.
    pub from: f64,
    /// Highest.
    pub to: f64,
}

/// A factor on the speed, drawn again and again.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Noise {
    /// Shortest time between two draws.
    pub every_from: Span,
    /// Longest time.
    pub every_to: Span,
    /// One of these, all as likely, and evenly within it.
    pub factors: Vec<Range>,
}

/// Something that happens to endpoints.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    /// When it begins, from the start of the run, warm-up included.
    pub at: Span,
    /// When it ends [default: never].
    #[serde(default)]
    pub until: Option<Span>,
    /// It comes and goes: on for so long, then off for as long. Not of those that join or are replaced, which stay.
    #[serde(default)]
    pub flap: Option<Span>,
    /// Which endpoints, by number from 0.
    pub endpoints: Vec<usize>,
    /// What happens.
    pub effect: Effect,
}

/// What happens to endpoints.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Effect {
    /// All work takes so many times as long; several at once multiply.
    Slow {
        /// How many times.
        times: f64,
    },
    /// Answers are 503s, after this time and without work.
    Fail {
        /// The time.
        after: Span,
    },
    /// No answer, also where the endpoint would fail by another change.
    Dead {},
    /// New ones take their place, whose speed rises from a part to all.
    Replace {
        /// Part of the speed at first.
        from: f64,
        /// Time of the rise.
        over: Span,
    },
    /// They only come now: scale-up. Their speed rises in the same way.
    Join {
        /// Part of the speed at first.
        from: f64,
        /// Time of the rise.
        over: Span,
    },
    /// They go: scale-down. What is in flight is served to its end.
    Leave {},
}

/// Someone outside sets each endpoint's weight to its goodput over its utilization, smoothed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Weights {
    /// Time between two settings.
    pub every: Span,
    /// Time after which a measurement counts half.
    pub half_life: Span,
}

/// Keys, some of them popular.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keys {
    /// How many.
    pub count: u32,
    /// The popularity of the k-th falls as k to the minus this; 0 makes all alike.
    pub zipf: f64,
}

impl Case {
    /// Endpoints that there ever are by their numbers, replacements not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.iter().fold(0, |all, group| all.saturating_add(group.count))
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many endpoints are replaced.
    #[must_use]
    pub fn replacements(&self) -> usize {
        let replaced = self.changes.iter().filter(|change| matches!(change.effect, Effect::Replace { .. }));
        replaced.map(|change| change.endpoints.len()).sum()
    }

    /// When the last change ended that ends within the run, and whom it was about.
    #[must_use]
    pub fn healed(&self) -> Option<(u64, Vec<usize>)> {
        let end = Some(Span(self.end()));
        let ended = self.changes.iter().filter(|change| change.until.is_some() && change.until <= end);
        let last = ended.max_by_key(|change| change.until)?;
        Some((last.until?.0, last.endpoints.clone()))
    }

    /// How many requests come in the mean; of a trace, as many as by the rate.
    #[must_use]
    pub fn expected_requests(&self) -> f64 {
        let expected = self.rate * self.load * Span(self.end()).as_seconds();
        self.requests.map_or(expected, |most| expected.min(most as f64))
    }

    /// When the last requests come, in nanoseconds from the start.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.warmup.0 + self.measure.0
    }
}

const fn one() -> f64 {
    1.0
}

const fn one_proxy() -> usize {
    1
}

const fn one_weight() -> u32 {
    1
}

const fn tick() -> Span {
    Span(100_000_000)
}

const fn network() -> Span {
    Span(250_000)
}

const fn window() -> Span {
    Span(5_000_000_000)
}
