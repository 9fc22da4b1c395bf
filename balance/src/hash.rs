//! Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights after Schindelhauer and Schomaker 2005): a key belongs to
//! the node with the highest score, so that a node which comes or goes moves only its own keys, and every proxy and thread
//! agrees without state. O(n) a key.

use xxhash_rust::xxh64::xxh64;

/// Hash of a node's name; the same on every proxy.
pub(crate) fn node(name: &str) -> u64 {
    xxh64(name.as_bytes(), 0)
}

/// Hash of a client's key.
pub(crate) fn key(bytes: &[u8]) -> u64 {
    xxh64(bytes, 1)
}

/// The index of the node to which `key` belongs; of equals the first. Nodes of weight 0 have no keys.
pub(crate) fn rendezvous(key: u64, nodes: impl Iterator<Item = (usize, u64, u32)>) -> Option<usize> {
    let mut best = None;
    for (index, node, weight) in nodes {
        if weight == 0 {
            continue;
        }
        let score = f64::from(weight) / -unit(mix(key, node)).ln();
        if best.is_none_or(|(_, high)| score > high) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

/// The finalizer of SplitMix64 over both hashes.
const fn mix(key: u64, node: u64) -> u64 {
    let mut z = key ^ node.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number above 0 and below 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn unit(hash: u64) -> f64 {
    ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(key_text: &str, nodes: &[(&str, u32)]) -> Option<String> {
        let hashed = nodes.iter().enumerate().map(|(i, (name, weight))| (i, node(name), *weight));
        rendezvous(key(key_text.as_bytes()), hashed).map(|index| nodes[index].0.to_owned())
    }

    #[test]
    fn removal_moves_only_the_removed_nodes_keys() {
        let all = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];
        for key in 0..1000 {
            let key = key.to_string();
            let before = owner(&key, &all).unwrap();
            let after = owner(&key, &all[1..]).unwrap();
            assert!(before == after || before == "a");
        }
    }

    #[test]
    fn weights_are_shares() {
        let nodes = [("a", 1), ("b", 3), ("c", 0)];
        let of_b = (0..10_000).filter(|key| owner(&key.to_string(), &nodes).as_deref() == Some("b")).count();
        assert!((7300..7700).contains(&of_b), "{of_b}");
        assert_eq!(owner("k", &[("c", 0)]), None);
    }
}
