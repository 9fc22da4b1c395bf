//! What Auto chooses, and when.

use std::time::Duration;

use evenkeel_balance::{
    Adaptive, Algorithm, Auto, AutoReport, Evidence, LeastResponseTime, PoolSpec, Prequal, SourceIpHash,
    Time, WeightedByLoad, orca::LoadReport,
};
use rand::{Rng as _, rngs::SmallRng};

use crate::common::{MS, Pool, S, answered, equal, near, seconds};

#[test]
fn auto_chooses_by_lasting_differences_after_its_dwell_time() {
    for (slow, expect) in [(1.0, "LeastRequest"), (8.0, "Prequal")] {
        let mut pool = Pool::new(Algorithm::Auto(Auto::default()), equal(8));
        let mut early = true;
        let takes = |id: &str, rng: &mut SmallRng| {
            let times = if matches!(id, "e0" | "e1") { slow } else { 1.0 };
            MS.mul_f64(-10.0 * rng.random_range(0.001_f64..1.0).ln() * times)
        };
        pool.flow(800, 60, takes, |pool| {
            early &= pool.now > seconds(25) || pool.balancer.algorithm().name() == "LeastRequest";
        });
        assert!(early, "its dwell time");
        let auto = pool.tuner.report().auto.expect("a choice");
        assert_eq!(auto.active.name(), expect, "{auto:?}");
        assert_eq!(pool.balancer.algorithm().name(), expect);
        assert_eq!(auto.scores.len(), 4, "nobody reports load: {:?}", auto.scores);
    }
}

/// What the shadow makes of two algorithms over eight endpoints, in a minute in which neither was chosen anew.
fn played(allowed: &[Algorithm; 2], takes: impl Fn(&str, &mut SmallRng) -> Duration) -> [f64; 2] {
    let (allowed, dwell) = (allowed.to_vec(), 100 * S);
    let mut pool = Pool::new(Algorithm::Auto(Auto { allowed, dwell, ..Auto::default() }), equal(8));
    pool.flow(800, 60, takes, |_| {});
    let report = report(&pool);
    assert!((4000..5000).contains(&report.played), "{report:?}");
    assert_eq!(report.active, report.scores[0].0);
    [report.scores[0].1, report.scores[1].1]
}

#[test]
fn scores_are_what_came_of_the_requests_played_again() {
    let random = |rng: &mut SmallRng| -rng.random_range(0.001_f64..1.0).ln();
    let (first, last) = (Algorithm::RoundRobin, Algorithm::LeastRequest { choices: 16 });
    let slow = |id: &str| if id == "e0" { 8.0 } else { 1.0 };
    let response_time = Algorithm::LeastResponseTime(LeastResponseTime::default());
    // Nothing waits, and all are alike.
    for of in [[first.clone(), last.clone()], [last.clone(), first.clone()]] {
        let found = played(&of, |_, rng| MS.mul_f64(10.0 * random(rng)));
        assert!(found.iter().all(|score| *score < 1.05), "{found:?}");
    }
    // An eighth of the requests take eight times as long by turns, whichever of the two is in use.
    let takes = |id: &str, _: &mut SmallRng| MS.mul_f64(10.0 * slow(id));
    for [a, b] in [[&first, &response_time], [&response_time, &first]] {
        let found = played(&[a.clone(), b.clone()], takes);
        let [turns, fast] = if *a == first { found } else { [found[1], found[0]] };
        assert!(fast < 1.01 && turns > 3.0, "{found:?}");
    }
}

#[test]
fn an_endpoint_that_fails_fast_is_no_fast_one_when_played() {
    let allowed = vec![Algorithm::LeastRequest { choices: 16 }, Algorithm::Prequal(Prequal::default())];
    let auto = Auto { allowed, ..Auto::default() };
    let mut pool = Pool::new(Algorithm::Auto(auto), equal(8));
    for number in 0..60 * 400_u32 {
        let now = pool.now;
        let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
        let status = if pick.endpoint.id.as_str() == "e0" { 503 } else { 200 };
        pick.guard.set_outcome(answered(status, now.after(MS), MS));
        drop(pick);
        pool.now = now.after(S / 400);
        if number % 400 == 0 {
            pool.tick(Duration::ZERO);
        }
    }
    let report = report(&pool);
    assert_eq!(report.active.name(), "Prequal", "{report:?}");
}

