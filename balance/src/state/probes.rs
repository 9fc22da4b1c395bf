//! Prequal's pool of answers, and its notion of what load is usual. One of each for every worker and set of endpoints.

mod order;
mod window;

use self::{order::Order, window::Window};
use crate::Time;

/// Most answers that a pool holds.
pub(crate) const MAX_ENTRIES: usize = 16;

/// An endpoint's answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The endpoint's place in its set.
    pub(crate) index: u32,
    /// How often it may still be used for sure.
    pub(crate) uses: u32,
    /// Requests in flight, by weight; those sent since are added. Not negative.
    pub(crate) load: f64,
    /// Not negative.
    pub(crate) latency_nanos: f64,
    /// Hash of the endpoint's identity, by which it is found again when places change.
    pub(crate) id: u64,
    pub(crate) at: Time,
}

/// The order of answers, best first (the paper's hot-cold lexicographic rule): cold before hot, of the cold the lowest
/// latency, of the hot the lowest load. It ends with the slot of the answer, so that the best and the worst are a
/// minimum and a maximum.
type Rank = u64;

/// No answer.
const NONE: Rank = Rank::MAX;

/// The answers, and the loads seen. Every pick looks for the best and drops the worst or the oldest, so that the
/// numbers by which they are compared lie together, and few of its steps take a branch that chance decides.
#[derive(Clone, Debug)]
pub(crate) struct ProbePool {
    /// By slot; of no account where there is no answer, like all that follows but the ranks.
    entries: [Entry; MAX_ENTRIES],
    /// Those of the entries.
    indices: [u32; MAX_ENTRIES],
    ranks: [Rank; MAX_ENTRIES],
    /// The load from which on an endpoint was hot when the ranks were made.
    hot_from: f64,
    /// Slots of the answers, oldest first.
    order: Order,
    /// Of the balancer to which the places belong.
    generation: u64,
    /// Most answers.
    capacity: usize,
    /// The next to drop is the worst and not the oldest.
    worst_next: bool,
    pub(crate) window: Window,
}

impl Default for ProbePool {
    fn default() -> Self {
        let none = Entry { index: 0, uses: 0, load: 0.0, latency_nanos: 0.0, id: 0, at: Time::ZERO };
        let window = Window::default();
        Self {
            entries: [none; MAX_ENTRIES],
            indices: [0; MAX_ENTRIES],
            ranks: [NONE; MAX_ENTRIES],
            hot_from: window.hot_from,
            order: Order::default(),
            generation: 0,
            capacity: MAX_ENTRIES,
            worst_next: false,
            window,
        }
    }
}

