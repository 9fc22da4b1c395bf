//! Prequal's pool of answers, and its notion of what load is usual. One of each for every worker and set of endpoints.

mod window;

use self::window::Window;
use crate::Time;

/// Most answers that a pool holds.
pub(crate) const MAX_ENTRIES: usize = 16;

/// An endpoint's answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The endpoint's place in its set.
    pub(crate) index: u32,
    /// How often it may still be used.
    pub(crate) uses: u32,
    /// Requests in flight, by weight; those sent since are added. Not negative.
    pub(crate) load: f64,
    /// Not negative.
    pub(crate) latency_nanos: f64,
    /// Hash of the endpoint's identity, by which it is found again when places change.
    pub(crate) id: u64,
    pub(crate) at: Time,
}

/// The order of answers, best first (the paper's hot-cold lexicographic rule): cold before hot, of the cold the lowest latency, of
/// the hot the lowest load. It ends with the slot of the answer, so that the best and the worst are a minimum and a maximum.
type Rank = u64;

/// No answer.
const NONE: Rank = Rank::MAX;

/// The answers, and the loads seen. Every pick looks for the best and drops the worst or the oldest, so that the numbers by which
/// they are compared lie together.
#[derive(Clone, Debug)]
pub(crate) struct ProbePool {
    /// By slot.
    entries: [Entry; MAX_ENTRIES],
    ranks: [Rank; MAX_ENTRIES],
    /// The load from which on an endpoint was hot when the ranks were made.
    hot_from: f64,
    /// All slots: those of the answers, oldest first, then the free ones.
    order: Order,
    len: usize,
    /// The balancer to which the places belong.
    generation: u64,
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
            ranks: [NONE; MAX_ENTRIES],
            hot_from: window.hot_from,
            order: Order::default(),
            len: 0,
            generation: 0,
            worst_next: false,
            window,
        }
    }
}

impl ProbePool {
    /// The answers, oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.slots().map(|slot| &self.entries[slot])
    }

    fn slots(&self) -> impl Iterator<Item = usize> {
        (0..self.len).map(|place| self.order.at(place))
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Finds the places of the answers in another balancer; those of endpoints that it does not have are dropped.
    pub(crate) fn adapt(&mut self, generation: u64, place: impl Fn(u64) -> Option<usize>) {
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        for nth in (0..self.len).rev() {
            let slot = self.order.at(nth);
            match place(self.entries[slot].id).and_then(|index| u32::try_from(index).ok()) {
                Some(index) => self.entries[slot].index = index,
                None => self.remove(slot),
            }
        }
    }

    /// Adds an answer; the oldest goes if there are `capacity` already.
    pub(crate) fn add(&mut self, entry: Entry, capacity: usize) {
        while self.len >= capacity.clamp(1, MAX_ENTRIES) {
            self.remove(self.order.at(0));
        }
        let slot = self.order.at(self.len);
        self.len += 1;
        self.entries[slot] = entry;
        self.rank(slot);
    }

    /// Drops what is older than `max_age_nanos`, from the oldest on.
    pub(crate) fn expire(&mut self, now: Time, max_age_nanos: u64) {
        let age = |entry: &Entry| now.as_nanos().saturating_sub(entry.at.as_nanos());
        while self.entries().next().is_some_and(|oldest| age(oldest) > max_age_nanos) {
            self.remove(self.order.at(0));
        }
    }

    /// The best answer.
    pub(crate) fn best(&mut self) -> Option<Answer> {
        self.renew_ranks();
        let best = self.ranks.iter().fold(NONE, |best, rank| best.min(*rank));
        self.answer(best)
    }

    /// The best answer of those that pass.
    pub(crate) fn best_of(&mut self, passes: impl Fn(&Entry) -> bool) -> Option<Answer> {
        self.renew_ranks();
        let slots = self.slots().filter(|slot| passes(&self.entries[*slot]));
        self.answer(slots.map(|slot| self.ranks[slot]).min()?)
    }

    fn answer(&self, rank: Rank) -> Option<Answer> {
        (rank != NONE).then(|| Answer { slot: slot(rank), index: self.entries[slot(rank)].index as usize })
    }

    /// A request goes to an endpoint: its answers count one more in flight.
    pub(crate) fn dispatched(&mut self, index: usize, load_of_one: f64) {
        for slot in 0..MAX_ENTRIES {
            if self.entries[slot].index as usize == index && self.ranks[slot] != NONE {
                self.entries[slot].load += load_of_one;
                self.rank(slot);
            }
        }
    }

    /// The same for the endpoint of an answer, which is used once more.
    pub(crate) fn use_up(&mut self, answer: Answer, load_of_one: f64) {
        self.dispatched(answer.index, load_of_one);
        let entry = &mut self.entries[answer.slot];
        entry.uses = entry.uses.saturating_sub(1);
        if entry.uses == 0 {
            self.remove(answer.slot);
        }
    }

    /// Drops the oldest and the worst in turn, where the worst is the hottest, or if none is hot the slowest.
    pub(crate) fn drop_worst_or_oldest(&mut self) {
        if self.len == 0 {
            return;
        }
        self.worst_next = !self.worst_next;
        let slot = if self.worst_next { self.order.at(0) } else { self.worst() };
        self.remove(slot);
    }

    fn worst(&mut self) -> usize {
        self.renew_ranks();
        let worst =
            self.ranks.iter().fold(0, |worst, rank| if *rank == NONE { worst } else { worst.max(*rank) });
        slot(worst)
    }

    fn remove(&mut self, slot: usize) {
        self.len -= 1;
        self.order.shift(slot, self.len);
        self.ranks[slot] = NONE;
    }

    /// Numbers that are not negative are in the order of their bits, and 24 of them tell enough.
    #[expect(clippy::cast_possible_truncation, reason = "that is the rounding")]
    fn rank(&mut self, slot: usize) {
        let Entry { load, latency_nanos, .. } = self.entries[slot];
        let hot = load >= self.hot_from;
        let (first, then) = if hot { (load, latency_nanos) } else { (latency_nanos, load) };
        let bits = |number: f64| Rank::from((number as f32).to_bits());
        let (first, then) = (bits(first), bits(then));
        self.ranks[slot] = Rank::from(hot) << 63 | first << 32 | (then >> 3) << 4 | slot as Rank;
    }

    /// What is hot may have changed since they were made.
    fn renew_ranks(&mut self) {
        if self.hot_from == self.window.hot_from {
            return;
        }
        self.hot_from = self.window.hot_from;
        for slot in 0..MAX_ENTRIES {
            if self.ranks[slot] != NONE {
                self.rank(slot);
            }
        }
    }
}

