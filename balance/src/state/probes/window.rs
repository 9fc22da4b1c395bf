//! Prequal's notion of what load is usual: a quantile of those seen last.

/// Loads remembered for the quantile.
const OBSERVED: usize = 128;
/// Kinds of loads told apart: exact below 64, 16 to an octave above.
const BINS: usize = 512;

/// The last loads seen, and a quantile of them kept up to date in a few steps for each.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    seen: [u16; OBSERVED],
    len: usize,
    next: usize,
    counts: [u8; BINS],
    /// The bin of the quantile, and how many loads lie in it or below.
    bin: usize,
    up_to_bin: usize,
    /// The lowest load of the next bin.
    pub(super) hot_from: f64,
    /// How many of the loads the quantile has in it or below, and of which quantile that is.
    needed: usize,
    quantile: f64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            seen: [0; OBSERVED],
            len: 0,
            next: 0,
            counts: [0; BINS],
            bin: 0,
            up_to_bin: 0,
            hot_from: 1.0,
            needed: 0,
            quantile: f64::NAN,
        }
    }
}

impl Window {
    pub(crate) fn see(&mut self, load: f64, quantile: f64) {
        if self.len == OBSERVED {
            let old = usize::from(self.seen[self.next]);
            self.counts[old] -= 1;
            self.up_to_bin -= usize::from(old <= self.bin);
        } else {
            self.len += 1;
            self.quantile = f64::NAN;
        }
        let new = bin(load);
        self.seen[self.next] = new;
        self.next = (self.next + 1) % OBSERVED;
        let new = usize::from(new);
        self.counts[new] += 1;
        self.up_to_bin += usize::from(new <= self.bin);
        if self.quantile != quantile {
            self.need(quantile);
        }
        self.settle();
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a part of 128"
    )]
    fn need(&mut self, quantile: f64) {
        self.needed = ((self.len as f64 * quantile).ceil() as usize).clamp(1, self.len);
        self.quantile = quantile;
    }

    /// Moves the bin to the lowest that has the quantile in it or below.
    fn settle(&mut self) {
        let before = self.bin;
        while self.up_to_bin < self.needed {
            self.bin += 1;
            self.up_to_bin += usize::from(self.counts[self.bin]);
        }
        while self.bin > 0 && self.up_to_bin - usize::from(self.counts[self.bin]) >= self.needed {
            self.up_to_bin -= usize::from(self.counts[self.bin]);
            self.bin -= 1;
        }
        if self.bin != before {
            self.hot_from = lowest(self.bin + 1);
        }
    }

    /// Whether a load is above the quantile.
    pub(crate) const fn is_hot(&self, load: f64) -> bool {
        load >= self.hot_from
    }
}

/// The lowest load of a bin.
#[expect(clippy::cast_precision_loss, reason = "below 512")]
fn lowest(bin: usize) -> f64 {
    if bin <= 64 { bin as f64 } else { 64.0 * ((bin - 64) as f64 / 16.0).exp2() }
}

/// Monotone.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 512")]
fn bin(load: f64) -> u16 {
    if load < 64.0 {
        load.max(0.0) as u16
    } else {
        (64.0 + (load / 64.0).log2() * 16.0).min(BINS as f64 - 1.0) as u16
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_quantile_is_that_of_the_last(loads in prop::collection::vec(0..100_u32, 1..400)) {
            let mut window = Window::default();
            for load in &loads {
                window.see(f64::from(*load), 0.84);
            }
            let mut last: Vec<_> = loads.iter().rev().take(128).copied().collect();
            last.sort_unstable();
            let theta = last[(last.len() * 84).div_ceil(100) - 1];
            for load in &last {
                prop_assert_eq!(window.is_hot(f64::from(*load)), bin(f64::from(*load)) > bin(f64::from(theta)));
            }
        }
    }
}
