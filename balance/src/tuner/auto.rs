//! Auto: which algorithm the evidence speaks for.
//!
//! What tells algorithms apart is how much endpoints differ in speed, and for how long. An endpoint's capability is the rate at
//! which it completes requests divided by how long they take: whatever the algorithm does (equal shares and different latencies,
//! or the reverse), a slower endpoint has less of it. Chance makes it vary too, but not in the same way twice: so the covariance
//! of its logarithm over two stretches in a row is the variance of what persists, and its root the *spread* of the pool. An
//! algorithm that keeps the requests in flight equal makes the rate follow the latency, and so counts a difference twice.
//!
//! What a proxy has in flight at an endpoint matters too: where many proxies share the endpoints, each has hardly a request at
//! any, and their number says nothing of how busy the endpoint is.
//!
//! The scores are predictions of tail latency, relative to the best there is for equal endpoints, fitted to what the simulator
//! measures of the algorithms one by one (`simulator/scenarios`). No request is played through those that are not in use.

use std::time::Duration;

use super::{Tuner, mean_nanos};
use crate::{Algorithm, Auto, Time, WeightedByLoad, state::Seen};

/// How much of a look's findings enters the smoothed ones, at least: the first looks count alike.
const SMOOTHING: f64 = 0.1;
/// Answers after which a stretch of an endpoint ends, with the next look.
const MIN_ANSWERS: u64 = 8;
/// Looks with evidence before it counts.
const MIN_INTERVALS: u32 = 4;
/// Part of the endpoints that must report their load for it to be used.
const MIN_REPORTING: f64 = 0.9;

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

/// What Auto stands for, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoReport {
    /// The algorithm.
    pub active: Algorithm,
    /// Since when.
    pub since: Time,
    /// Why, in words.
    pub reason: String,
    /// What it goes by now.
    pub evidence: Evidence,
    /// The score of each allowed algorithm by that, lower is better; those that cannot be used now are absent.
    pub scores: Vec<(Algorithm, f64)>,
}

