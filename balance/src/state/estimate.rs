//! Latency at a load (Prequal, section 4.1): the median of the last latencies of requests that began with about as many
//! in flight as now.

use crate::{
    Time,
    sync::{AtomicU16, AtomicU64, Relaxed},
};

/// Latencies kept for each load.
const SAMPLES: usize = 8;
/// Loads told apart: 1 to 4 each, 5 to 6, 7 to 8, 9 to 12, 13 to 16, and above.
const LOADS: usize = 9;
/// Age at which what is known of a load gives way to what is known of another, in nanoseconds. After 1 s in place of 5
/// s, the p99 of twenty proxies' requests is a tenth longer (simulator/scenarios/4-noisy-fleet.yaml, mixed: 267 ms in
/// place of 241).
const FRESH: u64 = 5_000_000_000;
/// Age at which an idle endpoint is unknown again, in nanoseconds. Being tried is what a slow endpoint costs most:
/// after 1 s in place of 15 s, the slowest of many proxies' requests take half as long again
/// (simulator/scenarios/4-noisy-fleet.yaml).
const FORGOTTEN: u64 = 15_000_000_000;

/// A load with fewer samples than this is forgotten as soon as they are not fresh any more...
const PROOF: u16 = 4;
/// ... unless their median is this many times the pool's mean, or more.
const FAR: f64 = 4.0;

/// What a request may expect of an endpoint by how many it has in flight: for the proxy's own view, and for endpoints
/// that answer probes. Nine loads in 256 bytes, what readers look at first. Threads write without a lock: a sample
/// overwritten by another's is lost, and no more.
#[derive(Debug)]
#[repr(C)]
pub struct LatencyEstimate {
    /// A bit for each load of which anything was ever measured: readers look at no other.
    known: AtomicU16,
    /// Of the samples; as [`short`] numbers, like these, 0 where there are none.
    medians: [AtomicU16; LOADS],
    counts: [AtomicU16; LOADS],
    /// When the last sample came, in nanoseconds.
    ats: [AtomicU64; LOADS],
    samples: [[AtomicU16; SAMPLES]; LOADS],
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
        let zero = |_| AtomicU16::new(0);
        Self {
            known: zero(0),
            medians: std::array::from_fn(zero),
            counts: std::array::from_fn(zero),
            ats: std::array::from_fn(|_| AtomicU64::new(0)),
            samples: std::array::from_fn(|_| std::array::from_fn(zero)),
        }
    }

    /// Takes the latency in nanoseconds of a request that began with `load` in flight, itself included.
    pub fn record(&self, load: u32, nanos: f64, now: Time) {
        let place = place(u64::from(load));
        let (samples, counted) = (&self.samples[place], &self.counts[place]);
        // What is no longer fresh does not outvote what comes now.
        let count = if self.age(place, now) <= FRESH { counted.load(Relaxed) } else { 0 };
        samples[usize::from(count) % SAMPLES].store(short(nanos).max(1), Relaxed);
        let count = if usize::from(count) >= 2 * SAMPLES - 1 { count + 1 - 8 } else { count + 1 };
        let kept = SAMPLES.min(usize::from(count));
        let mut sorted: [u16; SAMPLES] = std::array::from_fn(|i| samples[i].load(Relaxed));
        sorted[..kept].sort_unstable();
        self.medians[place].store(sorted[kept / 2], Relaxed);
        counted.store(count, Relaxed);
        if self.ats[place].load(Relaxed) < now.as_nanos() {
            self.ats[place].store(now.as_nanos(), Relaxed);
        }
        // A write that changes nothing would still take the line from the other threads.
        if self.known.load(Relaxed) & (1 << place) == 0 {
            self.known.fetch_or(1 << place, Relaxed);
        }
    }

    /// The latency in nanoseconds that a request may expect which would be one of `load` in flight: of the nearest load
    /// of which anything fresh is known, or else the last that was known. With nothing in flight that is forgotten
    /// after a while, so that an endpoint that was slow is tried again, one request at a time.
    #[must_use]
    #[inline]
    pub fn at(&self, load: u64, now: Time) -> Option<f64> {
        self.at_beside(load, now, 0.0)
    }

    /// The same beside what requests usually take in this pool: a sample or two that are but a little above it are
    /// forgotten sooner. One unlucky request would keep an endpoint that is well again out for as long as a slow one.
    #[inline]
    pub(crate) fn at_beside(&self, load: u64, now: Time, usual_nanos: f64) -> Option<f64> {
        let (here, known) = (place(load), self.known.load(Relaxed));
        if known == 0 {
            return None;
        }
        let mut last: Option<(usize, f64)> = None;
        for far in 0..LOADS {
            for place in [here.wrapping_sub(far), here + far] {
                if place >= LOADS || known >> place & 1 == 0 {
                    continue;
                }
                // A reader may see the bit before the median.
                let Some(median) = self.median(place) else { continue };
                if self.age(place, now) <= FRESH {
                    return Some(median);
                }
                if last.is_none_or(|(last, _)| self.ats[place].load(Relaxed) > self.ats[last].load(Relaxed)) {
                    last = Some((place, median));
                }
            }
        }
        let (place, median) = last?;
        let proven = self.counts[place].load(Relaxed) >= PROOF || median >= FAR * usual_nanos;
        (load > 1 || (proven && self.age(place, now) <= FORGOTTEN)).then_some(median)
    }

    fn median(&self, place: usize) -> Option<f64> {
        let median = self.medians[place].load(Relaxed);
        (median > 0).then(|| long(median))
    }

    fn age(&self, place: usize, now: Time) -> u64 {
        now.as_nanos().saturating_sub(self.ats[place].load(Relaxed))
    }
}

