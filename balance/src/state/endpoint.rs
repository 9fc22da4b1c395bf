//! What is learned of one endpoint.

use std::{sync::Arc, time::Duration};

use super::{
    Count, Counters, Reported, Shared, Trial,
    block::{LEN, WorkerCounts},
    estimate::LatencyEstimate,
    load::Load,
    response_time::ResponseTime,
    trial::Probation,
};
use crate::{
    Outcome, Status, Time,
    pick::Verdict,
    sync::{AtomicBool, Relaxed},
    time::{nanos, nanos_f64},
};

/// Longest Retry-After that counts, in nanoseconds.
const MAX_RETRY_AFTER: f64 = 300e9;

/// What is learned of one endpoint. Shared by all threads without a lock; every access is relaxed, since it only
/// informs.
#[derive(Debug)]
#[repr(C)]
pub struct EndpointState {
    /// First, and not on a line of their own: a request that is counted together writes them and the count of owners
    /// before them, and two lines would move between threads that take turns at the endpoint in place of one.
    counters: Counters,
    response_time: ResponseTime,
    shared: Arc<Shared>,
    probation: Probation,
    /// The last request that was judged failed, or was refused with 429.
    failing: AtomicBool,
    estimate: LatencyEstimate,
    load: Load,
    number: u64,
    /// What workers count apart of its block, by worker, and its place there.
    apart: Arc<[WorkerCounts]>,
    place: usize,
}

/// A reading of what only ever grows, for differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) judged: u64,
    pub(crate) failures: u64,
    pub(crate) measured: u64,
    pub(crate) latency_nanos: u64,
}

impl Seen {
    /// What came since `before`.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            judged: self.judged.saturating_sub(before.judged),
            failures: self.failures.saturating_sub(before.failures),
            measured: self.measured.saturating_sub(before.measured),
            latency_nanos: self.latency_nanos.saturating_sub(before.latency_nanos),
        }
    }
}

impl EndpointState {
    pub(super) fn new(shared: Arc<Shared>, number: u64, apart: Arc<[WorkerCounts]>, place: usize) -> Self {
        Self {
            counters: Counters::new(),
            response_time: ResponseTime::new(),
            shared,
            probation: Probation::new(),
            failing: AtomicBool::new(false),
            estimate: LatencyEstimate::new(),
            load: Load::new(),
            number,
            apart,
            place,
        }
    }

