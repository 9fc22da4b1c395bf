//! Weights that follow what is seen: each step moves an endpoint's factor against its excess over its backend's mean,
//! until all are alike or a bound is reached.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{Look, Record as EndpointRecord, Tuner, mean, mean_nanos};
use crate::{Adaptive, AdaptiveSignal, Algorithm, EndpointId, Time, UsageSource, plan::Factors, state::Seen};

/// Part of the excess that a step takes back. Close to saturation a little more weight is a lot more latency: larger
/// steps swing from one bound to the other.
const GAIN: f64 = 0.12;
/// Part of the way back to the configured weight that each step goes: what lasts of an excess is answered in
/// proportion, and what chance made of a factor fades.
const LEAK: f64 = 0.08;
/// Largest excess that a step looks at, as a logarithm: 10 times the mean.
const MAX_EXCESS: f64 = 2.3;
/// Part of the way back to the configured weight that a step without data goes.
const FORGET: f64 = 0.5;
const SIGNALS: usize = 5;

/// What an endpoint uses, as it was measured at a time. The units are the caller's, and the same for all endpoints.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// When.
    pub at: Time,
    /// CPU; from 0.
    pub cpu: Option<f64>,
    /// Memory; from 0.
    pub memory: Option<f64>,
}

/// What is known of one endpoint.
#[derive(Debug)]
pub(super) struct Record {
    factor: f64,
    smoothed: [Option<f64>; SIGNALS],
    pub(super) seen: Seen,
    /// What the caller brought last.
    fed: Option<Usage>,
}

impl Record {
    pub(super) const fn new(seen: Seen) -> Self {
        Self { factor: 1.0, smoothed: [None; SIGNALS], seen, fed: None }
    }

    pub(super) const fn feed(&mut self, usage: Usage) {
        self.fed = Some(usage);
    }
}

impl Tuner {
    pub(super) fn tick_adaptive(&mut self, now: Time) {
        let Some(parameters) = self.adaptive() else { return };
        match self.clocks.adaptive.look(parameters.interval, now) {
            Look::Early => return,
            Look::Begins => {
                return self
                    .records
                    .values_mut()
                    .for_each(|record| record.adaptive.seen = record.state.seen());
            }
            Look::Over(_) => {}
        }
        // Of one of two backends that in the first, with which it moves.
        let mut weights = HashMap::new();
        for endpoint in self.spec.backends.iter().flat_map(|backend| &backend.endpoints) {
            weights.entry(&endpoint.id).or_insert_with(|| f64::from(endpoint.weight.max(1)));
        }
        for (id, record) in &mut self.records {
            record.measure(&parameters, weights.get(id).copied().unwrap_or(1.0), now);
        }
        // An endpoint of two backends moves once, with the first of them.
        let mut moved = HashSet::new();
        for backend in 0..self.spec.backends.len() {
            for (id, factor) in self.stepped(backend, &parameters) {
                if moved.insert(id.clone())
                    && let Some(record) = self.records.get_mut(&id)
                {
                    record.adaptive.factor = factor;
                }
            }
        }
    }

    /// By which Adaptive the factors move: that in use, or one that requests may be picked by, if only by way of Auto.
    fn adaptive(&self) -> Option<Adaptive> {
        let chosen = self.auto.active().filter(|_| matches!(self.spec.auto(), Algorithm::Auto(_)));
        let mut all = std::iter::once(self.algorithm()).chain(&self.spec.others).chain(&chosen);
        all.find_map(|each| match each {
            Algorithm::Adaptive(parameters) => Some(parameters.clone()),
            _ => None,
        })
    }

    /// The factors of a backend's endpoints after a step.
    fn stepped(&self, backend: usize, parameters: &Adaptive) -> Vec<(EndpointId, f64)> {
        let members: Vec<_> = self.members(&self.spec.backends[backend].endpoints).collect();
        let means: Vec<_> = parameters
            .signals
            .iter()
            .filter_map(|signal| {
                let values = members.iter().filter_map(|(_, record)| record.adaptive.smoothed[slot(*signal)]);
                Some((*signal, mean(values)?))
            })
            .collect();
        let still = parameters.hysteresis.max(0.0).ln_1p();
        let (min, max) = (parameters.min.clamp(1e-3, 1.0), parameters.max.clamp(1.0, 1e3));
        let step = |record: &Record| {
            let factor = record.factor;
            match record.excess(&means, still) {
                None if (factor - 1.0).abs() < 0.01 => 1.0,
                None => factor + FORGET * (1.0 - factor),
                Some(excess) => {
                    let excess = if excess.abs() <= still { 0.0 } else { excess };
                    let excess = excess.clamp(-MAX_EXCESS, MAX_EXCESS);
                    (factor.ln() * (1.0 - LEAK) - GAIN * excess).exp()
                }
            }
        };
        let stepped: Vec<_> =
            members.iter().map(|(endpoint, record)| (endpoint.id.clone(), step(&record.adaptive))).collect();
        // Only their ratios count. Left alone, all that are better than a bad one would go up to the bound, and it
        // would have that much further to go once it is well again.
        let middle = mean(stepped.iter().map(|(_, factor)| factor.ln())).unwrap_or(0.0).exp();
        stepped.into_iter().map(|(id, factor)| (id, (factor / middle).clamp(min, max))).collect()
    }

