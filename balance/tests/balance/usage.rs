//! What Adaptive goes by, beyond what the requests show: reported load, and usage that is brought.

use std::time::Duration;

use evenkeel_balance::{Adaptive, AdaptiveSignal, Algorithm, Outcome, Usage, UsageSource, orca::LoadReport};

use crate::common::{Pool, answered, backend, endpoint, equal};

const STEP: Duration = Duration::from_secs(5);

fn weight(pool: &Pool) -> f64 {
    pool.effective_weight("e0")
}

/// Four endpoints, by CPU and memory alone.
fn pool(usage: UsageSource) -> Pool {
    let signals = vec![AdaptiveSignal::Cpu, AdaptiveSignal::Memory];
    Pool::new(Algorithm::Adaptive(Adaptive { signals, usage, ..Adaptive::default() }), equal(4))
}

/// The weight of the first after 30 steps in which it uses `cpu` where the others use 1. By its reports, which are in
/// other units, it has half of what they have.
fn after_steps(pool: &mut Pool, cpu: Option<f64>) -> f64 {
    for _ in 0..30 {
        for number in 0..40_u32 {
            let now = pool.now;
            let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
            let reported = if pick.endpoint.id.as_str() == "e0" { 0.4 } else { 0.8 };
            let report = LoadReport { cpu_utilization: Some(reported), ..LoadReport::default() };
            let load = Some(Box::new(report));
            pick.guard.set_outcome(Outcome { load, ..answered(200, now, Duration::from_millis(1)) });
        }
        for number in 0..4 {
            let cpu = if number == 0 { cpu } else { Some(1.0) };
            let usage = Usage { at: pool.now, cpu, memory: None };
            pool.tuner.set_usage(&format!("e{number}").as_str().into(), usage);
        }
        pool.tick(STEP);
    }
    weight(pool)
}

#[test]
fn it_goes_by_the_usage_that_it_is_brought_and_by_no_report_then() {
    let mut pool = pool(UsageSource::Fed);
    let busy = after_steps(&mut pool, Some(4.0));
    assert!(busy < 0.5, "four times as much as the others: {busy}");
    let unknown = after_steps(&mut pool, None);
    assert!((unknown - 1.0).abs() < 0.02, "nothing of it: {unknown}");
    after_steps(&mut pool, Some(4.0));
    for _ in 0..30 {
        pool.tick(STEP);
    }
    assert!((weight(&pool) - 1.0).abs() < 0.02, "nothing of any, lately: {}", weight(&pool));
}

#[test]
fn it_goes_by_reports_where_nothing_else_is_named() {
    let idle = after_steps(&mut pool(UsageSource::Reports), Some(4.0));
    assert!(idle > 1.2, "half of what the others have: {idle}");
}

#[test]
fn what_is_used_goes_with_the_weight() {
    let signals = vec![AdaptiveSignal::Cpu];
    let adaptive = Adaptive { signals, usage: UsageSource::Fed, ..Adaptive::default() };
    let endpoints = vec![endpoint("e0", 3), endpoint("e1", 1)];
    let mut pool = Pool::new(Algorithm::Adaptive(adaptive), vec![backend("b", 1, endpoints)]);
    for _ in 0..30 {
        for (id, cpu) in [("e0", 1.5), ("e1", 0.5)] {
            pool.tuner.set_usage(&id.into(), Usage { at: pool.now, cpu: Some(cpu), memory: None });
        }
        pool.tick(STEP);
    }
    assert_eq!(pool.weights(["e0", "e1"]), [3.0, 1.0]);
}

#[test]
fn one_that_fails_does_not_gain_by_being_idle() {
    let adaptive = Adaptive { usage: UsageSource::Fed, ..Adaptive::default() };
    let mut pool = Pool::new(Algorithm::Adaptive(adaptive), equal(4));
    for _ in 0..30 {
        for number in 0..40_u32 {
            let now = pool.now;
            let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
            let status = if pick.endpoint.id.as_str() == "e0" { 503 } else { 200 };
            pick.guard.set_outcome(answered(status, now, Duration::from_millis(1)));
        }
        for number in 0..4 {
            let cpu = Some(if number == 0 { 0.0 } else { 1.0 });
            let usage = Usage { at: pool.now, cpu, memory: Some(1.0) };
            pool.tuner.set_usage(&format!("e{number}").as_str().into(), usage);
        }
        pool.tick(STEP);
    }
    assert!(weight(&pool) < 0.7, "{}", weight(&pool));
}

#[test]
fn one_error_among_many_takes_no_weight_for_long() {
    let signals = vec![AdaptiveSignal::Cpu, AdaptiveSignal::ErrorRate];
    let adaptive = Adaptive { usage: UsageSource::Fed, signals, ..Adaptive::default() };
    let mut pool = Pool::new(Algorithm::Adaptive(adaptive), equal(4));
    let step = |pool: &mut Pool, fails: bool| {
        for number in 0..4 {
            let id = format!("e{number}");
            let statuses =
                if fails && number == 0 { [&[500][..], &[200; 999]].concat() } else { vec![200; 1000] };
            pool.answers(&id, &statuses);
            let cpu = Some(if number == 0 { 0.5 } else { 1.0 });
            pool.tuner.set_usage(&id.as_str().into(), Usage { at: pool.now, cpu, memory: None });
        }
        pool.tick(STEP);
        weight(pool)
    };
    let before = (0..30).map(|_| step(&mut pool, false)).last().expect("a step");
    let after = (0..3).map(|number| step(&mut pool, number == 0)).last().expect("a step");
    assert!(before > 1.2 && after > 0.95 * before, "{before}, then {after}");
}
