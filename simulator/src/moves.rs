//! Which keys change their endpoint when one goes: counted over all keys, without requests.

use std::sync::Arc;

use evenkeel_balance::{Backend, Balancer, Endpoint, Key, PoolSpec, PoolState, Query, Time};
use rand::{SeedableRng as _, rngs::SmallRng};

use crate::{entrant::Entrant, scenario::Case};

/// Keys that are looked up, at most, in all removals that are tried: of 20,000 keys and 100 endpoints, every removal.
const LOOKUPS: usize = 4_000_000;

/// Parts of all keys; the worst of the removals tried.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moves {
    /// Changed their endpoint.
    pub(crate) moved: f64,
    /// Changed it though it stayed.
    pub(crate) strays: f64,
}

/// Of a case with keys and an algorithm by key.
pub(crate) fn moves(case: &Case, entrant: Entrant) -> Option<Moves> {
    let (Some(keys), Entrant::Hash { table, function, .. }) = (case.keys, entrant) else { return None };
    let unbounded = Entrant::Hash { table, function, bounded: false };
    let before = owners(unbounded, case.len(), None, keys.count);
    let mut worst = Moves::default();
    let removals = (LOOKUPS / keys.count as usize).clamp(1, case.len());
    // Spread over all, where there are more.
    for removed in (0..removals).map(|each| each * case.len() / removals) {
        let after = owners(unbounded, case.len(), Some(removed), keys.count);
        let changed = before.iter().zip(&after).filter(|(before, after)| before != after);
        let (mut moved, mut strays) = (0.0, 0.0);
        for (before, _) in changed {
            moved += 1.0;
            strays += f64::from(u8::from(*before != Some(removed)));
        }
        let count = f64::from(keys.count);
        worst.moved = worst.moved.max(moved / count);
        worst.strays = worst.strays.max(strays / count);
    }
    Some(worst)
}

/// The number of each key's endpoint.
fn owners(entrant: Entrant, endpoints: usize, without: Option<usize>, keys: u32) -> Vec<Option<usize>> {
    let mut rng = SmallRng::seed_from_u64(1);
    let numbers: Vec<usize> = (0..endpoints).filter(|number| Some(*number) != without).collect();
    let address = std::net::SocketAddr::from(([10, 0, 0, 1], 80));
    let endpoint = |number: &usize| Endpoint::new(&format!("e{number}.0"), address);
    let backend =
        Backend { key: "pool".to_owned(), weight: 1, endpoints: numbers.iter().map(endpoint).collect() };
    let state = Arc::new(PoolState::new(1, &mut rng));
    let balancer = Balancer::new(&PoolSpec::new(entrant.algorithm(), vec![backend]), &state);
    let mut owner = |key: u64| {
        let bytes = key.to_le_bytes();
        let query = Query { key: Some(Key::Bytes(&bytes)), ..Query::at(Time::ZERO, 0) };
        balancer.pick(&query, &mut rng).map(|pick| numbers[pick.index])
    };
    (1..=u64::from(keys)).map(&mut owner).collect()
}