/// What is known of one endpoint.
#[derive(Debug)]
pub(super) struct Record {
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
    pub(super) const fn new(seen: Seen) -> Self {
        let stretch = Seen { judged: 0, failures: 0, measured: 0, latency_nanos: 0 };
        Self { seen, stretch, seconds: 0.0, last: None, before: None, renewed: false }
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

/// The choice, as it stands.
#[derive(Debug, Default)]
pub(super) struct Choice {
    active: Option<Algorithm>,
    since: Time,
    reason: String,
    covariance: f64,
    /// Stretches that ended since the covariance was last looked at.
    renewed: usize,
    looks: u32,
    evidence: Evidence,
}

impl Choice {
    pub(super) fn active(&self) -> Option<Algorithm> {
        self.active.clone()
    }

    /// Keeps the choice as long as it is allowed.
    pub(super) fn retain(&mut self, configured: &Algorithm, now: Time) {
        let Algorithm::Auto(auto) = configured else { return };
        let allowed = || auto.allowed.iter().filter(|each| may_be_chosen(each));
        if !self.active.as_ref().is_some_and(|active| allowed().any(|each| each == active)) {
            self.active = allowed().next().cloned();
            self.since = now;
            "the first of those allowed".clone_into(&mut self.reason);
        }
    }
}

/// Whether Auto may stand for it.
pub(crate) fn may_be_chosen(algorithm: &Algorithm) -> bool {
    !algorithm.is_by_key() && !matches!(algorithm, Algorithm::Auto(_))
}

impl Tuner {
    pub(super) fn tick_auto(&mut self, now: Time) {
        let Algorithm::Auto(auto) = self.spec.auto().clone() else { return };
        let interval = auto.interval.max(Duration::from_millis(100));
        let Some(passed) = self.clocks.auto.over(interval, now) else { return };
        self.gather(passed.as_secs_f64(), now);
        let dwelt = now.since(self.auto.since) >= auto.dwell;
        if !dwelt || self.auto.evidence.intervals < MIN_INTERVALS {
            return;
        }
        let scores = scores(&auto, &self.auto.evidence);
        let present = self.auto.active.as_ref();
        let present = scores.iter().find(|(each, _)| Some(each) == present).map(|(_, score)| *score);
        let Some((best, score)) = scores.into_iter().min_by(|(_, a), (_, b)| a.total_cmp(b)) else { return };
        if present.is_none_or(|present| score < present * (1.0 - auto.hysteresis.clamp(0.0, 0.9))) {
            let Evidence { spread, in_flight, .. } = self.auto.evidence;
            let before = present.map_or_else(
                || "where the one before cannot be used".to_owned(),
                |present| format!("against {present:.2}"),
            );
            self.auto.reason = format!(
                "speeds differ by {spread:.2}, {in_flight:.1} requests in flight at each: score {score:.2} {before}"
            );
            self.auto.active = Some(best);
            self.auto.since = now;
        }
    }

    /// Adds a look to the evidence.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 answers")]
    fn gather(&mut self, seconds: f64, now: Time) {
        let (mut reporting, mut in_flight, mut renewed) = (0, 0, 0);
        let mut pairs = Vec::new();
        for record in self.records.values_mut() {
            record.auto.look(record.state.seen(), seconds);
            in_flight += record.state.in_flight();
            reporting += usize::from(record.load_is_reported(now));
            renewed += usize::from(record.auto.renewed);
            pairs.extend(record.auto.before.zip(record.auto.last));
        }
        let doubled = self.algorithm().doubles_differences();
        let evidence = &mut self.auto.evidence;
        let count = self.records.len().max(1);
        let part = |looks: u32| (1.0 / f64::from(looks + 1)).max(SMOOTHING);
        let smooth = |into: &mut f64, value: f64, part: f64| *into += part * (value - *into);
        let first = part(self.auto.looks);
        self.auto.looks = self.auto.looks.saturating_add(1);
        smooth(&mut evidence.in_flight, in_flight as f64 / count as f64, first);
        evidence.endpoints = self.records.len();
        evidence.reporting = reporting as f64 / count as f64;
        self.auto.renewed += renewed;
        // A look of which most is old tells nothing twice.
        if pairs.len() >= 2 && self.auto.renewed >= pairs.len() {
            self.auto.renewed = 0;
            let found = covariance(&pairs) * if doubled { 0.25 } else { 1.0 };
            smooth(&mut self.auto.covariance, found, part(evidence.intervals));
            evidence.intervals = evidence.intervals.saturating_add(1);
            evidence.spread = self.auto.covariance.max(0.0).sqrt();
        }
    }

    /// What Auto stands for; `None` with another algorithm.
    pub(super) fn auto_report(&self) -> Option<AutoReport> {
        let Algorithm::Auto(auto) = &self.spec.algorithm else { return None };
        Some(AutoReport {
            active: self.auto.active.clone()?,
            since: self.auto.since,
            reason: self.auto.reason.clone(),
            evidence: self.auto.evidence,
            scores: scores(auto, &self.auto.evidence),
        })
    }
}

impl super::Record {
    fn load_is_reported(&self, now: Time) -> bool {
        self.state.reported(now, WeightedByLoad::EXPIRATION).utilization.is_some()
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
    /// It keeps the requests in flight at endpoints equal, so that a slow one has both longer latencies and fewer answers.
    const fn doubles_differences(&self) -> bool {
        matches!(self, Self::LeastRequest { .. } | Self::PowerOfTwoChoices { .. })
    }
}

fn scores(auto: &Auto, evidence: &Evidence) -> Vec<(Algorithm, f64)> {
    // How much less than a request in flight there is to compare.
    let blind = (1.0 - evidence.in_flight).clamp(0.0, 1.0);
    let score = |algorithm: &Algorithm| {
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
        Some((algorithm.clone(), base * (slope * evidence.spread).exp()))
    };
    auto.allowed.iter().filter_map(score).collect()
}
