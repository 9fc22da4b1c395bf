//! Prequal, in band and fed.

use std::{collections::BTreeSet, time::Duration};

use evenkeel_balance::{
    Algorithm, Backend, Fallback, Guard, PoolSpec, Prequal, ProbeAnswer, Query, Score, Signals, Time,
};

use crate::common::{MS, Pool, answered, backend, endpoint, equal};

/// Nothing is dropped but what is used up.
fn fed(backends: Vec<Backend>) -> Pool {
    let parameters = Prequal { signals: Signals::Fed, removals: 0.0, ..Prequal::default() };
    Pool::new(Algorithm::Prequal(parameters), backends)
}

fn feed(pool: &mut Pool, index: usize, in_flight: u32, latency: Duration) {
    pool.balancer.answer(0, index, ProbeAnswer { in_flight, latency }, pool.now);
}

fn scores(pool: &mut Pool) -> Vec<Option<Score>> {
    let explained = pool.balancer.explain(&Query::at(pool.now, 0), &mut pool.rng);
    explained.candidates.iter().map(|each| each.score).collect()
}

fn falls_back(pool: &mut Pool) -> bool {
    let explained = pool.balancer.explain(&Query::at(pool.now, 0), &mut pool.rng);
    explained.fallbacks == [Fallback::FewAnswers]
}

#[test]
fn prequal_avoids_the_slow_and_lets_it_come_back() {
    let mut pool = Pool::new(Algorithm::Prequal(Prequal::default()), equal(16));
    let run = |pool: &mut Pool, milliseconds: u32, slow: bool| {
        let mut open: Vec<(Time, Guard, Duration)> = Vec::new();
        let mut to_slow = 0;
        for number in 0..milliseconds {
            pool.now = pool.now.after(MS);
            let now = pool.now;
            for (end, mut guard, latency) in std::mem::take(&mut open) {
                if end <= now {
                    guard.set_outcome(answered(200, now, latency));
                } else {
                    open.push((end, guard, latency));
                }
            }
            let pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
            let at_slow = pick.endpoint.id.as_str() == "e0";
            to_slow += u32::from(at_slow);
            let latency = if at_slow && slow { 320 * MS } else { 20 * MS };
            open.push((now.after(latency), pick.guard, latency));
            if number % 500 == 0 {
                pool.tick(Duration::ZERO);
            }
        }
        to_slow
    };
    let slow = run(&mut pool, 20_000, true);
    assert!(slow < 20_000 / 16 / 5, "{slow}");
    // That is how long an idle endpoint's latency is known.
    run(&mut pool, 16_000, false);
    let healed = run(&mut pool, 20_000, false);
    assert!(healed > 20_000 / 16 / 2, "{healed}");
}

#[test]
fn prequal_goes_by_what_it_is_fed() {
    let parameters = Prequal { signals: Signals::Fed, ..Prequal::default() };
    let mut pool = Pool::new(Algorithm::Prequal(parameters), equal(10));
    let explained = pool.balancer.explain(&Query::at(pool.now, 0), &mut pool.rng);
    assert_eq!(explained.fallbacks, [Fallback::FewAnswers]);
    let asked: Vec<_> = pool.balancer.to_probe(&mut pool.rng).collect();
    assert_eq!(asked.len(), 3);
    for (index, latency) in [(4, 9 * MS), (7, 2 * MS)] {
        pool.balancer.answer(0, index, ProbeAnswer { in_flight: 1, latency }, pool.now);
    }
    let query = Query::at(pool.now, 0);
    assert_eq!(pool.balancer.pick(&query, &mut pool.rng).map(|pick| pick.index), Some(7));
    let other = pool.balancer.explain(&Query::at(pool.now, 1), &mut pool.rng);
    assert_eq!(other.fallbacks, [Fallback::FewAnswers], "another worker, another pool");
}

#[test]
fn what_is_in_flight_weighs_more_where_the_weight_is_less() {
    let mut pool = fed(vec![backend("b", 1, vec![endpoint("light", 1), endpoint("heavy", 3)])]);
    // So that what comes then is more than usual.
    (0..20).for_each(|_| feed(&mut pool, 1, 0, MS));
    feed(&mut pool, 0, 4, MS);
    feed(&mut pool, 1, 3, 9 * MS);
    assert_eq!(scores(&mut pool), [Some(Score::Hot(8.0)), Some(Score::Hot(2.0))]);
    let query = Query::at(pool.now, 0);
    let pick = pool.balancer.pick(&query, &mut pool.rng).map(|pick| pick.index);
    assert_eq!(pick, Some(1), "the less loaded, though it is slower");
    assert_eq!(scores(&mut pool)[1], Some(Score::Hot(2.0 + 2.0 / 3.0)), "one more is in flight");
}

