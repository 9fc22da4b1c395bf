//! Latencies as counts that fade, for quantiles of what was lately.

/// Buckets for each doubling, from a microsecond on.
const FINENESS: f64 = 16.0;
const BUCKETS: usize = 600;
const FIRST_NANOS: f64 = 1e3;
/// Of which the score is the mean: one quantile alone rests on few requests.
const QUANTILES: [f64; 3] = [0.98, 0.99, 0.995];

/// Counts of latencies.
#[derive(Debug)]
pub(super) struct Tail {
    counts: Box<[f64]>,
    total: f64,
}

impl Tail {
    pub(super) fn new() -> Self {
        Self { counts: vec![0.0; BUCKETS].into(), total: 0.0 }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    pub(super) fn add(&mut self, nanos: f64) {
        let place = (nanos.max(FIRST_NANOS) / FIRST_NANOS).log2() * FINENESS;
        self.counts[(place as usize).min(BUCKETS - 1)] += 1.0;
        self.total += 1.0;
    }

    /// There is none.
    pub(super) fn clear(&mut self) {
        self.fade(0.0);
    }

    /// What there is counts this part of what it did.
    pub(super) fn fade(&mut self, part: f64) {
        self.counts.iter_mut().for_each(|count| *count *= part);
        self.total *= part;
    }

    /// How many there are, faded.
    pub(super) const fn total(&self) -> f64 {
        self.total
    }

    /// The mean of some high quantiles, in nanoseconds.
    #[expect(clippy::cast_precision_loss, reason = "three")]
    pub(super) fn height(&self) -> f64 {
        QUANTILES.iter().map(|quantile| self.quantile(*quantile)).sum::<f64>() / QUANTILES.len() as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 buckets")]
    fn quantile(&self, quantile: f64) -> f64 {
        let wanted = quantile * self.total;
        let mut below = 0.0;
        for (place, count) in self.counts.iter().enumerate() {
            if *count > 0.0 && below + count >= wanted {
                let within = ((wanted - below) / count).clamp(0.0, 1.0);
                return FIRST_NANOS * ((place as f64 + within) / FINENESS).exp2();
            }
            below += count;
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(latencies: &[(u32, f64)], fade: f64, expect: f64) {
        let mut tail = Tail::new();
        tail.add(9e9);
        tail.fade(fade);
        for (count, nanos) in latencies {
            (0..*count).for_each(|_| tail.add(*nanos));
        }
        assert!((tail.height() / expect - 1.0).abs() < 0.05, "{} {expect}", tail.height());
    }

    #[test]
    fn the_height_is_that_of_the_slowest_in_a_hundred() {
        check(&[(1000, 5e6)], 0.0, 5e6);
        check(&[(970, 5e6), (30, 80e6)], 0.0, 80e6);
        check(&[(993, 5e6), (7, 80e6)], 0.0, (5e6 + 5e6 + 80e6) / 3.0);
        check(&[], 1.0, 9e9);
    }
}
