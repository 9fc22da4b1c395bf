//! What every pick keeps to, whatever the algorithm, and what each algorithm promises.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use evenkeel_balance::{
    Algorithm, Backend, Balancer, ConsistentHash, Endpoint, Guard, HashFunction, Outcome, PoolSpec,
    PoolState, Query, SourceIpHash, Status, Table, Time,
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::SmallRng};

use crate::common::{MS, Pool, algorithms, answered, backend, endpoint, equal};

fn client(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[test]
fn round_robin_ignores_weights_and_is_exact() {
    let backends = vec![backend("b", 1, vec![endpoint("a", 5), endpoint("b", 1), endpoint("c", 1)])];
    let counts = Pool::new(Algorithm::RoundRobin, backends).counts(300);
    assert_eq!(counts, [("a", 100), ("b", 100), ("c", 100)].map(|(name, n)| (name.to_owned(), n)).into());
}

#[test]
fn weighted_round_robin_gives_each_its_weight() {
    let backends = vec![backend("b", 1, vec![endpoint("a", 5), endpoint("b", 1), endpoint("c", 1)])];
    let counts = Pool::new(Algorithm::WeightedRoundRobin, backends).counts(70);
    assert_eq!(counts, [("a", 50), ("b", 10), ("c", 10)].map(|(name, n)| (name.to_owned(), n)).into());
}

#[test]
fn random_and_hash_follow_weights() {
    for algorithm in [Algorithm::Random, Algorithm::SourceIpHash(SourceIpHash::default())] {
        let backends = vec![backend("b", 1, vec![endpoint("a", 3), endpoint("b", 1)])];
        let of_a = Pool::new(algorithm.clone(), backends).counts(10_000)["a"];
        assert!((7000..8000).contains(&of_a), "{algorithm:?}: {of_a}");
    }
}

#[test]
fn a_backend_has_its_share_whatever_its_size() {
    for algorithm in algorithms() {
        let many = (0..20).map(|index| endpoint(&format!("m{index}"), 1)).collect();
        let backends = vec![backend("few", 9, vec![endpoint("f", 1)]), backend("many", 1, many)];
        let of_few = Pool::new(algorithm.clone(), backends).counts(10_000)["f"];
        let expected = if algorithm.is_by_key() { 8800..9200 } else { 9000..9001 };
        assert!(expected.contains(&of_few), "{algorithm:?}: {of_few}");
    }
}

#[test]
fn cyclic_algorithms_reach_every_endpoint_of_every_backend() {
    for (algorithm, of_a) in [(Algorithm::RoundRobin, 180), (Algorithm::WeightedRoundRobin, 270)] {
        let stable = vec![endpoint("a", 3), endpoint("b", 1)];
        let canary = (0..5).map(|index| endpoint(&format!("c{index}"), 1)).collect();
        let counts =
            Pool::new(algorithm.clone(), vec![backend("s", 9, stable), backend("c", 1, canary)]).counts(400);
        assert_eq!((counts["a"], counts["b"]), (of_a, 360 - of_a), "{algorithm:?}");
        for index in 0..5 {
            assert_eq!(counts[&format!("c{index}")], 8, "{algorithm:?}");
        }
    }
}

#[test]
fn least_loaded_wins() {
    for algorithm in [Algorithm::LeastRequest { choices: 16 }, Algorithm::PowerOfTwoChoices { choices: 3 }] {
        let mut pool = Pool::new(algorithm.clone(), equal(3));
        let mut guards: Vec<Guard> = Vec::new();
        for _ in 0..9 {
            guards.push(pool.pick(client(1), &[]).unwrap().guard);
        }
        for id in ["e0", "e1", "e2"] {
            assert_eq!(pool.in_flight(id), 3, "{algorithm:?}");
        }
    }
}

#[test]
fn least_request_honours_weights() {
    let backends = vec![backend("b", 1, vec![endpoint("big", 3), endpoint("small", 1)])];
    let mut pool = Pool::new(Algorithm::LeastRequest { choices: 16 }, backends);
    let _guards: Vec<Guard> = (0..8).map(|_| pool.pick(client(1), &[]).unwrap().guard).collect();
    assert_eq!((pool.in_flight("big"), pool.in_flight("small")), (6, 2));
}

#[test]
fn the_same_client_has_the_same_endpoint_on_every_proxy() {
    let pick = |seed: u64, worker: usize, address: IpAddr, mapped: bool| {
        let mut rng = SmallRng::seed_from_u64(seed);
        let state = Arc::new(PoolState::new(4, &mut rng));
        let spec = PoolSpec::new(Algorithm::SourceIpHash(SourceIpHash::default()), equal(10));
        let client = match address {
            IpAddr::V4(v4) if mapped => IpAddr::V6(v4.to_ipv6_mapped()),
            other => other,
        };
        let balancer = Balancer::new(&spec, &state);
        let query = Query { client: Some(client), ..Query::at(Time::ZERO, worker) };
        balancer.pick(&query, &mut rng).unwrap().endpoint.id.to_string()
    };
    for last in 0..50 {
        let one = pick(1, 0, client(last), false);
        assert_eq!(one, pick(2, 3, client(last), false));
        assert_eq!(one, pick(3, 1, client(last), true), "IPv4 within IPv6");
    }
}

#[test]
fn failures_are_counted_once_and_cancels_not() {
    let mut pool = Pool::new(Algorithm::RoundRobin, equal(1));
    for status in [Some(Status::Answered(200)), Some(Status::Failed), Some(Status::Cancelled), None] {
        let mut guard = pool.pick(client(1), &[]).unwrap().guard;
        let outcome = |status| Outcome::new(status, Time::ZERO, Duration::ZERO);
        status.into_iter().for_each(|status| guard.set_outcome(outcome(status)));
    }
    let state = pool.state.endpoint(&"e0".into());
    assert_eq!((state.requests(), state.failures(), state.in_flight()), (4, 1, 0));
}

#[test]
fn what_was_learned_outlives_a_balancer() {
    let mut pool = Pool::new(Algorithm::RoundRobin, equal(2));
    let guard = pool.pick(client(1), &[]).unwrap().guard;
    let spec = PoolSpec::new(Algorithm::LeastRequest { choices: 2 }, equal(2));
    pool.balancer = Balancer::new(&spec, &pool.state);
    let (busy, idle) = if pool.in_flight("e0") == 1 { ("e0", "e1") } else { ("e1", "e0") };
    for _ in 0..3 {
        assert_eq!(pool.pick(client(1), &[]).unwrap().endpoint.id.as_str(), idle);
    }
    drop(guard);
    assert_eq!(pool.in_flight(busy), 0);
}

fn any_backends() -> impl Strategy<Value = Vec<Backend>> {
    let endpoint = (0..4u32, any::<bool>(), any::<bool>());
    let backend = (0..3u32, prop::collection::vec(endpoint, 0..6));
    prop::collection::vec(backend, 0..4).prop_map(|backends| {
        let numbered = backends.into_iter().enumerate();
        numbered
            .map(|(b, (weight, endpoints))| Backend {
                key: format!("b{b}"),
                weight,
                endpoints: endpoints
                    .into_iter()
                    .enumerate()
                    .map(|(e, (weight, terminating, healthy))| Endpoint {
                        terminating,
                        healthy,
                        ..self::endpoint(&format!("b{b}e{e}"), weight)
                    })
                    .collect(),
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn only_what_may_be_picked_is_picked_and_each_once(backends in any_backends(), which in 0..algorithms().len()) {
        let mut pool = Pool::new(algorithms()[which].clone(), backends.clone());
        let mut expected: Vec<_> = backends
            .iter()
            .filter(|backend| backend.weight > 0)
            .flat_map(|backend| {
                let any_ready = backend.endpoints.iter().any(|endpoint| !endpoint.terminating);
                let takes = move |e: &&Endpoint| e.healthy && e.weight > 0 && e.terminating != any_ready;
                backend.endpoints.iter().filter(takes)
            })
            .map(|endpoint| endpoint.id.to_string())
            .collect();
        let (mut tried, mut picked) = (Vec::new(), Vec::new());
        while let Some(pick) = pool.pick(client(9), &tried) {
            let (index, id) = (pick.index, pick.endpoint.id.to_string());
            prop_assert!(!tried.contains(&index), "an endpoint that was tried is not picked again");
            picked.push(id);
            tried.push(index);
        }
        expected.sort();
        picked.sort();
        prop_assert_eq!(picked, expected, "every endpoint is found before the pool gives up");
    }

    #[test]
    fn nothing_stays_in_flight(ends in prop::collection::vec(any::<Option<bool>>(), 1..100)) {
        let mut pool = Pool::new(Algorithm::LeastRequest { choices: 2 }, equal(3));
        let mut open = Vec::new();
        for end in ends {
            let mut guard = pool.pick(client(1), &[]).unwrap().guard;
            match end {
                Some(true) => guard.set_outcome(answered(200, Time::ZERO, Duration::ZERO)),
                Some(false) => drop(open.pop()),
                None => {}
            }
            open.push(guard);
        }
        drop(open);
        for id in ["e0", "e1", "e2"] {
            prop_assert_eq!(pool.in_flight(id), 0);
        }
        prop_assert_eq!(pool.state.in_flight(), 0);
    }
}

#[test]
fn an_endpoint_that_is_full_is_passed_over() {
    for algorithm in algorithms() {
        let mut pool = Pool::new(algorithm.clone(), equal(4));
        let query = |last| Query {
            client: Some(client(last)),
            key: Some(evenkeel_balance::Key::Bytes(&[7])),
            max_in_flight: Some(2),
            ..Query::at(Time::ZERO, 0)
        };
        let picks = (0..8)
            .map(|last| pool.balancer.pick(&query(last), &mut pool.rng).map(|pick| (pick.index, pick.guard)));
        let mut taken: Vec<_> = picks.map(|taken| taken.expect("room for eight")).collect();
        let mut indices: Vec<_> = taken.iter().map(|(index, _)| *index).collect();
        indices.sort_unstable();
        assert_eq!(indices, [0, 0, 1, 1, 2, 2, 3, 3], "{algorithm:?}");
        assert!(pool.balancer.pick(&query(9), &mut pool.rng).is_none());
        assert!(pool.balancer.has_untried(&[0, 1, 2]) && !pool.balancer.has_untried(&[0, 1, 2, 3]));
        let explained = pool.balancer.explain(&query(9), &mut pool.rng);
        assert!(
            explained.candidates.iter().all(|of| of.fate == evenkeel_balance::Fate::Full),
            "{explained:?}"
        );
        let (freed, guard) = taken.swap_remove(3);
        drop(guard);
        let next = pool.balancer.pick(&query(9), &mut pool.rng).map(|pick| pick.index);
        assert_eq!(next, Some(freed), "{algorithm:?}");
    }
}

#[test]
fn a_session_whose_endpoint_is_full_is_passed_over_and_stays() {
    for algorithm in algorithms() {
        let mut pool = Pool::new(algorithm.clone(), equal(4));
        let held = pool.begins("e1");
        for (max, at_it) in [(2, true), (1, false)] {
            let query = Query { affinity: Some("e1"), max_in_flight: Some(max), ..Query::at(Time::ZERO, 0) };
            let pick = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
            assert_eq!((pick.index == 1, pick.passed_over), (at_it, !at_it), "{algorithm:?}");
        }
        drop(held);
    }
}

#[test]
fn threads_together_keep_to_the_limit() {
    let pool = Pool::new(Algorithm::LeastRequest { choices: 16 }, equal(2));
    let in_flight = [std::sync::atomic::AtomicU32::new(0), std::sync::atomic::AtomicU32::new(0)];
    let order = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (balancer, in_flight) = (&pool.balancer, &in_flight);
            scope.spawn(move || {
                let mut rng = SmallRng::seed_from_u64(worker);
                let query = Query { max_in_flight: Some(1), ..Query::at(Time::ZERO, 0) };
                for _ in 0..20_000 {
                    if let Some(pick) = balancer.pick(&query, &mut rng) {
                        assert_eq!(in_flight[pick.index].fetch_add(1, order), 0);
                        in_flight[pick.index].fetch_sub(1, order);
                        drop(pick);
                    }
                }
            });
        }
    });
    assert_eq!(pool.state.in_flight(), 0);
}

#[test]
fn a_retry_leaves_the_turns_to_the_others() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::LeastRequest { choices: 16 }] {
        for backends in
            [equal(2), vec![backend("a", 1, equal(2).remove(0).endpoints), backend("c", 1, vec![])]]
        {
            let mut pool = Pool::new(algorithm.clone(), backends);
            let mut failed = 0;
            for number in 0..1000_u32 {
                let first = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
                let (index, fails) = (first.index, first.endpoint.id.as_str() == "e0");
                drop(first);
                if fails {
                    failed += 1;
                    let again = pool.pick(number.to_be_bytes().into(), &[index]).expect("another");
                    assert_eq!(again.endpoint.id.as_str(), "e1");
                }
            }
            assert_eq!(failed, 500, "{algorithm:?}: each second first attempt");
        }
    }
}

