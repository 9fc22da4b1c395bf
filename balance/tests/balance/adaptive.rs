//! Weights that follow what is seen: a step by hand, and many.

use std::time::Duration;

use evenkeel_balance::{Adaptive, AdaptiveSignal, Algorithm, PoolSpec, orca::LoadReport};
use rand::Rng as _;

use crate::common::{MS, Pool, S, answered, backend, endpoint, equal, near};

/// Every measurement counts at once, and every difference.
fn sharp(signal: AdaptiveSignal) -> Adaptive {
    Adaptive { signals: vec![signal], smoothing: 1.0, hysteresis: 0.0, ..Adaptive::default() }
}

/// Two endpoints, and the first interval begun.
fn pool(parameters: Adaptive) -> Pool {
    let mut pool = Pool::new(Algorithm::Adaptive(parameters), equal(2));
    pool.tick(Duration::ZERO);
    pool
}

fn reports(pool: &mut Pool, loads: [f64; 2]) {
    for (id, load) in ["e0", "e1"].into_iter().zip(loads) {
        let (cpu_utilization, mem_utilization) = (Some(load), Some(load));
        pool.reports(id, &LoadReport { cpu_utilization, mem_utilization, ..LoadReport::default() });
    }
}

/// A step of 5 s; the weights after it.
fn step(pool: &mut Pool) -> [f64; 2] {
    pool.tick(5 * S);
    pool.weights(["e0", "e1"])
}

/// A step answers `ratio`, by which the first endpoint is above the second, with 0.12 of it, half of which each takes.
fn check(signal: AdaptiveSignal, happens: impl Fn(&mut Pool), ratio: f64) {
    let mut pool = pool(sharp(signal));
    happens(&mut pool);
    let found = step(&mut pool);
    assert!(near(found, [ratio.powf(-0.06), ratio.powf(0.06)]), "{signal:?}: {found:?}");
}

#[test]
fn a_step_answers_a_part_of_the_difference() {
    // Beside a floor of a tenth of the mean, or what is noise of this signal.
    check(AdaptiveSignal::Cpu, |pool| reports(pool, [0.8, 0.4]), (0.06 + 0.8) / (0.06 + 0.4));
    check(AdaptiveSignal::Memory, |pool| reports(pool, [0.03, 0.01]), (0.05 + 0.03) / (0.05 + 0.01));
    let times = |pool: &mut Pool| {
        for (id, times) in [("e0", 4), ("e0", 2), ("e1", 1)] {
            pool.ends(id, answered(200, pool.now, 10 * MS * times));
        }
    };
    check(AdaptiveSignal::ResponseTime, times, (2.0 + 30.0) / (2.0 + 10.0));
    let fails = |pool: &mut Pool| {
        pool.answers("e0", &[500, 500, 200, 200]);
        pool.answers("e1", &[500, 200, 200, 200]);
    };
    check(AdaptiveSignal::ErrorRate, fails, (0.05 + 0.5) / (0.05 + 0.25));
    let always = |pool: &mut Pool| {
        pool.answers("e0", &[500, 500]);
        pool.answers("e1", &[200, 200]);
    };
    // The second is further below the mean than a step looks.
    check(AdaptiveSignal::ErrorRate, always, (0.05 + 1.0) / (0.05 + 0.5) * 2.3_f64.exp());
}

#[test]
fn an_endpoint_of_two_backends_moves_once() {
    let twice = || (0..2).map(|index| endpoint(&format!("e{index}"), 1)).collect();
    let backends = vec![backend("b", 1, twice()), backend("c", 1, twice())];
    let mut pool = Pool::new(Algorithm::Adaptive(sharp(AdaptiveSignal::Cpu)), backends);
    pool.tick(Duration::ZERO);
    reports(&mut pool, [0.8, 0.4]);
    let ratio: f64 = (0.06 + 0.8) / (0.06 + 0.4);
    let found = step(&mut pool);
    assert!(near(found, [ratio.powf(-0.06), ratio.powf(0.06)]), "{found:?}");
}

