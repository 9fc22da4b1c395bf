//! Algorithms that single requests name, beside the pool's own: what they go by is followed all the same.

use crate::common::{MS, Pool, equal};
use evenkeel_balance::{Adaptive, Algorithm, Auto, Balancer, PoolSpec};

/// A pool of four, the first of them eight times as slow, after two minutes of requests by its own algorithm.
fn pool(own: Algorithm, others: &[Algorithm]) -> Pool {
    let mut pool = Pool::of(PoolSpec { others: others.to_vec(), ..PoolSpec::new(own, equal(4)) });
    pool.flow(400, 120, |id, _| if id == "e0" { 80 * MS } else { 10 * MS }, |_| {});
    pool
}

fn named(pool: &Pool, algorithm: &Algorithm) -> Balancer {
    pool.tuner.balancer_with(algorithm, pool.now)
}

/// Part of the requests that go to the slow one.
fn slow_part(pool: &mut Pool, algorithm: &Algorithm) -> f64 {
    pool.balancer = named(pool, algorithm);
    f64::from(pool.counts(1000).get("e0").copied().unwrap_or(0)) / 1000.0
}

#[test]
fn adaptive_has_weights_for_those_who_name_it() {
    let adaptive = Algorithm::Adaptive(Adaptive::default());
    let mut told = pool(Algorithm::RoundRobin, std::slice::from_ref(&adaptive));
    let part = slow_part(&mut told, &adaptive);
    assert!(part < 0.15, "{part}");
    assert!(
        (slow_part(&mut told, &Algorithm::WeightedRoundRobin) - 0.25).abs() < 0.01,
        "they are Adaptive's"
    );
    let mut untold = pool(Algorithm::RoundRobin, &[]);
    assert!((slow_part(&mut untold, &adaptive) - 0.25).abs() < 0.01, "nobody followed");
}

#[test]
fn auto_stands_for_what_the_evidence_speaks_for() {
    let auto = Algorithm::Auto(Auto::default());
    let told = pool(Algorithm::RoundRobin, std::slice::from_ref(&auto));
    // By it one request in 2,500 goes to the slow one, by Prequal one in 50, by LeastRequest one in 16.
    assert_eq!(named(&told, &auto).algorithm().name(), "LeastResponseTime");
    assert_eq!(told.balancer.algorithm().name(), "RoundRobin");
    assert_eq!(told.tuner.report().auto, None, "the pool's own algorithm is another");
    let untold = pool(Algorithm::RoundRobin, &[]);
    assert_eq!(named(&untold, &auto).algorithm().name(), "LeastRequest", "the first of those allowed");
}

#[test]
fn auto_may_stand_for_adaptive_there() {
    let allowed = vec![Algorithm::Random, Algorithm::Adaptive(Adaptive::default())];
    let auto = Algorithm::Auto(Auto { allowed, ..Auto::default() });
    let mut told = pool(Algorithm::RoundRobin, std::slice::from_ref(&auto));
    assert_eq!(named(&told, &auto).algorithm().name(), "Adaptive");
    let part = slow_part(&mut told, &auto);
    assert!(part < 0.2, "{part}");
}
