//! Ejections: who is taken out, for how long, and how an endpoint comes back.

use std::time::Duration;

use evenkeel_balance::{
    Absence, Algorithm, Ejected, Ejection, EjectionReason, Endpoint, PoolSpec, Query, Standing,
};
use rand::Rng as _;

use crate::common::{MS, Pool, S, answered, backend, endpoint, equal};

fn ejected(pool: &Pool, id: &str) -> Ejected {
    assert_eq!(pool.standing(id), Standing::Absent(Absence::Ejected));
    pool.ejection(id).expect("an ejection")
}

/// Requests to all endpoints, of which those to `bad` fail.
fn traffic(pool: &mut Pool, requests: u32, bad: &str) {
    traffic_failing(pool, requests, &[bad]);
}

fn traffic_failing(pool: &mut Pool, requests: u32, bad: &[&str]) {
    for number in 0..requests {
        let now = pool.now;
        let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
        let status = if bad.contains(&pick.endpoint.id.as_str()) { 503 } else { 200 };
        pick.guard.set_outcome(answered(status, now, MS));
    }
}

fn ejecting(count: usize) -> Pool {
    Pool::of(ejecting_spec(count))
}

fn ejecting_spec(count: usize) -> PoolSpec {
    let ejection = Ejection { jitter: 0.0, ..Ejection::default() };
    PoolSpec { ejection: Some(ejection), ..PoolSpec::new(Algorithm::RoundRobin, equal(count)) }
}

#[test]
fn five_errors_in_a_row_eject_and_probation_lets_back_in() {
    let mut pool = ejecting(10);
    traffic(&mut pool, 40, "e3");
    assert!(!pool.tick(MS), "four errors");
    traffic(&mut pool, 10, "e3");
    assert!(pool.state.is_urgent());
    assert!(pool.tick(MS));
    assert_eq!(ejected(&pool, "e3").reason, EjectionReason::ConsecutiveGatewayErrors);
    assert!(!pool.counts(100).contains_key("e3"));
    pool.tick(30 * S);
    assert_eq!(pool.standing("e3"), Standing::Probation);
    let guards = pool.guards(100);
    assert_eq!(pool.in_flight("e3"), 1, "one request by which it is judged");
    drop(guards);
    let guards = pool.guards(100);
    assert_eq!(pool.in_flight("e3"), 1, "cancelled requests say nothing");
    drop(guards);
    traffic(&mut pool, 100, "e3");
    pool.tick(MS);
    let Ejected { since, until, reason } = ejected(&pool, "e3");
    assert_eq!((reason, until.since(since)), (EjectionReason::Probation, 60 * S));
    pool.tick(60 * S);
    traffic(&mut pool, 100, "none");
    pool.tick(MS);
    assert_eq!(pool.standing("e3"), Standing::InRotation);
}

#[test]
fn never_more_than_a_tenth_and_never_the_last() {
    let mut pool = ejecting(2);
    traffic(&mut pool, 40, "e0");
    pool.tick(MS);
    traffic(&mut pool, 40, "e1");
    pool.tick(MS);
    assert_eq!(pool.standing("e0"), Standing::Absent(Absence::Ejected));
    assert_eq!(pool.standing("e1"), Standing::InRotation);
    let mut alone = ejecting(1);
    traffic(&mut alone, 40, "e0");
    alone.tick(MS);
    assert_eq!(alone.standing("e0"), Standing::InRotation);
}

#[test]
fn a_passed_check_ends_an_ejection() {
    let mut pool = ejecting(10);
    traffic(&mut pool, 100, "e3");
    pool.tick(MS);
    assert!(pool.tuner.check_passed(&"e3".into(), pool.now));
    assert!(!pool.tuner.check_passed(&"e4".into(), pool.now));
    pool.tick(MS);
    assert_eq!(pool.standing("e3"), Standing::InRotation);
}