/// A pool with the first of these in use, after half a minute in which one of eight endpoints was 8 times as slow.
fn after_play(allowed: Vec<Algorithm>) -> Pool {
    let auto = Auto { allowed, ..Auto::default() };
    let mut pool = Pool::new(Algorithm::Auto(auto), equal(8));
    pool.flow(800, 40, one_is_slow, |_| {});
    assert!(report(&pool).played > 1000, "{:?}", report(&pool));
    pool
}

fn one_is_slow(id: &str, _: &mut SmallRng) -> Duration {
    if id == "e0" { 80 * MS } else { 10 * MS }
}

fn response_time(decay: Duration) -> Algorithm {
    Algorithm::LeastResponseTime(LeastResponseTime { decay, ..LeastResponseTime::default() })
}

/// The pool's spec with another algorithm.
fn with(pool: &Pool, algorithm: Algorithm) -> PoolSpec {
    PoolSpec { algorithm, ..pool.tuner.spec().clone() }
}

#[test]
fn other_parameters_leave_the_choice_and_what_was_played() {
    let mut pool = after_play(vec![Algorithm::RoundRobin, response_time(10 * S)]);
    let before = report(&pool);
    assert_eq!(before.active, response_time(10 * S), "{before:?}");
    let auto = Auto { allowed: vec![Algorithm::RoundRobin, response_time(5 * S)], ..Auto::default() };
    pool.set(with(&pool, Algorithm::Auto(auto)));
    assert_eq!(*pool.balancer.algorithm(), response_time(5 * S), "with its new parameters");
    pool.flow(800, 3, one_is_slow, |_| {});
    let after = report(&pool);
    assert_eq!((after.since, &after.reason), (before.since, &before.reason));
    assert!(after.played > before.played / 2, "{after:?}");
}

#[test]
fn after_another_algorithm_the_choice_stands_and_its_time_begins_anew() {
    let mut pool = after_play(vec![Algorithm::RoundRobin, response_time(10 * S)]);
    let auto = pool.tuner.spec().algorithm.clone();
    pool.set(with(&pool, Algorithm::Random));
    pool.flow(800, 3, one_is_slow, |_| {});
    let back = pool.now;
    pool.set(with(&pool, auto));
    let report = report(&pool);
    assert_eq!((report.active, report.since, report.played), (response_time(10 * S), back, 0));
    assert_eq!(report.reason, "chosen before Auto was left");
}

#[test]
fn what_has_hardly_been_played_is_predicted() {
    let mut pool =
        pool(vec![Algorithm::LeastRequest { choices: 16 }, Algorithm::Prequal(Prequal::default())]);
    (0..20).for_each(|_| look(&mut pool, 8));
    let early = report(&pool);
    assert_eq!((early.played, early.active.name()), (0, "Prequal"));
    assert!(early.reason.contains("predicted score"), "{}", early.reason);
    (0..20).for_each(|_| look(&mut pool, 8));
    let late = report(&pool);
    assert!(late.played >= 400 && late.scores != early.scores, "{late:?}");
}

/// The first of those allowed is in use; the first look is behind it.
fn pool(allowed: Vec<Algorithm>) -> Pool {
    let mut pool = Pool::new(Algorithm::Auto(Auto { allowed, ..Auto::default() }), equal(2));
    pool.tick(Duration::ZERO);
    pool
}

/// Two seconds in which each endpoint answers so often, the second one taking four times as long.
fn look(pool: &mut Pool, answers: u32) {
    for _ in 0..answers {
        pool.ends("e0", answered(200, pool.now, 10 * MS));
        pool.ends("e1", answered(200, pool.now, 40 * MS));
    }
    pool.tick(2 * S);
}

fn report(pool: &Pool) -> AutoReport {
    pool.tuner.report().auto.expect("a choice")
}

/// Standard deviation of two values as far apart as the logarithms of four times.
const SPREAD: f64 = 2.0 * std::f64::consts::LN_2 * std::f64::consts::FRAC_1_SQRT_2;

#[test]
fn what_two_stretches_in_a_row_agree_upon_is_evidence() {
    let in_turn = Algorithm::LeastRequest { choices: 16 };
    for (algorithm, expect) in [(Algorithm::RoundRobin, SPREAD), (in_turn, SPREAD / 2.0)] {
        let mut pool = pool(vec![algorithm.clone()]);
        look(&mut pool, 8);
        assert_eq!(report(&pool).evidence.intervals, 0, "nothing to compare it with");
        look(&mut pool, 7);
        assert_eq!(report(&pool).evidence.intervals, 0, "the second stretch has not ended");
        look(&mut pool, 1);
        let Evidence { endpoints, spread, in_flight, reporting, intervals } = report(&pool).evidence;
        assert_eq!((endpoints, intervals), (2, 1));
        assert!(near([spread, in_flight, reporting], [expect, 0.0, 0.0]), "{algorithm:?}: {spread}");
    }
}

