//! Time as the caller tells it: a clock of its own, or a simulator's.

use std::time::Duration;

/// A moment, in nanoseconds since an epoch of the caller's choosing; all moments told to one pool share it.
///
/// The clock may go backwards: a moment before another is taken as equal to it wherever an age is asked for, so nothing
/// grows, decays or expires until the clock has caught up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The epoch.
    pub const ZERO: Self = Self(0);

    /// The moment so many nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; nothing if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `span` later, or the end of time.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

/// Nanoseconds of a span, at most 2^64 - 1 (584 years).
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds of a span for computing with.
#[expect(clippy::cast_precision_loss, reason = "a part in 2^53 of a latency does not matter")]
pub(crate) fn nanos_f64(span: Duration) -> f64 {
    nanos(span) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_ahead_is_now() {
        let (early, late) = (Time::from_nanos(5), Time::from_nanos(9));
        assert_eq!(late.since(early), Duration::from_nanos(4));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(late.after(Duration::MAX), Time::from_nanos(u64::MAX));
    }
}
