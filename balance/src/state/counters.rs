//! What requests count at their endpoint. It only informs, so every access is relaxed.

use super::Count;
use crate::{
    pick::Verdict,
    sync::{AtomicU32, AtomicU64, Relaxed},
};

/// Counters of one endpoint; none ever decreases, so that a reader needs only the differences.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Requests that all workers count together.
    pub(super) together: Count,
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
            together: Count::new(),
            judged: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            server_errors: AtomicU32::new(0),
            gateway_errors: AtomicU32::new(0),
        }
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
