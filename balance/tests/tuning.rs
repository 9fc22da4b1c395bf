//! What happens around the algorithms with time: slow start, panic, locality, sessions, reported load, adaptation,
//! and Auto; under a clock and chance of the test's own.

mod common;

use std::time::Duration;

use common::{Pool, SECOND, answered, backend, endpoint, equal, seconds};
use evenkeel_balance::{
    Absence, Adaptive, Algorithm, Auto, Endpoint, Fate, LeastResponseTime, Locality, Outcome, Place,
    PoolSpec, Prequal, ProbeAnswer, Query, Signals, SlowStart, Status, Time, WeightedByLoad,
    orca::LoadReport,
};
use rand::Rng as _;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);

fn effective(pool: &Pool, id: &str) -> f64 {
    let report = pool.tuner.report();
    report
        .endpoints
        .iter()
        .find(|each| each.id.as_str() == id)
        .expect("an endpoint of the pool")
        .effective_weight
}

#[test]
fn slow_start_rises_from_readiness() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::Random, Algorithm::PowerOfTwoChoices { choices: 2 }] {
        let new = Endpoint { ready_since: Some(seconds(100)), ..endpoint("new", 1) };
        let old = (0..4).map(|index| endpoint(&format!("e{index}"), 1));
        let backends = vec![backend("b", 1, old.chain([new]).collect())];
        let slow_start = Some(SlowStart::default());
        let mut pool = Pool::of(PoolSpec { slow_start, ..PoolSpec::new(algorithm.clone(), backends) });
        pool.now = seconds(100);
        for (after, expect) in [(0, 0.1), (2, 0.1), (15, 0.5), (30, 1.0), (40, 1.0)] {
            pool.now = seconds(100 + after);
            pool.tick(Duration::ZERO);
            assert!((effective(&pool, "new") - expect).abs() < 0.03, "{algorithm:?} after {after} s");
            let share = f64::from(pool.counts(41_000).get("new").copied().unwrap_or(0)) / 41_000.0;
            // By P2C the weight counts in the draw and in the comparison, so that in an idle pool it has less.
            let fair = expect / (4.0 + expect);
            let low = if matches!(algorithm, Algorithm::PowerOfTwoChoices { .. }) && expect < 1.0 {
                0.0
            } else {
                fair - 0.02
            };
            assert!((low..fair + 0.02).contains(&share), "{algorithm:?} after {after} s: {share}");
        }
    }
}

#[test]
fn if_most_are_new_all_are_alike() {
    let new = |name: &str| Endpoint { ready_since: Some(seconds(1)), ..endpoint(name, 1) };
    let slow_start = Some(SlowStart::default());
    let backends = vec![backend("b", 1, vec![endpoint("old", 1), new("a"), new("b")])];
    let mut pool = Pool::of(PoolSpec { slow_start, ..PoolSpec::new(Algorithm::RoundRobin, backends) });
    pool.tick(2 * S);
    assert!((effective(&pool, "a") - 1.0).abs() < 1e-9);
    let backends = vec![backend("b", 1, vec![endpoint("old", 1), new("a")])];
    pool.set(PoolSpec { slow_start, ..PoolSpec::new(Algorithm::RoundRobin, backends) });
    assert!((effective(&pool, "a") - 0.1).abs() < 1e-9, "half is not most");
}

#[test]
fn panic_balances_over_all_and_says_so() {
    let sick = |name: &str| Endpoint { healthy: false, ..endpoint(name, 1) };
    let backends = vec![backend("b", 1, vec![endpoint("a", 1), sick("x"), sick("y")])];
    let spec = |panic_threshold| PoolSpec {
        panic_threshold,
        ..PoolSpec::new(Algorithm::RoundRobin, backends.clone())
    };
    let mut pool = Pool::of(spec(50));
    assert_eq!(pool.counts(30).len(), 3);
    assert_eq!(pool.tuner.report().panicking, ["b"]);
    for threshold in [0, 33] {
        pool.set(spec(threshold));
        assert_eq!(pool.counts(30).len(), 1, "{threshold}");
        assert!(pool.tuner.report().panicking.is_empty());
    }
}

