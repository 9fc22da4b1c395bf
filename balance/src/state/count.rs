//! How many requests began and ended.

use crate::sync::{AtomicU64, Relaxed};

/// Two counts, of which neither ever decreases. They only inform, so every access is relaxed.
#[derive(Debug)]
pub(crate) struct Count {
    started: AtomicU64,
    ended: AtomicU64,
}

impl Count {
    pub(crate) fn new() -> Self {
        Self { started: AtomicU64::new(0), ended: AtomicU64::new(0) }
    }

    /// Begins a request.
    #[inline]
    pub(crate) fn begin(&self) {
        self.started.fetch_add(1, Relaxed);
    }

    /// Begins a request; how many are in flight with it.
    #[inline]
    pub(crate) fn begin_seen(&self) -> u64 {
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

    pub(crate) fn started(&self) -> u64 {
        self.started.load(Relaxed)
    }
}
