//! One case of a scenario: endpoints, requests, and what happens to them.

use serde::Deserialize;

use super::{Problem, value};
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
    /// It comes and goes: on for so long, then off for as long.
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
    /// All work takes so many times as long.
    Slow {
        /// How many times.
        times: f64,
    },
    /// Answers are 503s, after this time and without work.
    Fail {
        /// The time.
        after: Span,
    },
    /// No answer.
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
        self.endpoints.iter().map(|group| group.count).sum()
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

    /// When the last change ended that ends, and whom it was about.
    #[must_use]
    pub fn healed(&self) -> Option<(u64, Vec<usize>)> {
        let last =
            self.changes.iter().filter(|change| change.until.is_some()).max_by_key(|change| change.until)?;
        Some((last.until?.0, last.endpoints.clone()))
    }

    /// What a number must be that no type says.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let all = self.len();
        let positive = |number: f64| number.is_finite() && number > 0.0;
        let checks = [
            (all > 0 && all <= 10_000, "endpoints", "be from 1 to 10000"),
            (positive(self.rate), "rate", "be above 0"),
            (positive(self.load), "load", "be above 0"),
            ((1..=1_000).contains(&self.proxies), "proxies", "be from 1 to 1000"),
            (self.measure.0 > 0, "measure", "be above 0s"),
            (self.window.0 > 0, "window", "be above 0s"),
            (self.tick.0 >= 1_000_000, "tick", "be at least 1ms"),
            (self.contended > 0.0 && self.contended <= 1.0, "contended", "be above 0 and at most 1"),
            (self.swap_spare.is_none_or(|span| span.0 > 0), "swapSpare", "be above 0s"),
            (self.weights.is_none_or(|weights| weights.every.0 > 0), "weights.every", "be above 0s"),
            (self.probe_cost >= 0.0 && self.probe_cost.is_finite(), "probeCost", "not be negative"),
            (
                self.keys.is_none_or(|keys| keys.count > 0 && keys.zipf >= 0.0),
                "keys",
                "be some, zipf not negative",
            ),
        ];
        if let Some((_, field, must)) = checks.iter().find(|(holds, ..)| !holds) {
            return Err(value(field, must));
        }
        for group in &self.endpoints {
            let noise = group.noise.as_ref();
            let slow = noise.is_some_and(|noise| noise.every_from.0 == 0 || noise.factors.is_empty());
            if !positive(group.speed) || slow {
                return Err(value(
                    "endpoints",
                    "have a speed above 0, and noise that takes time and has factors",
                ));
            }
        }
        for change in &self.changes {
            if change.endpoints.iter().any(|number| *number >= all) {
                return Err(value("changes.endpoints", "be numbers of endpoints, from 0"));
            }
            if matches!(change.effect, Effect::Dead {}) && self.deadline.is_none() {
                return Err(value("deadline", "be set where endpoints die, or their requests never end"));
            }
            if change.flap.is_some_and(|flap| flap.0 == 0) {
                return Err(value("changes.flap", "be above 0s"));
            }
            if change.flap.is_some() && matches!(change.effect, Effect::Replace { .. }) {
                return Err(value("changes.flap", "not be set where endpoints are replaced"));
            }
        }
        self.service.work().map(|_| ())
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
