//! Metrics of the config channel at this end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use prometheus::{
    Gauge, IntCounterVec, IntGauge, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::{Received, Source};

/// Metrics of the config channel. Clones are the same metrics.
#[derive(Clone, Debug)]
pub struct ControlMetrics {
    answers: IntCounterVec,
    epoch: IntGauge,
    revision: IntGauge,
    rejected: IntGauge,
    from_disk: IntGauge,
    contact: Arc<AtomicU64>,
}

impl ControlMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// If `registry` has one of these names already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let answers = IntCounterVec::new(
            Opts::new("evenkeel_config_answers_total", "Answers to PUT and PATCH, by HTTP status."),
            &["status"],
        )?;
        let gauge = |name: &str, help: &str| IntGauge::with_opts(Opts::new(name, help));
        let metrics = Self {
            answers,
            epoch: gauge("evenkeel_config_epoch", "Leadership that sent the pools; 0 before one did.")?,
            revision: gauge("evenkeel_config_revision", "Revision received, within the epoch.")?,
            rejected: gauge(
                "evenkeel_config_rejected_pools",
                "Pools rejected, which keep their last good version.",
            )?,
            from_disk: gauge(
                "evenkeel_config_from_disk",
                "1 while the pools are those kept from before a restart.",
            )?,
            contact: Arc::default(),
        };
        registry.register(Box::new(metrics.answers.clone()))?;
        for gauge in [&metrics.epoch, &metrics.revision, &metrics.rejected, &metrics.from_disk] {
            registry.register(Box::new(gauge.clone()))?;
        }
        registry.register(Box::new(Age::new(metrics.contact.clone())?))?;
        Ok(metrics)
    }

    pub(super) fn contact(&self) -> Arc<AtomicU64> {
        self.contact.clone()
    }

    pub(super) fn answered(&self, status: http::StatusCode) {
        self.answers.with_label_values(&[status.as_str()]).inc();
    }

    pub(super) fn received(&self, received: &Received) {
        let (epoch, revision) = received.position();
        self.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
        self.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        self.rejected.set(i64::try_from(received.rejected_pools()).unwrap_or(i64::MAX));
        self.from_disk.set(i64::from(received.source() == Source::Disk));
    }
}

/// Computed when it is asked for; absent until there is something to tell the age of.
struct Age {
    contact: Arc<AtomicU64>,
    gauge: Gauge,
}

impl Age {
    fn new(contact: Arc<AtomicU64>) -> Result<Self, prometheus::Error> {
        let help = "Seconds since a controller last confirmed the pools in use, also across a restart.";
        Ok(Self { contact, gauge: Gauge::with_opts(Opts::new("evenkeel_config_age_seconds", help))? })
    }
}

impl Collector for Age {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let contact = self.contact.load(Ordering::Relaxed);
        if contact == 0 {
            return Vec::new();
        }
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(contact);
        self.gauge.set(SystemTime::now().duration_since(since).unwrap_or_default().as_secs_f64());
        self.gauge.collect()
    }
}
