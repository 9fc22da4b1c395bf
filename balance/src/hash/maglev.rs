//! Maglev's look-up table (Eisenbud et al., NSDI 2016, section 3.4): the nodes take turns to claim the next free slot
//! of a permutation of their own.

use super::HashFunction;

/// Seed of the hash that gives a node's step.
const STEP_SEED: u32 = 1;
/// No node.
const FREE: u32 = u32::MAX;

/// The table. Its size is a prime, so that every step visits every slot.
#[derive(Debug)]
pub(crate) struct Maglev {
    slots: Vec<u32>,
}

struct Turn {
    index: u32,
    weight: f64,
    /// The next slot of its permutation.
    slot: u64,
    step: u64,
    /// Claims at the iteration at which iteration * weight has reached this.
    target: f64,
}

impl Maglev {
    /// A table of `size` slots, raised to the number of nodes, or they would not all have one, and to the next prime;
    /// over the nodes `(name, weight)`. The order of the nodes does not matter. About size * ln(size) steps.
    pub(crate) fn new(nodes: &[(&str, f64)], size: u32, function: HashFunction) -> Self {
        let size = next_prime(size.max(3).max(u32::try_from(nodes.len()).unwrap_or(u32::MAX)));
        let slots_u64 = u64::from(size);
        let mut sorted: Vec<_> = (0_u32..).zip(nodes).filter(|(_, (_, weight))| *weight > 0.0).collect();
        sorted.sort_unstable_by_key(|(_, (name, _))| *name);
        let heaviest = sorted.iter().map(|(_, (_, weight))| *weight).fold(0.0, f64::max);
        let mut turns: Vec<_> = sorted
            .into_iter()
            .map(|(index, (name, weight))| Turn {
                index,
                weight: *weight,
                slot: function.hash(name.as_bytes(), 0) % slots_u64,
                step: function.hash(name.as_bytes(), STEP_SEED) % (slots_u64 - 1) + 1,
                target: 0.0,
            })
            .collect();
        let mut slots = vec![FREE; size as usize];
        fill(&mut slots, &mut turns, heaviest);
        Self { slots }
    }

    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.slots.len()
    }

    /// The nodes from the key's slot on, as often as they have slots. Endless, unless there is no node.
    pub(crate) fn walk(&self, key: u64) -> impl Iterator<Item = usize> + '_ {
        #[expect(clippy::cast_possible_truncation, reason = "below the size of the table")]
        let start = (key % self.slots.len() as u64) as usize;
        let around = self.slots[start..].iter().chain(self.slots.iter().cycle());
        around.map_while(|index| (*index != FREE).then_some(*index as usize))
    }
}

fn fill(slots: &mut [u32], turns: &mut [Turn], heaviest: f64) {
    if turns.is_empty() {
        return;
    }
    let size = slots.len() as u64;
    let mut left = slots.len();
    let mut iteration = 1.0;
    loop {
        for turn in &mut *turns {
            if iteration * turn.weight < turn.target {
                continue;
            }
            turn.target += heaviest;
            #[expect(clippy::cast_possible_truncation, reason = "below the size of the table")]
            while slots[turn.slot as usize] != FREE {
                turn.slot = (turn.slot + turn.step) % size;
            }
            #[expect(clippy::cast_possible_truncation, reason = "below the size of the table")]
            let slot = turn.slot as usize;
            slots[slot] = turn.index;
            left -= 1;
            if left == 0 {
                return;
            }
        }
        iteration += 1.0;
    }
}

/// The lowest prime from `number` on.
fn next_prime(number: u32) -> u32 {
    (number..).find(|number| is_prime(*number)).unwrap_or(number)
}

fn is_prime(number: u32) -> bool {
    number > 1 && (2..).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d))
}
