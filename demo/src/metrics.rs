//! What `/metrics` shows: figures counted here or read from the kernel, nothing made up.

use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use prometheus::core::Collector;
use prometheus::{
    Counter, Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use tokio::time::Instant;

use crate::name::Name;
use crate::process;

/// The media type of the Prometheus text format.
pub(crate) const TEXT: &str = prometheus::TEXT_FORMAT;

/// The `code` of a request whose client left before it was answered.
const CANCELLED: &str = "cancelled";

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    started: Instant,
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGauge,
    queued: IntGauge,
    connections: IntGauge,
    uptime: Gauge,
    cpu: Mutex<Counter>,
    // Without labels; as a vector, for it is left out where the kernel does not tell.
    resident: IntGaugeVec,
}

impl Metrics {
    pub(crate) fn new(name: &Name) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let info = Opts::new("evenkeel_demo_info", "Always 1; the labels say who this is.")
            .const_label("name", name.as_str())
            .const_label("version", env!("CARGO_PKG_VERSION"));
        register(&registry, IntGauge::with_opts(info)?)?.set(1);
        let requests = Opts::new(
            "evenkeel_demo_requests_total",
            "Requests by path and status, or cancelled by the client.",
        );
        let durations = HistogramOpts::new(
            "evenkeel_demo_request_duration_seconds",
            "Time from a request's head to its response, queue and latency with it.",
        );
        let resident = Opts::new("process_resident_memory_bytes", "Resident memory size in bytes.");
        let cpu =
            Counter::new("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")?;
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        Ok(Self {
            started: Instant::now(),
            requests: register(&registry, IntCounterVec::new(requests, &["path", "code"])?)?,
            durations: register(&registry, HistogramVec::new(durations, &["path"])?)?,
            in_flight: gauge("evenkeel_demo_requests_in_flight", "Requests not answered yet.")?,
            queued: gauge("evenkeel_demo_requests_queued", "Requests waiting for the concurrency limit.")?,
            connections: gauge("evenkeel_demo_connections_open", "Open connections.")?,
            uptime: register(
                &registry,
                Gauge::new("evenkeel_demo_uptime_seconds", "Time since the start.")?,
            )?,
            cpu: Mutex::new(register(&registry, cpu)?),
            resident: register(&registry, IntGaugeVec::new(resident, &[])?)?,
            registry,
        })
    }

    /// Counts a request, by how the guard ends.
    pub(crate) fn request(&self, path: &'static str) -> RequestGuard<'_> {
        self.in_flight.inc();
        RequestGuard { metrics: self, path, started: Instant::now(), code: None }
    }

    /// Counts a request as waiting until the guard is dropped.
    pub(crate) fn queued(&self) -> GaugeGuard {
        GaugeGuard::new(&self.queued)
    }

    /// Counts a connection as open until the guard is dropped.
    pub(crate) fn connection(&self) -> GaugeGuard {
        GaugeGuard::new(&self.connections)
    }

    pub(crate) fn uptime_seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// All figures as of now, in the Prometheus text format.
    pub(crate) fn text(&self) -> prometheus::Result<String> {
        self.uptime.set(self.uptime_seconds());
        if let Some(bytes) = process::resident_bytes().and_then(|bytes| i64::try_from(bytes).ok()) {
            self.resident.with_label_values::<&str>(&[]).set(bytes);
        }
        {
            let cpu = self.cpu.lock().unwrap_or_else(PoisonError::into_inner);
            cpu.inc_by((process::cpu_time().as_secs_f64() - cpu.get()).max(0.0));
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// A request under way.
pub(crate) struct RequestGuard<'a> {
    metrics: &'a Metrics,
    path: &'static str,
    started: Instant,
    code: Option<StatusCode>,
}

impl RequestGuard<'_> {
    pub(crate) fn answered(mut self, code: StatusCode) {
        self.code = Some(code);
    }
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        let code = self.code.as_ref().map_or(CANCELLED, StatusCode::as_str);
        self.metrics.in_flight.dec();
        self.metrics.requests.with_label_values(&[self.path, code]).inc();
        let duration = self.started.elapsed().as_secs_f64();
        self.metrics.durations.with_label_values(&[self.path]).observe(duration);
    }
}

/// Something that a gauge counts while it lasts.
pub(crate) struct GaugeGuard(IntGauge);

impl GaugeGuard {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown() {
        let metrics = Metrics::new(&"one".parse().unwrap()).unwrap();
        metrics.request("/").answered(StatusCode::OK);
        drop(metrics.request("/echo"));
        let _connection = metrics.connection();
        let text = metrics.text().unwrap();
        for line in [
            "evenkeel_demo_requests_total{code=\"200\",path=\"/\"} 1",
            "evenkeel_demo_requests_total{code=\"cancelled\",path=\"/echo\"} 1",
            "evenkeel_demo_request_duration_seconds_count{path=\"/\"} 1",
            "evenkeel_demo_requests_in_flight 0",
            "evenkeel_demo_connections_open 1",
            "evenkeel_demo_info{name=\"one\",version=\"0.1.0\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
        for family in ["process_cpu_seconds_total", "process_resident_memory_bytes"] {
            let line = text.lines().find_map(|line| line.strip_prefix(family)).unwrap();
            assert!(line.trim().parse::<f64>().unwrap() > 0.0, "{family}{line}");
        }
    }
}
