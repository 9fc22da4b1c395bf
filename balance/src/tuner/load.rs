//! Weights from reported load (gRFC A58).

use std::time::Duration;

use super::{Look, Tuner, mean};
use crate::{Time, WeightedByLoad, plan::Factors, state::Seen};

/// What is known of one endpoint's reports.
#[derive(Debug)]
pub(super) struct Record {
    /// Since when there have been reports without a gap.
    since: Option<Time>,
    /// Requests and errors per second as seen here, for endpoints that report none.
    rates: Option<(f64, f64)>,
    pub(super) seen: Seen,
    /// As of the last computation.
    weight: Option<f64>,
}

impl Record {
    pub(super) const fn new(seen: Seen) -> Self {
        Self { since: None, rates: None, seen, weight: None }
    }
}

impl Tuner {
    /// Follows the reports whatever the algorithm, so that a change to it finds them.
    pub(super) fn tick_load(&mut self, now: Time) {
        let parameters = self.weighted_by_load();
        let interval = parameters.update.max(Duration::from_millis(100));
        let look = self.clocks.load.look(interval, now);
        if matches!(look, Look::Early) {
            return;
        }
        for record in self.records.values_mut() {
            let seen = record.state.seen();
            let since = seen.since(record.load.seen);
            record.load.seen = seen;
            if let Look::Over(passed) = look
                && since.judged > 0
            {
                record.load.rates = Some(rates(since, passed));
            }
            let Some(reported) = record.state.reported(now, parameters.expiration).utilization else {
                record.load.since = None;
                record.load.weight = None;
                continue;
            };
            let began = *record.load.since.get_or_insert(reported.at);
            let usable = now.since(began) >= parameters.blackout;
            // Errors go with requests of the same source: those reported are of all proxies, those seen here of this
            // one.
            let of_report =
                reported.requests_per_second.map(|qps| (qps, reported.errors_per_second.unwrap_or(0.0)));
            record.load.weight = of_report.or(record.load.rates).filter(|_| usable).and_then(|(qps, eps)| {
                let weight = qps / (reported.value + eps / qps * parameters.error_penalty.max(0.0));
                (weight.is_finite() && weight > 0.0).then_some(weight)
            });
        }
    }

    /// Each endpoint's weight beside the mean of those that have one; nothing with fewer than two of them.
    pub(super) fn load_factors(&self, parameters: &WeightedByLoad, now: Time, factors: &mut Factors) {
        let fresh = |record: &super::Record| {
            record
                .load
                .weight
                .filter(|_| record.state.reported(now, parameters.expiration).utilization.is_some())
        };
        for (index, backend) in self.spec.backends.iter().enumerate() {
            let members = || self.members(&backend.endpoints);
            let weights: Vec<_> = members().filter_map(|(_, record)| fresh(record)).collect();
            if weights.len() < 2 {
                continue;
            }
            let Some(mean) = mean(weights.iter().copied()) else { continue };
            for (endpoint, record) in members() {
                if let Some(weight) = fresh(record) {
                    factors.multiply(index, &endpoint.id, weight / mean);
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 requests")]
fn rates(since: Seen, passed: Duration) -> (f64, f64) {
    let seconds = passed.as_secs_f64().max(1e-3);
    (since.judged as f64 / seconds, since.failures as f64 / seconds)
}