#[test]
fn requests_in_flight_count_by_weight() {
    let endpoints = vec![endpoint("e0", 3), endpoint("e1", 1)];
    let spec =
        PoolSpec::new(Algorithm::Adaptive(sharp(AdaptiveSignal::InFlight)), vec![backend("b", 1, endpoints)]);
    for (count, ratio) in [(3, 1.0), (9, (1.0 + 3.0) / (1.0 + 1.0))] {
        let mut pool = Pool::of(spec.clone());
        pool.tick(Duration::ZERO);
        let _guards: Vec<_> = (0..count).map(|_| pool.begins("e0")).collect();
        let _guard = pool.begins("e1");
        let [e0, e1] = step(&mut pool);
        let ratio: f64 = ratio;
        assert!(near([e0 / 3.0, e1], [ratio.powf(-0.06), ratio.powf(0.06)]), "{count}: {e0} {e1}");
    }
}

#[test]
fn many_steps_answer_what_lasts_within_bounds() {
    let run = |min, max| {
        let mut pool = pool(Adaptive { min, max, ..sharp(AdaptiveSignal::Cpu) });
        let mut last = [1.0; 2];
        for _ in 0..400 {
            reports(&mut pool, [0.8, 0.4]);
            last = step(&mut pool);
        }
        last
    };
    let lasting = (0.86_f64 / 0.46).powf(0.75);
    assert!(near(run(0.1, 10.0), [1.0 / lasting, lasting]), "{:?}", run(0.1, 10.0));
    let [low, high] = run(0.9, 1.05);
    assert!(near([low, high], [0.9, 1.05]), "{low} {high}");
}

#[test]
fn without_reports_for_three_intervals_weights_go_back_by_half() {
    let mut pool = pool(sharp(AdaptiveSignal::Cpu));
    for _ in 0..20 {
        reports(&mut pool, [0.8, 0.4]);
        step(&mut pool);
    }
    // They are 5, 10 and 15 s old by now.
    step(&mut pool);
    let [e0, e1] = step(&mut pool);
    assert!(e0 < 0.8, "{e0}");
    let [half0, half1] = [f64::midpoint(e0, 1.0), f64::midpoint(e1, 1.0)];
    let middle = (half0 * half1).sqrt();
    let found = step(&mut pool);
    assert!(near(found, [half0 / middle, half1 / middle]), "{found:?}");
    (0..50).for_each(|_| _ = pool.tick(5 * S));
    assert_eq!(step(&mut pool).map(f64::to_bits), [1_f64.to_bits(); 2], "near enough is back");
}

#[test]
fn small_differences_move_nothing_and_new_ones_enter_in_part() {
    let mut still = pool(Adaptive { hysteresis: 0.1, ..sharp(AdaptiveSignal::Cpu) });
    reports(&mut still, [0.44, 0.4]);
    assert_eq!(step(&mut still).map(f64::to_bits), [1_f64.to_bits(); 2]);
    let mut smooth = pool(Adaptive { smoothing: 0.25, ..sharp(AdaptiveSignal::Cpu) });
    reports(&mut smooth, [0.8, 0.4]);
    let [first, _] = step(&mut smooth);
    reports(&mut smooth, [0.4, 0.4]);
    let found = step(&mut smooth);
    let (mean, e0) = (0.55, 0.7);
    let ratio: f64 = (mean * 0.1 + e0) / (mean * 0.1 + 0.4);
    let expect = (first.ln() * 0.92 - 0.06 * ratio.ln()).exp();
    assert!(near(found, [expect, 1.0 / expect]), "{found:?} {expect}");
}

#[test]
fn adaptive_follows_differences_and_not_noise() {
    let mut pool = Pool::new(Algorithm::Adaptive(Adaptive::default()), equal(4));
    let mut changes = 0;
    let mut steps = |pool: &mut Pool, count: u32, slow: f64| {
        for _ in 0..count {
            for number in 0..400 {
                let noise = pool.rng.random_range(0.8..1.2);
                let now = pool.now;
                let mut pick = pool.pick(u32::to_be_bytes(number).into(), &[]).expect("an endpoint");
                let times = if pick.endpoint.id.as_str() == "e0" { slow } else { 1.0 };
                pick.guard.set_outcome(answered(200, now, MS.mul_f64(10.0 * noise * times)));
            }
            changes += u32::from(pool.tick(5 * S));
        }
        std::mem::take(&mut changes)
    };
    assert_eq!(steps(&mut pool, 50, 1.0), 0, "noise");
    steps(&mut pool, 20, 4.0);
    let slow = pool.effective_weight("e0");
    assert!(slow < 0.75, "in proportion: {slow}");
    for _ in 0..20 {
        pool.tick(5 * S);
    }
    assert!(
        (pool.effective_weight("e0") - 1.0).abs() < 0.02,
        "without data: {}",
        pool.effective_weight("e0")
    );
}
