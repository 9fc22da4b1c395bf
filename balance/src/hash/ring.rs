//! A ring of points (Karger 1997, ketama), cut into arcs of equal length so that finding a key's point is one look-up
//! and a few steps, whatever the number of points.

use super::{HashFunction, text::Numbered};

/// Most points of a ring. A ring that would have more halves the points of every unit of weight until it has not, which
/// takes points away and adds none.
const MAX_POINTS: u64 = 1 << 19;
/// An endpoint's place in a point: its low bits.
const INDEX_BITS: u32 = 20;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

/// Points in order. Each is the upper 44 bits of a hash above 20 bits of an endpoint's index.
#[derive(Debug)]
pub(crate) struct Ring {
    points: Vec<u64>,
    /// `arcs[a]` is the first point whose upper bits are `a` or more; one more at the end.
    arcs: Vec<u32>,
    shift: u32,
}

impl Ring {
    /// A ring of the nodes `(name, weight)`; the weight may have a fraction. O(points).
    pub(crate) fn new(nodes: &[(&str, f64)], points_per_weight: u32, function: HashFunction) -> Self {
        let mut points_per_weight = f64::from(points_per_weight.max(1));
        let sum = |each: f64| nodes.iter().map(|(_, weight)| count(*weight, each)).sum::<u64>();
        while sum(points_per_weight) > MAX_POINTS && points_per_weight > f64::MIN_POSITIVE {
            points_per_weight /= 2.0;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 2^19, and a node's one more")]
        let mut points = Vec::with_capacity(sum(points_per_weight) as usize);
        let mut text = Numbered::default();
        for (index, (name, weight)) in nodes.iter().enumerate() {
            text.name(name);
            for number in 0..count(*weight, points_per_weight) {
                let hash = function.hash(text.number(number), 0);
                points.push((hash & !INDEX_MASK) | (index as u64 & INDEX_MASK));
            }
        }
        Self::sorted(points)
    }

    /// Sorts by arcs: hashes are spread evenly, so each arc holds a few.
    fn sorted(points: Vec<u64>) -> Self {
        let bits = points.len().next_power_of_two().trailing_zeros().saturating_sub(1).max(1);
        let shift = 64 - bits;
        let mut arcs = vec![0_u32; (1 << bits) + 1];
        for point in &points {
            arcs[place(point >> shift) + 1] += 1;
        }
        for arc in 1..arcs.len() {
            arcs[arc] += arcs[arc - 1];
        }
        let mut next = arcs.clone();
        let mut ordered = vec![0; points.len()];
        for point in points {
            let slot = &mut next[place(point >> shift)];
            ordered[*slot as usize] = point;
            *slot += 1;
        }
        for arc in arcs.windows(2) {
            ordered[arc[0] as usize..arc[1] as usize].sort_unstable();
        }
        Self { points: ordered, arcs, shift }
    }

    /// The nodes from the key's point on, in the order of the ring, as often as they have points. Endless, unless
    /// empty.
    pub(crate) fn walk(&self, key: u64) -> impl Iterator<Item = usize> + '_ {
        let arc = place(key >> self.shift);
        let (from, to) = (self.arcs[arc] as usize, self.arcs[arc + 1] as usize);
        let within = self.points[from..to].iter().take_while(|point| **point & !INDEX_MASK < key).count();
        let start = from + within;
        self.points[start..].iter().chain(self.points.iter().cycle()).map(|point| place(point & INDEX_MASK))
    }
}

/// How many points a node has, at least one if it weighs anything.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, never negative, bounded"
)]
fn count(weight: f64, points_per_weight: f64) -> u64 {
    if weight > 0.0 { (weight * points_per_weight).round().clamp(1.0, 1e9) as u64 } else { 0 }
}

#[expect(clippy::cast_possible_truncation, reason = "an arc or an index, below 2^20")]
const fn place(value: u64) -> usize {
    value as usize
}
