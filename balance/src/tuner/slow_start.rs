//! New endpoints take less at first.

use super::{Record, Tuner};
use crate::{Algorithm, Backend, Endpoint, SlowStart, Time, plan::Factors};

/// Steps in which the weight rises with algorithms by key, so that tables are not built at every tick.
const KEY_STEPS: f64 = 10.0;

impl Tuner {
    /// Multiplies the factors of endpoints that are new.
    pub(super) fn slow_start(&self, algorithm: &Algorithm, now: Time, factors: &mut Factors) {
        let Some(slow_start) = &self.spec.slow_start else { return };
        for (index, backend) in self.spec.backends.iter().enumerate() {
            if self.most_are_new(backend, slow_start, now) {
                continue;
            }
            for (endpoint, record) in self.members(&backend.endpoints) {
                let mut factor = factor(slow_start, endpoint, record, now);
                if algorithm.is_by_key() {
                    factor = (factor * KEY_STEPS).ceil() / KEY_STEPS;
                }
                factors.multiply(index, &endpoint.id, factor);
            }
        }
    }

    fn most_are_new(&self, backend: &Backend, slow_start: &SlowStart, now: Time) -> bool {
        let serving =
            backend.endpoints.iter().filter(|each| each.weight > 0 && each.healthy && !each.terminating);
        let (mut all, mut new) = (0, 0);
        for endpoint in serving {
            all += 1;
            let ready = endpoint.ready_since.is_some_and(|since| now.since(since) < slow_start.window);
            new += usize::from(ready);
        }
        new * 2 > all
    }
}

fn factor(slow_start: &SlowStart, endpoint: &Endpoint, record: &Record, now: Time) -> f64 {
    let since = endpoint.ready_since.max(record.ejection.readmitted());
    let window = slow_start.window.as_secs_f64();
    let Some(age) = since.map(|since| now.since(since).as_secs_f64()).filter(|age| *age < window) else {
        return 1.0;
    };
    (age / window).powf(1.0 / slow_start.aggression.max(1e-3)).clamp(slow_start.min.clamp(1e-3, 1.0), 1.0)
}