    /// Requests picked and not ended. O(workers).
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight_with(true)
    }

    /// The same, if those need not be added that are counted apart.
    #[inline]
    pub(crate) fn in_flight_with(&self, apart: bool) -> u64 {
        self.counters.together.in_flight() + self.in_flight_apart_if(apart)
    }

    #[inline]
    fn in_flight_apart_if(&self, apart: bool) -> u64 {
        if apart { self.in_flight_apart() } else { 0 }
    }

    pub(super) fn in_flight_apart(&self) -> u64 {
        self.counted_apart().map(Count::in_flight).sum()
    }

    pub(super) fn requests_apart(&self) -> u64 {
        self.counted_apart().map(Count::started).sum()
    }

    fn counted_apart(&self) -> impl Iterator<Item = &Count> {
        self.apart.iter().map(|counts| &counts[self.place % LEN])
    }

    /// Requests picked so far. O(workers).
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.counters.together.started() + self.requests_apart()
    }

    /// Requests that failed at the endpoint so far.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.counters.failures()
    }

    /// Peak EWMA of the latency in nanoseconds, as it has fallen by now; `None` if nothing was measured.
    #[must_use]
    pub fn response_time_nanos(&self, now: Time) -> Option<f64> {
        self.response_time.read(now, self.shared.rules.decay.load())
    }

    /// What a request may expect with `load` in flight, itself included, in nanoseconds, as Prequal's in-band samples
    /// have it: as was measured at about that load, else what is usual in the pool. With nothing else in flight, 0
    /// where nothing is known.
    #[must_use]
    #[inline]
    pub fn expected_nanos(&self, load: u64, now: Time) -> f64 {
        // One that has nothing in flight and of which nothing is known goes first: once, since then it has.
        let unknown = if load <= 1 { 0.0 } else { self.shared.rules.mean_latency.load() };
        self.estimate_nanos(load, now).unwrap_or(unknown)
    }

    /// Peak EWMA by another time of decay, in nanoseconds.
    pub(crate) fn response_time(&self, now: Time, decay_nanos: f64) -> Option<f64> {
        self.response_time.read(now, decay_nanos)
    }

    /// What an error counts as at least, as long as the last request but cancelled ones was one (a 429 too), and is not
    /// forgotten.
    pub(crate) fn failing_nanos(&self, now: Time) -> Option<f64> {
        let known = self.failing.load(Relaxed).then(|| self.estimate.at(1, now)).flatten();
        known.map(|known| known.max(self.shared.rules.error_penalty.load()))
    }

    /// What a request may expect with `load` in flight, itself included, in nanoseconds.
    #[inline]
    pub(crate) fn estimate_nanos(&self, load: u64, now: Time) -> Option<f64> {
        self.estimate.at_beside(load, now, self.shared.rules.mean_latency.load())
    }

    /// The last report, as far as it is not older than `max_age`.
    pub(crate) fn reported(&self, now: Time, max_age: Duration) -> Reported {
        self.load.read(now, max_age)
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen {
            judged: self.counters.judged(),
            failures: self.counters.failures(),
            measured: self.counters.measured(),
            latency_nanos: self.counters.latency_nanos(),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn trial(&self) -> Trial {
        self.probation.stands()
    }

    pub(crate) fn set_trial(&self, trial: Trial) {
        self.probation.set(trial);
    }

    pub(crate) fn take_trial(&self) -> bool {
        self.probation.take()
    }

    pub(crate) fn trial_ended(&self, verdict: Verdict) {
        self.probation.end(verdict);
        self.shared.set_urgent();
    }

    /// Begins a request that is counted together with the others; how many are in flight with it.
    #[inline]
    pub(super) fn begin_together(&self, pool: &Shared) -> u32 {
        let in_flight = self.counters.together.begin_seen() + self.in_flight_apart_if(pool.apart.may_be());
        u32::try_from(in_flight).unwrap_or(u32::MAX)
    }

    /// The same, unless `max` are in flight already.
    pub(super) fn begin_together_below(&self, max: u32, pool: &Shared) -> Option<u32> {
        let apart = self.in_flight_apart_if(pool.apart.may_be());
        let in_flight = apart + self.counters.together.begin_below(u64::from(max).saturating_sub(apart))?;
        Some(u32::try_from(in_flight).unwrap_or(u32::MAX))
    }

    #[inline]
    pub(super) fn end_together(&self) {
        self.counters.together.end();
    }

    /// What it shares with the pool's other endpoints.
    pub(crate) fn pool(&self) -> &Shared {
        &self.shared
    }

    /// By which it is known where identities are too long: no other of the pool has it, nor ever had.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Learns from how a request ended that began with `load` in flight. Without a load, nothing of what a request may
    /// expect at one: only Prequal goes by that, and with Prequal in play requests are counted together.
    pub(crate) fn learn(&self, outcome: &Outcome, verdict: Verdict, load: Option<u32>) {
        self.counters.judge(verdict);
        match verdict {
            Verdict::Cancelled => {}
            Verdict::Good | Verdict::Neutral => self.set_failing(false),
            Verdict::Overloaded | Verdict::ServerError | Verdict::GatewayError => self.set_failing(true),
        }
        let rules = &self.shared.rules;
        if let Some(report) = outcome.load.as_deref().filter(|_| verdict != Verdict::Cancelled) {
            self.load.record(report, &rules.metrics.load(), outcome.now);
        }
        let counts_as = match verdict {
            Verdict::Cancelled => return self.waited_in_vain(outcome, load),
            Verdict::Neutral => return,
            Verdict::Good => {
                let latency = nanos_f64(outcome.latency);
                self.counters.measure(nanos(outcome.latency));
                if rules.mean_latency.load() <= 0.0 {
                    rules.mean_latency.store(latency);
                }
                latency
            }
            Verdict::Overloaded | Verdict::ServerError | Verdict::GatewayError => {
                if self.counters.server_errors() >= rules.urgent_errors.load(Relaxed) {
                    self.shared.set_urgent();
                }
                let asked = outcome.retry_after.map_or(0.0, nanos_f64).min(MAX_RETRY_AFTER);
                // Of what was no answer, the client's upload may be a part.
                let took = if matches!(outcome.status, Status::Answered(_)) {
                    nanos_f64(outcome.latency)
                } else {
                    0.0
                };
                rules.error_penalty.load().max(asked).max(took)
            }
        };
        self.response_time.record(counts_as, outcome.now, rules.decay.load());
        if let Some(load) = load {
            self.estimate.record(load, counts_as, outcome.now);
        }
    }

    fn set_failing(&self, failing: bool) {
        // A write that changes nothing would still take the line from the other threads.
        if self.failing.load(Relaxed) != failing {
            self.failing.store(failing, Relaxed);
        }
    }

    /// What failed last does not count any more, nor do errors in a row.
    pub(crate) fn forget_errors(&self) {
        self.counters.forget_row();
        self.set_failing(false);
    }

    /// An answer would have taken this long at least. Of one of which nothing is known that is news if it is above the
    /// pool's mean: it would go first again and again otherwise, and lose a request each time.
    fn waited_in_vain(&self, outcome: &Outcome, load: Option<u32>) {
        let waited = nanos_f64(outcome.latency);
        let decay = self.shared.rules.decay.load();
        let mean = self.shared.rules.mean_latency.load();
        let worse =
            |known: Option<f64>| waited > known.unwrap_or(if mean > 0.0 { mean } else { f64::INFINITY });
        if worse(self.response_time.read(outcome.now, decay)) {
            self.response_time.record(waited, outcome.now, decay);
        }
        if let Some(load) = load.filter(|load| worse(self.estimate.at(u64::from(*load), outcome.now))) {
            self.estimate.record(load, waited, outcome.now);
        }
    }
}
