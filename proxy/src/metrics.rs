//! All metrics of the program.
//!
//! What belongs to a pool or an endpoint hangs on it ([`PoolMetrics`], [`EndpointMetrics`]) and is shown while it
//! exists: a request touches only those handles, no label is looked up on its way, and series go with what they
//! describe.

pub(crate) mod family;
pub(crate) mod process;
mod recent;

pub(crate) use recent::{Recent, Summary};

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use evenkeel_balance::Time;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    core::Collector, proto::MetricFamily,
};

use crate::{
    limits,
    request::{queue::Queue, sampling::LastSample},
    room::Room,
};

/// The media type of the Prometheus text format.
pub const TEXT: &str = prometheus::TEXT_FORMAT;

/// Upper bounds of all histograms of durations, in seconds.
const BUCKETS: [f64; 18] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0,
    120.0,
];
/// The `code` of a request whose client went away before the response's head.
const CANCELLED: &str = "cancelled";

/// What is counted of the whole process, and what the config channel tells.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub(crate) connections: IntGauge,
    pub(crate) connections_total: IntCounter,
    pub(crate) connections_refused_total: IntCounterVec,
    pub(crate) endpoint_connections: IntGauge,
    pub(crate) health_checks_total: IntCounterVec,
    /// Responses made for requests that belong to no pool.
    poolless: Tally<(&'static str, u16)>,
    endpoint_series: Arc<AtomicUsize>,
    max_endpoint_series: usize,
}

impl Metrics {
    /// All at zero. `endpoint_series`: whether endpoints have series of their own.
    pub(crate) fn new(endpoint_series: bool) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help)?);
        let counters = |name: &str, help: &str, label: &str| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
        };
        let info = Opts::new("evenkeel_build_info", "Always 1; the labels say what this is.")
            .const_label("component", "proxy")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        register(&registry, IntGauge::with_opts(info)?)?.set(1);
        let accepted = IntCounter::new("evenkeel_connections_total", "Connections accepted from clients.")?;
        Ok(Self {
            connections: gauge("evenkeel_connections", "Open connections from clients.")?,
            connections_total: register(&registry, accepted)?,
            connections_refused_total: counters(
                "evenkeel_connections_refused_total",
                "Connections from clients closed at once, for want of room.",
                "reason",
            )?,
            endpoint_connections: gauge("evenkeel_endpoint_connections", "Open connections to endpoints.")?,
            health_checks_total: counters("evenkeel_health_checks_total", "Checks of endpoints.", "result")?,
            poolless: Tally::default(),
            endpoint_series: Arc::default(),
            max_endpoint_series: if endpoint_series { limits::ENDPOINT_SERIES } else { 0 },
            registry,
        })
    }

    /// Where the config channel registers its figures.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Counts a response that the proxy made itself.
    pub(crate) fn made(&self, pool: Option<&PoolMetrics>, reason: &'static str, code: u16) {
        pool.map_or(&self.poolless, |pool| &pool.made).add((reason, code));
    }

    /// Metrics of a new endpoint; with series of its own while there is room.
    pub(crate) fn endpoint(&self) -> EndpointMetrics {
        let room = |taken: usize| (taken < self.max_endpoint_series).then_some(taken + 1);
        let series = self.endpoint_series.fetch_update(Relaxed, Relaxed, room).is_ok();
        let duration = series.then(duration_histogram);
        EndpointMetrics {
            duration,
            recent: Recent::default(),
            sample: LastSample::default(),
            probes: Room::new(limits::PROBES_OF_ENDPOINT_AT_ONCE),
            taken: Arc::clone(&self.endpoint_series),
        }
    }

    /// All figures as of now: those of the process, and of `pools`.
    pub(crate) fn gather(&self, pools: &[PoolFigures<'_>]) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        families.extend(process::gather());
        families.extend(family::of_pools(pools, &self.poolless.all()));
        families.sort_by(|one, two| one.name().cmp(two.name()));
        families
    }
}

