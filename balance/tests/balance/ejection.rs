//! Endpoints that fail are taken out, and come back on trial.

use std::time::Duration;

use evenkeel_balance::{
    Algorithm, Backend, Ejection, EjectionReason, Endpoint, PoolSpec, SlowStart, Standing,
};
use rand::Rng as _;

use crate::common::{MS, Pool, S, answered, backend, endpoint, equal};

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
    ejecting_by(Ejection { jitter: 0.0, ..Ejection::default() }, equal(count))
}

fn ejecting_by(rules: Ejection, backends: Vec<Backend>) -> Pool {
    Pool::of(PoolSpec { ejection: Some(rules), ..PoolSpec::new(Algorithm::RoundRobin, backends) })
}

/// For how long an endpoint is ejected, and why.
fn ejected(pool: &Pool, id: &str) -> Option<(Duration, EjectionReason)> {
    match pool.standing(id) {
        Standing::Ejected { since, until, reason } => Some((until.since(since), reason)),
        _ => None,
    }
}

/// From its ejection through its probation back into rotation.
fn lets_in(pool: &mut Pool, id: &str) {
    let (time, _) = ejected(pool, id).expect("an ejection");
    pool.tick(time);
    pool.answers(id, &[200]);
    pool.tick(MS);
    assert_eq!(pool.standing(id), Standing::InRotation);
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

#[test]
fn errors_count_in_a_row_and_by_kind() {
    use EjectionReason::{Consecutive5xx, ConsecutiveGatewayErrors};
    for (statuses, expect) in [
        (&[500; 4][..], None),
        (&[500; 5], Some(Consecutive5xx)),
        (&[503; 5], Some(ConsecutiveGatewayErrors)),
        (&[503, 503, 500, 503, 503], Some(Consecutive5xx)),
        (&[500, 500, 500, 500, 200, 500], None),
        (&[503, 503, 503, 503, 404, 503], None),
        (&[429; 9], None),
    ] {
        let mut pool = ejecting(10);
        pool.answers("e3", statuses);
        pool.tick(MS);
        assert_eq!(ejected(&pool, "e3"), expect.map(|reason| (30 * S, reason)), "{statuses:?}");
    }
}

#[test]
fn every_ejection_takes_longer_and_every_calm_interval_takes_one_back() {
    let mut pool = ejecting(10);
    pool.tick(Duration::ZERO);
    for times in 1..=12 {
        pool.answers("e3", &[503; 5]);
        pool.tick(MS);
        let time = S * (30 * times).min(300);
        assert_eq!(ejected(&pool, "e3").map(|(time, _)| time), Some(time), "{times}");
        lets_in(&mut pool, "e3");
    }
    // Of twelve, the interval in which it came back takes none.
    for _ in 0..9 {
        pool.tick(10 * S);
    }
    pool.answers("e3", &[503; 5]);
    pool.tick(MS);
    assert_eq!(ejected(&pool, "e3").map(|(time, _)| time), Some(30 * 4 * S));
}

#[test]
fn chance_makes_a_time_longer_by_a_tenth_at_most() {
    let mut times = Vec::new();
    let mut pool = ejecting_by(Ejection { max_percent: 100, ..Ejection::default() }, equal(21));
    for number in 0..20 {
        pool.answers(&format!("e{number}"), &[503; 5]);
    }
    pool.tick(MS);
    for number in 0..20 {
        let (time, _) = ejected(&pool, &format!("e{number}")).expect("an ejection");
        assert!((30 * S..33 * S).contains(&time), "{time:?}");
        times.push(time);
    }
    times.sort();
    assert!(times[0] < 31 * S && times[19] > 32 * S, "{times:?}");
}

#[test]
fn so_many_per_cent_at_a_time() {
    let mut pool = ejecting(39);
    for id in ["e1", "e2", "e3", "e4"] {
        pool.answers(id, &[503; 5]);
        pool.tick(MS);
    }
    let out = ["e1", "e2", "e3", "e4"].map(|id| ejected(&pool, id).is_some());
    assert_eq!(out, [true, true, true, false], "three are a tenth");
}

#[test]
fn never_the_last_that_can_serve() {
    let rules = Ejection { max_percent: 100, ..Ejection::default() };
    let others = [
        vec![],
        vec![endpoint("drains", 0)],
        vec![Endpoint { healthy: false, ..endpoint("sick", 1) }],
        vec![Endpoint { terminating: true, ..endpoint("ends", 1) }],
    ];
    for others in others {
        let endpoints = [endpoint("a", 1), endpoint("b", 1)].into_iter().chain(others).collect();
        let mut pool = ejecting_by(rules, vec![backend("b", 1, endpoints)]);
        pool.answers("a", &[503; 5]);
        pool.answers("b", &[503; 5]);
        pool.tick(MS);
        let out = ["a", "b"].map(|id| ejected(&pool, id).is_some());
        assert_eq!(out, [true, false]);
    }
}

#[test]
fn who_comes_back_starts_slowly() {
    for checked in [false, true] {
        let slow_start = Some(SlowStart::default());
        let mut pool = ejecting(10);
        pool.set(PoolSpec { slow_start, ..pool.tuner.spec().clone() });
        pool.answers("e3", &[503; 5]);
        pool.tick(MS);
        if checked {
            pool.tuner.check_passed(&"e3".into(), pool.now);
        } else {
            lets_in(&mut pool, "e3");
        }
        pool.tick(15 * S);
        assert!((pool.effective_weight("e3") - 0.5).abs() < 0.02, "{}", pool.effective_weight("e3"));
        assert!((pool.effective_weight("e4") - 1.0).abs() < 1e-9);
    }
}
