//! What is learned of how requests end, and counted while they have not.

use evenkeel_balance::{Algorithm, Ejection, LeastResponseTime, Outcome, PoolSpec, Query};

use crate::common::{MS, Pool, S, algorithms, answered, backend, endpoint, equal};

#[test]
fn an_error_counts_as_its_penalty_or_as_long_as_it_asks_for() {
    let least = LeastResponseTime { error_penalty: 7 * S, ..LeastResponseTime::default() };
    for (status, asked, expect) in [
        (429, None, Some(7 * S)),
        (500, None, Some(7 * S)),
        (503, Some(S), Some(7 * S)),
        (503, Some(60 * S), Some(60 * S)),
        (429, Some(3000 * S), Some(300 * S)),
        (404, Some(60 * S), None),
        (200, Some(60 * S), Some(MS)),
    ] {
        let mut pool = Pool::new(Algorithm::LeastResponseTime(least.clone()), equal(2));
        pool.ends("e0", Outcome { retry_after: asked, ..answered(status, pool.now, MS) });
        let found = pool.state.endpoint(&"e0".into()).response_time_nanos(pool.now);
        assert_eq!(found, expect.map(|time| time.as_secs_f64() * 1e9), "{status} {asked:?}");
    }
}

#[test]
fn what_may_eject_is_urgent_until_the_next_tick() {
    for (status, count, expect) in
        [(200, 9, false), (404, 9, false), (429, 9, false), (500, 4, false), (500, 5, true)]
    {
        let spec = PoolSpec::new(Algorithm::RoundRobin, equal(2));
        let mut pool = Pool::of(PoolSpec { ejection: Some(Ejection::default()), ..spec });
        pool.answers("e0", &vec![status; count]);
        assert_eq!(pool.state.is_urgent(), expect, "{count} of {status}");
        pool.tick(MS);
        assert!(!pool.state.is_urgent());
    }
}

#[test]
fn requests_in_flight_are_those_of_all_workers_and_endpoints_that_are_gone_among_them() {
    let mut pool = Pool::new(Algorithm::RoundRobin, equal(2));
    let begins = |pool: &mut Pool, worker| {
        let query = Query::at(pool.now, worker);
        pool.balancer.pick(&query, &mut pool.rng).map(|pick| pick.guard)
    };
    let guards = [0, 1, 2, 7].map(|worker| begins(&mut pool, worker));
    assert_eq!(pool.state.in_flight(), 4);
    pool.set(PoolSpec::new(Algorithm::RoundRobin, equal(1)));
    pool.set(PoolSpec::new(Algorithm::RoundRobin, equal(0)));
    assert_eq!(pool.state.in_flight(), 4);
    drop(guards);
    assert_eq!(pool.state.in_flight(), 0);
}

#[test]
fn one_that_leaves_and_comes_back_with_requests_in_flight_is_the_same() {
    let both =
        || PoolSpec { ejection: Some(Ejection::default()), ..PoolSpec::new(Algorithm::RoundRobin, equal(3)) };
    let without = || {
        let mut spec = both();
        spec.backends[0].endpoints.remove(0);
        spec
    };
    let mut pool = Pool::of(both());
    pool.answers("e0", &[503; 5]);
    let guards = [pool.begins("e0"), pool.begins("e0")];
    pool.tick(MS);
    let ejection = pool.ejection("e0");
    assert!(ejection.is_some());
    for time in 1..3 {
        pool.set(without());
        pool.tick(MS);
        pool.set(both());
        assert_eq!((pool.in_flight("e0"), pool.ejection("e0")), (2, ejection), "time {time}");
        assert_eq!(pool.state.in_flight(), 2);
    }
    drop(guards);
    for (gone, expect) in [(299 * S, ejection), (300 * S, None)] {
        pool.set(without());
        pool.tick(MS);
        pool.now = pool.now.after(gone - MS);
        pool.set(both());
        assert_eq!((pool.in_flight("e0"), pool.ejection("e0")), (0, expect), "after {gone:?}");
    }
}

#[test]
fn of_many_that_left_the_latest_are_remembered() {
    let named = |names: std::ops::Range<u32>| {
        let endpoints = names.map(|name| endpoint(&format!("e{name}"), 1)).collect();
        PoolSpec::new(Algorithm::RoundRobin, vec![backend("b", 1, endpoints)])
    };
    let mut pool = Pool::of(named(0..600));
    let held = pool.begins("e1");
    for (from, to) in [(600, 1200), (1200, 1800)] {
        pool.now = pool.now.after(S);
        pool.set(named(from..to));
    }
    let remembered = (0..1800).filter(|name| pool.tuner.remembers(&format!("e{name}").as_str().into()));
    let remembered: Vec<_> = remembered.collect();
    // With the one that is held, and the 600 that are there.
    assert_eq!(remembered.len(), 1600);
    assert_eq!(remembered.iter().filter(|name| (600..1200).contains(*name)).count(), 600, "the latest");
    assert!(remembered.contains(&1), "a request is in flight to it");
    drop(held);
}

#[test]
fn a_request_does_not_come_again_to_the_same_endpoint_as_anothers() {
    let backends = || vec![backend("b", 1, vec![endpoint("a", 1)]), backend("c", 1, vec![endpoint("a", 1)])];
    for algorithm in algorithms() {
        let mut pool = Pool::new(algorithm.clone(), backends());
        assert!(pool.pick([10, 0, 0, 1].into(), &[0]).is_none(), "{algorithm:?}");
        assert!(!pool.balancer.has_untried(&[1]), "{algorithm:?}");
        let session = Query { affinity: Some("a"), tried: &[1], ..Query::at(pool.now, 0) };
        assert!(pool.balancer.pick(&session, &mut pool.rng).is_none(), "{algorithm:?}");
    }
}

#[test]
fn what_comes_back_is_not_judged_by_what_was_before_it_left() {
    let spec = |ids: &[&str], ejection| {
        let endpoints = ids.iter().map(|id| endpoint(id, 1)).collect();
        PoolSpec { ejection, ..PoolSpec::new(Algorithm::RoundRobin, vec![backend("b", 1, endpoints)]) }
    };
    let all = ["e0", "e1", "e2", "e3", "e4", "e5"];
    let mut pool = Pool::of(spec(&all, None));
    pool.answers("e0", &[503; 200]);
    pool.set(spec(&all[1..], None));
    pool.set(spec(&all[1..], Some(Ejection::default())));
    pool.set(spec(&all, Some(Ejection::default())));
    for id in &all[1..] {
        pool.answers(id, &[200; 200]);
    }
    for passes in [MS, 10 * S, 10 * S] {
        pool.tick(passes);
        assert_eq!(pool.ejection("e0"), None);
    }
}