/// A number from 0 as the upper half of an `f32` without its sign, in the same order: off by a part in 512 at most.
#[expect(clippy::cast_possible_truncation, reason = "that is the rounding, and 16 bits are left")]
fn short(number: f64) -> u16 {
    let bits = (number.max(0.0) as f32).to_bits();
    (bits.saturating_add(1 << 14) >> 15) as u16
}

fn long(short: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(short) << 15))
}

fn place(load: u64) -> usize {
    match load {
        0..=1 => 0,
        2 => 1,
        3 => 2,
        4 => 3,
        5..=6 => 4,
        7..=8 => 5,
        9..=12 => 6,
        13..=16 => 7,
        17.. => 8,
    }
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
        check(&many, 1, 0, Some(36.0));
    }

    #[test]
    fn forgotten_when_idle_only() {
        check(&[(0, 1, 10.0)], 1, 15 * S, Some(10.0));
        check(&[(0, 1, 10.0)], 1, 15 * S + 1, None);
        check(&[(0, 1, 10.0)], 2, 15 * S + 1, Some(10.0));
        check(&[(0, 1, 10.0), (6 * S, 1, 90.0)], 1, 6 * S, Some(90.0));
    }

    #[test]
    fn what_is_fresh_goes_before_what_is_near() {
        check(&[(0, 1, 10.0), (3 * S, 4, 90.0)], 1, 5 * S, Some(10.0));
        check(&[(0, 1, 10.0), (3 * S, 4, 90.0)], 1, 6 * S, Some(90.0));
        check(&[(0, 1, 10.0), (3 * S, 4, 90.0)], 1, 9 * S, Some(90.0));
    }

    #[test]
    fn short_numbers_are_near_and_in_order() {
        let mut last = 0;
        for step in 0..4000 {
            let number = 1.013_f64.powi(step);
            let short = short(number);
            assert!(number > 1e12 || (long(short) / number - 1.0).abs() <= 1.0 / 512.0, "{number}");
            assert!(short >= last);
            last = short;
        }
        assert_eq!([0.0, -1.0, 1.0].map(|number| long(short(number))), [0.0, 0.0, 1.0]);
    }

    #[test]
    fn loads_are_told_apart() {
        let places: Vec<_> = [0, 1, 2, 3, 4, 5, 8, 9, 16, 17, u64::MAX].map(place).into();
        assert_eq!(places, [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8]);
    }
}
