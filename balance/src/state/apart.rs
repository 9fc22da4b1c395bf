//! Whether the workers of a pool count its requests apart, each its own: as long as no pick has to know how many are in
//! flight to an endpoint. Otherwise they count them together, since a pick would have to add up what all workers have.

use crate::sync::{AtomicBool, Relaxed};

/// It begins apart, and once together it stays so for as long as the pool is known.
#[derive(Debug)]
pub(crate) struct Apart {
    ended: AtomicBool,
    /// None is in flight any more that was counted apart.
    gone: AtomicBool,
}

impl Apart {
    pub(super) fn new() -> Self {
        Self { ended: AtomicBool::new(false), gone: AtomicBool::new(false) }
    }

    /// Whether a request that begins now is counted apart.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        !self.ended.load(Relaxed)
    }

    /// Those that begin from now on are counted together. Whether it was otherwise before.
    #[inline]
    pub(crate) fn end(&self) -> bool {
        // A write that changes nothing would still take the line from the other threads.
        self.is_on() && !self.ended.swap(true, Relaxed)
    }

    /// Whether one that was counted apart may be in flight.
    #[inline]
    pub(crate) fn may_be(&self) -> bool {
        !self.gone.load(Relaxed)
    }

    /// Looks whether all of those have ended, by how many are `left`. To be called some time after the end: one that
    /// begins meanwhile may not be seen, and is then unknown to picks until it ends.
    pub(super) fn settle(&self, left: impl FnOnce() -> u64) {
        if !self.is_on() && self.may_be() && left() == 0 {
            self.gone.store(true, Relaxed);
        }
    }
}