impl ProbePool {
    /// The answers, oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.order.slots().map(|slot| &self.entries[slot])
    }

    pub(crate) const fn len(&self) -> usize {
        self.order.len()
    }

    /// Follows another balancer, as is told by its generation: what it calls hot, how many answers it keeps, and the
    /// places of their endpoints. Those of endpoints that it does not have are dropped.
    pub(crate) fn adapt(
        &mut self,
        generation: u64,
        hot_quantile: f64,
        capacity: usize,
        place: impl Fn(u64) -> Option<usize>,
    ) {
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        self.window.set_quantile(hot_quantile);
        self.capacity = capacity.clamp(1, MAX_ENTRIES);
        for slot in self.order.slots() {
            match place(self.entries[slot].id).and_then(|index| u32::try_from(index).ok()) {
                Some(index) => (self.entries[slot].index, self.indices[slot]) = (index, index),
                None => self.remove(slot),
            }
        }
        while self.len() > self.capacity {
            self.remove_oldest();
        }
    }

    /// Adds an answer; the oldest goes if there are as many as are kept.
    pub(crate) fn add(&mut self, entry: Entry) {
        self.window.see(entry.load);
        let slot = self.order.append(self.capacity);
        self.entries[slot] = entry;
        self.indices[slot] = entry.index;
        self.rank(slot);
    }

    /// Drops what is older than `max_age_nanos`, from the oldest on.
    pub(crate) fn expire(&mut self, now: Time, max_age_nanos: u64) {
        let age = |entry: &Entry| now.as_nanos().saturating_sub(entry.at.as_nanos());
        while self.entries().next().is_some_and(|oldest| age(oldest) > max_age_nanos) {
            self.remove_oldest();
        }
    }

    /// The best answer.
    pub(crate) fn best(&mut self) -> Option<Answer> {
        self.renew_ranks();
        self.answer(min(&self.ranks))
    }

    /// The best answer of those that pass.
    pub(crate) fn best_of(&mut self, passes: impl Fn(&Entry) -> bool) -> Option<Answer> {
        self.renew_ranks();
        let slots = self.order.slots().filter(|slot| passes(&self.entries[*slot]));
        self.answer(slots.map(|slot| self.ranks[slot]).min()?)
    }

    fn answer(&self, rank: Rank) -> Option<Answer> {
        (rank != NONE).then(|| Answer { slot: slot(rank), index: self.entries[slot(rank)].index })
    }

    /// A request goes to an endpoint: its answers count one more in flight.
    pub(crate) fn dispatched(&mut self, index: usize, load_of_one: f64) {
        if let Ok(index) = u32::try_from(index) {
            self.count(self.answers_of(index), load_of_one);
        }
    }

    /// The same for the endpoint of an answer, which is used. When it may not be used again for sure, `again` says
    /// whether it may once more.
    pub(crate) fn use_up(&mut self, answer: Answer, load_of_one: f64, again: impl FnOnce() -> bool) {
        let mut answers = self.answers_of(answer.index);
        let uses = &mut self.entries[answer.slot].uses;
        let last = *uses == 0;
        *uses = uses.saturating_sub(1);
        if last || (*uses == 0 && !again()) {
            self.remove(answer.slot);
            answers &= !(1 << answer.slot);
        }
        self.count(answers, load_of_one);
    }

    /// A bit for each slot with an answer of the endpoint.
    fn answers_of(&self, index: u32) -> u16 {
        let is_here = |slot: usize| u16::from(self.indices[slot] == index) << slot;
        (0..MAX_ENTRIES).fold(0, |here, slot| here | is_here(slot)) & self.order.taken()
    }

    fn count(&mut self, mut slots: u16, load_of_one: f64) {
        while slots != 0 {
            let slot = slots.trailing_zeros() as usize;
            slots &= slots - 1;
            self.entries[slot].load += load_of_one;
            self.rank(slot);
        }
    }

    /// Drops the oldest and the worst in turn, where the worst is the hottest, or if none is hot the slowest.
    pub(crate) fn drop_worst_or_oldest(&mut self) {
        if self.len() == 0 {
            return;
        }
        self.worst_next = !self.worst_next;
        if self.worst_next {
            self.remove_oldest();
        } else {
            self.renew_ranks();
            self.remove(slot(max(&self.ranks)));
        }
    }

    fn remove(&mut self, slot: usize) {
        self.order.remove(slot);
        self.ranks[slot] = NONE;
    }

    /// There must be one.
    fn remove_oldest(&mut self) {
        let slot = self.order.remove_first();
        self.ranks[slot] = NONE;
    }

    /// Numbers that are not negative are in the order of their bits, and 24 of them tell enough.
    #[expect(clippy::cast_possible_truncation, reason = "that is the rounding")]
    fn rank(&mut self, slot: usize) {
        let Entry { load, latency_nanos, .. } = self.entries[slot];
        let hot = load >= self.hot_from;
        let bits = |number: f64| Rank::from((number as f32).to_bits());
        let (load, latency) = (bits(load), bits(latency_nanos));
        let (first, then) = if hot { (load, latency) } else { (latency, load) };
        self.ranks[slot] = Rank::from(hot) << 63 | first << 32 | (then >> 3) << 4 | slot as Rank;
    }

    /// What is hot may have changed since they were made.
    fn renew_ranks(&mut self) {
        if self.hot_from == self.window.hot_from {
            return;
        }
        self.hot_from = self.window.hot_from;
        for slot in self.order.slots() {
            self.rank(slot);
        }
    }
}

/// An answer that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    slot: usize,
    index: u32,
}

impl Answer {
    /// The endpoint's place in its set.
    pub(crate) const fn index(self) -> usize {
        self.index as usize
    }
}

const fn slot(rank: Rank) -> usize {
    (rank & 15) as usize
}

/// The lowest. Four at once, so that no comparison waits for all those before it.
fn min(ranks: &[Rank; MAX_ENTRIES]) -> Rank {
    let [mut a, mut b, mut c, mut d] = [NONE; 4];
    for four in ranks.chunks_exact(4) {
        (a, b, c, d) = (a.min(four[0]), b.min(four[1]), c.min(four[2]), d.min(four[3]));
    }
    a.min(b).min(c.min(d))
}