/// The figures in the Prometheus text format.
pub(crate) fn text(families: &[MetricFamily]) -> prometheus::Result<String> {
    TextEncoder::new().encode_to_string(families)
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[expect(clippy::expect_used, reason = "fixed options, which a test makes too")]
fn duration_histogram() -> Histogram {
    let options = HistogramOpts::new("duration", "Named where it is shown.").buckets(BUCKETS.to_vec());
    Histogram::with_opts(options).expect("the buckets are sorted and the name is valid")
}

/// A pool as it is shown.
pub(crate) struct PoolFigures<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) metrics: &'a PoolMetrics,
    pub(crate) queue: &'a Queue,
    /// The algorithm in use.
    pub(crate) algorithm: &'static str,
    /// Each backend, and whether its requests go to all endpoints for want of healthy ones.
    pub(crate) backends: Vec<(&'a str, bool)>,
    pub(crate) endpoints: Vec<EndpointFigures<'a>>,
}

/// An endpoint as it is shown.
pub(crate) struct EndpointFigures<'a> {
    pub(crate) address: String,
    pub(crate) pod: Option<&'a str>,
    pub(crate) up: bool,
    pub(crate) weight: u32,
    /// With all that adapts it; 0 if it takes no new requests.
    pub(crate) effective_weight: f64,
    /// Smoothed, in seconds, as far as it is measured.
    pub(crate) response_time: Option<f64>,
    /// Why it is ejected.
    pub(crate) ejected: Option<&'static str>,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) in_flight: u64,
    pub(crate) metrics: &'a EndpointMetrics,
}

/// What is counted of a pool. Survives pushes.
#[derive(Debug)]
pub(crate) struct PoolMetrics {
    /// Responses by status, from 0 to 999.
    codes: Box<[AtomicU64]>,
    cancelled: AtomicU64,
    active: AtomicU64,
    duration: Histogram,
    /// Of endpoints that have no series of their own.
    endpoint_duration: Histogram,
    pub(crate) retries: Tally<&'static str>,
    /// Requests that were sent again, by what became of them.
    pub(crate) retried: Tally<&'static str>,
    /// Requests that were not sent again for want of budget.
    pub(crate) retries_refused: AtomicU64,
    /// Requests that named an algorithm, by that.
    pub(crate) overrides: Tally<&'static str>,
    /// Requests of a pool with sessions that an endpoint answered, by `affinity::Course`.
    pub(crate) sessions: Counts<4>,
    /// Endpoints taken out for how they answer, by reason.
    pub(crate) ejections: Tally<&'static str>,
    /// Responses that broke after their head, by reason.
    pub(crate) broken: Tally<&'static str>,
    /// Reports of load by what became of them.
    pub(crate) load_reports: LoadReports,
    /// Probes of load by what became of them, by `sampling::Probed`.
    pub(crate) probes: Counts<5>,
    /// Pages of endpoints' metrics by what became of them, by `usage::Reading`.
    pub(crate) usage_pages: Counts<7>,
    made: Tally<(&'static str, u16)>,
}

impl PoolMetrics {
    pub(crate) fn new() -> Self {
        Self {
            codes: std::iter::repeat_with(AtomicU64::default).take(1000).collect(),
            cancelled: AtomicU64::default(),
            active: AtomicU64::default(),
            duration: duration_histogram(),
            endpoint_duration: duration_histogram(),
            retries: Tally::default(),
            retried: Tally::default(),
            retries_refused: AtomicU64::default(),
            overrides: Tally::default(),
            sessions: Counts::new(["begun", "kept", "moved", "passed_over"]),
            ejections: Tally::default(),
            broken: Tally::default(),
            load_reports: LoadReports::default(),
            probes: Counts::new(["answered", "late", "failed", "invalid", "skipped"]),
            usage_pages: Counts::new(["read", "missing", "reset", "invalid", "too_large", "late", "failed"]),
            made: Tally::default(),
        }
    }

