//! Changes of a pool under load: nothing that was learned is lost, nothing stays counted, and odd pools do no harm.

use std::{collections::BTreeMap, time::Duration};

use crate::common::{MS, Pool, algorithms, answered, backend, endpoint, equal};
use evenkeel_balance::{
    Algorithm, Auto, ConsistentHash, Ejected, Endpoint, Guard, HashFunction, Key, PoolSpec, Query, Table,
    Time,
};
use proptest::prelude::*;

type Learned = BTreeMap<String, (u64, u64, u64, Option<u64>)>;

fn learned(pool: &Pool, count: usize) -> Learned {
    let of = |index: usize| {
        let id = format!("e{index}");
        let state = pool.state.endpoint(&id.as_str().into());
        let time = state.response_time_nanos(pool.now).map(f64::to_bits);
        (id, (state.in_flight(), state.requests(), state.failures(), time))
    };
    (0..count).map(of).collect()
}

fn ejections(pool: &Pool) -> BTreeMap<String, Ejected> {
    let endpoints = pool.tuner.report().endpoints.into_iter();
    endpoints.filter_map(|each| Some((each.id.to_string(), each.ejection?))).collect()
}

fn load(pool: &mut Pool, requests: u32, open: &mut Vec<Guard>) {
    for number in 0..requests {
        let now = pool.now;
        let Some(mut pick) = pool.pick(number.to_be_bytes().into(), &[]) else { return };
        let status = if number % 7 == 0 { 500 } else { 200 };
        pick.guard.set_outcome(answered(status, now, MS));
        if number % 3 == 0 {
            open.push(pick.guard);
        }
    }
}

#[test]
fn every_change_of_algorithm_keeps_what_was_learned() {
    for from in algorithms() {
        for to in algorithms() {
            let spec = |algorithm: &Algorithm| PoolSpec {
                ejection: Some(Default::default()),
                ..PoolSpec::new(algorithm.clone(), equal(8))
            };
            let mut pool = Pool::of(spec(&from));
            let mut open = Vec::new();
            load(&mut pool, 294, &mut open);
            let requests = pool.state.endpoint(&"e3".into()).requests();
            (0..6).for_each(|_| pool.ends("e3", answered(500, pool.now, MS)));
            assert_eq!(pool.state.endpoint(&"e3".into()).requests(), requests + 6);
            pool.tick(MS);
            let before = (learned(&pool, 8), ejections(&pool));
            assert!(before.1.contains_key("e3"), "{from:?}: {before:?}");
            pool.set(spec(&to));
            assert_eq!((learned(&pool, 8), ejections(&pool)), before, "{from:?} to {to:?}");
            assert!(!pool.counts(100).contains_key("e3"), "{from:?} to {to:?}");
            load(&mut pool, 300, &mut open);
            drop(open);
            assert_eq!(pool.state.in_flight(), 0, "{from:?} to {to:?}");
            let requests: u64 = learned(&pool, 8).values().map(|(_, requests, ..)| requests).sum();
            assert_eq!(requests, 700);
        }
    }
}

#[test]
fn odd_pools_do_no_harm() {
    for algorithm in algorithms() {
        let name = algorithm.name();
        assert!(Pool::new(algorithm.clone(), Vec::new()).counts(10).is_empty(), "{name}: no backend");
        assert!(Pool::new(algorithm.clone(), equal(0)).counts(10).is_empty(), "{name}: no endpoint");
        let drained = vec![backend("b", 1, vec![endpoint("a", 0), endpoint("c", 0)])];
        assert!(Pool::new(algorithm.clone(), drained).counts(10).is_empty(), "{name}: all weights 0");
        let closed = vec![backend("b", 0, vec![endpoint("a", 1)])];
        assert!(Pool::new(algorithm.clone(), closed).counts(10).is_empty(), "{name}: a backend of weight 0");
        assert_eq!(Pool::new(algorithm.clone(), equal(1)).counts(10)["e0"], 10, "{name}: one");
        assert!(Pool::new(algorithm.clone(), equal(10_000)).counts(500).len() > 100, "{name}: 10,000");
        let heavy = (0..1000).map(|index| endpoint(&format!("h{index}"), u32::MAX)).collect();
        let heavy = vec![backend("b", u32::MAX, heavy), backend("c", 1, vec![endpoint("l", 1)])];
        assert!(Pool::new(algorithm.clone(), heavy).counts(500).len() > 50, "{name}: great weights");
    }
}

