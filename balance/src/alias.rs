//! Draws by weight in constant time (Walker 1977; built after Vose 1991).

use rand::Rng;
use smallvec::SmallVec;

/// Most distinct draws at once.
pub(crate) const MAX_DRAWS: usize = 10;
/// Draws repeated because they were drawn before, until the next in order is taken instead: only weights that are next
/// to nothing beside the others come to that.
const MAX_REDRAWS: usize = 32;

/// Entries drawn.
pub(crate) type Drawn = SmallVec<[usize; MAX_DRAWS]>;

/// A table of as many columns as entries; each column is shared by at most two of them.
#[derive(Debug)]
pub(crate) struct Alias {
    /// How much of column i belongs to entry i, in parts of 2^32, and to whom the rest belongs; `u32::MAX` is all of
    /// it.
    columns: Vec<(u32, u32)>,
    equal: bool,
}

impl Alias {
    /// Entries with these weights, finite and not negative; if all are 0, all are alike. O(n).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "parts of 2^32, and fewer than 2^32 entries"
    )]
    pub(crate) fn new(weights: &[f64]) -> Self {
        let sum: f64 = weights.iter().sum();
        let equal = sum <= 0.0 || weights.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits());
        let len = weights.len();
        let mut columns: Vec<_> = (0..len as u32).map(|own| (u32::MAX, own)).collect();
        if equal {
            return Self { columns, equal };
        }
        let mut parts: Vec<_> = weights.iter().map(|weight| weight / sum * len as f64).collect();
        let (mut small, mut large): (Vec<_>, Vec<_>) = (0..len).partition(|entry| parts[*entry] < 1.0);
        while let (Some(poor), Some(rich)) = (small.pop(), large.last().copied()) {
            columns[poor] = ((parts[poor] * 2_f64.powi(32)) as u32, rich as u32);
            parts[rich] -= 1.0 - parts[poor];
            if parts[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { columns, equal }
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// An entry, as likely as its weight says. There must be one.
    pub(crate) fn draw(&self, rng: &mut impl Rng) -> usize {
        let word = rng.next_u64();
        let (high, low) = (word >> 32, word & 0xffff_ffff);
        // Lemire's multiply-shift: off by less than n / 2^32.
        let column = ((high * self.columns.len() as u64) >> 32) as usize;
        if self.equal {
            return column;
        }
        let (own, other) = self.columns[column];
        if low < u64::from(own) || own == u32::MAX { column } else { other as usize }
    }

    /// Fills a list that is empty with `count` distinct entries, or all if there are no more, each drawn by weight
    /// among those left. In place, since to move a list just written stalls the processor for longer than the draws
    /// take.
    pub(crate) fn draw_distinct(&self, count: usize, rng: &mut impl Rng, drawn: &mut Drawn) {
        for _ in 0..count.min(self.len()).min(MAX_DRAWS) {
            let mut entry = self.draw(rng);
            let mut redraws = 0;
            while drawn.contains(&entry) {
                redraws += 1;
                entry = if redraws < MAX_REDRAWS { self.draw(rng) } else { (entry + 1) % self.len() };
            }
            drawn.push(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    fn check(weights: &[f64], expect: &[f64]) {
        let alias = Alias::new(weights);
        let mut rng = SmallRng::seed_from_u64(7);
        let mut counts = vec![0_u32; weights.len()];
        for _ in 0..100_000 {
            counts[alias.draw(&mut rng)] += 1;
        }
        for (count, expect) in counts.iter().zip(expect) {
            assert!((f64::from(*count) / 1e5 - expect).abs() < 0.01, "{counts:?} {expect}");
        }
    }

    #[test]
    fn draws_by_weight() {
        check(&[1.0], &[1.0]);
        check(&[2.0, 2.0], &[0.5, 0.5]);
        check(&[1.0, 3.0], &[0.25, 0.75]);
        check(&[0.0, 1.0, 0.1, 8.9], &[0.0, 0.1, 0.01, 0.89]);
        check(&[0.0, 0.0], &[0.5, 0.5]);
    }

    fn distinct(alias: &Alias, count: usize, rng: &mut SmallRng) -> Vec<usize> {
        let mut drawn = Drawn::new();
        alias.draw_distinct(count, rng, &mut drawn);
        drawn.into_vec()
    }

    #[test]
    fn the_second_draw_is_by_weight_among_those_left() {
        let alias = Alias::new(&[1.0, 10.0, 1.0, 10.0]);
        let mut rng = SmallRng::seed_from_u64(7);
        let mut counts = [0_u32; 4];
        for _ in 0..100_000 {
            counts[distinct(&alias, 2, &mut rng)[1]] += 1;
        }
        // The sum over all first draws i of p(i) p(j) / (1 - p(i)).
        for (count, expect) in counts.iter().zip([0.0779, 0.4221, 0.0779, 0.4221]) {
            assert!((f64::from(*count) / 1e5 - expect).abs() < 0.01, "{counts:?} {expect}");
        }
    }

    #[test]
    fn distinct_draws_are_distinct_whatever_the_weights() {
        let mut rng = SmallRng::seed_from_u64(7);
        for weights in [vec![1.0; 4], vec![1e12, 1e-9, 1e-9, 0.0]] {
            let alias = Alias::new(&weights);
            for _ in 0..1000 {
                let mut drawn = distinct(&alias, 4, &mut rng);
                drawn.sort_unstable();
                assert_eq!(drawn, [0, 1, 2, 3]);
            }
        }
        assert_eq!(distinct(&Alias::new(&[1.0]), 2, &mut rng), [0]);
    }
}
