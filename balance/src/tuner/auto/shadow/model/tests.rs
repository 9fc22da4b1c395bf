//! What is found of endpoints that are known.

use std::collections::BinaryHeap;

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::*;
use crate::Time;

/// 4,000 requests by turns to endpoints that work on so many at once, each so many times as long as the middling one: what
/// is found of both.
fn check(workers: usize, rate: f64, paces: &[f64], found_workers: &[Option<usize>]) {
    let mut rng = SmallRng::seed_from_u64(3);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some milliseconds")]
    let mut random = |mean: f64| (-mean * (1.0 - rng.random::<f64>()).ln()) as u64;
    let mut free: Vec<_> = paces.iter().map(|_| vec![0; workers]).collect();
    let mut under_way: Vec<BinaryHeap<std::cmp::Reverse<u64>>> = vec![BinaryHeap::new(); paces.len()];
    let (mut now, mut tapped) = (0, Vec::new());
    for number in 0..4000 {
        now += random(1e9 / rate);
        let place = number % paces.len();
        let first = free[place].iter_mut().min().expect("a worker");
        *first = now.max(*first) + random(10e6 * paces[place]);
        let (begun, end) = (now, *first);
        while under_way[place].peek().is_some_and(|other| other.0 <= begun) {
            under_way[place].pop();
        }
        under_way[place].push(std::cmp::Reverse(end));
        tapped.push(Tapped {
            begun: Time::from_nanos(begun),
            endpoint: place as u64,
            load: u32::try_from(under_way[place].len()).expect("few"),
            held: end - begun,
            latency: end - begun,
            verdict: Some(Verdict::Good),
        });
    }
    let ids: Vec<EndpointId> = (0..paces.len()).map(|place| format!("e{place}").as_str().into()).collect();
    let mut model = Model::default();
    model.know(ids.iter().zip(0..));
    model.take(&tapped, &mut Vec::new());
    // What was learned counts from the next time on.
    model.take(&[], &mut Vec::new());
    assert!(found_workers.contains(&model.workers()), "{workers} at {rate}: {:?}", model.workers());
    for (place, pace) in paces.iter().enumerate() {
        let known = model.endpoints[place].pace - model.endpoints[0].pace;
        assert!((known.exp() * paces[0] / pace - 1.0).abs() < 0.15, "{place}: {known}");
    }
}

#[test]
fn workers_and_paces_are_found() {
    check(1, 160.0, &[1.0, 1.0], &[Some(1)]);
    check(4, 640.0, &[1.0, 1.0], &[Some(4)]);
    check(1, 60.0, &[1.0, 3.0], &[Some(1)]);
    check(4, 150.0, &[1.0, 1.0, 6.0], &[Some(3), Some(4)]);
    // Nothing waits: as many as were seen at once, or hardly fewer.
    check(64, 200.0, &[1.0, 4.0], &[Some(8), Some(12), None]);
}

#[test]
fn paces_are_drawn_together_by_what_chance_explains() {
    let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(near(drawn(0.3, 0.0, 0.09), 0.0), "a standard error");
    assert!(near(drawn(0.9, 0.0, 0.09), 0.3), "three of them");
    assert!(near(drawn(-0.3, 0.09, 0.09), -0.15), "half of it lasts");
    assert!(near(drawn(0.3, 0.04, 0.0), 0.3), "no chance");
}

#[test]
fn the_flattest_is_where_the_slant_changes_its_sign() {
    let all = [1.0; WORKERS.len()];
    let check = |slants: [f64; WORKERS.len()], nanos: [f64; WORKERS.len()], expect: usize| {
        assert_eq!(WORKERS[flattest(&slants, &nanos)], expect, "{slants:?}");
    };
    check([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], all, 1);
    check([-0.3, -0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], all, 2);
    check([-0.3, -0.3, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], all, 3);
    check([-0.01, -0.3, -0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], all, 3);
    check([0.0; WORKERS.len()], all, 1);
    check([0.0; WORKERS.len()], [0.1, 0.5, 0.9, 0.995, 1.0, 1.0, 1.0, 1.0, 1.0], 4);
}
