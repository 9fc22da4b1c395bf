//! A sequence of at most 16 slots in one word, changed without a loop or a branch: chance decides which slot goes, and
//! a processor that guesses wrong loses more than all of it takes.

/// Slots, each once at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// 4 bits for each, the first lowest; 0 behind the last.
    slots: u64,
    len: usize,
    /// A bit for each slot that is in it.
    taken: u16,
}

/// 1 in each 4 bits.
const ONES: u64 = 0x1111_1111_1111_1111;

impl Order {
    pub(super) fn slots(self) -> impl Iterator<Item = usize> {
        (0..self.len).map(move |place| (self.slots >> (4 * place) & 15) as usize)
    }

    /// How many there are.
    pub(super) const fn len(self) -> usize {
        self.len
    }

    /// A bit for each that is there.
    pub(super) const fn taken(self) -> u16 {
        self.taken
    }

    const fn first(self) -> usize {
        (self.slots & 15) as usize
    }

    /// Puts a slot behind the others: one that is free, or if there are `capacity` already, the first.
    pub(super) fn append(&mut self, capacity: usize) -> usize {
        let full = self.len >= capacity;
        let free = self.taken.trailing_ones() as usize & 15;
        let slot = if full { self.first() } else { free };
        self.slots >>= 4 * u32::from(full);
        self.len -= usize::from(full);
        self.slots |= (slot as u64) << (4 * self.len);
        self.len += 1;
        self.taken |= 1 << slot;
        slot
    }

    /// There must be one.
    pub(super) const fn remove_first(&mut self) -> usize {
        let slot = self.first();
        self.slots >>= 4;
        self.len -= 1;
        self.taken &= !(1 << slot);
        slot
    }

    /// It must be there.
    pub(super) const fn remove(&mut self, slot: usize) {
        // The lowest 4 bits that are 0 after this are those of the slot; a borrow can only mark others above them.
        let others = self.slots ^ (slot as u64 * ONES);
        let zeros = others.wrapping_sub(ONES) & !others & ONES << 3;
        let below = (1 << (zeros.trailing_zeros() & 60)) - 1;
        self.slots = self.slots & below | self.slots >> 4 & !below;
        self.len -= 1;
        self.taken &= !(1 << slot);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{super::MAX_ENTRIES, *};

    #[test]
    fn slots_are_removed_and_the_others_stay_in_order() {
        for (len, capacity) in (1..=MAX_ENTRIES).flat_map(|len| [(len, MAX_ENTRIES), (len, len)]) {
            for place in 0..len {
                let mut order = Order::default();
                let mut expect: Vec<_> = (0..len).map(|_| order.append(capacity)).collect();
                // Slots come back in another order than they went.
                for _ in 0..3 {
                    let slot = expect.remove(place);
                    if place == 0 {
                        assert_eq!(order.remove_first(), slot);
                    } else {
                        order.remove(slot);
                    }
                    assert_eq!(order.slots().collect::<Vec<_>>(), expect);
                    expect.push(order.append(capacity));
                    assert_eq!(order.slots().collect::<Vec<_>>(), expect);
                }
            }
        }
    }

    #[test]
    fn the_first_goes_when_there_are_as_many_as_may_be() {
        for capacity in 1..=MAX_ENTRIES {
            let mut order = Order::default();
            let slots: Vec<_> = (0..capacity).map(|_| order.append(capacity)).collect();
            assert_eq!(order.append(capacity), slots[0]);
            let expect: Vec<_> = slots[1..].iter().chain(&slots[..1]).copied().collect();
            assert_eq!((order.slots().collect(), order.taken().count_ones() as usize), (expect, capacity));
        }
    }
}
