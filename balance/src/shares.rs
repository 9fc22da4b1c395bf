//! A fixed cyclic order in which each entry stands as often as its weight says, evenly spread, and draws by weight.
//!
//! The order is computed, not stored: the entries form a balanced binary tree, and at each node the turns go left or right as
//! in Bresenham's line, `floor((t + 1) * left / all) > floor(t * left / all)`. A node's `t` counts its own turns, so that
//! every window of as many turns as the sum of the weights gives each entry exactly its weight, wherever the window starts.
//! A pick reads only prefix sums: no lock, no state but the caller's tick, and all threads may share it.

/// Weighted entries. The sum of the weights is below 2^32, so that no product overflows.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    /// `before[i]` is the sum of the weights before entry i; one more at the end.
    before: Vec<u64>,
    /// All weights are the same: the order is the entries' own.
    equal: bool,
}

impl Shares {
    /// Entries with these weights. An entry of weight 0 has no turn.
    pub(crate) fn new(weights: impl Iterator<Item = u32>) -> Self {
        let mut before = vec![0];
        let mut equal = true;
        let mut sum = 0;
        let mut first = None;
        for weight in weights {
            equal &= *first.get_or_insert(weight) == weight;
            sum += u64::from(weight);
            before.push(sum);
        }
        debug_assert!(sum < 1 << 32, "weights sum to {sum}");
        Self { before, equal }
    }

    /// How many entries.
    pub(crate) fn len(&self) -> usize {
        self.before.len() - 1
    }

    /// Sum of the weights.
    pub(crate) fn sum(&self) -> u64 {
        self.before[self.len()]
    }

    /// The entry whose turn it is at `tick`, and which of its own turns that is, counted without gaps; `None` if all weights
    /// are 0. O(log n).
    pub(crate) fn at(&self, tick: u64) -> Option<(usize, u64)> {
        let sum = self.sum();
        if sum == 0 {
            return None;
        }
        if self.equal {
            let len = self.len() as u64;
            return Some((index(tick % len), tick / len));
        }
        let (mut low, mut high, mut turn) = (0, self.len(), tick % sum);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let all = self.before[high] - self.before[low];
            let left = self.before[middle] - self.before[low];
            let turns_left = turn * left / all;
            if (turn + 1) * left / all > turns_left {
                (high, turn) = (middle, turns_left);
            } else {
                (low, turn) = (middle, turn - turns_left);
            }
        }
        let weight = self.before[high] - self.before[low];
        Some((low, tick / sum * weight + turn))
    }

    /// The entry that holds `point`, a number below [`Self::sum`]: with a random point, a draw by weight. O(log n).
    pub(crate) fn holding(&self, point: u64) -> usize {
        if self.equal {
            return index(point / self.before[1]);
        }
        self.before.partition_point(|before| *before <= point) - 1
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below the number of entries")]
const fn index(value: u64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(weights: &[u32], expect: &[usize]) {
        let shares = Shares::new(weights.iter().copied());
        let order: Vec<_> = (0..expect.len() as u64).map(|tick| shares.at(tick).unwrap().0).collect();
        assert_eq!(order, expect);
    }

    #[test]
    fn spreads_turns_evenly() {
        check(&[1, 1, 1], &[0, 1, 2, 0, 1, 2]);
        check(&[5, 1, 1], &[2, 0, 0, 1, 0, 0, 0]);
        check(&[2, 1], &[1, 0, 0]);
        check(&[0, 3], &[1, 1, 1]);
    }

    #[test]
    fn nothing_without_weight() {
        assert_eq!(Shares::new([].into_iter()).at(7), None);
        assert_eq!(Shares::new([0, 0].into_iter()).at(7), None);
    }

    proptest! {
        #[test]
        fn any_window_of_the_sum_gives_each_its_weight(
            weights in prop::collection::vec(0..40u32, 1..20), start in any::<u32>()
        ) {
            let shares = Shares::new(weights.iter().copied());
            prop_assume!(shares.sum() > 0);
            let mut counts = vec![0; weights.len()];
            let mut turns = vec![None; weights.len()];
            for tick in 0..shares.sum() {
                let (entry, turn) = shares.at(u64::from(start) + tick).unwrap();
                counts[entry] += 1;
                let last = turns[entry].replace(turn);
                prop_assert!(last.is_none_or(|last| last + 1 == turn), "own turns have no gaps");
            }
            prop_assert_eq!(counts, weights);
        }

        #[test]
        fn points_fall_by_weight(weights in prop::collection::vec(0..40u32, 1..20)) {
            let shares = Shares::new(weights.iter().copied());
            let mut counts = vec![0; weights.len()];
            for point in 0..shares.sum() {
                counts[shares.holding(point)] += 1;
            }
            prop_assert_eq!(counts, weights);
        }
    }
}
