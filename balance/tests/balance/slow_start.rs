//! What a new endpoint takes at first.

use std::time::Duration;

use evenkeel_balance::{Algorithm, Endpoint, PoolSpec, SlowStart};

use crate::common::{Pool, S, backend, endpoint, seconds};

#[test]
fn slow_start_rises_from_readiness() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::Random, Algorithm::PowerOfTwoChoices { choices: 2 }] {
        let new = Endpoint { ready_since: Some(seconds(100)), ..endpoint("new", 1) };
        let old = (0..4).map(|index| endpoint(&format!("e{index}"), 1));
        let backends = vec![backend("b", 1, old.chain([new]).collect())];
        let slow_start = Some(SlowStart::default());
        let mut pool = Pool::of(PoolSpec { slow_start, ..PoolSpec::new(algorithm.clone(), backends) });
        pool.now = seconds(100);
        for (after, expect) in [(0, 0.1), (2, 0.1), (15, 0.5), (30, 1.0), (40, 1.0)] {
            pool.now = seconds(100 + after);
            pool.tick(Duration::ZERO);
            assert!((pool.effective_weight("new") - expect).abs() < 0.03, "{algorithm:?} after {after} s");
            let share = f64::from(pool.counts(41_000).get("new").copied().unwrap_or(0)) / 41_000.0;
            // By P2C the weight counts in the draw and in the comparison, so that in an idle pool it has less.
            let fair = expect / (4.0 + expect);
            let low = if matches!(algorithm, Algorithm::PowerOfTwoChoices { .. }) && expect < 1.0 {
                0.0
            } else {
                fair - 0.02
            };
            assert!((low..fair + 0.02).contains(&share), "{algorithm:?} after {after} s: {share}");
        }
    }
}

#[test]
fn if_most_are_new_all_are_alike() {
    let new = |name: &str| Endpoint { ready_since: Some(seconds(1)), ..endpoint(name, 1) };
    let slow_start = Some(SlowStart::default());
    let backends = vec![backend("b", 1, vec![endpoint("old", 1), new("a"), new("b")])];
    let mut pool = Pool::of(PoolSpec { slow_start, ..PoolSpec::new(Algorithm::RoundRobin, backends) });
    pool.tick(2 * S);
    assert!((pool.effective_weight("a") - 1.0).abs() < 1e-9);
    let backends = vec![backend("b", 1, vec![endpoint("old", 1), new("a")])];
    pool.set(PoolSpec { slow_start, ..PoolSpec::new(Algorithm::RoundRobin, backends) });
    assert!((pool.effective_weight("a") - 0.1).abs() < 1e-9, "half is not most");
}
