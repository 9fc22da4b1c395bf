//! Which endpoints are in rotation, and which serve none but their sessions.

use evenkeel_balance::{Algorithm, Endpoint, PoolSpec, Query};

use crate::common::{Pool, algorithms, backend, endpoint};

#[test]
fn terminating_endpoints_are_the_last_resort_of_their_backend() {
    let terminating = |name: &str| Endpoint { terminating: true, ..endpoint(name, 1) };
    for algorithm in algorithms() {
        let with_ready = vec![backend("b", 1, vec![endpoint("ready", 1), terminating("old")])];
        assert_eq!(Pool::new(algorithm.clone(), with_ready).counts(50).keys().collect::<Vec<_>>(), ["ready"]);
        let without = vec![backend("b", 1, vec![terminating("old")])];
        assert_eq!(Pool::new(algorithm.clone(), without).counts(50).keys().collect::<Vec<_>>(), ["old"]);
        let unhealthy = Endpoint { healthy: false, ..endpoint("sick", 1) };
        let sick = vec![backend("b", 1, vec![unhealthy, terminating("old")])];
        assert!(Pool::new(algorithm, sick).counts(50).is_empty(), "a ready one exists, if not a healthy one");
    }
}

#[test]
fn panic_balances_over_all_and_says_so() {
    let sick = |name: &str| Endpoint { healthy: false, ..endpoint(name, 1) };
    let backends = vec![backend("b", 1, vec![endpoint("a", 1), sick("x"), sick("y")])];
    let spec = |panic_threshold| PoolSpec {
        panic_threshold,
        ..PoolSpec::new(Algorithm::RoundRobin, backends.clone())
    };
    let mut pool = Pool::of(spec(50));
    assert_eq!(pool.counts(30).len(), 3);
    assert_eq!(pool.tuner.report().panicking, ["b"]);
    for threshold in [0, 33] {
        pool.set(spec(threshold));
        assert_eq!(pool.counts(30).len(), 1, "{threshold}");
        assert!(pool.tuner.report().panicking.is_empty());
    }
}

#[test]
fn sessions_stay_as_long_as_their_endpoint_may_serve() {
    let spec = |weight, healthy| {
        let sticky = Endpoint { healthy, ..endpoint("s", weight) };
        PoolSpec::new(Algorithm::RoundRobin, vec![backend("b", 1, vec![endpoint("a", 1), sticky])])
    };
    let mut pool = Pool::of(spec(1, true));
    let ask = |pool: &mut Pool, tried: &[usize]| {
        let query = Query { affinity: Some("s"), tried, ..Query::at(pool.now, 0) };
        (0..20).all(|_| {
            let pick = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
            pick.endpoint.id.as_str() == "s"
        })
    };
    assert!(ask(&mut pool, &[]));
    assert!(!ask(&mut pool, &[1]), "tried");
    pool.set(spec(0, true));
    assert!(ask(&mut pool, &[]), "it drains");
    assert_eq!(pool.counts(20).keys().collect::<Vec<_>>(), ["a"], "for others");
    pool.set(spec(0, false));
    assert!(!ask(&mut pool, &[]), "it is unhealthy");
}
