//! What endpoints and operators tell the proxies from outside of the request path: load reports, and weights that
//! someone sets.

use evenkeel_balance::orca::LoadReport;

use crate::{number, scenario::Weights, server::Server, weather::Weather};

/// What each machine reports of its load with its answers: of the last second.
#[derive(Debug)]
pub(crate) struct Reports {
    last: Vec<Option<LoadReport>>,
    at: u64,
}

impl Reports {
    /// Time between two looks.
    pub(crate) const EVERY: u64 = 1_000_000_000;

    pub(crate) fn new(machines: usize) -> Self {
        Self { last: vec![None; machines], at: 0 }
    }

    /// The machine's report, if it makes one.
    pub(crate) fn of(&self, machine: usize) -> Option<Box<LoadReport>> {
        self.last.get(machine)?.clone().map(Box::new)
    }

    /// Measures anew.
    pub(crate) fn refresh(&mut self, servers: &mut [Server], weather: &Weather<'_>, now: u64) {
        let passed = (now - self.at) as f64;
        self.at = now;
        self.last.resize(servers.len(), None);
        for (machine, server) in servers.iter_mut().enumerate() {
            let (completed, busy) = server.take_usage(now);
            self.last[machine] = weather.allotted(machine).map(|cores| LoadReport {
                cpu_utilization: Some(busy / (passed * cores)),
                rps_fractional: Some(completed as f64 * 1e9 / passed),
                ..LoadReport::default()
            });
        }
    }
}

/// Sets each endpoint's weight to its goodput over its utilization, smoothed: the ratio and not its parts, which the
/// description of scenario 1 leaves open. A second of much work does not count for more than one of little.
#[derive(Debug)]
pub(crate) struct Weigher {
    weights: Weights,
    /// By machine; `None` until it has completed something.
    ratios: Vec<Option<f64>>,
    at: u64,
}

impl Weigher {
    /// What a weight is on average: large enough that rounding does not matter.
    const MEAN: f64 = 500.0;

    pub(crate) fn new(weights: Weights, machines: usize) -> Self {
        Self { weights, ratios: vec![None; machines], at: 0 }
    }

    pub(crate) const fn every(&self) -> u64 {
        self.weights.every.0
    }

    /// The weights by machine.
    pub(crate) fn weigh(&mut self, servers: &mut [Server], weather: &Weather<'_>, now: u64) -> Vec<u32> {
        let passed = (now - self.at) as f64;
        self.at = now;
        self.ratios.resize(servers.len(), None);
        let kept = (-passed / (self.weights.half_life.0 as f64).max(1.0)).exp2();
        for (machine, server) in servers.iter_mut().enumerate() {
            let (completed, busy) = server.take_usage(now);
            let cores = weather.allotted(machine).unwrap_or(1.0);
            self.learn(machine, completed as f64 * cores, busy, kept);
        }
        self.weights()
    }

    /// Without work a machine says nothing, and before it completed anything neither.
    fn learn(&mut self, machine: usize, completed: f64, busy: f64, kept: f64) {
        let before = self.ratios[machine];
        if busy > 0.0 && (completed > 0.0 || before.is_some()) {
            let ratio = completed / busy;
            self.ratios[machine] = Some(before.map_or(ratio, |before| before * kept + ratio * (1.0 - kept)));
        }
    }

    /// Those that say nothing have the mean.
    fn weights(&self) -> Vec<u32> {
        let known: Vec<f64> = self.ratios.iter().flatten().copied().collect();
        let mean = (known.iter().sum::<f64>() / known.len().max(1) as f64).max(f64::MIN_POSITIVE);
        let bounded = |weight: f64| number::small(number::index(number::whole(weight.clamp(1.0, 1000.0))));
        let weight = |ratio: &Option<f64>| bounded(ratio.map_or(1.0, |ratio| ratio / mean) * Self::MEAN);
        self.ratios.iter().map(weight).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;

    /// What machines completed and how busy they were in each look, after which half of what was known before counts.
    fn check(looks: &[&[(f64, f64)]], expect: &[u32]) {
        let second = Span(1_000_000_000);
        let mut weigher = Weigher::new(Weights { every: second, half_life: second }, expect.len());
        for look in looks {
            for (machine, (completed, busy)) in look.iter().enumerate() {
                weigher.learn(machine, *completed, *busy, 0.5);
            }
        }
        assert_eq!(weigher.weights(), expect, "{looks:?}");
    }

    #[test]
    fn weights_follow_what_is_completed_for_what_is_used() {
        check(&[], &[500, 500]);
        check(&[&[(30.0, 1.0), (10.0, 1.0)]], &[750, 250]);
        check(&[&[(30.0, 1.0), (10.0, 1.0)], &[(10.0, 1.0), (30.0, 1.0)]], &[500, 500]);
        check(&[&[(10.0, 1.0), (1000.0, 1.0), (10.0, 1.0)]], &[15, 1000, 15]);
    }

    #[test]
    fn a_machine_that_says_nothing_has_the_mean_or_what_it_had() {
        check(&[&[(0.0, 0.0), (10.0, 1.0), (30.0, 1.0)]], &[500, 250, 750]);
        check(&[&[(0.0, 1.0), (10.0, 1.0), (30.0, 1.0)]], &[500, 250, 750]);
        check(&[&[(30.0, 1.0), (10.0, 1.0)], &[(0.0, 0.0), (10.0, 1.0)]], &[750, 250]);
        check(&[&[(30.0, 1.0), (10.0, 1.0)], &[(0.0, 1.0), (5.0, 0.5)]], &[600, 400]);
    }
}
