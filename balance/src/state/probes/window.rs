//! Prequal's notion of what load is usual: a quantile of those seen last.

/// Loads remembered for the quantile.
const OBSERVED: usize = 128;
/// Kinds of loads told apart: exact below 64, 16 to an octave above.
const BINS: u16 = 512;
/// The bin of loads not seen yet: above all others.
const UNSEEN: u16 = BINS;

/// The last loads seen, and a quantile of them. Only how many lie at it and below is counted on the way: all are looked
/// at when it moves.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    seen: [u16; OBSERVED],
    len: usize,
    next: usize,
    /// The bin of the quantile, how many loads lie in lower bins, and how many in it or lower ones.
    bin: u16,
    below: usize,
    up_to: usize,
    /// The lowest load of the next bin.
    pub(super) hot_from: f64,
    /// The rank of the quantile among the loads, and the quantile.
    needed: usize,
    quantile: f64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            seen: [UNSEEN; OBSERVED],
            len: 0,
            next: 0,
            bin: 0,
            below: 0,
            up_to: 0,
            hot_from: 1.0,
            needed: 0,
            quantile: 1.0,
        }
    }
}

impl Window {
    /// From now on it is this quantile.
    pub(super) fn set_quantile(&mut self, quantile: f64) {
        if self.quantile != quantile {
            self.quantile = quantile;
            if self.len > 0 {
                self.need();
                self.settle();
            }
        }
    }

    pub(super) fn see(&mut self, load: f64) {
        let new = bin(load);
        let old = std::mem::replace(&mut self.seen[self.next], new);
        self.next = (self.next + 1) % OBSERVED;
        self.below = self.below + usize::from(new < self.bin) - usize::from(old < self.bin);
        self.up_to = self.up_to + usize::from(new <= self.bin) - usize::from(old <= self.bin);
        if self.len < OBSERVED {
            self.len += 1;
            self.need();
        }
        if self.up_to < self.needed || self.below >= self.needed {
            self.settle();
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a part of 128"
    )]
    fn need(&mut self) {
        self.needed = ((self.len as f64 * self.quantile).ceil() as usize).clamp(1, self.len);
    }

    /// Moves the bin to the lowest that has the quantile in it or below, by those that were seen. Apart, since few
    /// loads move it.
    #[cold]
    fn settle(&mut self) {
        let (mut bin, mut below, mut up_to) = (self.bin, self.below, self.up_to);
        while up_to < self.needed {
            bin = self.seen.iter().copied().filter(|seen| *seen > bin).min().unwrap_or(UNSEEN);
            below = up_to;
            up_to = self.seen.iter().filter(|seen| **seen <= bin).count();
        }
        while below >= self.needed {
            bin = self.seen.iter().copied().filter(|seen| *seen < bin).max().unwrap_or(0);
            up_to = below;
            below = self.seen.iter().filter(|seen| **seen < bin).count();
        }
        (self.bin, self.below, self.up_to) = (bin, below, up_to);
        self.hot_from = lowest(bin + 1);
    }

    /// Whether a load is above the quantile.
    pub(crate) const fn is_hot(&self, load: f64) -> bool {
        load >= self.hot_from
    }
}

/// The lowest load of a bin.
fn lowest(bin: u16) -> f64 {
    if bin <= 64 { bin.into() } else { 64.0 * (f64::from(bin - 64) / 16.0).exp2() }
}

/// Monotone.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 512")]
fn bin(load: f64) -> u16 {
    if load < 64.0 {
        load.max(0.0) as u16
    } else {
        (64.0 + (load / 64.0).log2() * 16.0).min(f64::from(BINS - 1)) as u16
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_load_has_a_bin_below_that_of_those_not_seen() {
        for (load, expect) in
            [(-1.0, 0), (0.9, 0), (63.9, 63), (64.0, 64), (128.0, 80), (f64::MAX, UNSEEN - 1)]
        {
            assert_eq!(bin(load), expect, "{load}");
        }
    }

    proptest! {
        #[test]
        fn the_quantile_is_that_of_the_last(
            steps in prop::collection::vec((0..100_u32, prop::option::weighted(0.05, 0..=128_u8)), 1..400)
        ) {
            let (mut window, mut seen) = (Window::default(), Vec::new());
            // In parts of 128, so that their numbers are exact.
            let mut quantile = 107;
            for (load, changed) in steps {
                quantile = changed.unwrap_or(quantile);
                window.set_quantile(f64::from(quantile) / 128.0);
                // Some far above those that are told apart exactly.
                let load = f64::from(if load > 90 { load * load } else { load });
                window.see(load);
                seen.push(bin(load));
                let mut last = seen[seen.len().saturating_sub(128)..].to_vec();
                last.sort_unstable();
                let needed = (last.len() * usize::from(quantile)).div_ceil(128).max(1);
                prop_assert_eq!(window.bin, last[needed - 1]);
                prop_assert_eq!(window.is_hot(load), bin(load) > window.bin);
            }
        }
    }
}
