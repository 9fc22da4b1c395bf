//! By which rules an endpoint is ejected, and for how long.

use std::time::Duration;

use evenkeel_balance::{
    Absence, Algorithm, Backend, Ejection, EjectionReason, Endpoint, PoolSpec, SlowStart, Standing,
};

use crate::common::{MS, Pool, S, backend, endpoint, equal};

fn ejecting(count: usize) -> Pool {
    ejecting_by(Ejection { jitter: 0.0, ..Ejection::default() }, equal(count))
}

fn ejecting_by(rules: Ejection, backends: Vec<Backend>) -> Pool {
    Pool::of(PoolSpec { ejection: Some(rules), ..PoolSpec::new(Algorithm::RoundRobin, backends) })
}

/// For how long an endpoint is ejected, and why.
fn ejected(pool: &Pool, id: &str) -> Option<(Duration, EjectionReason)> {
    let Standing::Absent(Absence::Ejected) = pool.standing(id) else { return None };
    pool.ejection(id).map(|ejected| (ejected.until.since(ejected.since), ejected.reason))
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
