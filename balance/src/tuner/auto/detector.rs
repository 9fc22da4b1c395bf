//! The detector: how much endpoints differ, and what that says of each algorithm.
//!
//! What tells algorithms apart is how much endpoints differ in speed, and for how long. An endpoint's capability is the
//! rate at which it completes requests divided by how long they take: whatever the algorithm does (equal shares and
//! different latencies, or the reverse), a slower endpoint has less of it. Chance makes it vary too, but not in the
//! same way twice: so the covariance of its logarithm over two stretches in a row is the variance of what persists, and
//! its root the *spread* of the pool. An algorithm that keeps the requests in flight equal makes the rate follow the
//! latency, and so counts a difference twice.
//!
//! What a proxy has in flight at an endpoint matters too: where many proxies share the endpoints, each has hardly a
//! request at any, and their number says nothing of how busy the endpoint is.
//!
//! The predictions are of tail latency, relative to the best there is for equal endpoints, fitted to what the simulator
//! measures of the algorithms one by one (`simulator/scenarios`).

use super::super::{Tuner, mean_nanos};
use crate::{Algorithm, Auto, Time, state::Seen};

/// How much of a look's findings enters the smoothed ones, at least: the first looks count alike.
const SMOOTHING: f64 = 0.1;
/// Answers after which a stretch of an endpoint ends, with the next look.
const MIN_ANSWERS: u64 = 8;
/// Part of the endpoints that must report their load for it to be used.
const MIN_REPORTING: f64 = 0.9;

/// Spread up to which the predictions were fitted: beyond it they would tell of tails thousands of times as long, and
/// which algorithm is best does not change any more.
const MAX_SPREAD: f64 = 0.7;

/// What Auto went by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Endpoints.
    pub endpoints: usize,
    /// How much they differ, lastingly: standard deviation of the logarithm of their speed.
    pub spread: f64,
    /// Requests that this proxy has in flight at an endpoint, on average.
    pub in_flight: f64,
    /// Part of them that report their load.
    pub reporting: f64,
    /// Looks with evidence so far.
    pub intervals: u32,
}

/// What is found, look by look.
#[derive(Debug, Default)]
pub(super) struct Detector {
    covariance: f64,
    /// Stretches that ended since the covariance was last looked at.
    renewed: usize,
    looks: u32,
    pub(super) evidence: Evidence,
}

/// What is known of one endpoint.
#[derive(Debug)]
pub(crate) struct Record {
    /// At the last look.
    seen: Seen,
    /// Of the stretch that has not ended.
    stretch: Seen,
    seconds: f64,
    /// Logarithms of its capability in the last two stretches.
    last: Option<f64>,
    before: Option<f64>,
    /// A stretch ended with this look.
    renewed: bool,
}

impl Record {
    pub(crate) const fn new(seen: Seen) -> Self {
        let stretch = Seen { judged: 0, failures: 0, measured: 0, latency_nanos: 0 };
        Self { seen, stretch, seconds: 0.0, last: None, before: None, renewed: false }
    }

    /// From here on what comes is looked at.
    pub(crate) const fn begin(&mut self, seen: Seen) {
        self.seen = seen;
    }

    /// Takes what came since the last look.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 answers")]
    fn look(&mut self, seen: Seen, seconds: f64) {
        let since = seen.since(self.seen);
        self.seen = seen;
        self.stretch.measured += since.measured;
        self.stretch.latency_nanos += since.latency_nanos;
        self.seconds += seconds;
        self.renewed = self.stretch.measured >= MIN_ANSWERS;
        if self.renewed {
            let rate = self.stretch.measured as f64 / self.seconds.max(1e-3);
            self.before = self.last;
            self.last = mean_nanos(self.stretch).map(|mean| (rate / mean.max(1.0)).ln());
            (self.stretch, self.seconds) = (Seen::default(), 0.0);
        }
    }
}