#[test]
fn odd_pools_are_played_without_harm() {
    let drained = vec![backend("b", 1, vec![endpoint("a", 0), endpoint("c", 0)])];
    for backends in [Vec::new(), equal(0), drained, equal(1), equal(10_000)] {
        let mut pool = Pool::new(Algorithm::Auto(Auto::default()), equal(4));
        let mut open = Vec::new();
        for look in 0..6 {
            if look == 3 {
                pool.set(PoolSpec { backends: backends.clone(), ..pool.tuner.spec().clone() });
            }
            load(&mut pool, 300, &mut open);
            pool.tick(Duration::from_secs(2));
        }
        let serves =
            backends.iter().flat_map(|backend| &backend.endpoints).any(|endpoint| endpoint.weight > 0);
        assert_eq!(pool.counts(1).len(), usize::from(serves), "{} backends", backends.len());
        open.clear();
        assert_eq!(pool.state.in_flight(), 0);
    }
}

#[test]
fn a_clock_that_goes_back_does_no_harm() {
    for algorithm in algorithms() {
        let mut pool = Pool::new(algorithm.clone(), equal(5));
        let mut open = Vec::new();
        for nanos in [5_000_000_000, 3, 4_000_000_000, 0, u64::MAX, 7] {
            pool.now = Time::from_nanos(nanos);
            pool.tick(Duration::ZERO);
            load(&mut pool, 50, &mut open);
            // Forward again, so that what came before and after is looked at.
            for _ in 0..3 {
                pool.tick(Duration::from_secs(2));
            }
        }
        drop(open);
        assert_eq!(pool.state.in_flight(), 0, "{algorithm:?}");
    }
}

