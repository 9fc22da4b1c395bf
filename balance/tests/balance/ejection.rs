//! Endpoints that fail are taken out, and come back on trial.

use std::time::Duration;

use evenkeel_balance::{Algorithm, Ejection, EjectionReason, PoolSpec, Standing};
use rand::Rng as _;

use crate::common::{MS, Pool, S, answered, equal};

/// Requests to all endpoints, of which those to `bad` fail.
fn traffic(pool: &mut Pool, requests: u32, bad: &str) {
    for number in 0..requests {
        let now = pool.now;
        let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
        let status = if pick.endpoint.id.as_str() == bad { 503 } else { 200 };
        pick.guard.set_outcome(answered(status, now, MS));
    }
}

fn ejecting(count: usize) -> Pool {
    let ejection = Ejection { jitter: 0.0, ..Ejection::default() };
    Pool::of(PoolSpec { ejection: Some(ejection), ..PoolSpec::new(Algorithm::RoundRobin, equal(count)) })
}

#[test]
fn five_errors_in_a_row_eject_and_probation_lets_back_in() {
    let mut pool = ejecting(10);
    traffic(&mut pool, 40, "e3");
    assert!(!pool.tick(MS), "four errors");
    traffic(&mut pool, 10, "e3");
    assert!(pool.state.is_urgent());
    assert!(pool.tick(MS));
    let Standing::Ejected { reason, .. } = pool.standing("e3") else { panic!("not ejected") };
    assert_eq!(reason, EjectionReason::ConsecutiveGatewayErrors);
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
    let Standing::Ejected { since, until, reason } = pool.standing("e3") else { panic!("not ejected again") };
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
    assert!(matches!(pool.standing("e0"), Standing::Ejected { .. }));
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
        let Standing::Ejected { reason, .. } = pool.standing("e3") else { panic!("not ejected") };
        assert_eq!(reason, expect);
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
    let Standing::Ejected { reason, .. } = pool.standing("e3") else { panic!("not ejected") };
    assert_eq!(reason, EjectionReason::FailurePercentage);
}
