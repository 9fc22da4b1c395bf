//! Auto: which algorithm the evidence speaks for.
//!
//! What tells algorithms apart is how much endpoints differ, and for how long. An endpoint's capability is what it completes
//! divided by how long it takes: whatever the algorithm does (equal shares and different latencies, or the reverse), a slower
//! endpoint has less of it. Chance makes it vary too, but not in the same way twice: so the covariance of its logarithm over
//! two intervals in a row is the variance of what persists, and its root the *spread* of the pool.
//!
//! The scores are predictions of tail latency, relative to the best there is for equal endpoints: `base * e^(slope * spread)`,
//! with `base` what an algorithm loses at equal endpoints and `slope` how it suffers from differences, both read off our
//! simulations. No request is played through the algorithms that are not in use.

use std::time::Duration;

use super::{Tuner, mean_nanos};
use crate::{Algorithm, Auto, Time, state::Seen};

/// How much of an interval's covariance enters the smoothed one.
const SMOOTHING: f64 = 0.2;
/// Answers in an interval below which an endpoint is not looked at.
const MIN_ANSWERS: u64 = 8;
/// Intervals with evidence before it counts.
const MIN_INTERVALS: u32 = 5;
/// Part of the endpoints that must report their load for it to be used.
const MIN_REPORTING: f64 = 0.9;

/// What Auto went by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Endpoints.
    pub endpoints: usize,
    /// How much they differ, lastingly: standard deviation of the logarithm of what each is capable of.
    pub spread: f64,
    /// Part of them that report their load.
    pub reporting: f64,
    /// Intervals looked at.
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
    seen: Seen,
    /// Logarithm of its capability in the last interval.
    capability: Option<f64>,
}

impl Record {
    pub(super) const fn new(seen: Seen) -> Self {
        Self { seen, capability: None }
    }
}

/// The choice, as it stands.
#[derive(Debug, Default)]
pub(super) struct Choice {
    active: Option<Algorithm>,
    since: Time,
    reason: String,
    covariance: f64,
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
        let Algorithm::Auto(auto) = self.spec.algorithm.clone() else { return };
        let interval = auto.interval.max(Duration::from_millis(100));
        if self.clocks.auto.over(interval, now).is_none() {
            return;
        }
        self.gather();
        let dwelt = now.since(self.auto.since) >= auto.dwell;
        if !dwelt || self.auto.evidence.intervals < MIN_INTERVALS {
            return;
        }
        let scores = scores(&auto, &self.auto.evidence);
        let present = self.auto.active.as_ref();
        let present =
            scores.iter().find(|(each, _)| Some(each) == present).map_or(f64::MAX, |(_, score)| *score);
        let Some((best, score)) = scores.into_iter().min_by(|(_, a), (_, b)| a.total_cmp(b)) else { return };
        if score < present * (1.0 - auto.hysteresis.clamp(0.0, 0.9)) {
            let spread = self.auto.evidence.spread;
            self.auto.reason =
                format!("endpoints differ by {spread:.2}: score {score:.2} against {present:.2}");
            self.auto.active = Some(best);
            self.auto.since = now;
        }
    }

    /// Adds an interval to the evidence.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 answers")]
    fn gather(&mut self) {
        let mut reporting = 0;
        let mut pairs = Vec::new();
        for record in self.records.values_mut() {
            let seen = record.state.seen();
            let since = seen.since(record.auto.seen);
            record.auto.seen = seen;
            reporting += usize::from(record.load_is_reported());
            let mean = mean_nanos(since).filter(|mean| *mean > 0.0 && since.measured >= MIN_ANSWERS);
            let capability = mean.map(|mean| (since.measured as f64 / mean).ln());
            let before = std::mem::replace(&mut record.auto.capability, capability);
            pairs.extend(before.zip(capability));
        }
        let evidence = &mut self.auto.evidence;
        evidence.endpoints = self.records.len();
        evidence.reporting = reporting as f64 / self.records.len().max(1) as f64;
        if pairs.len() >= 2 {
            let part = if evidence.intervals == 0 { 1.0 } else { SMOOTHING };
            self.auto.covariance += part * (covariance(&pairs) - self.auto.covariance);
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
    fn load_is_reported(&self) -> bool {
        self.state.reported().is_some_and(|reported| reported.utilization.is_some())
    }
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 endpoints")]
fn covariance(pairs: &[(f64, f64)]) -> f64 {
    let count = pairs.len() as f64;
    let (a, b) = pairs.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    let (a, b) = (a / count, b / count);
    pairs.iter().map(|(x, y)| (x - a) * (y - b)).sum::<f64>() / (count - 1.0)
}

fn scores(auto: &Auto, evidence: &Evidence) -> Vec<(Algorithm, f64)> {
    let score = |algorithm: &Algorithm| {
        let (base, slope) = match algorithm {
            Algorithm::LeastRequest { .. } => (1.0, 1.0),
            Algorithm::RoundRobin | Algorithm::WeightedRoundRobin => (1.02, 2.0),
            Algorithm::PowerOfTwoChoices { .. } => (1.08, 1.0),
            Algorithm::LeastResponseTime(_) => (1.12, 0.25),
            Algorithm::Prequal(_) => (1.15, 0.1),
            Algorithm::Adaptive(_) => (1.2, 0.6),
            Algorithm::WeightedByLoad(_) if evidence.reporting >= MIN_REPORTING => (1.3, 0.6),
            Algorithm::Random => (1.5, 2.0),
            Algorithm::WeightedByLoad(_)
            | Algorithm::SourceIpHash(_)
            | Algorithm::ConsistentHash(_)
            | Algorithm::Auto(_) => return None,
        };
        Some((algorithm.clone(), base * (slope * evidence.spread).exp()))
    };
    auto.allowed.iter().filter_map(score).collect()
}