#[test]
fn of_equal_answers_the_oldest_is_used() {
    let mut pool = fed(equal(10));
    feed(&mut pool, 7, 1, MS);
    feed(&mut pool, 4, 1, MS);
    let query = Query::at(pool.now, 0);
    assert_eq!(pool.balancer.pick(&query, &mut pool.rng).map(|pick| pick.index), Some(7));
}

#[test]
fn answers_follow_their_endpoints_to_another_place() {
    let mut pool = fed(equal(10));
    feed(&mut pool, 4, 1, 9 * MS);
    feed(&mut pool, 7, 1, MS);
    let mut backends = equal(10);
    backends[0].endpoints.reverse();
    pool.set(PoolSpec::new(pool.tuner.spec().algorithm.clone(), backends.clone()));
    let query = Query::at(pool.now, 0);
    let pick = pool.balancer.pick(&query, &mut pool.rng).map(|pick| pick.endpoint.id.to_string());
    assert_eq!(pick.as_deref(), Some("e7"));
    backends[0].endpoints.retain(|endpoint| endpoint.id.as_str() != "e4");
    pool.set(PoolSpec::new(pool.tuner.spec().algorithm.clone(), backends));
    assert!(falls_back(&mut pool), "the only answer left is no choice");
}

#[test]
fn each_backend_keeps_the_answers_of_its_own_endpoints() {
    let backends = |first: &[&str]| {
        let named = |ids: &[&str]| ids.iter().map(|id| endpoint(id, 1)).collect();
        vec![backend("b", 1, named(first)), backend("c", 1, named(&["gone", "d"]))]
    };
    let mut pool = fed(backends(&["gone", "a", "x"]));
    for (index, latency) in [1, 9, 5, 8, 2].into_iter().enumerate() {
        feed(&mut pool, index, 1, MS * latency);
    }
    // To the second it stays, where it is the first after those of the first.
    pool.set(PoolSpec { backends: backends(&["a", "x"]), ..pool.tuner.spec().clone() });
    let mut seen = [None; 4];
    for _ in 0..2 {
        let turn = scores(&mut pool);
        seen.iter_mut().zip(turn).for_each(|(seen, score)| *seen = seen.or(score));
        assert!(!falls_back(&mut pool));
        assert!(pool.balancer.pick(&Query::at(pool.now, 0), &mut pool.rng).is_some());
    }
    assert_eq!(seen, [9e6, 5e6, 8e6, 2e6].map(|nanos| Some(Score::Cold(nanos))));
}

#[test]
fn one_answer_is_enough_only_of_the_only_endpoint() {
    for (count, expect) in [(1, false), (2, true)] {
        let mut pool = fed(equal(count));
        assert!(falls_back(&mut pool), "{count}: no answer");
        feed(&mut pool, 0, 1, MS);
        assert_eq!(falls_back(&mut pool), expect, "{count}");
    }
}

#[test]
fn in_band_an_endpoint_answers_for_one_request_more_than_it_has() {
    let mut pool = Pool::new(Algorithm::Prequal(Prequal::default()), equal(1));
    pool.request(0, 200, 10 * MS);
    let _guard = pool.guards(1);
    for number in 0..20 {
        pool.request(number, 200, Duration::from_nanos(90 << 20)); // kept as it is
    }
    assert_eq!(
        scores(&mut pool),
        [Some(Score::Cold(f64::from(90 << 20)))],
        "of two at once, not of one alone"
    );
}

#[test]
fn answers_count_up_to_their_age() {
    let mut pool = fed(equal(10));
    feed(&mut pool, 4, 1, MS);
    pool.now = pool.now.after(MS);
    feed(&mut pool, 7, 1, MS);
    pool.now = Time::ZERO.after(Prequal::default().max_age);
    assert!(!falls_back(&mut pool), "the first is just as old as it may be");
    pool.now = pool.now.after(Duration::from_nanos(1));
    assert!(falls_back(&mut pool), "one is left");
}

