//! What a pool is made of and how it is to behave, as configured.

use std::{sync::Arc, time::Duration};

use crate::{Algorithm, Backend, plan::LEVELS};

/// What a balancer is built from.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSpec {
    /// How an endpoint is picked.
    pub algorithm: Algorithm,
    /// Where endpoints come from, each with its share.
    pub backends: Vec<Backend>,
    /// New endpoints take less at first.
    pub slow_start: Option<SlowStart>,
    /// Endpoints that fail take nothing for a while.
    pub ejection: Option<Ejection>,
    /// If less than this part of a backend's ready endpoints is healthy and not ejected, in per cent, it is balanced
    /// over all of them; 0: never.
    pub panic_threshold: u8,
    /// Endpoints nearby come first.
    pub locality: Option<Locality>,
    /// Other algorithms that single requests may name ([`Tuner::balancer_with`](crate::Tuner::balancer_with)).
    /// Adaptive's weights and Auto's choice are kept up for them too, from all requests; of several of a kind the first
    /// counts.
    pub others: Vec<Algorithm>,
}

impl PoolSpec {
    /// A pool with an algorithm and nothing around it.
    #[must_use]
    pub const fn new(algorithm: Algorithm, backends: Vec<Backend>) -> Self {
        Self {
            algorithm,
            backends,
            slow_start: None,
            ejection: None,
            panic_threshold: 0,
            locality: None,
            others: Vec::new(),
        }
    }

    /// Its Auto, if that is its algorithm or among the others; else its algorithm.
    pub(crate) fn auto(&self) -> &Algorithm {
        let mut all = std::iter::once(&self.algorithm).chain(&self.others);
        all.find(|each| matches!(each, Algorithm::Auto(_))).unwrap_or(&self.algorithm)
    }
}

/// Weight times max(`min`, (age / `window`) ^ (1 / `aggression`)), where the age is that of the endpoint's readiness or
/// of its return from an ejection. If most endpoints of a backend became ready that lately, all are treated alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// Age from which on an endpoint takes its full weight.
    pub window: Duration,
    /// Above 1 rises faster at first, below 1 slower; above 0.
    pub aggression: f64,
    /// Lowest factor, above 0.
    pub min: f64,
}

impl Default for SlowStart {
    fn default() -> Self {
        Self { window: Duration::from_secs(30), aggression: 1.0, min: 0.1 }
    }
}

/// When an endpoint is taken out because of how it answers, and for how long (Envoy's outlier detection and its
/// defaults).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ejection {
    /// Server errors in a row, those of gateways included, that eject at once.
    pub consecutive_5xx: Option<u32>,
    /// Gateway errors (502, 503, 504, no answer) in a row that eject at once.
    pub consecutive_gateway_errors: Option<u32>,
    /// By success rate, at each interval.
    pub success_rate: Option<SuccessRate>,
    /// By failure percentage, at each interval.
    pub failure_percentage: Option<FailurePercentage>,
    /// Time between two looks at rates.
    pub interval: Duration,
    /// The n-th ejection in a row takes n times this; each interval without one takes one off n.
    pub base_time: Duration,
    /// Longest ejection, before the jitter.
    pub max_time: Duration,
    /// Up to this part of a time is added to it by chance, even beyond `max_time`.
    pub jitter: f64,
    /// Most endpoints of a backend ejected at a time, in per cent of them; always at least one, and never the last.
    pub max_percent: u8,
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive_5xx: Some(5),
            consecutive_gateway_errors: Some(5),
            success_rate: Some(SuccessRate { min_endpoints: 5, min_requests: 100, deviations: 1.9 }),
            failure_percentage: Some(FailurePercentage { percent: 85, min_endpoints: 5, min_requests: 50 }),
            interval: Duration::from_secs(10),
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(300),
            jitter: 0.1,
            max_percent: 10,
        }
    }
}

/// An endpoint is ejected whose success rate is below the mean by so many standard deviations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessRate {
    /// How many endpoints must have had `min_requests`, or the rule ejects none.
    pub min_endpoints: usize,
    /// Requests of an endpoint in an interval below which it is not looked at.
    pub min_requests: u64,
    /// How many standard deviations.
    pub deviations: f64,
}

/// An endpoint is ejected if at least `percent` of its requests failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailurePercentage {
    /// Per cent of its requests.
    pub percent: u8,
    /// How many endpoints must have had `min_requests`, or the rule ejects none.
    pub min_endpoints: usize,
    /// Requests of an endpoint in an interval below which it is not looked at.
    pub min_requests: u64,
}

/// Where this proxy is; a level that is `None` is left out. Requests go to the endpoints in its zone, then to those in
/// its region, then to all others: each level gives away what it cannot take, since endpoints of it are unhealthy, or
/// are busier than `spill_at`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Locality {
    /// Its zone.
    pub zone: Option<Place>,
    /// Its region.
    pub region: Option<Place>,
}

/// A place that this proxy is in, and how much the endpoints there are given before those farther away are.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// What the place is called, in [`Endpoint::zone`](crate::Endpoint::zone) or [`Endpoint::region`](crate::Endpoint::region).
    pub name: Arc<str>,
    /// How much more than its part the level may take when some of its endpoints are unhealthy; 1.4: at 5 of 7 still
    /// all.
    pub overprovisioning: f64,
    /// Mean utilization of the level, as its endpoints report it or by `capacity`, above which it gives some of its
    /// traffic away.
    pub spill_at: f64,
    /// Requests in flight from this proxy that fill an endpoint for each unit of weight, if it reports no utilization.
    pub capacity: Option<f64>,
}

impl Place {
    /// A place that gives traffic away at 80 % of what its endpoints report, and by health as Envoy does.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), overprovisioning: 1.4, spill_at: 0.8, capacity: None }
    }
}

impl Locality {
    /// The places by level, the nearest first; the last level is no place.
    pub(crate) const fn places(&self) -> [Option<&Place>; LEVELS] {
        [self.zone.as_ref(), self.region.as_ref(), None]
    }
}
