//! What every request counts. They only inform, so every access is relaxed.

use crate::{
    pick::Verdict,
    sync::{AtomicU32, AtomicU64, Relaxed},
};

/// Counters of one endpoint; none ever decreases, so that a reader needs only the differences.
#[derive(Debug)]
pub(crate) struct Counters {
    started: AtomicU64,
    ended: AtomicU64,
    /// Ended otherwise than cancelled.
    judged: AtomicU64,
    failures: AtomicU64,
    /// Answers whose latency counts, and the sum of those latencies in nanoseconds.
    measured: AtomicU64,
    latency: AtomicU64,
    /// In a row.
    server_errors: AtomicU32,
    gateway_errors: AtomicU32,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            judged: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            server_errors: AtomicU32::new(0),
            gateway_errors: AtomicU32::new(0),
        }
    }

    /// Begins a request; how many are in flight with it.
    #[inline]
    pub(crate) fn begin(&self) -> u64 {
        let started = self.started.fetch_add(1, Relaxed) + 1;
        started.saturating_sub(self.ended.load(Relaxed)).max(1)
    }

    /// Begins a request unless `max` are in flight already; how many are with it.
    pub(crate) fn begin_below(&self, max: u64) -> Option<u64> {
        let mut started = self.started.load(Relaxed);
        loop {
            // The count only grows, so that an exchange that succeeds has seen all; an end that was not seen makes it
            // careful.
            let in_flight = started.saturating_sub(self.ended.load(Relaxed));
            if in_flight >= max {
                return None;
            }
            match self.started.compare_exchange_weak(started, started + 1, Relaxed, Relaxed) {
                Ok(_) => return Some(in_flight + 1),
                Err(now) => started = now,
            }
        }
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> u64 {
        // The end is read first: a request that begins and ends between the two must not make the difference negative.
        let ended = self.ended.load(Relaxed);
        self.started.load(Relaxed).saturating_sub(ended)
    }

    #[inline]
    pub(crate) fn judge(&self, verdict: Verdict) {
        match verdict {
            Verdict::Cancelled => return,
            Verdict::GatewayError => {
                self.failures.fetch_add(1, Relaxed);
                self.server_errors.fetch_add(1, Relaxed);
                self.gateway_errors.fetch_add(1, Relaxed);
            }
            Verdict::ServerError => {
                self.failures.fetch_add(1, Relaxed);
                self.server_errors.fetch_add(1, Relaxed);
                self.gateway_errors.store(0, Relaxed);
            }
            Verdict::Good | Verdict::Neutral | Verdict::Overloaded => self.forget_row(),
        }
        self.judged.fetch_add(1, Relaxed);
    }

    pub(crate) fn measure(&self, latency_nanos: u64) {
        self.measured.fetch_add(1, Relaxed);
        self.latency.fetch_add(latency_nanos, Relaxed);
    }

    /// Begins to count errors in a row anew.
    pub(crate) fn forget_row(&self) {
        // A write that changes nothing would still take the line from the other threads.
        if self.server_errors.load(Relaxed) != 0 {
            self.server_errors.store(0, Relaxed);
        }
        if self.gateway_errors.load(Relaxed) != 0 {
            self.gateway_errors.store(0, Relaxed);
        }
    }

    pub(crate) fn started(&self) -> u64 {
        self.started.load(Relaxed)
    }

    pub(crate) fn judged(&self) -> u64 {
        self.judged.load(Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(crate) fn measured(&self) -> u64 {
        self.measured.load(Relaxed)
    }

    pub(crate) fn latency_nanos(&self) -> u64 {
        self.latency.load(Relaxed)
    }

    /// Server errors in a row, gateway errors among them.
    pub(crate) fn server_errors(&self) -> u32 {
        self.server_errors.load(Relaxed)
    }

    pub(crate) fn gateway_errors(&self) -> u32 {
        self.gateway_errors.load(Relaxed)
    }
}
