//! Counts by value, each value known to a part in 512: what quantiles of latencies are read from.

use crate::number;

/// Bins to an octave, as a power of two.
const BITS: u32 = 9;

/// Counts of numbers, by bins that are exact below 512 and 512 to an octave above.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u32>,
    len: u64,
    sum: f64,
    max: u64,
}

impl Histogram {
    /// Counts a value.
    pub fn add(&mut self, value: u64) {
        let bin = bin(value);
        if bin >= self.counts.len() {
            self.counts.resize(bin + 1, 0);
        }
        self.counts[bin] += 1;
        self.len += 1;
        self.sum += value as f64;
        self.max = self.max.max(value);
    }

    /// How many were counted.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Mean; of nothing it is no number.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.len as f64
    }

    /// The value below which a part `quantile` (0 to 1) of all lie, evenly spread within its bin; of nothing
    /// it is no number.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> f64 {
        if self.is_empty() {
            return f64::NAN;
        }
        let rank = quantile * self.len as f64;
        let mut below = 0.0;
        for (bin, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = f64::from(*count);
            if below + count >= rank {
                let (low, width) = range(bin);
                return (low + width * ((rank - below) / count).clamp(0.0, 1.0)).min(self.max as f64);
            }
            below += count;
        }
        self.max as f64
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.counts.clear();
        (self.len, self.sum, self.max) = (0, 0.0, 0);
    }
}

const fn bin(value: u64) -> usize {
    if value < 1 << BITS {
        return number::index(value);
    }
    let octave = value.ilog2() - BITS;
    number::index(((octave as u64 + 1) << BITS) + ((value >> octave) & ((1 << BITS) - 1)))
}

/// Lowest value of a bin, and how many it holds, less one where that is all of it.
fn range(bin: usize) -> (f64, f64) {
    let (octave, place) = (bin >> BITS, bin & ((1 << BITS) - 1));
    if octave == 0 {
        return (place as f64, 0.0);
    }
    let width = (number::small(octave - 1) as f64).exp2();
    ((f64::from(1_u32 << BITS) + place as f64) * width, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: impl Iterator<Item = u64>, quantile: f64, expect: f64) {
        let mut histogram = Histogram::default();
        values.for_each(|value| histogram.add(value));
        let found = histogram.quantile(quantile);
        assert!((found - expect).abs() <= expect * 2e-3, "{found} {expect}");
    }

    #[test]
    fn nothing_has_no_quantiles() {
        let nothing = Histogram::default();
        assert!(nothing.quantile(0.5).is_nan() && nothing.mean().is_nan());
    }

    #[test]
    fn quantiles_are_near() {
        check(0..100, 0.5, 49.0);
        check(std::iter::repeat_n(50_500_000, 10), 0.99, 50_500_000.0);
        check((1..=100_000).map(|value| value * 1000), 0.99, 99_000_000.0);
        check((1..=100_000).map(|value| value * 1000), 0.5, 50_000_000.0);
        check([1, u64::MAX / 2].into_iter(), 1.0, (u64::MAX / 2) as f64);
    }
}
