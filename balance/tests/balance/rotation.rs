//! Which endpoints are in rotation, and which serve none but their sessions.

use evenkeel_balance::{Algorithm, Ejection, Endpoint, EndpointState, Fate, PoolSpec, Query, Standing};

use crate::common::{MS, Pool, S, algorithms, backend, endpoint, equal};

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
        let mut pick = || pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
        (0..20).filter(|_| pick().endpoint.id.as_str() == "s").count()
    };
    assert_eq!(ask(&mut pool, &[]), 20);
    assert_eq!(ask(&mut pool, &[1]), 0, "tried");
    pool.set(spec(0, true));
    assert_eq!(ask(&mut pool, &[]), 20, "it drains");
    assert_eq!(pool.counts(20).keys().collect::<Vec<_>>(), ["a"], "for others");
    pool.set(spec(0, false));
    assert_eq!(ask(&mut pool, &[]), 0, "it is unhealthy");
}

/// Whether a backend panics at a threshold of 50 per cent, and whom it serves with.
fn check(endpoints: &[Endpoint], panics: bool, expect: &[&str]) {
    let spec = PoolSpec::new(Algorithm::RoundRobin, vec![backend("b", 1, endpoints.to_vec())]);
    let mut pool = Pool::of(PoolSpec { panic_threshold: 50, ..spec });
    assert_eq!(!pool.tuner.report().panicking.is_empty(), panics, "{endpoints:?}");
    assert_eq!(pool.counts(60).keys().collect::<Vec<_>>(), expect, "{endpoints:?}");
}

#[test]
fn whoever_should_not_serve_neither_panics_nor_calms() {
    let sick = |name: &str| Endpoint { healthy: false, ..endpoint(name, 1) };
    let ends = |name: &str| Endpoint { terminating: true, ..endpoint(name, 1) };
    check(&[endpoint("a", 1), sick("x")], false, &["a"]);
    check(&[endpoint("a", 1), sick("x"), endpoint("d", 0), endpoint("e", 0)], false, &["a"]);
    check(&[endpoint("a", 1), sick("x"), ends("d"), ends("e")], false, &["a"]);
    check(&[endpoint("a", 1), sick("x"), sick("y"), endpoint("d", 0), ends("e")], true, &["a", "x", "y"]);
    check(&[sick("x"), sick("y")], true, &["x", "y"]);
}

#[test]
fn ejections_panic_and_never_leave_none() {
    let rules = Ejection { max_percent: 100, ..Ejection::default() };
    let spec = |panic_threshold, sick: &[&str]| {
        let healthy =
            |endpoint: Endpoint| Endpoint { healthy: !sick.contains(&endpoint.id.as_str()), ..endpoint };
        let endpoints = ["a", "b", "c"].map(|name| healthy(endpoint(name, 1))).into();
        let spec = PoolSpec::new(Algorithm::RoundRobin, vec![backend("b", 1, endpoints)]);
        PoolSpec { panic_threshold, ejection: Some(rules), ..spec }
    };
    let mut pool = Pool::of(spec(0, &[]));
    for id in ["a", "b"] {
        pool.answers(id, &[503; 5]);
        pool.tick(MS);
    }
    assert_eq!(pool.counts(30).keys().collect::<Vec<_>>(), ["c"]);
    pool.set(spec(34, &[]));
    assert_eq!(pool.counts(30).len(), 3, "one of three is less than 34 per cent");
    assert_eq!(pool.tuner.report().panicking, ["b"]);
    pool.set(spec(0, &["c"]));
    assert_eq!(pool.counts(30).keys().collect::<Vec<_>>(), ["a", "b"], "better those that failed than none");
    pool.set(spec(0, &[]));
    assert_eq!(pool.counts(30).keys().collect::<Vec<_>>(), ["c"], "they are ejected still");
}

#[test]
fn a_session_may_be_the_trial_but_not_beside_it() {
    let spec = PoolSpec::new(Algorithm::RoundRobin, equal(10));
    let mut pool = Pool::of(PoolSpec { ejection: Some(Ejection::default()), ..spec });
    pool.answers("e3", &[503; 5]);
    pool.tick(MS);
    pool.tick(40 * S);
    assert_eq!(pool.standing("e3"), Standing::Probation);
    let trial = pool.begins("e3");
    let query = Query { affinity: Some("e3"), ..Query::at(pool.now, 0) };
    let fates = |pool: &mut Pool| {
        let explained = pool.balancer.explain(&query, &mut pool.rng);
        (explained.picked == Some(3), explained.candidates[3].fate)
    };
    assert_eq!(fates(&mut pool), (false, Fate::OnTrial));
    drop(trial);
    assert_eq!(fates(&mut pool), (true, Fate::PickedForSession));
    let query = Query { max_in_flight: Some(0), ..query };
    assert!(pool.balancer.pick(&query, &mut pool.rng).is_none(), "all are full");
    assert_eq!(pool.state.in_flight(), 0);
}

#[test]
fn what_is_told_of_an_endpoint_is_its_own() {
    let mut pool = Pool::new(Algorithm::WeightedRoundRobin, equal(3));
    let _guard = pool.begins("e1");
    let in_flight: Vec<_> =
        (0..4).map(|index| pool.balancer.state_of(index).map(EndpointState::in_flight)).collect();
    assert_eq!(in_flight, [Some(0), Some(1), Some(0), None]);
    assert_eq!(*pool.balancer.algorithm(), Algorithm::WeightedRoundRobin);
}
