//! Requests in flight to a whole pool, with which bounded load compares those to an endpoint.

use crate::sync::{AtomicBool, AtomicU64, Line, Relaxed};

/// The count, in parts by worker so that none waits for another. Nothing is counted before it is asked for: it would
/// make every pick a quarter slower.
#[derive(Debug)]
pub(crate) struct Total {
    counts: AtomicBool,
    /// No request is in flight that began before they were counted.
    complete: AtomicBool,
    /// By the worker on which they began. A request that ends on another thread writes to a line that is not its own.
    counted: Box<[Line<AtomicU64>]>,
}

impl Total {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            counts: AtomicBool::new(false),
            complete: AtomicBool::new(false),
            counted: (0..workers.max(1)).map(|_| Line(AtomicU64::new(0))).collect(),
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.counted.len()
    }

    /// A request begins on `worker`. Whether it is counted, and has to be taken off when it ends.
    #[inline]
    pub(crate) fn begin(&self, worker: usize) -> bool {
        let counts = self.counts.load(Relaxed);
        if counts {
            self.of(worker).fetch_add(1, Relaxed);
        }
        counts
    }

    /// A request ends that was counted.
    #[inline]
    pub(crate) fn end(&self, worker: usize) {
        self.of(worker).fetch_sub(1, Relaxed);
    }

    /// Counts from now on, and for as long as the pool is known. `in_flight` says how many are.
    pub(super) fn start(&self, in_flight: impl FnOnce() -> u64) {
        if !self.counts.swap(true, Relaxed) {
            self.settle(in_flight);
        }
    }

    /// Looks whether those that began before they were counted have ended. Requests that end meanwhile may hide as many
    /// that have not: the count is too low by those until they end.
    pub(super) fn settle(&self, in_flight: impl FnOnce() -> u64) {
        if self.counts.load(Relaxed) && !self.complete.load(Relaxed) {
            // Before those in flight, or requests that begin meanwhile would hide others.
            let counted = self.counted();
            self.complete.store(in_flight() <= counted, Relaxed);
        }
    }

    /// The count; `None` as long as it is not complete.
    pub(super) fn read(&self) -> Option<u64> {
        self.complete.load(Relaxed).then(|| self.counted())
    }

    fn counted(&self) -> u64 {
        self.counted.iter().map(|each| each.load(Relaxed)).sum()
    }

    fn of(&self, worker: usize) -> &AtomicU64 {
        &self.counted[super::wrapped(worker, self.counted.len())]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;
    use crate::PoolState;

    #[test]
    fn what_began_before_keeps_the_count_incomplete_until_it_ends() {
        let total = Total::new(2);
        assert!(!total.begin(0), "nobody asked");
        assert_eq!(total.read(), None);
        total.start(|| 1);
        assert!(total.begin(1) && total.begin(7));
        total.settle(|| 3);
        assert_eq!(total.read(), None);
        total.settle(|| 2);
        assert_eq!(total.read(), Some(2));
        total.end(7);
        total.settle(|| unreachable!("it is complete"));
        assert_eq!(total.read(), Some(1));
    }

    #[test]
    fn an_idle_pool_is_complete_at_once() {
        let total = Total::new(0);
        total.settle(|| unreachable!("nobody asked"));
        total.start(|| 0);
        assert_eq!(total.read(), Some(0));
    }

    #[test]
    fn requests_to_endpoints_that_are_gone_do_not_stand_for_earlier_ones() {
        let state = PoolState::new(1, &mut SmallRng::seed_from_u64(1));
        let begin = |id: &str| state.begins(&id.into());
        let earlier = [begin("stays"), begin("stays")];
        state.start_total();
        let counted = [begin("goes"), begin("goes"), begin("goes")];
        state.retain(&["stays".into()].into());
        state.settle();
        assert_eq!((state.total(), state.in_flight()), (None, 5));
        drop(counted);
        state.settle();
        assert_eq!((state.total(), state.in_flight()), (None, 2));
        drop(earlier);
        state.settle();
        assert_eq!((state.total(), state.in_flight()), (Some(0), 0));
    }
}