#[test]
fn the_own_zone_first_and_what_it_cannot_take_elsewhere() {
    let at = |name: &str, zone: &str, healthy| Endpoint {
        zone: Some(zone.into()),
        region: Some(zone[..1].into()),
        healthy,
        ..endpoint(name, 1)
    };
    let place = |name: &str| Some(Place { capacity: Some(2.0), ..Place::new(name) });
    let locality = Some(Locality { zone: place("a1"), region: place("a") });
    let spec = |healthy| PoolSpec {
        locality: locality.clone(),
        ..PoolSpec::new(
            Algorithm::Random,
            vec![backend(
                "b",
                1,
                vec![
                    at("near", "a1", true),
                    at("near2", "a1", healthy),
                    at("region", "a2", true),
                    at("far", "b1", true),
                ],
            )],
        )
    };
    let mut pool = Pool::of(spec(true));
    assert_eq!(pool.counts(1000).keys().collect::<Vec<_>>(), ["near", "near2"]);
    pool.set(spec(false));
    let counts = pool.counts(1000);
    assert_eq!((counts["near"], counts["region"], counts.get("far")), (700, 300, None));
    pool.set(spec(true));
    pool.tick(S);
    let guards = pool.guards(8);
    for _ in 0..10 {
        pool.tick(S);
    }
    assert!(pool.counts(1000)["region"] > 500, "four in flight where two are enough");
    drop(guards);
    for _ in 0..30 {
        pool.tick(S);
    }
    assert!(!pool.counts(1000).contains_key("region"));
}

#[test]
fn sessions_stay_as_long_as_their_endpoint_may_serve() {
    let spec = |weight, healthy| {
        let sticky = Endpoint { healthy, ..endpoint("s", weight) };
        PoolSpec::new(Algorithm::RoundRobin, vec![backend("b", 1, vec![endpoint("a", 1), sticky])])
    };
    let mut pool = Pool::of(spec(1, true));
    let ask = |pool: &mut Pool, tried: &[usize]| {
        let query = Query { affinity: Some("s"), tried, ..Query::at(pool.now, 0) };
        (0..20).all(|_| {
            let pick = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
            pick.endpoint.id.as_str() == "s"
        })
    };
    assert!(ask(&mut pool, &[]));
    assert!(!ask(&mut pool, &[1]), "tried");
    pool.set(spec(0, true));
    assert!(ask(&mut pool, &[]), "it drains");
    assert_eq!(pool.counts(20).keys().collect::<Vec<_>>(), ["a"], "for others");
    pool.set(spec(0, false));
    assert!(!ask(&mut pool, &[]), "it is unhealthy");
}

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
        let found = effective(&pool, "e0");
        assert!((found - expect).abs() < 1e-9, "after {second} s: {found}");
    }
    let counts = pool.counts(4000);
    assert!((1995..2005).contains(&counts["e0"]), "{counts:?}");
    pool.tick(181 * S);
    assert!((effective(&pool, "e0") - 1.0).abs() < 1e-9, "expired");
}

#[test]
fn response_time_prefers_the_fast_and_does_not_fall_for_errors() {
    let parameters = LeastResponseTime { choices: 2, ..LeastResponseTime::default() };
    let mut pool = Pool::new(Algorithm::LeastResponseTime(parameters), equal(3));
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for number in 0..3000_u32 {
        pool.now = pool.now.after(MS);
        let now = pool.now;
        let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
        let id = pick.endpoint.id.to_string();
        let (status, latency) = match id.as_str() {
            "e0" => (503, MS / 100),
            "e1" => (200, 20 * MS),
            _ => (200, 5 * MS),
        };
        *counts.entry(id).or_default() += 1;
        pick.guard.set_outcome(answered(status, now, latency));
    }
    let count = |id: &str| counts.get(id).copied().unwrap_or(0);
    assert!(count("e0") < 5, "{counts:?}");
    assert!(count("e2") > 2 * count("e1"), "{counts:?}");
}

#[test]
fn a_newcomer_starts_at_the_mean() {
    let algorithm = Algorithm::LeastResponseTime(LeastResponseTime::default());
    let mut pool = Pool::new(algorithm.clone(), equal(2));
    for number in 0..100 {
        pool.request(number, 200, 10 * MS);
    }
    pool.tick(S);
    pool.set(PoolSpec::new(algorithm, equal(3)));
    let _guards = pool.guards(30);
    assert!((8..=12).contains(&pool.in_flight("e2")), "{}", pool.in_flight("e2"));
}