#[test]
fn scores_go_by_the_evidence() {
    let allowed = vec![
        Algorithm::RoundRobin,
        Algorithm::WeightedRoundRobin,
        Algorithm::PowerOfTwoChoices { choices: 2 },
        Algorithm::LeastRequest { choices: 16 },
        Algorithm::LeastResponseTime(LeastResponseTime::default()),
        Algorithm::Prequal(Prequal::default()),
        Algorithm::Adaptive(Adaptive::default()),
        Algorithm::Random,
        Algorithm::WeightedByLoad(WeightedByLoad::default()),
        Algorithm::SourceIpHash(SourceIpHash::default()),
    ];
    for (in_flight, slope) in [(0, 2.2), (1, 1.7), (2, 1.2), (6, 1.2)] {
        let mut pool = pool(allowed.clone());
        let _guards: Vec<_> = (0..in_flight).map(|_| pool.begins("e0")).collect();
        (0..2).for_each(|_| look(&mut pool, 8));
        let expect = [
            (1.02, 4.0),
            (1.02, 4.0),
            (1.08, slope),
            (1.0, slope),
            (1.08, 0.3),
            (1.1, 0.1),
            (1.2, 0.6),
            (1.5, 4.0),
        ];
        let report = report(&pool);
        assert_eq!(report.scores.len(), expect.len(), "neither by load without reports, nor by key");
        for ((algorithm, score), (base, slope)) in report.scores.iter().zip(expect) {
            let expect: f64 = base * (slope * SPREAD.min(0.7)).exp();
            assert!((score - expect).abs() < 1e-9, "{algorithm:?}: {score} {expect}");
        }
        let load = LoadReport { cpu_utilization: Some(0.5), ..LoadReport::default() };
        pool.reports("e0", &load);
        look(&mut pool, 8);
        assert_eq!(self::report(&pool).scores.len(), expect.len(), "half of them report");
        pool.reports("e1", &load);
        look(&mut pool, 8);
        assert_eq!(self::report(&pool).scores.len(), expect.len() + 1);
    }
}

#[test]
fn a_choice_takes_four_looks_with_evidence_the_time_to_dwell_and_a_clear_difference() {
    let prequal = || Algorithm::Prequal(Prequal::default());
    let choose = |dwell, hysteresis, looks| {
        let allowed = vec![Algorithm::RoundRobin, prequal()];
        let mut pool =
            Pool::new(Algorithm::Auto(Auto { allowed, dwell, hysteresis, ..Auto::default() }), equal(2));
        pool.tick(Duration::ZERO);
        (0..looks).for_each(|_| look(&mut pool, 8));
        let report = report(&pool);
        assert_eq!(report.active, *pool.balancer.algorithm());
        (report.active == prequal(), report.since)
    };
    // The first look has nothing to compare with.
    assert_eq!(choose(S, 0.1, 4), (false, Time::ZERO));
    assert_eq!(choose(S, 0.1, 5), (true, seconds(10)));
    assert_eq!(choose(20 * S, 0.1, 9), (false, Time::ZERO));
    assert_eq!(choose(20 * S, 0.1, 10), (true, seconds(20)));
    assert_eq!(choose(S, 0.1, 30), (true, seconds(10)), "and stands");
    // Prequal scores 1.21 where turns score 51.5: better by far, whatever the hysteresis.
    assert!(choose(S, 1.0, 5).0);
    // Turns score 0.68 of what chance does, whatever the spread.
    for (hysteresis, expect) in [(0.33, Algorithm::Random), (0.31, Algorithm::RoundRobin)] {
        let allowed = vec![Algorithm::Random, Algorithm::RoundRobin];
        let mut pool = Pool::new(Algorithm::Auto(Auto { allowed, hysteresis, ..Auto::default() }), equal(2));
        pool.tick(Duration::ZERO);
        (0..30).for_each(|_| look(&mut pool, 8));
        assert_eq!(report(&pool).active, expect, "{hysteresis}");
    }
}