/// An answer that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    slot: usize,
    /// The endpoint's place in its set.
    pub(crate) index: usize,
}

const fn slot(rank: Rank) -> usize {
    (rank & 15) as usize
}

/// An order of the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order([u8; MAX_ENTRIES]);

impl Default for Order {
    fn default() -> Self {
        Self([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
    }
}

impl Order {
    const fn at(self, place: usize) -> usize {
        self.0[place] as usize
    }

    /// Moves a slot back to `place`; those between move forward. It must not lie behind that.
    fn shift(&mut self, slot: usize, place: usize) {
        let Some(from) = self.0.iter().position(|each| usize::from(*each) == slot) else { return };
        let moved = self.0[from];
        self.0.copy_within(from + 1..=place, from);
        self.0[place] = moved;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn entry(index: u32, load: f64, latency_nanos: f64) -> Entry {
        Entry { index, id: index.into(), at: Time::ZERO, load, latency_nanos, uses: 1 }
    }

    fn order(pool: &ProbePool) -> Vec<u32> {
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
        pool.add(Entry { uses: 2, ..entry(0, 3.0, 1.0) }, 16);
        let mut send = |loads: &[f64]| {
            let best = pool.best().unwrap();
            pool.use_up(best, 1.0);
            assert_eq!(pool.entries().map(|entry| entry.load).collect::<Vec<_>>(), loads);
        };
        send(&[2.0, 4.0]);
        send(&[5.0]);
        send(&[6.0]);
        send(&[]);
        assert_eq!(pool.best(), None);
    }

    #[test]
    fn a_request_counts_at_its_endpoint_without_an_answer_that_is_used() {
        let mut pool = ProbePool::default();
        (0..2).for_each(|index| pool.add(entry(index, 0.0, 1.0), 16));
        pool.dispatched(1, 2.0);
        assert_eq!(
            pool.entries().map(|entry| (entry.load, entry.uses)).collect::<Vec<_>>(),
            [(0.0, 1), (2.0, 1)]
        );
    }

    #[test]
    fn places_follow_the_endpoints() {
        let mut pool = ProbePool::default();
        (0..3).for_each(|index| pool.add(entry(index, 0.0, 0.0), 16));
        pool.adapt(1, |id| (id != 1).then_some(7 - usize::try_from(id).unwrap()));
        assert_eq!(order(&pool), [7, 5]);
    }

    #[test]
    fn cold_answers_go_before_hot_ones_and_then_the_fastest_or_least_loaded() {
        let mut pool = ProbePool::default();
        let (cold, hot) = (
            [(0.0, 1.0), (8.0, 1.0), (0.0, 1.000_001), (0.0, 1.5), (3.0, 3e11)],
            [(9.0, 7.0), (9.0, 8.0), (1e6, 0.0)],
        );
        let ordered = [cold.as_slice(), &hot].concat();
        for (index, (load, latency)) in (0..8_u32).zip(ordered).rev() {
            pool.add(entry(index, load, latency), 16);
        }
        // What is hot shows after the answers came.
        (0..100).for_each(|_| pool.window.see(8.0, 0.84));
        for expect in 0..8_u32 {
            let best = pool.best().unwrap();
            assert_eq!(best.index, expect as usize);
            assert_eq!(pool.best_of(|entry| entry.index >= expect), Some(best));
            pool.use_up(best, 1.0);
        }
    }

    #[test]
    fn slots_move_back_and_others_forward() {
        for slot in 0..MAX_ENTRIES {
            for place in slot..MAX_ENTRIES {
                let mut order = Order::default();
                order.shift(slot, place);
                let mut expect: Vec<_> = (0..MAX_ENTRIES).collect();
                expect[slot..=place].rotate_left(1);
                let found: Vec<_> = (0..MAX_ENTRIES).map(|place| order.at(place)).collect();
                assert_eq!(found, expect, "{slot} to {place}");
            }
        }
    }
}
