//! What a new endpoint takes at first.

use std::time::Duration;

use evenkeel_balance::{Algorithm, ConsistentHash, Endpoint, PoolSpec, SlowStart, Time};

use crate::common::{Pool, S, backend, endpoint, near, seconds};

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
fn above_1_it_rises_faster_at_first() {
    for (aggression, expect) in [(0.5, 0.25), (1.0, 0.5), (2.0, 0.5_f64.sqrt())] {
        let new = Endpoint { ready_since: Some(seconds(0)), ..endpoint("new", 1) };
        let backends = vec![backend("b", 1, vec![endpoint("a", 1), endpoint("b", 1), new])];
        let slow_start = Some(SlowStart { aggression, ..SlowStart::default() });
        let mut pool = Pool::of(PoolSpec { slow_start, ..PoolSpec::new(Algorithm::RoundRobin, backends) });
        pool.now = seconds(15);
        let found = pool.weights(["new"]);
        assert!(near(found, [expect]), "{aggression}: {found:?}");
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

#[test]
fn tables_of_keys_rise_in_tenths() {
    let algorithm = || Algorithm::ConsistentHash(ConsistentHash::default());
    let new = Endpoint { ready_since: Some(seconds(0)), ..endpoint("new", 1) };
    let backends = vec![backend("b", 1, vec![endpoint("a", 1), endpoint("b", 1), new])];
    let slow_start = Some(SlowStart::default());
    let mut pool = Pool::of(PoolSpec { slow_start, ..PoolSpec::new(algorithm(), backends) });
    for (second, expect) in [(0, 0.1), (4, 0.2), (15, 0.5), (16, 0.6), (28, 1.0)] {
        pool.now = seconds(second);
        pool.tick(Duration::ZERO);
        assert!((pool.effective_weight("new") - expect).abs() < 1e-9, "after {second} s");
    }
}

#[test]
fn only_those_that_serve_count_as_old_or_new() {
    let aside = |endpoint: &Endpoint| {
        [
            Endpoint { weight: 0, ..endpoint.clone() },
            Endpoint { healthy: false, ..endpoint.clone() },
            Endpoint { terminating: true, ..endpoint.clone() },
        ]
    };
    let (old, new) = (endpoint("old", 1), Endpoint { ready_since: Some(seconds(0)), ..endpoint("new", 1) });
    let named = |name: &str, endpoint: &Endpoint| Endpoint { id: name.into(), ..endpoint.clone() };
    let factor = |endpoints: Vec<Endpoint>| {
        let slow_start = Some(SlowStart::default());
        let backends = vec![backend("b", 1, endpoints)];
        Pool::of(PoolSpec { slow_start, ..PoolSpec::new(Algorithm::RoundRobin, backends) })
            .effective_weight("a")
    };
    for other in aside(&old) {
        let others = [named("o", &old), named("x", &other), named("y", &other)];
        let all = [named("a", &new), named("b", &new)].into_iter().chain(others).collect();
        assert!((factor(all) - 1.0).abs() < 1e-9, "two of the three that serve are new: {other:?}");
    }
    for other in aside(&new) {
        let others = [named("o", &old), named("p", &old), named("x", &other), named("y", &other)];
        let all = [named("a", &new)].into_iter().chain(others).collect();
        assert!((factor(all) - 0.1).abs() < 1e-9, "one of the three that serve is new: {other:?}");
    }
}

#[test]
fn at_the_end_of_its_window_an_endpoint_is_no_longer_new() {
    let since = |name: &str, second| Endpoint { ready_since: Some(seconds(second)), ..endpoint(name, 1) };
    let endpoints = vec![endpoint("old", 1), since("a", 0), since("b", 0), since("c", 20)];
    let slow_start = Some(SlowStart::default());
    let spec = PoolSpec::new(Algorithm::RoundRobin, vec![backend("b", 1, endpoints)]);
    let mut pool = Pool::of(PoolSpec { slow_start, ..spec });
    pool.now = seconds(30);
    pool.tick(Duration::ZERO);
    assert!((pool.effective_weight("a") - 1.0).abs() < 1e-9);
    assert!((pool.effective_weight("c") - 1.0 / 3.0).abs() < 1e-9, "{}", pool.effective_weight("c"));
}

#[test]
fn what_ends_near_its_full_weight_is_not_left_there() {
    // RoundRobin does not go by the weight that is configured.
    for (algorithm, full) in [(Algorithm::WeightedRoundRobin, 4.0), (Algorithm::RoundRobin, 1.0)] {
        let new = Endpoint { ready_since: Some(seconds(0)), ..endpoint("new", 4) };
        let backends = vec![backend("b", 1, vec![endpoint("a", 4), new])];
        let spec = PoolSpec::new(algorithm, backends);
        let mut pool = Pool::of(PoolSpec { slow_start: Some(SlowStart::default()), ..spec });
        for (milliseconds, changes, expect) in [
            (15_000, true, 0.5),
            (15_100, false, 0.5),
            (29_800, true, 29.8 / 30.0),
            (30_000, true, 1.0),
            (31_000, false, 1.0),
        ] {
            pool.now = Time::from_nanos(milliseconds * 1_000_000);
            assert_eq!(pool.tick(Duration::ZERO), changes, "after {milliseconds} ms");
            assert!(near([pool.effective_weight("new")], [full * expect]), "after {milliseconds} ms");
        }
    }
}

#[test]
fn an_endpoint_of_two_backends_is_new_beside_others_in_each() {
    let new = || Endpoint { ready_since: Some(seconds(0)), ..endpoint("new", 1) };
    // In the second, most are new.
    let others = || [endpoint("a", 1), endpoint("b", 1)];
    let backends = vec![
        backend("stable", 1, others().into_iter().chain([new()]).collect()),
        backend("canary", 1, vec![new()]),
        backend("again", 1, others().into_iter().chain([new()]).collect()),
    ];
    let spec = PoolSpec::new(Algorithm::WeightedRoundRobin, backends);
    let mut pool = Pool::of(PoolSpec { slow_start: Some(SlowStart::default()), ..spec });
    pool.tick(15 * S);
    let report = pool.tuner.report();
    let new = report.endpoints.iter().filter(|each| each.id.as_str() == "new");
    let weights: Vec<_> = new.map(|each| (each.backend.as_str(), each.effective_weight)).collect();
    assert_eq!(weights, [("stable", 0.5), ("canary", 1.0), ("again", 0.5)]);
}
