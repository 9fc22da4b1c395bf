//! What surrounds every algorithm: health and panic, sessions, slow start, and endpoints nearby.

use std::collections::BTreeMap;

use evenkeel_balance::{Endpoint, Locality, Place, PoolSpec, Query, SlowStart};

use crate::common::{Pool, S, algorithms, backend, endpoint, seconds};

fn healthy(count: usize, of: usize) -> Vec<Endpoint> {
    let healthy = |index| Endpoint { healthy: index < count, ..endpoint(&format!("e{index}"), 1) };
    (0..of).map(healthy).collect()
}

#[test]
fn too_few_that_are_healthy_are_a_panic() {
    for algorithm in algorithms() {
        for (panic_threshold, count) in [(0, 1), (25, 1), (26, 4)] {
            let backends = vec![backend("b", 1, healthy(1, 4))];
            let spec = PoolSpec { panic_threshold, ..PoolSpec::new(algorithm.clone(), backends) };
            let mut pool = Pool::of(spec);
            let found = pool.counts(400);
            assert_eq!(found.len(), count, "{algorithm:?} at {panic_threshold} %: {found:?}");
            let told = pool.balancer.explain(&Query::at(pool.now, 0), &mut pool.rng).panicking;
            assert_eq!(!told.is_empty(), count > 1, "{algorithm:?} at {panic_threshold} %: {told:?}");
        }
    }
}

#[test]
fn a_session_goes_before_the_algorithm() {
    for algorithm in algorithms() {
        let weighted = |weight| vec![backend("b", 1, vec![endpoint("e0", weight), endpoint("e1", 1)])];
        for (backends, stays) in [
            (weighted(1), true),
            (weighted(0), true),
            (vec![backend("b", 1, [healthy(0, 1), vec![endpoint("e1", 1)]].concat())], false),
        ] {
            let mut pool = Pool::of(PoolSpec::new(algorithm.clone(), backends));
            for _ in 0..10 {
                let query = Query { affinity: Some("e0"), ..Query::at(pool.now, 0) };
                let pick = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
                assert_eq!(pick.endpoint.id.as_str() == "e0", stays, "{algorithm:?}");
            }
        }
    }
}

#[test]
fn a_new_endpoint_takes_its_part_by_and_by() {
    for algorithm in algorithms() {
        let mut endpoints = healthy(10, 10);
        endpoints[3].ready_since = Some(seconds(100));
        let slow_start = Some(SlowStart::default());
        let spec =
            PoolSpec { slow_start, ..PoolSpec::new(algorithm.clone(), vec![backend("b", 1, endpoints)]) };
        let mut pool = Pool::of(spec);
        pool.now = seconds(100);
        pool.tick(S);
        let part = |pool: &mut Pool| f64::from(*pool.counts(4000).get("e3").unwrap_or(&0)) / 400.0;
        let (first, last) = (part(&mut pool), {
            pool.tick(30 * S);
            part(&mut pool)
        });
        assert!(first < 0.25 && last > 0.5, "{algorithm:?}: {first}, then {last}");
    }
}

#[test]
fn endpoints_nearby_come_first_as_far_as_they_are_well() {
    for algorithm in algorithms() {
        let at = |zone: &'static str, endpoint: Endpoint| Endpoint {
            id: format!("{zone}-{}", endpoint.id.as_str()).as_str().into(),
            zone: Some(zone.into()),
            ..endpoint
        };
        let spec = |well| {
            let near = healthy(well, 4).into_iter().map(|endpoint| at("near", endpoint));
            let far = healthy(4, 4).into_iter().map(|endpoint| at("far", endpoint));
            let locality = Some(Locality { zone: Some(Place::new("near")), region: None });
            let backends = vec![backend("b", 1, near.chain(far).collect())];
            PoolSpec { locality, ..PoolSpec::new(algorithm.clone(), backends) }
        };
        // Of four, a quarter takes 1.4 times its part.
        for (well, expect) in [(4, 1.0), (3, 1.0), (1, 0.35)] {
            let counts = Pool::of(spec(well)).counts(4000);
            let near = counts.iter().filter(|(id, _)| id.starts_with("near")).map(|(_, count)| *count);
            let near = f64::from(near.sum::<u32>()) / 4000.0;
            assert!((near - expect).abs() < 0.05, "{algorithm:?}: {near} of {expect}");
        }
    }
}

/// Where so many requests go that ask the same.
fn asked(pool: &mut Pool, query: &Query<'_>, times: u32) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        let pick = pool.balancer.pick(query, &mut pool.rng).expect("an endpoint");
        *counts.entry(pick.endpoint.id.to_string()).or_default() += 1;
    }
    counts
}

/// Where requests go by far more often than to others is no matter of chance: of 4000 at three, 1333 within 10 %.
fn check_even(counts: &BTreeMap<String, u32>, of: &str) {
    assert!(
        counts.len() == 3 && counts.values().all(|count| (1200..1466).contains(count)),
        "{of}: {counts:?}"
    );
}

#[test]
fn what_misses_its_endpoint_is_spread_over_the_others() {
    for algorithm in algorithms().into_iter().filter(|each| !each.is_by_key()) {
        let mut pool = Pool::new(algorithm.clone(), vec![backend("b", 1, healthy(4, 4))]);
        // By a session that failed, with no others between that would take turns.
        let again = Query { tried: &[1], ..Query::at(pool.now, 0) };
        check_even(&asked(&mut pool, &again, 4000), &format!("{algorithm:?} again"));
        let halves = healthy(4, 4);
        let mut two = Pool::new(
            algorithm.clone(),
            vec![backend("b", 1, halves[..2].to_vec()), backend("c", 1, halves[2..].to_vec())],
        );
        let counts = asked(&mut two, &again, 1000);
        assert!(counts["e0"] > 400 && counts["e2"] > 150 && counts["e3"] > 150, "{algorithm:?}: {counts:?}");
        let _full = pool.begins("e1");
        let beside = Query { max_in_flight: Some(1), ..Query::at(pool.now, 0) };
        check_even(&asked(&mut pool, &beside, 4000), &format!("{algorithm:?} beside one that is full"));
    }
}
