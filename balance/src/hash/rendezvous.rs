//! Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights after Schindelhauer and Schomaker 2005): a key
//! belongs to the node with the highest score, so that a node which comes or goes moves only its own keys. O(n) a key.

use xxhash_rust::xxh64::xxh64;

use super::HashFunction;

/// Hashes of the nodes and their weights.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    nodes: Vec<(u64, f64)>,
}

impl Rendezvous {
    /// Over the nodes `(name, weight)`.
    pub(crate) fn new(nodes: &[(&str, f64)], function: HashFunction) -> Self {
        let hashed = nodes.iter().map(|(name, weight)| (function.hash(name.as_bytes(), 0), *weight));
        Self { nodes: hashed.collect() }
    }

    /// The node to which `key` belongs among those that `may` take it.
    pub(crate) fn owner(&self, key: u64, mut may: impl FnMut(usize) -> bool) -> Option<usize> {
        let nodes = self.nodes.iter().enumerate().filter(|(index, _)| may(*index));
        rendezvous(key, nodes.map(|(index, (hash, weight))| (index, *hash, *weight)))
    }

    /// The score of a node for `key`; the highest has it.
    pub(crate) fn score(&self, key: u64, index: usize) -> f64 {
        let (hash, weight) = self.nodes[index];
        score(key, hash, weight)
    }
}

/// Hash of a node's name; the same on every proxy.
pub(crate) fn node(name: &str) -> u64 {
    xxh64(name.as_bytes(), 0)
}

/// The index of the node to which `key` belongs; of equals the first. Nodes of weight 0 have no keys.
pub(crate) fn rendezvous(key: u64, nodes: impl Iterator<Item = (usize, u64, f64)>) -> Option<usize> {
    let mut best = None;
    for (index, node, weight) in nodes {
        if weight <= 0.0 {
            continue;
        }
        let score = score(key, node, weight);
        if best.is_none_or(|(_, high)| score > high) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

fn score(key: u64, node: u64, weight: f64) -> f64 {
    weight / -unit(mix(key, node)).ln()
}

/// The finalizer of SplitMix64 over both hashes.
const fn mix(key: u64, node: u64) -> u64 {
    let mut z = key ^ node.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number above 0 and below 1.
#[expect(clippy::cast_precision_loss, reason = "52 bits and a half fit")]
fn unit(hash: u64) -> f64 {
    ((hash >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}