impl Tuner {
    /// Adds a look to the evidence.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 answers")]
    pub(super) fn gather(&mut self, seconds: f64, now: Time) {
        let (mut reporting, mut in_flight, mut renewed) = (0, 0, 0);
        let mut pairs = Vec::new();
        let expiration = self.weighted_by_load().expiration;
        for record in self.records.values_mut() {
            record.auto.look(record.state.seen(), seconds);
            in_flight += record.state.in_flight();
            reporting += usize::from(record.state.reported(now, expiration).utilization.is_some());
            renewed += usize::from(record.auto.renewed);
            pairs.extend(record.auto.before.zip(record.auto.last));
        }
        let doubled = self.algorithm().doubles_differences();
        let evidence = &mut self.auto.detector.evidence;
        let count = self.records.len().max(1);
        let part = |looks: u32| (1.0 / f64::from(looks + 1)).max(SMOOTHING);
        let smooth = |into: &mut f64, value: f64, part: f64| *into += part * (value - *into);
        let first = part(self.auto.detector.looks);
        self.auto.detector.looks = self.auto.detector.looks.saturating_add(1);
        smooth(&mut evidence.in_flight, in_flight as f64 / count as f64, first);
        evidence.endpoints = self.records.len();
        evidence.reporting = reporting as f64 / count as f64;
        self.auto.detector.renewed += renewed;
        // A look of which most is old tells nothing twice.
        if pairs.len() >= 2 && self.auto.detector.renewed >= pairs.len() {
            self.auto.detector.renewed = 0;
            let found = covariance(&pairs) * if doubled { 0.25 } else { 1.0 };
            smooth(&mut self.auto.detector.covariance, found, part(evidence.intervals));
            evidence.intervals = evidence.intervals.saturating_add(1);
            evidence.spread = self.auto.detector.covariance.max(0.0).sqrt();
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 endpoints")]
fn covariance(pairs: &[(f64, f64)]) -> f64 {
    let count = pairs.len() as f64;
    let (a, b) = pairs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    let (a, b) = (a / count, b / count);
    pairs.iter().map(|(x, y)| (x - a) * (y - b)).sum::<f64>() / (count - 1.0)
}

impl Algorithm {
    /// It keeps the requests in flight at endpoints equal, so that a slow one has both longer latencies and fewer
    /// answers.
    const fn doubles_differences(&self) -> bool {
        matches!(self, Self::LeastRequest { .. } | Self::PowerOfTwoChoices { .. })
    }
}

/// What is to be expected of each algorithm that may be used now, by the evidence; lower is better.
pub(super) fn predictions(auto: &Auto, evidence: &Evidence) -> Vec<(Algorithm, f64)> {
    // How much less than a request in flight there is to compare.
    let blind = (1.0 - evidence.in_flight).clamp(0.0, 1.0);
    let prediction = |algorithm: &Algorithm| {
        let (base, slope) = match algorithm {
            Algorithm::LeastRequest { .. } => (1.0, 1.2 + blind),
            Algorithm::RoundRobin | Algorithm::WeightedRoundRobin => (1.02, 4.0),
            Algorithm::PowerOfTwoChoices { .. } => (1.08, 1.2 + blind),
            Algorithm::LeastResponseTime(_) => (1.08, 0.3),
            Algorithm::Prequal(_) => (1.1, 0.1),
            Algorithm::Adaptive(_) => (1.2, 0.6),
            Algorithm::WeightedByLoad(_) if evidence.reporting >= MIN_REPORTING => (1.3, 0.6),
            Algorithm::Random => (1.5, 4.0),
            Algorithm::WeightedByLoad(_)
            | Algorithm::SourceIpHash(_)
            | Algorithm::ConsistentHash(_)
            | Algorithm::Auto(_) => return None,
        };
        Some((algorithm.clone(), base * (slope * evidence.spread.min(MAX_SPREAD)).exp()))
    };
    auto.allowed.iter().filter_map(prediction).collect()
}
