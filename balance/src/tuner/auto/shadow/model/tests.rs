//! What is found of endpoints that are known.

use std::collections::BinaryHeap;

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::*;
use crate::Time;

/// 4,000 requests by turns to endpoints that work on so many at once, each so many times as long as the middling one:
/// what is found of both.
fn check(concurrency: usize, rate: f64, paces: &[f64], found: &[Option<usize>]) {
    let mut rng = SmallRng::seed_from_u64(3);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some milliseconds")]
    let mut random = |mean: f64| (-mean * (1.0 - rng.random::<f64>()).ln()) as u64;
    let mut free: Vec<_> = paces.iter().map(|_| vec![0; concurrency]).collect();
    let mut under_way: Vec<BinaryHeap<std::cmp::Reverse<u64>>> = vec![BinaryHeap::new(); paces.len()];
    let (mut now, mut tapped) = (0, Vec::new());
    for number in 0..4000 {
        now += random(1e9 / rate);
        let place = number % paces.len();
        let first = free[place].iter_mut().min().expect("a place");
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
    assert!(found.contains(&model.concurrency()), "{concurrency} at {rate}: {:?}", model.concurrency());
    for (place, pace) in paces.iter().enumerate() {
        let known = model.endpoints[place].pace - model.endpoints[0].pace;
        assert!((known.exp() * paces[0] / pace - 1.0).abs() < 0.15, "{place}: {known}");
    }
}

#[test]
fn concurrency_and_paces_are_found() {
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
    let all = [1.0; CONCURRENCIES.len()];
    let check = |slants: [f64; CONCURRENCIES.len()], nanos: [f64; CONCURRENCIES.len()], expect: usize| {
        assert_eq!(CONCURRENCIES[flattest(&slants, &nanos)], expect, "{slants:?}");
    };
    check([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], all, 1);
    check([-0.3, -0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], all, 2);
    check([-0.3, -0.3, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], all, 3);
    check([-0.01, -0.3, -0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], all, 3);
    check([0.0; CONCURRENCIES.len()], all, 1);
    check([0.0; CONCURRENCIES.len()], [0.1, 0.5, 0.9, 0.995, 1.0, 1.0, 1.0, 1.0, 1.0], 4);
}

const MS: u64 = 1_000_000;

/// A request alone at endpoint 0 or 1, each a minute after the last: milliseconds in flight and until the answer.
fn tapped(number: u64, endpoint: u64, held: u64, latency: u64, verdict: Verdict) -> Tapped {
    Tapped {
        begun: Time::from_nanos(number * 60_000 * MS),
        endpoint,
        load: 1,
        held: held * MS,
        latency: latency * MS,
        verdict: Some(verdict),
    }
}

fn two() -> Model {
    let ids: [EndpointId; 2] = ["e0".into(), "e1".into()];
    let mut model = Model::default();
    model.know(ids.iter().zip(0..));
    model
}

/// Takes requests, so many alike: endpoint, milliseconds in flight and until the answer, and how they ended.
fn take(model: &mut Model, requests: &[(u64, u64, u64, u64, Verdict)]) -> Vec<Work> {
    let mut all = Vec::new();
    for (count, endpoint, held, latency, verdict) in requests {
        (0..*count).for_each(|_| all.push(tapped(all.len() as u64, *endpoint, *held, *latency, *verdict)));
    }
    let mut works = Vec::new();
    model.take(&all, &mut works);
    works
}

#[test]
fn failures_are_a_part_of_the_requests_and_fade_with_them() {
    let mut model = two();
    let works = take(&mut model, &[(3, 0, 5, 5, Verdict::GatewayError), (1, 0, 10, 10, Verdict::Good)]);
    assert!(works.iter().all(|work| work.counts && (work.nanos - 10e6).abs() < 1.0), "{works:?}");
    assert_eq!(model.failing(0), (0.75, 5e6));
    assert_eq!(model.failing(1), (0.0, 0.0));
    model.fade(0.5);
    take(&mut model, &[(2, 0, 10, 10, Verdict::Good)]);
    assert_eq!(model.failing(0), (0.375, 5e6));
}

#[test]
fn who_gives_up_late_tells_of_the_endpoint_and_who_gives_up_early_does_not() {
    let mut model = two();
    take(&mut model, &[(4, 0, 10, 10, Verdict::Good), (4, 1, 10, 10, Verdict::Good)]);
    let given_up = |model: &mut Model, count, millis| {
        let works = take(model, &[(count, 1, millis, millis, Verdict::Cancelled)]);
        works.iter().map(|work| work.counts).collect::<Vec<_>>()
    };
    assert_eq!(given_up(&mut model, 1, 0), [], "it was not sent");
    assert_eq!(given_up(&mut model, 1, 9), [false]);
    assert!(model.endpoints[1].pace.abs() < 1e-9);
    assert_eq!(given_up(&mut model, 20, 1000), [true; 20]);
    assert!(model.endpoints[1].pace > 0.5, "{}", model.endpoints[1].pace);
    // None of them is an answer; what is no error of the endpoint is one.
    let works = take(&mut model, &[(1, 1, 10, 10, Verdict::Neutral), (1, 1, 10, 10, Verdict::ServerError)]);
    assert_eq!(works.iter().map(|work| work.counts).collect::<Vec<_>>(), [false, true]);
    assert_eq!(model.failing(1).0, 1.0 / 6.0);
}

#[test]
fn endpoints_differ_by_the_time_to_the_answer_and_not_by_how_long_bodies_go_on() {
    let mut model = two();
    let works = take(&mut model, &[(50, 0, 2000, 100, Verdict::Good), (50, 1, 2000, 1000, Verdict::Good)]);
    let differ = model.endpoints[1].pace - model.endpoints[0].pace;
    assert!((differ.exp() - 10.0).abs() < 1e-6, "{differ}");
    // Wherever it goes, a request of the first is answered in a tenth of a second by the first.
    let answered = |work: &Work, number| model.takes(work, number) * work.answered / 1e6;
    for (work, first) in [(&works[0], 100.0), (&works[99], 100.0)] {
        assert!((answered(work, 0) - first).abs() < 1e-3 && (answered(work, 1) - 10.0 * first).abs() < 1e-2);
    }
}

#[test]
fn of_what_differs_as_much_stays_as_chance_does_not_explain() {
    let mut model = two();
    let (one, nine) = ((1, 0, 1, 1, Verdict::Good), (1, 0, 9, 9, Verdict::Good));
    take(&mut model, &[one, nine, (1, 1, 1000, 1000, Verdict::Good), (1, 1, 9000, 9000, Verdict::Good)]);
    // The four deviate from their endpoints' levels by squares of 4 together: over 2 degrees of freedom, a variance of
    // 1 for the level of each. The levels deviate by `off`, so that off^2 - 1 of off^2 lasts.
    let off = 1000_f64.ln() / 2.0;
    assert!((model.endpoints[1].pace - (off - 1.0 / off)).abs() < 1e-3, "{}", model.endpoints[1].pace);
}
