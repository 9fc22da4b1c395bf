//! Latency at a load (Prequal, section 4.1): the median of the last latencies of requests that began with about as many in
//! flight as now.

use crate::{
    Time,
    sync::{AtomicU32, AtomicU64, Relaxed},
};

/// Latencies kept for each load.
const SAMPLES: usize = 8;
/// Loads told apart: 1, 2, 3 to 4, 5 to 8, 9 to 16, and above.
const LOADS: usize = 6;
/// Age at which an estimate counts no more, in nanoseconds.
const FRESH: u64 = 1_000_000_000;

/// What a request may expect of an endpoint by how many it has in flight: for the proxy's own view, and for endpoints that
/// answer probes. Six loads in 288 bytes. Threads write without a lock: a sample overwritten by another's is lost, and no more.
#[derive(Debug)]
pub struct LatencyEstimate {
    loads: [AtLoad; LOADS],
}

/// Latencies in nanoseconds as bits of an `f32`.
#[derive(Debug)]
struct AtLoad {
    at: AtomicU64,
    median: AtomicU32,
    count: AtomicU32,
    samples: [AtomicU32; SAMPLES],
}

impl Default for LatencyEstimate {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyEstimate {
    /// Nothing is known.
    #[must_use]
    pub fn new() -> Self {
        let zero = || AtomicU32::new(0);
        let at_load = || AtLoad {
            at: AtomicU64::new(0),
            median: zero(),
            count: zero(),
            samples: std::array::from_fn(|_| zero()),
        };
        Self { loads: std::array::from_fn(|_| at_load()) }
    }

    /// Takes the latency in nanoseconds of a request that began with `load` in flight, itself included.
    pub fn record(&self, load: u32, nanos: f64, now: Time) {
        self.loads[place(u64::from(load))].record(nanos, now);
    }

    /// The latency in nanoseconds that a request may expect which would be one of `load` in flight: of the nearest load of
    /// which anything fresh is known. With nothing in flight, what is no longer fresh is forgotten, so that an endpoint that
    /// was slow is tried again, one request at a time; with something in flight, the last that was known counts on.
    #[must_use]
    pub fn at(&self, load: u64, now: Time) -> Option<f64> {
        let here = place(load);
        let mut last: Option<&AtLoad> = None;
        for far in 0..LOADS {
            for place in [here.wrapping_sub(far), here + far] {
                let Some(each) = self.loads.get(place).filter(|each| each.known()) else { continue };
                if each.is_fresh(now) {
                    return Some(each.median());
                }
                if last.is_none_or(|last| each.at.load(Relaxed) > last.at.load(Relaxed)) {
                    last = Some(each);
                }
            }
        }
        last.filter(|_| load > 1).map(AtLoad::median)
    }
}

impl AtLoad {
    fn median(&self) -> f64 {
        f64::from(f32::from_bits(self.median.load(Relaxed)))
    }

    fn known(&self) -> bool {
        self.count.load(Relaxed) > 0
    }

    fn is_fresh(&self, now: Time) -> bool {
        now.as_nanos().saturating_sub(self.at.load(Relaxed)) <= FRESH
    }

    fn record(&self, nanos: f64, now: Time) {
        // What is no longer fresh does not outvote what comes now.
        let count = if self.is_fresh(now) { self.count.load(Relaxed) } else { 0 };
        #[expect(clippy::cast_possible_truncation, reason = "24 bits are enough for a latency")]
        let sample = nanos as f32;
        self.samples[count as usize % SAMPLES].store(sample.to_bits(), Relaxed);
        let count = if count as usize >= 2 * SAMPLES - 1 { count + 1 - 8 } else { count + 1 };
        let kept = SAMPLES.min(count as usize);
        // Latencies are not negative, so that their bits are in the same order.
        let mut sorted: [u32; SAMPLES] = std::array::from_fn(|i| self.samples[i].load(Relaxed));
        sorted[..kept].sort_unstable();
        self.median.store(sorted[(kept - 1) / 2], Relaxed);
        self.count.store(count, Relaxed);
        if self.at.load(Relaxed) < now.as_nanos() {
            self.at.store(now.as_nanos(), Relaxed);
        }
    }
}

fn place(load: u64) -> usize {
    let highest = u64::BITS - load.saturating_sub(1).leading_zeros();
    (highest as usize).min(LOADS - 1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn check(samples: &[(u64, u32, f64)], load: u64, now: u64, expect: Option<f64>) {
        let estimate = LatencyEstimate::new();
        for (at, load, nanos) in samples {
            estimate.record(*load, *nanos, Time::from_nanos(*at));
        }
        assert_eq!(estimate.at(load, Time::from_nanos(now)), expect);
    }

    #[test]
    fn median_of_the_nearest_fresh_load() {
        check(&[], 1, 0, None);
        check(&[(0, 1, 10.0), (0, 1, 30.0), (0, 1, 20.0)], 1, 0, Some(20.0));
        check(&[(0, 1, 10.0), (0, 20, 90.0)], 12, 0, Some(90.0));
        check(&[(0, 1, 10.0), (0, 20, 90.0)], 2, 0, Some(10.0));
        let many: Vec<_> = (0..40_u32).map(|i| (0, 1, f64::from(i))).collect();
        check(&many, 1, 0, Some(35.0));
    }

    #[test]
    fn forgotten_when_idle_only() {
        check(&[(0, 1, 10.0)], 1, S, Some(10.0));
        check(&[(0, 1, 10.0)], 1, S + 1, None);
        check(&[(0, 1, 10.0)], 2, S + 1, Some(10.0));
        check(&[(0, 1, 10.0), (2 * S, 1, 90.0)], 1, 2 * S, Some(90.0));
    }

    #[test]
    fn loads_are_told_apart() {
        let places: Vec<_> = [0, 1, 2, 3, 4, 5, 8, 9, 16, 17, u64::MAX].map(place).into();
        assert_eq!(places, [0, 0, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
    }
}
