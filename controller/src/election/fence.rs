//! The time until which a leader may push and write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Whether a leadership holds. Once it does not, it never does again.
///
/// Clones share the time. A request that is sent while it holds may still arrive after its end; the gap between
/// [`super::HOLD`] and [`super::LEASE`] is meant for it.
#[derive(Clone, Debug)]
pub struct Fence {
    base: Instant,
    /// Nanoseconds after `base`; 0 once revoked.
    end: Arc<AtomicU64>,
}

impl Fence {
    /// Holds until then.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        let fence = Self { base: Instant::now(), end: Arc::default() };
        fence.end.store(fence.after_base(deadline), Ordering::Release);
        fence
    }

    /// Holds until it is revoked: for a controller that has no rivals.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { base: Instant::now(), end: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Whether it holds now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.after_base(Instant::now()) < self.end.load(Ordering::Acquire)
    }

    /// Until when it holds, as far as is known now.
    pub(super) fn deadline(&self) -> Instant {
        let end = Duration::from_nanos(self.end.load(Ordering::Acquire));
        self.base.checked_add(end).unwrap_or(self.base)
    }

    /// Holds for longer, unless it has ended; tells which.
    pub(super) fn extend(&self, deadline: Instant) -> bool {
        let (now, later) = (self.after_base(Instant::now()), self.after_base(deadline));
        let extended = self
            .end
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |end| (now < end).then_some(end.max(later)));
        extended.is_ok() && now < later
    }

    /// Ends it.
    pub fn revoke(&self) {
        self.end.store(0, Ordering::Release);
    }

    fn after_base(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn ends_and_never_comes_back() {
        let fence = Fence::until(Instant::now() + 2 * SECOND);
        assert!(fence.holds());
        advance(SECOND).await;
        assert!(fence.extend(Instant::now() + 2 * SECOND));
        advance(SECOND).await;
        assert!(fence.holds());
        advance(SECOND).await;
        assert!(!fence.holds());
        assert!(!fence.extend(Instant::now() + SECOND));
        assert!(!fence.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn a_revoked_one_is_over_for_all_clones() {
        let fence = Fence::unlimited();
        let clone = fence.clone();
        fence.revoke();
        assert!(!clone.holds() && !clone.extend(Instant::now() + SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_has_passed_never_holds() {
        let past = Instant::now();
        advance(SECOND).await;
        assert!(!Fence::until(past).holds());
    }
}