/// The highest of those that are there.
fn max(ranks: &[Rank; MAX_ENTRIES]) -> Rank {
    let [mut a, mut b, mut c, mut d] = [0; 4];
    let next = |rank: Rank| rank.wrapping_add(1);
    for four in ranks.chunks_exact(4) {
        (a, b, c, d) =
            (a.max(next(four[0])), b.max(next(four[1])), c.max(next(four[2])), d.max(next(four[3])));
    }
    a.max(b).max(c.max(d)).wrapping_sub(1)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn entry(index: u32, load: f64, latency_nanos: f64) -> Entry {
        Entry { index, id: index.into(), at: Time::ZERO, load, latency_nanos, uses: 1 }
    }

    fn pool(capacity: usize) -> ProbePool {
        let mut pool = ProbePool::default();
        pool.adapt(1, 0.84, capacity, |_| None);
        pool
    }

    fn order(pool: &ProbePool) -> Vec<u32> {
        pool.entries().map(|entry| entry.index).collect()
    }

    #[test]
    fn overflow_drops_the_oldest() {
        let mut pool = pool(3);
        (0..5).for_each(|index| pool.add(entry(index, 0.0, 0.0)));
        assert_eq!(order(&pool), [2, 3, 4]);
    }

    #[test]
    fn drops_the_oldest_and_the_worst_in_turn() {
        let mut pool = pool(16);
        for (index, load, latency) in [(0, 1.0, 5.0), (1, 9.0, 1.0), (2, 2.0, 7.0), (3, 1.0, 1.0)] {
            pool.add(entry(index, load, latency));
        }
        (0..100).for_each(|_| pool.window.see(8.0));
        pool.drop_worst_or_oldest();
        assert_eq!(order(&pool), [1, 2, 3]);
        pool.drop_worst_or_oldest();
        assert_eq!(order(&pool), [2, 3], "the hot one, though it is fastest");
        pool.drop_worst_or_oldest();
        assert_eq!(order(&pool), [3]);
    }

    #[test]
    fn own_requests_count_and_uses_end() {
        let mut pool = pool(16);
        pool.add(Entry { uses: 2, ..entry(0, 1.0, 1.0) });
        pool.add(Entry { uses: 2, ..entry(0, 3.0, 1.0) });
        let mut send = |loads: &[f64]| {
            let best = pool.best().unwrap();
            pool.use_up(best, 1.0, || false);
            assert_eq!(pool.entries().map(|entry| entry.load).collect::<Vec<_>>(), loads);
        };
        send(&[2.0, 4.0]);
        send(&[5.0]);
        send(&[6.0]);
        send(&[]);
        assert_eq!(pool.best(), None);
    }

    #[test]
    fn an_answer_may_be_used_once_more_than_for_sure() {
        let mut pool = pool(16);
        pool.add(entry(0, 1.0, 1.0));
        for (again, left) in [(true, 1), (true, 0)] {
            let best = pool.best().unwrap();
            pool.use_up(best, 1.0, || again);
            assert_eq!(pool.len(), left);
        }
    }

    #[test]
    fn a_smaller_set_keeps_fewer_answers() {
        let mut pool = pool(16);
        (0..5).for_each(|index| pool.add(entry(index, 0.0, 0.0)));
        pool.adapt(2, 0.84, 3, |id| usize::try_from(id).ok().filter(|index| *index != 4));
        assert_eq!(order(&pool), [1, 2, 3]);
        pool.add(entry(5, 0.0, 0.0));
        assert_eq!(order(&pool), [2, 3, 5]);
    }

    #[test]
    fn a_request_counts_at_its_endpoint_without_an_answer_that_is_used() {
        let mut pool = pool(16);
        (0..2).for_each(|index| pool.add(entry(index, 0.0, 1.0)));
        pool.dispatched(1, 2.0);
        assert_eq!(
            pool.entries().map(|entry| (entry.load, entry.uses)).collect::<Vec<_>>(),
            [(0.0, 1), (2.0, 1)]
        );
    }

    #[test]
    fn places_follow_the_endpoints() {
        let mut pool = pool(16);
        (0..3).for_each(|index| pool.add(entry(index, 0.0, 0.0)));
        pool.adapt(2, 0.84, 16, |id| (id != 1).then_some(7 - usize::try_from(id).unwrap()));
        assert_eq!(order(&pool), [7, 5]);
    }

    #[test]
    fn cold_answers_go_before_hot_ones_and_then_the_fastest_or_least_loaded() {
        let mut pool = pool(16);
        let (cold, hot) = (
            [(0.0, 1.0), (8.0, 1.0), (0.0, 1.000_001), (0.0, 1.5), (3.0, 3e11)],
            [(9.0, 7.0), (9.0, 8.0), (1e6, 0.0)],
        );
        let ordered = [cold.as_slice(), &hot].concat();
        for (index, (load, latency)) in (0..8_u32).zip(ordered).rev() {
            pool.add(entry(index, load, latency));
        }
        // What is hot shows after the answers came.
        (0..100).for_each(|_| pool.window.see(8.0));
        for expect in 0..8_u32 {
            let best = pool.best().unwrap();
            assert_eq!(best.index, expect);
            assert_eq!(pool.best_of(|entry| entry.index >= expect), Some(best));
            pool.use_up(best, 1.0, || false);
        }
    }
}