#[test]
fn rates_eject_at_the_interval() {
    for (failing, expect) in [(0.5, EjectionReason::SuccessRate), (0.9, EjectionReason::SuccessRate)] {
        let rules =
            Ejection { consecutive_5xx: None, consecutive_gateway_errors: None, ..Ejection::default() };
        let mut pool =
            Pool::of(PoolSpec { ejection: Some(rules), ..PoolSpec::new(Algorithm::RoundRobin, equal(10)) });
        pool.tick(Duration::ZERO);
        for number in 0..2000_u32 {
            let now = pool.now;
            let fails = pool.rng.random_bool(failing);
            let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
            let status = if pick.endpoint.id.as_str() == "e3" && fails { 500 } else { 200 };
            pick.guard.set_outcome(answered(status, now, MS));
        }
        pool.tick(9 * S);
        assert_eq!(pool.standing("e3"), Standing::InRotation, "the interval is not over");
        pool.tick(S);
        assert_eq!(ejected(&pool, "e3").reason, expect);
    }
    let rules = Ejection {
        consecutive_5xx: None,
        consecutive_gateway_errors: None,
        success_rate: None,
        ..Ejection::default()
    };
    let mut pool =
        Pool::of(PoolSpec { ejection: Some(rules), ..PoolSpec::new(Algorithm::RoundRobin, equal(10)) });
    pool.tick(Duration::ZERO);
    traffic(&mut pool, 600, "e3");
    pool.tick(10 * S);
    assert_eq!(ejected(&pool, "e3").reason, EjectionReason::FailurePercentage);
}

#[test]
fn who_is_on_probation_counts_as_out() {
    let mut pool = ejecting(10);
    traffic(&mut pool, 60, "e3");
    pool.tick(MS);
    pool.tick(30 * S);
    assert_eq!(pool.standing("e3"), Standing::Probation);
    let trial = pool.guards(20);
    traffic(&mut pool, 60, "e5");
    pool.tick(MS);
    assert_eq!(pool.standing("e5"), Standing::InRotation, "one in ten is out already");
    drop(trial);
    traffic(&mut pool, 10, "none");
    pool.tick(MS);
    assert_eq!(pool.standing("e3"), Standing::InRotation);
    traffic(&mut pool, 60, "e5");
    pool.tick(MS);
    assert_eq!(ejected(&pool, "e5").reason, EjectionReason::ConsecutiveGatewayErrors);
}

#[test]
fn a_pool_that_ejects_no_more_lets_all_back_in_at_once() {
    let mut pool = ejecting(10);
    traffic(&mut pool, 60, "e3");
    pool.tick(MS);
    ejected(&pool, "e3");
    pool.set(PoolSpec { ejection: None, ..ejecting_spec(10) });
    assert_eq!((pool.standing("e3"), pool.ejection("e3")), (Standing::InRotation, None));
    pool.set(ejecting_spec(10));
    pool.tick(10 * S);
    assert_eq!(pool.standing("e3"), Standing::InRotation, "what was before is forgotten");
}

#[test]
fn an_ejection_lasts_no_longer_than_the_present_rules_let_it() {
    let mut pool = ejecting(10);
    traffic(&mut pool, 60, "e3");
    pool.tick(MS);
    let mut spec = ejecting_spec(10);
    let rules = spec.ejection.as_mut().expect("rules");
    (rules.max_time, rules.jitter) = (2 * S, 0.0);
    pool.set(spec);
    let left = |pool: &Pool| ejected(pool, "e3").until.since(pool.now);
    assert_eq!(left(&pool), 2 * S);
    pool.tick(2 * S);
    assert_eq!(pool.standing("e3"), Standing::Probation);
}

#[test]
fn a_pool_that_begins_to_eject_judges_nothing_of_before() {
    let mut pool = Pool::of(PoolSpec { ejection: None, ..ejecting_spec(10) });
    traffic(&mut pool, 60, "e3");
    pool.set(ejecting_spec(10));
    pool.tick(MS);
    pool.tick(10 * S);
    assert_eq!(pool.standing("e3"), Standing::InRotation);
    traffic(&mut pool, 60, "e3");
    pool.tick(MS);
    ejected(&pool, "e3");
}

