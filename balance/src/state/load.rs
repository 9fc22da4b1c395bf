//! What an endpoint last reported of its load.

use std::time::Duration;

use crate::{
    Time,
    orca::LoadReport,
    sync::{AtomicF64, AtomicU64, Relaxed},
};

/// Numbers not reported are NaN. Threads write without a lock: two reports at once may mix, and the next one mends it.
#[derive(Debug)]
pub(crate) struct Load {
    utilization: AtomicF64,
    requests_per_second: AtomicF64,
    errors_per_second: AtomicF64,
    /// Of the last report with a utilization: one without does not take that back (gRFC A58).
    utilization_at: At,
    cpu: AtomicF64,
    memory: AtomicF64,
    /// Of the last report.
    at: At,
}

/// Nanoseconds, one more than the time; 0 if never.
#[derive(Debug)]
struct At(AtomicU64);

/// A copy of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Reported {
    pub(crate) utilization: Option<Utilization>,
    pub(crate) cpu: Option<f64>,
    pub(crate) memory: Option<f64>,
}

/// How busy an endpoint says it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Utilization {
    /// When it said so.
    pub(crate) at: Time,
    /// The maximum of the configured metrics, else the application's, else the CPU's; above 0.
    pub(crate) value: f64,
    /// Above 0.
    pub(crate) requests_per_second: Option<f64>,
    pub(crate) errors_per_second: Option<f64>,
}

impl At {
    fn set(&self, now: Time) {
        self.0.store(now.as_nanos().saturating_add(1), Relaxed);
    }

    /// When, if that is not longer ago than `max_age`.
    fn within(&self, now: Time, max_age: Duration) -> Option<Time> {
        let at = Time::from_nanos(self.0.load(Relaxed).checked_sub(1)?);
        (now.since(at) <= max_age).then_some(at)
    }
}

impl Load {
    pub(crate) fn new() -> Self {
        let nan = || AtomicF64::new(f64::NAN);
        let never = || At(AtomicU64::new(0));
        Self {
            utilization: nan(),
            requests_per_second: nan(),
            errors_per_second: nan(),
            utilization_at: never(),
            cpu: nan(),
            memory: nan(),
            at: never(),
        }
    }

    pub(crate) fn record(&self, report: &LoadReport, metrics: &[String], now: Time) {
        let store = |to: &AtomicF64, value: Option<f64>| to.store(value.unwrap_or(f64::NAN));
        if let Some(utilization) = utilization(report, metrics) {
            self.utilization.store(utilization);
            store(&self.requests_per_second, report.rps_fractional.filter(|value| *value > 0.0));
            store(&self.errors_per_second, report.eps);
            self.utilization_at.set(now);
        }
        store(&self.cpu, report.cpu_utilization);
        store(&self.memory, report.mem_utilization);
        self.at.set(now);
    }

    /// What was reported within `max_age`.
    pub(crate) fn read(&self, now: Time, max_age: Duration) -> Reported {
        let some = |from: &AtomicF64| Some(from.load()).filter(|value| value.is_finite());
        let utilization = self.utilization_at.within(now, max_age).map(|at| Utilization {
            at,
            value: self.utilization.load(),
            requests_per_second: some(&self.requests_per_second),
            errors_per_second: some(&self.errors_per_second),
        });
        let fresh = self.at.within(now, max_age).is_some();
        let fresh = |from| some(from).filter(|_| fresh);
        Reported { utilization, cpu: fresh(&self.cpu), memory: fresh(&self.memory) }
    }
}

/// As gRFC A58 has it.
fn utilization(report: &LoadReport, metrics: &[String]) -> Option<f64> {
    let positive = |value: &f64| *value > 0.0;
    let named = metrics.iter().filter_map(|name| report.metric(name)).filter(positive).reduce(f64::max);
    named
        .or_else(|| report.application_utilization.filter(positive))
        .or_else(|| report.cpu_utilization.filter(positive))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_configured_metrics_come_first() {
        let mut report = LoadReport { cpu_utilization: Some(0.3), ..LoadReport::default() };
        let named = ["gpu".to_owned(), "io".to_owned()];
        assert_eq!(utilization(&report, &named), Some(0.3));
        report.application_utilization = Some(0.8);
        assert_eq!(utilization(&report, &named), Some(0.8));
        report.utilization = vec![("gpu".to_owned(), 0.5), ("io".to_owned(), 0.6)];
        assert_eq!(utilization(&report, &named), Some(0.6));
        assert_eq!(utilization(&report, &[]), Some(0.8));
    }
}