    pub(super) fn adaptive_factors(&self, factors: &mut Factors) {
        for (index, backend) in self.spec.backends.iter().enumerate() {
            for (endpoint, record) in self.members(&backend.endpoints) {
                factors.multiply(index, &endpoint.id, record.adaptive.factor);
            }
        }
    }
}

impl EndpointRecord {
    /// Smooths what is seen now into what was.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 requests")]
    fn measure(&mut self, parameters: &Adaptive, weight: f64, now: Time) {
        let seen = self.state.seen();
        let since = seen.since(self.adaptive.seen);
        self.adaptive.seen = seen;
        // What is older than a few steps says nothing of now.
        let max_age = parameters.interval.saturating_mul(3);
        let (cpu, memory) = self.usage(parameters.usage, weight, now, max_age);
        let in_flight = self.state.in_flight();
        for signal in &parameters.signals {
            let value = match signal {
                AdaptiveSignal::Cpu => cpu,
                AdaptiveSignal::Memory => memory,
                AdaptiveSignal::InFlight => {
                    (since.judged > 0 || in_flight > 0).then_some(in_flight as f64 / weight)
                }
                AdaptiveSignal::ResponseTime => mean_nanos(since),
                AdaptiveSignal::ErrorRate => {
                    (since.judged > 0).then(|| since.failures as f64 / since.judged as f64)
                }
            };
            let smoothed = &mut self.adaptive.smoothed[slot(*signal)];
            let part = parameters.smoothing.clamp(0.01, 1.0);
            *smoothed = value.map(|value| smoothed.map_or(value, |old| old + part * (value - old)));
        }
    }

    /// CPU and memory, as far as they are not older than `max_age`. What is reported is a part of what the endpoint
    /// has, whatever its weight; what is fed is an amount, which goes with the requests that it gets, as those in
    /// flight do. Memory does not.
    fn usage(
        &self,
        source: UsageSource,
        weight: f64,
        now: Time,
        max_age: Duration,
    ) -> (Option<f64>, Option<f64>) {
        match source {
            UsageSource::Reports => {
                let reported = self.state.reported(now, max_age);
                (reported.cpu, reported.memory)
            }
            UsageSource::Fed => {
                let fed = self.adaptive.fed.filter(|fed| now.since(fed.at) <= max_age);
                (fed.and_then(|fed| fed.cpu).map(|cpu| cpu / weight), fed.and_then(|fed| fed.memory))
            }
        }
    }
}

impl Record {
    /// By how much it is above the means, as a logarithm, over the signals of which there are data; `None` without any.
    /// One that fails by more than `still` above them is idle because of that: it must not gain by it.
    fn excess(&self, means: &[(AdaptiveSignal, f64)], still: f64) -> Option<f64> {
        let excess = |(signal, mean): &(AdaptiveSignal, f64)| {
            let value = self.smoothed[slot(*signal)]?;
            let floor = floor(*signal).max(mean * 0.1);
            Some(((floor + value) / (floor + mean)).ln())
        };
        let errors = means.iter().find(|(signal, _)| *signal == AdaptiveSignal::ErrorRate);
        let fails = errors.and_then(excess).is_some_and(|excess| excess > still);
        mean(means.iter().filter_map(excess).map(|excess| if fails { excess.max(0.0) } else { excess }))
    }
}

const fn slot(signal: AdaptiveSignal) -> usize {
    match signal {
        AdaptiveSignal::Cpu => 0,
        AdaptiveSignal::Memory => 1,
        AdaptiveSignal::InFlight => 2,
        AdaptiveSignal::ResponseTime => 3,
        AdaptiveSignal::ErrorRate => 4,
    }
}

/// Differences far below this are noise: utilizations (or cores, or bytes) and rates, requests, nanoseconds.
const fn floor(signal: AdaptiveSignal) -> f64 {
    match signal {
        AdaptiveSignal::Cpu | AdaptiveSignal::Memory | AdaptiveSignal::ErrorRate => 0.05,
        AdaptiveSignal::InFlight => 1.0,
        AdaptiveSignal::ResponseTime => 100_000.0,
    }
}