#[test]
fn more_on_probation_than_may_be_out_are_tried_again() {
    let mut pool = ejecting(20);
    for bad in ["e0", "e1"] {
        traffic(&mut pool, 120, bad);
        pool.tick(MS);
        assert_eq!(pool.standing(bad), Standing::Absent(Absence::Ejected));
    }
    // Of these only one may be out.
    pool.set(ejecting_spec(19));
    pool.tick(30 * S);
    traffic_failing(&mut pool, 100, &["e0", "e1"]);
    pool.tick(MS);
    for bad in ["e0", "e1"] {
        assert_eq!(ejected(&pool, bad).reason, EjectionReason::Probation);
    }
    pool.tick(60 * S);
    traffic(&mut pool, 100, "none");
    pool.tick(MS);
    for well in ["e0", "e1"] {
        assert_eq!(pool.standing(well), Standing::InRotation);
    }
}

#[test]
fn a_trial_is_judged_when_the_answer_begins() {
    for (status, expect) in [(200, Standing::InRotation), (503, Standing::Absent(Absence::Ejected))] {
        let mut pool = ejecting(10);
        traffic(&mut pool, 60, "e3");
        pool.tick(MS);
        pool.tick(30 * S);
        let now = pool.now;
        let mut open = Vec::new();
        for number in 0..20_u32 {
            let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
            if pick.endpoint.id.as_str() == "e3" {
                pick.guard.answered(status, now);
            }
            open.push(pick.guard);
        }
        pool.tick(MS);
        assert_eq!(pool.standing("e3"), expect, "though its answer has not ended");
        for mut guard in open {
            guard.set_outcome(answered(200, now, MS));
        }
        pool.tick(MS);
        assert_eq!(pool.standing("e3"), expect);
    }
}

#[test]
fn an_ejection_outlasts_a_panic() {
    let spec = |panic_threshold, sick: bool| {
        let endpoint = |index: u32| Endpoint {
            healthy: !sick || index.is_multiple_of(2),
            ..endpoint(&format!("e{index}"), 1)
        };
        let ejection = Some(Ejection { jitter: 0.0, ..Ejection::default() });
        let backends = vec![backend("b", 1, (0..10).map(endpoint).collect())];
        PoolSpec { ejection, panic_threshold, ..PoolSpec::new(Algorithm::RoundRobin, backends) }
    };
    let mut pool = Pool::of(spec(50, false));
    traffic(&mut pool, 60, "e4");
    pool.tick(MS);
    let ejection = ejected(&pool, "e4");
    pool.set(spec(50, true));
    assert_eq!((pool.standing("e4"), pool.ejection("e4")), (Standing::InRotation, Some(ejection)));
    assert_eq!(pool.tuner.report().panicking, ["b"]);
    pool.set(spec(50, false));
    assert_eq!(ejected(&pool, "e4"), ejection);
}

#[test]
fn sessions_leave_an_endpoint_that_drains_and_is_ejected() {
    let spec = |weight| {
        let endpoints =
            (0..10).map(|index| endpoint(&format!("e{index}"), if index == 3 { weight } else { 1 }));
        let ejection = Some(Ejection { jitter: 0.0, ..Ejection::default() });
        let backends = vec![backend("b", 1, endpoints.collect())];
        PoolSpec { ejection, ..PoolSpec::new(Algorithm::RoundRobin, backends) }
    };
    let session = |pool: &mut Pool| {
        let query = Query { affinity: Some("e3"), ..Query::at(pool.now, 0) };
        pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint").endpoint.id.to_string()
    };
    let mut pool = Pool::of(spec(1));
    pool.set(spec(0));
    assert_eq!(session(&mut pool), "e3", "it drains, and works");
    pool.set(spec(1));
    traffic(&mut pool, 60, "e3");
    pool.tick(MS);
    pool.set(spec(0));
    assert_eq!(ejected(&pool, "e3").reason, EjectionReason::ConsecutiveGatewayErrors);
    assert_ne!(session(&mut pool), "e3");
    pool.tick(30 * S);
    let query = Query { affinity: Some("e3"), ..Query::at(pool.now, 0) };
    let first = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
    let second = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
    assert_eq!(first.endpoint.id.as_str(), "e3", "the one by which it is judged");
    assert_ne!(second.endpoint.id.as_str(), "e3");
}