    /// Responses sent to clients, those that the proxy made itself included.
    pub(crate) fn responses(&self) -> u64 {
        self.codes.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// A request begins.
    pub(crate) fn begin(&self) {
        self.active.fetch_add(1, Relaxed);
    }

    /// A request ends, with this status or before it had any.
    pub(crate) fn end(&self, code: Option<u16>, duration: Duration) {
        self.active.fetch_sub(1, Relaxed);
        self.duration.observe(duration.as_secs_f64());
        let count = code.and_then(|code| self.codes.get(usize::from(code)));
        count.unwrap_or(&self.cancelled).fetch_add(1, Relaxed);
    }

    /// A response was given to what never became a request.
    pub(crate) fn answered(&self, code: u16) {
        if let Some(count) = self.codes.get(usize::from(code)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// An endpoint has given the head of its response.
    pub(crate) fn endpoint_answered(
        &self,
        endpoint: &EndpointMetrics,
        duration: Duration,
        is_failure: bool,
        now: Time,
    ) {
        endpoint.recent.answered(duration, is_failure, now);
        endpoint.duration.as_ref().unwrap_or(&self.endpoint_duration).observe(duration.as_secs_f64());
    }
}

/// Counters of which there are few, and which nobody waits for.
#[derive(Debug)]
pub(crate) struct Counts<const N: usize> {
    names: [&'static str; N],
    counts: [AtomicU64; N],
}

impl<const N: usize> Counts<N> {
    fn new(names: [&'static str; N]) -> Self {
        Self { names, counts: std::array::from_fn(|_| AtomicU64::default()) }
    }

    /// Adds one to that of this place; to none if there is no such place.
    pub(crate) fn add(&self, place: usize) {
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// All of them, in the order of their places.
    pub(crate) fn each(&self) -> [u64; N] {
        std::array::from_fn(|place| self.counts[place].load(Relaxed))
    }

    /// Those that are not 0, by name.
    pub(crate) fn all(&self) -> BTreeMap<&'static str, u64> {
        let all = self.names.into_iter().zip(&self.counts).map(|(name, count)| (name, count.load(Relaxed)));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// Reports of load. One comes with each response, so nobody waits for a lock here.
#[derive(Debug, Default)]
pub(crate) struct LoadReports {
    taken: AtomicU64,
    invalid: AtomicU64,
}

impl LoadReports {
    pub(crate) fn add(&self, is_valid: bool) {
        let count = if is_valid { &self.taken } else { &self.invalid };
        count.fetch_add(1, Relaxed);
    }

    /// Those that there were, by what became of them.
    pub(crate) fn all(&self) -> BTreeMap<&'static str, u64> {
        let counts = [("taken", self.taken.load(Relaxed)), ("invalid", self.invalid.load(Relaxed))];
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

/// What is measured of an endpoint, beside what the balancer counts. Survives pushes.
#[derive(Debug)]
pub(crate) struct EndpointMetrics {
    /// Absent if the endpoint has no series of its own.
    duration: Option<Histogram>,
    pub(crate) recent: Recent,
    /// What it last reported of its load, for Prequal.
    pub(crate) sample: LastSample,
    /// Room for probes of it.
    pub(crate) probes: Room,
    taken: Arc<AtomicUsize>,
}

impl Drop for EndpointMetrics {
    fn drop(&mut self) {
        if self.duration.is_some() {
            self.taken.fetch_sub(1, Relaxed);
        }
    }
}

/// Counters by a key of which there are few, for what is rare.
#[derive(Debug)]
pub(crate) struct Tally<K>(Mutex<BTreeMap<K, u64>>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone> Tally<K> {
    pub(crate) fn add(&self, key: K) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }

    pub(crate) fn all(&self) -> BTreeMap<K, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn sum(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}
