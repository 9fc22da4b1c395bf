//! Weights that follow reported load.

use std::time::Duration;

use evenkeel_balance::{
    Adaptive, AdaptiveSignal, Algorithm, Outcome, PoolSpec, WeightedByLoad, orca::LoadReport,
};

use crate::common::{MS, Pool, S, answered, equal, near};

fn report(cpu: f64, rps: f64) -> Option<Box<LoadReport>> {
    Some(Box::new(LoadReport {
        cpu_utilization: Some(cpu),
        rps_fractional: Some(rps),
        ..LoadReport::default()
    }))
}

/// Every endpoint reports, `e0` half the utilization of the others.
fn reporting(pool: &mut Pool, requests: u32) {
    for number in 0..requests {
        let now = pool.now;
        let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
        let cpu = if pick.endpoint.id.as_str() == "e0" { 0.4 } else { 0.8 };
        let load = report(cpu, 100.0);
        pick.guard.set_outcome(Outcome { load, ..answered(200, now, MS) });
    }
}

#[test]
fn reported_load_makes_weights_after_the_blackout_until_they_expire() {
    let mut pool = Pool::new(Algorithm::WeightedByLoad(WeightedByLoad::default()), equal(3));
    pool.tick(Duration::ZERO);
    for second in 0..12 {
        reporting(&mut pool, 30);
        pool.tick(S);
        let expect = if second < 9 { 1.0 } else { 1.5 };
        let found = pool.effective_weight("e0");
        assert!((found - expect).abs() < 1e-9, "after {second} s: {found}");
    }
    let counts = pool.counts(4000);
    assert!((1995..2005).contains(&counts["e0"]), "{counts:?}");
    pool.tick(181 * S);
    assert!((pool.effective_weight("e0") - 1.0).abs() < 1e-9, "expired");
}

/// What happens at an endpoint in two seconds: answers, and then one with a report, if there is anything to report.
#[derive(Clone, Copy, Debug, Default)]
struct Happens<'a> {
    answers: &'a [u16],
    cpu: Option<f64>,
    requests_per_second: Option<f64>,
    errors_per_second: Option<f64>,
}

fn check(given: [Happens<'_>; 3], expect: [f64; 3]) {
    check_by(&WeightedByLoad::default(), given, expect);
}

fn check_by(parameters: &WeightedByLoad, given: [Happens<'_>; 3], expect: [f64; 3]) {
    let parameters = WeightedByLoad { blackout: Duration::ZERO, ..parameters.clone() };
    let mut pool = Pool::new(Algorithm::WeightedByLoad(parameters), equal(3));
    pool.tick(Duration::ZERO);
    for (id, happens) in ["e0", "e1", "e2"].into_iter().zip(given) {
        pool.answers(id, happens.answers);
        if happens.cpu.is_some() {
            let report = LoadReport {
                cpu_utilization: happens.cpu,
                rps_fractional: happens.requests_per_second,
                eps: happens.errors_per_second,
                ..LoadReport::default()
            };
            pool.reports(id, &report);
        }
    }
    pool.tick(2 * S);
    let found = pool.weights(["e0", "e1", "e2"]);
    assert!(near(found, expect), "{given:?}: {found:?}");
}

#[test]
fn a_weight_is_requests_per_utilization_beside_the_mean() {
    let none = Happens::default();
    let says = |cpu| Happens { cpu: Some(cpu), requests_per_second: Some(100.0), ..none };
    let errors = |rate| Happens { errors_per_second: Some(rate), ..says(0.5) };
    check([says(0.4), says(0.8), none], [250.0 / 187.5, 125.0 / 187.5, 1.0]);
    check([says(0.4), none, none], [1.0; 3]);
    check([says(0.4), says(0.0), none], [1.0; 3]);
    check([errors(50.0), errors(0.0), none], [2.0 / 3.0, 4.0 / 3.0, 1.0]);
    let twice = WeightedByLoad { error_penalty: 2.0, ..WeightedByLoad::default() };
    check_by(&twice, [errors(50.0), errors(0.0), none], [0.5, 1.5, 1.0]);
}

#[test]
fn what_an_endpoint_does_not_report_is_what_was_seen_here() {
    let none = Happens::default();
    // With the one that brings the report, 20 in two seconds.
    let (half, good) = ([[500; 10].as_slice(), &[200; 9]].concat(), [200; 19]);
    let seen = |answers| Happens { answers, cpu: Some(0.5), ..none };
    let says = |answers| Happens { requests_per_second: Some(10.0), ..seen(answers) };
    check([seen(&half), seen(&good), none], [2.0 / 3.0, 4.0 / 3.0, 1.0]);
    check([seen(&good), says(&[]), none], [1.0; 3]);
    // Errors seen here are none of the requests that are reported, and those reported none of the requests seen here.
    check([says(&half), says(&[]), none], [1.0; 3]);
    let errors = |answers| Happens { errors_per_second: Some(5.0), ..seen(answers) };
    check([errors(&good), seen(&good), none], [1.0; 3]);
}

#[test]
fn reports_are_followed_whatever_the_algorithm() {
    let mut pool = Pool::new(Algorithm::LeastRequest { choices: 2 }, equal(3));
    for _ in 0..12 {
        reporting(&mut pool, 30);
        pool.now = pool.now.after(S);
        pool.tuner.observe(pool.now);
    }
    pool.set(PoolSpec::new(Algorithm::WeightedByLoad(WeightedByLoad::default()), equal(3)));
    assert!((pool.effective_weight("e0") - 1.5).abs() < 1e-9, "{}", pool.effective_weight("e0"));
}

#[test]
fn what_came_while_nobody_looked_is_of_no_interval() {
    let mut pool = Pool::new(Algorithm::RoundRobin, equal(2));
    pool.answers("e0", &[500; 100]);
    pool.answers("e1", &[200; 100]);
    pool.now = pool.now.after(3600 * S);
    let signals = vec![AdaptiveSignal::ErrorRate, AdaptiveSignal::ResponseTime];
    let adaptive =
        Algorithm::Adaptive(Adaptive { signals, smoothing: 1.0, hysteresis: 0.0, ..Adaptive::default() });
    let update = 30 * S;
    let by_load = WeightedByLoad { update, blackout: Duration::ZERO, ..WeightedByLoad::default() };
    for (algorithm, interval) in [(adaptive, 5 * S), (Algorithm::WeightedByLoad(by_load), update)] {
        pool.set(PoolSpec::new(algorithm.clone(), equal(2)));
        for id in ["e0", "e1"] {
            pool.reports(id, &LoadReport { cpu_utilization: Some(0.5), ..LoadReport::default() });
        }
        for _ in 0..3 {
            pool.tick(interval);
            assert!(near(pool.weights(["e0", "e1"]), [1.0; 2]), "{algorithm:?}");
        }
    }
}
