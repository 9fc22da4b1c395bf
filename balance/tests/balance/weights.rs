//! Weights that follow reported load, and what is seen.

use std::time::Duration;

use evenkeel_balance::{Adaptive, Algorithm, Outcome, WeightedByLoad, orca::LoadReport};
use rand::Rng as _;

use crate::common::{MS, Pool, S, answered, equal};

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
