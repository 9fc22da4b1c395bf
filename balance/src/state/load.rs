//! What an endpoint last reported of its load.

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
    cpu: AtomicF64,
    memory: AtomicF64,
    /// Nanoseconds, one more than the time; 0 if never.
    at: AtomicU64,
}

/// A copy of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reported {
    /// When.
    pub(crate) at: Time,
    /// The maximum of the configured metrics, else the application's, else the CPU's; above 0.
    pub(crate) utilization: Option<f64>,
    /// Above 0.
    pub(crate) requests_per_second: Option<f64>,
    pub(crate) errors_per_second: Option<f64>,
    pub(crate) cpu: Option<f64>,
    pub(crate) memory: Option<f64>,
}

impl Load {
    pub(crate) fn new() -> Self {
        let nan = || AtomicF64::new(f64::NAN);
        Self {
            utilization: nan(),
            requests_per_second: nan(),
            errors_per_second: nan(),
            cpu: nan(),
            memory: nan(),
            at: AtomicU64::new(0),
        }
    }

    pub(crate) fn record(&self, report: &LoadReport, metrics: &[String], now: Time) {
        let store = |to: &AtomicF64, value: Option<f64>| to.store(value.unwrap_or(f64::NAN));
        store(&self.utilization, utilization(report, metrics));
        store(&self.requests_per_second, report.rps_fractional.filter(|value| *value > 0.0));
        store(&self.errors_per_second, report.eps);
        store(&self.cpu, report.cpu_utilization);
        store(&self.memory, report.mem_utilization);
        self.at.store(now.as_nanos().saturating_add(1), Relaxed);
    }

    pub(crate) fn read(&self) -> Option<Reported> {
        let at = self.at.load(Relaxed).checked_sub(1)?;
        let some = |from: &AtomicF64| Some(from.load()).filter(|value| value.is_finite());
        Some(Reported {
            at: Time::from_nanos(at),
            utilization: some(&self.utilization),
            requests_per_second: some(&self.requests_per_second),
            errors_per_second: some(&self.errors_per_second),
            cpu: some(&self.cpu),
            memory: some(&self.memory),
        })
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
