//! Prequal's pool of answers, and its notion of what load is usual. One of each for every worker and set of endpoints.

use rand::Rng;

use crate::Time;

/// Most answers that a pool holds.
pub(crate) const MAX_ENTRIES: usize = 16;
/// Loads remembered for the quantile.
const OBSERVED: usize = 128;
/// Kinds of loads told apart: exact below 64, 16 to an octave above.
const BINS: usize = 512;

/// An endpoint's answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The endpoint's place in its set.
    pub(crate) index: usize,
    /// Hash of its identity, by which it is found again when places change.
    pub(crate) id: u64,
    pub(crate) at: Time,
    /// Requests in flight, by weight; those sent since are added.
    pub(crate) load: f64,
    pub(crate) latency_nanos: f64,
    /// How often it may still be used.
    pub(crate) uses: u32,
}

/// The answers, oldest first, and the loads seen.
#[derive(Clone, Debug)]
pub(crate) struct ProbePool {
    /// In a circle, so that the oldest goes at no cost.
    entries: [Entry; MAX_ENTRIES],
    start: usize,
    len: usize,
    /// The balancer to which the places belong.
    generation: u64,
    /// The next to drop is the worst and not the oldest.
    worst_next: bool,
    pub(crate) window: Window,
}

impl Default for ProbePool {
    fn default() -> Self {
        let none = Entry { index: 0, id: 0, at: Time::ZERO, load: 0.0, latency_nanos: 0.0, uses: 0 };
        Self {
            entries: [none; MAX_ENTRIES],
            start: 0,
            len: 0,
            generation: 0,
            worst_next: false,
            window: Window::default(),
        }
    }
}

impl ProbePool {
    /// The answers, oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> + Clone {
        (0..self.len).map(|place| &self.entries[(self.start + place) % MAX_ENTRIES])
    }

    const fn entry(&mut self, place: usize) -> &mut Entry {
        &mut self.entries[(self.start + place) % MAX_ENTRIES]
    }

    /// Finds the places of the answers in another balancer; those of endpoints that it does not have are dropped.
    pub(crate) fn adapt(&mut self, generation: u64, place: impl Fn(u64) -> Option<usize>) {
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        self.keep(|entry| match place(entry.id) {
            Some(index) => {
                entry.index = index;
                true
            }
            None => false,
        });
    }

    /// Adds an answer; the oldest goes if there are `capacity` already.
    pub(crate) fn add(&mut self, entry: Entry, capacity: usize) {
        let capacity = capacity.clamp(1, MAX_ENTRIES);
        while self.len >= capacity {
            self.remove(0);
        }
        self.len += 1;
        *self.entry(self.len - 1) = entry;
    }

    /// Drops what is older than `max_age_nanos`, from the oldest on.
    pub(crate) fn expire(&mut self, now: Time, max_age_nanos: u64) {
        while self.len > 0 && now.as_nanos().saturating_sub(self.entry(0).at.as_nanos()) > max_age_nanos {
            self.remove(0);
        }
    }

    /// A request goes to the endpoint of entry `used`: its answers count one more in flight.
    pub(crate) fn sent(&mut self, used: usize, load_of_one: f64) {
        let index = self.entry(used).index;
        for place in 0..self.len {
            let entry = self.entry(place);
            if entry.index == index {
                entry.load += load_of_one;
            }
        }
        let entry = self.entry(used);
        entry.uses = entry.uses.saturating_sub(1);
        if entry.uses == 0 {
            self.remove(used);
        }
    }

    /// Drops the oldest and the worst in turn, where the worst is the hottest, or if none is hot the slowest.
    pub(crate) fn drop_worst_or_oldest(&mut self) {
        if self.len == 0 {
            return;
        }
        self.worst_next = !self.worst_next;
        let place = if self.worst_next { 0 } else { self.worst() };
        self.remove(place);
    }

    fn worst(&self) -> usize {
        let (mut hottest, mut slowest) = ((0, f64::NEG_INFINITY), (0, f64::NEG_INFINITY));
        for (place, entry) in self.entries().enumerate() {
            if entry.load >= hottest.1 {
                hottest = (place, entry.load);
            }
            if entry.latency_nanos >= slowest.1 {
                slowest = (place, entry.latency_nanos);
            }
        }
        if self.window.is_hot(hottest.1) { hottest.0 } else { slowest.0 }
    }

    fn remove(&mut self, place: usize) {
        self.len -= 1;
        if place == 0 {
            self.start = (self.start + 1) % MAX_ENTRIES;
            return;
        }
        for later in place..self.len {
            *self.entry(later) = *self.entry(later + 1);
        }
    }

    fn keep(&mut self, mut keep: impl FnMut(&mut Entry) -> bool) {
        let mut kept = 0;
        for place in 0..self.len {
            let mut entry = *self.entry(place);
            if keep(&mut entry) {
                *self.entry(kept) = entry;
                kept += 1;
            }
        }
        self.len = kept;
    }
}

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
    hot_from: f64,
}