#[test]
fn the_oldest_and_the_slowest_go_in_turn() {
    let parameters = Prequal { signals: Signals::Fed, removals: 1.0, surplus: 10.0, ..Prequal::default() };
    let mut pool = Pool::new(Algorithm::Prequal(parameters), equal(16));
    // So that nothing that comes then is more than usual.
    (0..30).for_each(|_| feed(&mut pool, 15, 50, MS));
    for (index, latency) in [(0, 5), (1, 1), (2, 9), (3, 3), (4, 2)] {
        feed(&mut pool, index, 1, MS * latency);
    }
    for expect in [&[0, 1, 2, 3, 4][..], &[1, 2, 3, 4], &[1, 3, 4], &[3, 4]] {
        let left: Vec<_> =
            (0..).zip(scores(&mut pool)).filter_map(|(index, score)| Some((index, score?))).collect();
        let latency = |index: usize| Score::Cold([5e6, 1e6, 9e6, 3e6, 2e6][index]);
        assert_eq!(left, expect.iter().map(|index| (*index, latency(*index))).collect::<Vec<_>>());
        let query = Query::at(pool.now, 0);
        assert!(pool.balancer.pick(&query, &mut pool.rng).is_some());
    }
}

#[test]
fn the_latency_fed_by_an_endpoint_that_fails_is_what_an_error_counts_as() {
    let penalty = Prequal::default().error_penalty;
    for (status, expect) in [(200, MS), (500, penalty), (404, MS), (429, penalty)] {
        let mut pool = fed(equal(2));
        pool.answers("e0", &[200, status]);
        feed(&mut pool, 0, 0, MS);
        feed(&mut pool, 1, 0, MS);
        let nanos = |latency: Duration| Some(Score::Cold(latency.as_secs_f64() * 1e9));
        assert_eq!(scores(&mut pool), [nanos(expect), nanos(MS)], "{status}");
    }
}

#[test]
fn parts_of_a_question_are_asked_by_chance() {
    for (probes, least, most) in [(2.0, 2000, 2000), (2.5, 2400, 2600), (0.2, 150, 250)] {
        let parameters = Prequal { signals: Signals::Fed, probes, ..Prequal::default() };
        let mut pool = Pool::new(Algorithm::Prequal(parameters), equal(10));
        let asked: usize = (0..1000).map(|_| pool.balancer.to_probe(&mut pool.rng).count()).sum();
        assert!((least..=most).contains(&asked), "{probes}: {asked}");
    }
}

#[test]
fn a_load_beyond_measure_is_only_hot() {
    let mut pool = fed(vec![backend("b", 1, vec![endpoint("light", 1), endpoint("heavy", u32::MAX)])]);
    feed(&mut pool, 0, u32::MAX, MS);
    feed(&mut pool, 1, 1, 9 * MS);
    let query = Query::at(pool.now, 0);
    assert_eq!(pool.balancer.pick(&query, &mut pool.rng).map(|pick| pick.index), Some(1));
}

#[test]
fn every_backend_asks_as_often_as_it_has_requests_and_is_answered() {
    let endpoints = |key: &str| (0..4).map(|number| endpoint(&format!("{key}{number}"), 1)).collect();
    let mut pool = fed(vec![
        backend("b", 9, endpoints("b")),
        backend("c", 1, endpoints("c")),
        backend("drains", 0, endpoints("drains")),
    ]);
    let mut asked = [0, 0];
    for _ in 0..1000 {
        let indices: Vec<_> = pool.balancer.to_probe(&mut pool.rng).collect();
        assert_eq!(indices.len(), 3, "{indices:?}");
        indices.into_iter().for_each(|index| asked[index / 4] += 1);
    }
    assert!((200..400).contains(&asked[1]), "a tenth of 3000: {asked:?}");
    let mut picks = BTreeSet::new();
    for _ in 0..10 {
        for index in [1, 2, 5, 6] {
            feed(&mut pool, index, 1, MS * u32::try_from(index).expect("small"));
        }
        let query = Query::at(pool.now, 0);
        picks.extend(pool.balancer.pick(&query, &mut pool.rng).map(|pick| pick.index));
    }
    assert_eq!(picks, BTreeSet::from([1, 5]), "the faster of each backend");
}
