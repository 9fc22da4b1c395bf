//! What `/metrics` shows. Every name of the controller's is defined here.

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry, TextEncoder, core::Collector,
    proto::MetricFamily,
};

/// Seconds, from half a millisecond to two minutes.
pub const BUCKETS_SECONDS: [f64; 17] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// The controller's figures. Cheap to clone: all clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// 1 while this replica leads.
    pub leader: IntGauge,
    /// 1 once every watch has had its first full list.
    pub synced: IntGauge,
    /// Revision of the newest configuration that this replica published, within its epoch.
    pub config_revision: IntGauge,
    reconcile_duration: Histogram,
    /// Of the source.
    pub source: SourceMetrics,
    /// Of the writer.
    pub writes: WriteMetrics,
}

/// Figures of watching.
#[derive(Clone, Debug)]
pub struct SourceMetrics(IntCounterVec);

impl SourceMetrics {
    pub(crate) fn failed(&self, kind: &str) {
        self.0.with_label_values(&[kind]).inc();
    }
}

/// Figures of writing.
#[derive(Clone, Debug)]
pub struct WriteMetrics {
    total: IntCounterVec,
    /// Objects that wait to be written, or are being written.
    pub(crate) pending: IntGauge,
}

impl WriteMetrics {
    pub(crate) fn done(&self, kind: &str, result: &str) {
        self.total.with_label_values(&[kind, result]).inc();
    }
}

impl Metrics {
    /// All figures, at zero.
    ///
    /// # Errors
    /// None that a test would not find: a name that is not valid, or there twice.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        let build = Opts::new("evenkeel_controller_build_info", "Always 1; the label tells the version.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        register(&registry, IntGauge::with_opts(build)?)?.set(1);
        let errors = Opts::new("evenkeel_controller_watch_errors_total", "Watches that failed, by resource.");
        let writes = Opts::new(
            "evenkeel_controller_writes_total",
            "Attempts to write an object, by kind and result; foreign: left alone, for it is not ours.",
        );
        let reconcile = HistogramOpts::new(
            "evenkeel_controller_reconcile_duration_seconds",
            "Time from taking a batch of events to having its configuration and effects.",
        )
        .buckets(BUCKETS_SECONDS.to_vec());
        Ok(Self {
            leader: gauge("evenkeel_controller_leader", "1 while this replica leads.")?,
            synced: gauge("evenkeel_controller_synced", "1 once every watch has had its first full list.")?,
            config_revision: gauge(
                "evenkeel_controller_config_revision",
                "Revision of the newest configuration published, within the epoch.",
            )?,
            reconcile_duration: register(&registry, Histogram::with_opts(reconcile)?)?,
            source: SourceMetrics(register(&registry, IntCounterVec::new(errors, &["resource"])?)?),
            writes: WriteMetrics {
                total: register(&registry, IntCounterVec::new(writes, &["kind", "result"])?)?,
                pending: gauge(
                    "evenkeel_controller_writes_pending",
                    "Objects that wait to be written, or are being written.",
                )?,
            },
            registry,
        })
    }

    /// Where other parts of the program register figures of their own.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A batch of events took this long to become configuration and effects.
    pub fn reconciled(&self, took: Duration) {
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// All figures, and those of `others` in this process, in the Prometheus text format.
    ///
    /// # Errors
    /// Where a collector made an empty family.
    pub fn encode(&self, others: Vec<MetricFamily>) -> prometheus::Result<Vec<u8>> {
        let mut families = self.registry.gather();
        for family in others {
            match families.iter_mut().find(|known| known.name() == family.name()) {
                Some(known) => known.mut_metric().extend(family.get_metric().iter().cloned()),
                None => families.push(family),
            }
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_was_counted() {
        let metrics = Metrics::new().unwrap();
        metrics.leader.set(1);
        metrics.writes.done("status", "applied");
        metrics.source.failed("services");
        metrics.reconciled(Duration::from_millis(2));
        let text = String::from_utf8(metrics.encode(Vec::new()).unwrap()).unwrap();
        for line in [
            "evenkeel_controller_leader 1",
            "evenkeel_controller_writes_total{kind=\"status\",result=\"applied\"} 1",
            "evenkeel_controller_watch_errors_total{resource=\"services\"} 1",
            "evenkeel_controller_reconcile_duration_seconds_bucket{le=\"0.0025\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
    }
}