#[test]
fn prequal_avoids_the_slow_and_lets_it_come_back() {
    let mut pool = Pool::new(Algorithm::Prequal(Prequal::default()), equal(16));
    let run = |pool: &mut Pool, milliseconds: u32, slow: bool| {
        let mut open: Vec<(Time, evenkeel_balance::Guard, Duration)> = Vec::new();
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
    assert_eq!(explained.fallbacks, [evenkeel_balance::Fallback::FewAnswers]);
    let asked: Vec<_> = pool.balancer.to_probe(&mut pool.rng).collect();
    assert_eq!(asked.len(), 3);
    for (index, latency) in [(4, 9 * MS), (7, 2 * MS)] {
        pool.balancer.answer(0, index, ProbeAnswer { in_flight: 1, latency }, pool.now, &mut pool.rng);
    }
    let query = Query::at(pool.now, 0);
    assert_eq!(pool.balancer.pick(&query, &mut pool.rng).map(|pick| pick.index), Some(7));
    let other = pool.balancer.explain(&Query::at(pool.now, 1), &mut pool.rng);
    assert_eq!(other.fallbacks, [evenkeel_balance::Fallback::FewAnswers], "another worker, another pool");
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
    let slow = effective(&pool, "e0");
    assert!(slow < 0.75, "in proportion: {slow}");
    for _ in 0..20 {
        pool.tick(5 * S);
    }
    assert!((effective(&pool, "e0") - 1.0).abs() < 0.02, "without data: {}", effective(&pool, "e0"));
}

#[test]
fn auto_chooses_by_lasting_differences_after_its_dwell_time() {
    for (slow, expect) in [(1.0, "LeastRequest"), (8.0, "Prequal")] {
        let mut pool = Pool::new(Algorithm::Auto(Auto::default()), equal(8));
        let mut early = true;
        for tick in 0..60_u32 {
            for number in 0..800 {
                let noise = -pool.rng.random_range(0.001_f64..1.0).ln();
                let now = pool.now;
                let mut pick = pool.pick(u32::to_be_bytes(number).into(), &[]).expect("an endpoint");
                let times = if matches!(pick.endpoint.id.as_str(), "e0" | "e1") { slow } else { 1.0 };
                pick.guard.set_outcome(answered(200, now, MS.mul_f64(10.0 * noise * times)));
            }
            pool.tick(S);
            early &= tick >= 25 || pool.balancer.algorithm().name() == "LeastRequest";
        }
        assert!(early, "its dwell time");
        let auto = pool.tuner.report().auto.expect("a choice");
        assert_eq!(auto.active.name(), expect, "{auto:?}");
        assert_eq!(pool.balancer.algorithm().name(), expect);
        assert!(auto.scores.len() >= 4);
    }
}

#[test]
fn explanations_agree_with_picks_and_change_nothing() {
    for algorithm in common::algorithms() {
        let sick = Endpoint { healthy: false, ..endpoint("sick", 1) };
        let drains = endpoint("drains", 0);
        let serving = (0..8).map(|index| endpoint(&format!("e{index}"), 1 + index % 3));
        let backends = vec![backend("b", 1, serving.chain([sick, drains]).collect())];
        let mut pool = Pool::new(algorithm.clone(), backends);
        for number in 0..200_u32 {
            let key = number.to_be_bytes();
            let tried = [1];
            let query = Query {
                client: Some(key.into()),
                key: Some(evenkeel_balance::Key::Bytes(&key)),
                tried: &tried,
                ..Query::at(Time::from_nanos(u64::from(number) * SECOND / 100), 0)
            };
            let explained = pool.balancer.explain(&query, &mut pool.rng.clone());
            let mut pick = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
            assert_eq!(explained.picked, Some(pick.index), "{algorithm:?}");
            let fates = |fate| explained.candidates.iter().filter(|each| each.fate == fate).count();
            assert_eq!((explained.candidates.len(), fates(Fate::Picked), fates(Fate::Tried)), (10, 1, 1));
            assert_eq!(fates(Fate::Absent(Absence::Unhealthy)) + fates(Fate::Absent(Absence::Draining)), 2);
            pick.guard.set_outcome(Outcome::new(Status::Answered(200), query.now, MS));
        }
    }
}
