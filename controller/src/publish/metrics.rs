//! Metrics of publishing.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

/// Metrics of publishing. Clones are the same metrics.
#[derive(Clone, Debug)]
pub struct PublishMetrics {
    duration: Histogram,
    propagation: Histogram,
    total: IntCounterVec,
}

impl PublishMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If `registry` has one of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = vec![
            0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
            120.0,
        ];
        let duration = HistogramOpts::new(
            "evenkeel_config_push_duration_seconds",
            "From the start of a push to its answer, failed ones included.",
        );
        let duration = Histogram::with_opts(duration.buckets(buckets.clone()))?;
        let propagation = HistogramOpts::new(
            "evenkeel_endpoint_propagation_seconds",
            "From a change of a pool or its endpoints to a proxy's word that its requests follow it, waiting included.",
        );
        let propagation = Histogram::with_opts(propagation.buckets(buckets))?;
        let total = IntCounterVec::new(
            Opts::new(
                "evenkeel_config_push_total",
                "Pushes by result: acknowledged, rejected (of some pool), superseded, unknown_base, failed.",
            ),
            &["result"],
        )?;
        for result in ["acknowledged", "rejected", "superseded", "unknown_base", "failed"] {
            total.with_label_values(&[result]);
        }
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(propagation.clone()))?;
        registry.register(Box::new(total.clone()))?;
        Ok(Self { duration, propagation, total })
    }

    pub(super) fn started(&self) -> prometheus::HistogramTimer {
        self.duration.start_timer()
    }

    pub(super) fn propagated(&self, time: Duration) {
        self.propagation.observe(time.as_secs_f64());
    }

    pub(super) fn ended(&self, result: &str) {
        self.total.with_label_values(&[result]).inc();
    }
}
