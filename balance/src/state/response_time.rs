//! Peak EWMA (Finagle): an average of latencies that rises at once and falls slowly, also while nothing is measured.

use crate::{
    Time,
    sync::{AtomicF64, AtomicU64, Relaxed},
};

const NEVER: u64 = u64::MAX;

/// The average, and when it was last told something. The two are not written as one: a reader between two writes sees
/// the one beside the other's time, which is off by no more than the time between them.
#[derive(Debug)]
pub(crate) struct ResponseTime {
    /// NaN while nothing was measured: a reader may see the first time before the first average.
    nanos: AtomicF64,
    at: AtomicU64,
}

impl ResponseTime {
    pub(crate) fn new() -> Self {
        Self { nanos: AtomicF64::new(f64::NAN), at: AtomicU64::new(NEVER) }
    }

    /// Takes a latency, or what an error counts as; `decay` in nanoseconds.
    pub(crate) fn record(&self, nanos: f64, now: Time, decay: f64) {
        let at = self.at.load(Relaxed);
        let average = self.nanos.load();
        if average.is_nan() || nanos > average {
            self.nanos.store(nanos);
        } else {
            let kept = kept(Time::from_nanos(at), now, decay);
            self.nanos.store(average * kept + nanos * (1.0 - kept));
        }
        // A clock that went back does not make what comes later look younger.
        if at == NEVER || at < now.as_nanos() {
            self.at.store(now.as_nanos(), Relaxed);
        }
    }

    /// The average in nanoseconds as it has fallen by now; `None` if nothing was ever measured.
    #[inline]
    pub(crate) fn read(&self, now: Time, decay: f64) -> Option<f64> {
        let average = self.nanos.load();
        (!average.is_nan()).then(|| average * kept(Time::from_nanos(self.at.load(Relaxed)), now, decay))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a part in 2^53 of an age does not matter")]
fn kept(at: Time, now: Time, decay: f64) -> f64 {
    let age = now.as_nanos().saturating_sub(at.as_nanos());
    if age == 0 { 1.0 } else { (-(age as f64) / decay.max(1.0)).exp() }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const TAU: f64 = 10e9;

    fn check(samples: &[(u64, f64)], read_at: u64, expect: Option<f64>) {
        let average = ResponseTime::new();
        for (at, nanos) in samples {
            average.record(*nanos, Time::from_nanos(*at), TAU);
        }
        let read = average.read(Time::from_nanos(read_at), TAU);
        match (read, expect) {
            (Some(read), Some(expect)) => assert!((read - expect).abs() <= 1e-9 * expect, "{read} {expect}"),
            _ => assert_eq!(read, expect),
        }
    }

    #[test]
    fn rises_at_once_and_falls_slowly() {
        let e = std::f64::consts::E;
        check(&[], 5, None);
        check(&[(0, 100.0)], 0, Some(100.0));
        check(&[(0, 100.0), (1, 500.0)], 1, Some(500.0));
        check(&[(0, 100.0)], 10_000_000_000, Some(100.0 / e));
        check(
            &[(0, 100.0), (10_000_000_000, 20.0)],
            10_000_000_000,
            Some(100.0 / e + 20.0 * (1.0 - 1.0 / e)),
        );
    }

    #[test]
    fn a_clock_that_goes_back_changes_no_weight() {
        check(&[(9, 100.0), (5, 20.0)], 3, Some(100.0));
    }
}