#[test]
fn requests_that_name_another_algorithm_have_turns_of_their_own() {
    let mut pool = Pool::new(Algorithm::RoundRobin, equal(2));
    let other = pool.tuner.balancer_with(&Algorithm::LeastRequest { choices: 2 }, pool.now);
    let mut counts = BTreeMap::new();
    for number in 0..100_u32 {
        drop(other.pick(&Query::at(pool.now, 0), &mut pool.rng));
        let pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
        *counts.entry(pick.endpoint.id.to_string()).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [50, 50]);
}

#[test]
fn the_load_of_one_backend_bounds_no_other() {
    let parameters = ConsistentHash {
        table: Table::default(),
        function: HashFunction::XxHash64,
        bounded_load: Some(1.25),
    };
    let named = |letter: char| {
        let endpoints = (0..10).map(|index| endpoint(&format!("{letter}{index}"), 1));
        backend(&letter.to_string(), 1, endpoints.collect())
    };
    let mut pool = Pool::new(Algorithm::ConsistentHash(parameters), vec![named('f'), named('s')]);
    // Requests stay in flight at the slow backend alone.
    let mut open = std::collections::VecDeque::new();
    for number in 0..2000_u32 {
        let of_slow = |pool: &Pool| (0..10).map(|index| pool.in_flight(&format!("s{index}"))).sum::<u64>();
        let total = of_slow(&pool);
        let pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
        if pick.backend == "s" {
            let id = pick.endpoint.id.clone();
            open.push_back(pick.guard);
            let most = (5 * (total + 1)).div_ceil(40);
            assert!(pool.in_flight(id.as_str()) <= most, "{id}: {total} in flight");
        }
        if open.len() > 100 {
            open.pop_front();
        }
    }
    let mut homes = || (0..200_u32).map(|number| pool.request(number, 200, MS)).collect::<Vec<_>>();
    let beside_load = homes();
    open.clear();
    let at_rest = homes();
    let fast = |homes: &[Option<String>]| {
        homes.iter().filter(|home| home.as_ref().is_some_and(|id| id.starts_with('f'))).count()
    };
    assert!(fast(&at_rest) > 60);
    let moved = beside_load
        .iter()
        .zip(&at_rest)
        .filter(|(a, b)| a != b && b.as_ref().is_some_and(|home| home.starts_with('f')));
    assert_eq!(moved.count(), 0, "keys leave a backend that has nothing to do");
}