#[test]
fn without_a_key_at_random() {
    for algorithm in algorithms().into_iter().filter(Algorithm::is_by_key) {
        let mut pool = Pool::new(algorithm, equal(4));
        let mut counts = BTreeMap::<usize, u32>::new();
        for _ in 0..4000 {
            let pick = pool.balancer.pick(&Query::at(Time::ZERO, 0), &mut pool.rng);
            *counts.entry(pick.expect("an endpoint").index).or_default() += 1;
        }
        assert!(counts.len() == 4 && counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}

/// Keys of which a few are most: rank r as often as 1 / r.
fn zipf(number: u64) -> u64 {
    let point =
        f64::from(u32::try_from(number * 2_654_435_761 % (1 << 32)).expect("32 bits")) / 2_f64.powi(32);
    20_000_f64.powf(point).to_bits() >> 44
}

#[test]
fn what_began_before_the_load_was_bounded_counts_as_long_as_it_lasts() {
    let mut pool = Pool::new(Algorithm::RoundRobin, equal(4));
    let before = pool.guards(40);
    let bounded_load = Some(1.25);
    let parameters =
        ConsistentHash { table: Table::default(), function: HashFunction::XxHash64, bounded_load };
    pool.set(PoolSpec::new(Algorithm::ConsistentHash(parameters), equal(4)));
    // So many of the same key go to their endpoint, which has ten already, until it has a quarter more than the mean.
    let fills = |pool: &mut Pool, has: &mut Vec<Guard>| {
        let mut first = None;
        loop {
            let query = Query { key: Some(Key::Bytes(b"key")), ..Query::at(pool.now, 0) };
            let pick = pool.balancer.pick(&query, &mut pool.rng).unwrap();
            if *first.get_or_insert(pick.index) != pick.index {
                return has.len();
            }
            has.push(pick.guard);
        }
    };
    let mut after = Vec::new();
    // 15 of 45, a quarter more than their mean rounded up. Without those from before it would be one.
    assert_eq!(fills(&mut pool, &mut after), 5);
    drop(before);
    for _ in 0..2 {
        after.clear();
        assert_eq!(fills(&mut pool, &mut after), 1);
        pool.tick(MS);
    }
}

#[test]
fn bounded_load_is_bounded() {
    for table in [Table::default(), Table::Maglev { size: 65537 }, Table::Rendezvous] {
        for count in [10_u64, 100] {
            let bounded_load = Some(1.25);
            let parameters = ConsistentHash { table, function: HashFunction::XxHash64, bounded_load };
            let mut pool = Pool::new(
                Algorithm::ConsistentHash(parameters),
                equal(usize::try_from(count).expect("small")),
            );
            let mut open = std::collections::VecDeque::new();
            for number in 0..20_000_u64 {
                let key = zipf(number).to_be_bytes();
                let query = Query { key: Some(Key::Bytes(&key)), ..Query::at(Time::ZERO, 0) };
                let total = pool.state.in_flight();
                let pick = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
                let id = pick.endpoint.id.clone();
                open.push_back(pick.guard);
                let most = (5 * (total + 1)).div_ceil(4 * count).max(1);
                assert!(pool.state.endpoint(&id).in_flight() <= most, "{table:?} {count}: {total} in flight");
                if open.len() > 500 {
                    open.pop_front();
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push { algorithm: usize, from: usize, count: usize },
    Request { status: Option<u16>, keep: bool, max: Option<u32> },
    Tick { milliseconds: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0..algorithms().len(), 0..4usize, 0..6usize)
            .prop_map(|(algorithm, from, count)| Step::Push { algorithm, from, count }),
        8 => (
            prop_oneof![Just(None), Just(Some(200)), Just(Some(404)), Just(Some(503))],
            any::<bool>(),
            prop_oneof![4 => Just(None), 1 => (1..4u32).prop_map(Some)],
        )
            .prop_map(|(status, keep, max)| Step::Request { status, keep, max }),
        2 => (0..40_000u32).prop_map(|milliseconds| Step::Tick { milliseconds }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_sequence_of_changes_keeps_the_accounts(steps in prop::collection::vec(step(), 1..120)) {
        let spec = |algorithm: usize, from: usize, count: usize| {
            let endpoints: Vec<Endpoint> =
                (from..from + count).map(|index| endpoint(&format!("e{index}"), 1)).collect();
            PoolSpec {
                slow_start: Some(Default::default()),
                ejection: Some(Default::default()),
                ..PoolSpec::new(algorithms()[algorithm].clone(), vec![backend("b", 1, endpoints)])
            }
        };
        let mut pool = Pool::of(spec(0, 0, 4));
        let mut known = 0..4;
        let mut open = Vec::new();
        for (number, step) in (0_u32..).zip(steps) {
            match step {
                Step::Push { algorithm, from, count } => {
                    let before = learned(&pool, 10);
                    let stays = |id: &String| known.clone().chain(from..from + count)
                        .filter(|index| known.contains(index) && (from..from + count).contains(index))
                        .any(|index| *id == format!("e{index}"));
                    pool.set(spec(algorithm, from, count));
                    let after = learned(&pool, 10);
                    for (id, was) in before.iter().filter(|(id, _)| stays(id)) {
                        prop_assert_eq!(was, &after[id]);
                    }
                    known = from..from + count;
                }
                Step::Request { status, keep, max } => {
                    let now = pool.now;
                    let ids = known.clone().map(|index| format!("e{index}")).collect::<Vec<_>>();
                    let key = number.to_be_bytes();
                    let query = Query {
                        client: Some(key.into()),
                        key: Some(Key::Bytes(&key)),
                        max_in_flight: max,
                        ..Query::at(now, number as usize)
                    };
                    let Some(mut pick) = pool.balancer.pick(&query, &mut pool.rng) else {
                        let room = ids.is_empty() || max.is_some();
                        prop_assert!(room, "an ejection never takes the last endpoint");
                        continue;
                    };
                    prop_assert!(ids.contains(&pick.endpoint.id.to_string()));
                    let has = pool.state.endpoint(&pick.endpoint.id).in_flight();
                    prop_assert!(max.is_none_or(|max| has <= u64::from(max)), "{} in flight, at most {:?}", has, max);
                    if let Some(status) = status {
                        pick.guard.set_outcome(answered(status, now, MS));
                    }
                    if keep {
                        open.push(pick.guard);
                    }
                }
                Step::Tick { milliseconds } => {
                    pool.tick(MS * milliseconds);
                }
            }
        }
        drop(open);
        prop_assert_eq!(pool.state.in_flight(), 0);
        for (in_flight, ..) in learned(&pool, 10).values() {
            prop_assert_eq!(*in_flight, 0);
        }
    }
}
