//! A fixed cyclic order in which each entry stands as often as its weight says, evenly spread, whatever the number of
//! threads.
//!
//! The order is computed, and only written down where it is short: the entries form a balanced binary tree, and at each
//! node the turns go left or right as in Bresenham's line, `floor((t + 1) * left / all) > floor(t * left / all)`. A
//! node's `t` counts its own turns, so that every window of as many turns as the sum of the weights gives each entry
//! exactly its weight, wherever the window starts. A pick reads only prefix sums: no lock, no state but the caller's
//! tick, and all threads may share it.

/// Highest sum of weights: below 2^32, so that no product overflows.
const MAX_SUM: f64 = 4_000_000_000.0;
/// Steps into which the heaviest of weights with a fraction is cut.
const STEPS: f64 = 1_000_000.0;

/// Longest order that is written down: 64 KiB.
const MAX_WRITTEN: u64 = 1 << 14;

/// Weighted entries. The sum of the weights is at most [`MAX_SUM`].
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    /// `before[i]` is the sum of the weights before entry i; one more at the end.
    before: Vec<u64>,
    /// All weights are the same: the order is the entries' own.
    equal: bool,
    /// The order itself, if it is short enough and not the entries' own.
    order: Vec<u32>,
}

impl Shares {
    /// Entries with these weights, finite and not negative. Whole numbers are kept as they are; fractions are cut to
    /// steps of which the heaviest has 1,000,000, and whatever weighs anything keeps a turn. An entry of weight 0 has
    /// no turn.
    pub(crate) fn new(weights: impl Iterator<Item = f64> + Clone) -> Self {
        let (mut heaviest, mut sum, mut whole, mut equal, mut len) = (0.0_f64, 0.0, true, true, 0.0);
        let mut first = None;
        for weight in weights.clone() {
            heaviest = heaviest.max(weight);
            sum += weight;
            whole &= weight.fract() == 0.0;
            equal &= first.get_or_insert(weight).to_bits() == weight.to_bits();
            len += 1.0;
        }
        let scale = if equal && heaviest > 0.0 {
            1.0 / heaviest
        } else if whole && sum <= MAX_SUM {
            1.0
        } else {
            // Rounding up may add one for each entry.
            (STEPS / heaviest).min((MAX_SUM - len) / sum)
        };
        let mut before = vec![0];
        let mut sum = 0;
        for weight in weights {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bounded by the scale"
            )]
            let turns = if weight > 0.0 { (weight * scale).round().max(1.0) as u64 } else { 0 };
            sum += turns;
            before.push(sum);
        }
        let mut shares = Self { before, equal, order: Vec::new() };
        if !equal && sum <= MAX_WRITTEN {
            let turns = (0..sum).filter_map(|tick| Some(shares.at(tick)?.0));
            shares.order = turns.map(|entry| u32::try_from(entry).unwrap_or(u32::MAX)).collect();
        }
        shares
    }

    /// The entry whose turn it is at `tick`; `None` if all weights are 0. O(1) if the weights are equal, or whole and
    /// their sum small; else O(log n).
    pub(crate) fn entry(&self, tick: u64) -> Option<usize> {
        if self.order.is_empty() {
            return Some(self.at(tick)?.0);
        }
        Some(self.order[index(tick % self.order.len() as u64)] as usize)
    }

    /// How many entries.
    pub(crate) fn len(&self) -> usize {
        self.before.len() - 1
    }

    /// Turns until the order begins anew.
    pub(crate) fn sum(&self) -> u64 {
        self.before[self.len()]
    }

    /// The entry whose turn it is at `tick`, and which of its own turns that is, counted without gaps; `None` if all
    /// weights are 0. O(log n).
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
            // (turn + 1) * left / all is larger by one if the remainder says so: one division for the two of them.
            let (turns_left, remainder) = (turn * left / all, turn * left % all);
            if remainder + left >= all {
                (high, turn) = (middle, turns_left);
            } else {
                (low, turn) = (middle, turn - turns_left);
            }
        }
        let weight = self.before[high] - self.before[low];
        Some((low, tick / sum * weight + turn))
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
        let shares = Shares::new(weights.iter().copied().map(f64::from));
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
    fn equal_entries_count_their_own_turns() {
        let shares = Shares::new([2.0; 3].into_iter());
        let turns: Vec<_> = (3..9).map(|tick| shares.at(tick).unwrap()).collect();
        assert_eq!(turns, [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)]);
    }

    #[test]
    fn nothing_without_weight() {
        assert_eq!(Shares::new([].into_iter()).at(7), None);
        assert_eq!(Shares::new([0.0, 0.0].into_iter()).at(7), None);
    }

    proptest! {
        #[test]
        fn any_window_of_the_sum_gives_each_its_weight(
            weights in prop::collection::vec(0..40u32, 1..20), start in any::<u32>()
        ) {
            let shares = Shares::new(weights.iter().copied().map(f64::from));
            prop_assume!(shares.sum() > 0);
            let mut counts = vec![0; weights.len()];
            let mut turns = vec![None; weights.len()];
            for tick in 0..2 * shares.sum() {
                let (entry, turn) = shares.at(u64::from(start) + tick).unwrap();
                counts[entry] += 1;
                prop_assert_eq!(shares.entry(u64::from(start) + tick), Some(entry));
                let last = turns[entry].replace(turn);
                prop_assert!(last.is_none_or(|last| last + 1 == turn), "own turns have no gaps");
            }
            // Equal weights are one turn each.
            let common = if shares.equal { weights[0] } else { 1 };
            prop_assert_eq!(counts.iter().map(|count| count * common / 2).collect::<Vec<_>>(), weights);
        }
    }
}