impl Default for Window {
    fn default() -> Self {
        Self { seen: [0; OBSERVED], len: 0, next: 0, counts: [0; BINS], bin: 0, up_to_bin: 0, hot_from: 1.0 }
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
        }
        let new = bin(load);
        self.seen[self.next] = new;
        self.next = (self.next + 1) % OBSERVED;
        let new = usize::from(new);
        self.counts[new] += 1;
        self.up_to_bin += usize::from(new <= self.bin);
        self.settle(quantile);
    }

    /// Moves the bin to the lowest that has the quantile in it or below.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a part of 128"
    )]
    fn settle(&mut self, quantile: f64) {
        let needed = ((self.len as f64 * quantile).ceil() as usize).clamp(1, self.len);
        while self.up_to_bin < needed {
            self.bin += 1;
            self.up_to_bin += usize::from(self.counts[self.bin]);
        }
        while self.bin > 0 && self.up_to_bin - usize::from(self.counts[self.bin]) >= needed {
            self.up_to_bin -= usize::from(self.counts[self.bin]);
            self.bin -= 1;
        }
        self.hot_from = lowest(self.bin + 1);
    }

    /// Whether a load is above the quantile.
    pub(crate) fn is_hot(&self, load: f64) -> bool {
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

/// `number` rounded up or down by chance, so that its mean is itself.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
pub(crate) fn rounded(number: f64, rng: &mut impl Rng) -> u32 {
    let whole = number.clamp(0.0, 1e6).floor();
    let up = number > whole && rng.random_bool((number - whole).clamp(0.0, 1.0));
    whole as u32 + u32::from(up)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(index: usize, load: f64, latency: f64) -> Entry {
        Entry { index, id: index as u64, at: Time::ZERO, load, latency_nanos: latency, uses: 1 }
    }

    fn order(pool: &ProbePool) -> Vec<usize> {
        pool.entries().map(|entry| entry.index).collect()
    }

    #[test]
    fn overflow_drops_the_oldest() {
        let mut pool = ProbePool::default();
        (0..5).for_each(|index| pool.add(entry(index, 0.0, 0.0), 3));
        assert_eq!(order(&pool), [2, 3, 4]);
    }

    #[test]
    fn drops_the_oldest_and_the_worst_in_turn() {
        let mut pool = ProbePool::default();
        for (index, load, latency) in [(0, 1.0, 5.0), (1, 9.0, 1.0), (2, 2.0, 7.0), (3, 1.0, 1.0)] {
            pool.add(entry(index, load, latency), 16);
        }
        (0..100).for_each(|_| pool.window.see(8.0, 0.84));
        pool.drop_worst_or_oldest();
        assert_eq!(order(&pool), [1, 2, 3]);
        pool.drop_worst_or_oldest();
        assert_eq!(order(&pool), [2, 3], "the hot one, though it is fastest");
        pool.drop_worst_or_oldest();
        assert_eq!(order(&pool), [3]);
    }

    #[test]
    fn own_requests_count_and_uses_end() {
        let mut pool = ProbePool::default();
        pool.add(Entry { uses: 2, ..entry(0, 1.0, 1.0) }, 16);
        pool.add(entry(0, 3.0, 1.0), 16);
        pool.sent(0, 1.0);
        assert_eq!(pool.entries().map(|entry| entry.load).collect::<Vec<_>>(), [2.0, 4.0]);
        pool.sent(0, 1.0);
        assert_eq!(pool.entries().count(), 1);
    }

    #[test]
    fn places_follow_the_endpoints() {
        let mut pool = ProbePool::default();
        (0..3).for_each(|index| pool.add(entry(index, 0.0, 0.0), 16));
        pool.adapt(1, |id| (id != 1).then_some(7 - usize::try_from(id).unwrap()));
        assert_eq!(order(&pool), [7, 5]);
    }

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
