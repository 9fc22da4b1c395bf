//! Requests in flight are the same number whether workers count them apart or together, and through the change.

use evenkeel_balance::{Adaptive, Algorithm, Guard, PoolSpec, Query, SourceIpHash};

use crate::common::{MS, Pool, equal};

fn without_loads() -> [Algorithm; 5] {
    [
        Algorithm::RoundRobin,
        Algorithm::WeightedRoundRobin,
        Algorithm::Random,
        Algorithm::SourceIpHash(SourceIpHash::default()),
        Algorithm::Adaptive(Adaptive::default()),
    ]
}

/// One picked on `worker`.
fn begins(pool: &mut Pool, worker: usize, max_in_flight: Option<u32>) -> Option<(String, Guard)> {
    let client = Some([10, 0, 0, u8::try_from(worker).unwrap_or(0)].into());
    let query = Query { client, max_in_flight, ..Query::at(pool.now, worker) };
    let pick = pool.balancer.pick(&query, &mut pool.rng)?;
    Some((pick.endpoint.id.to_string(), pick.guard))
}

#[test]
fn what_workers_counted_apart_is_compared_by_the_algorithm_that_comes() {
    for algorithm in without_loads() {
        let mut pool = Pool::new(algorithm.clone(), equal(3));
        let mut open: Vec<_> = (0..6).filter_map(|worker| begins(&mut pool, worker % 2, None)).collect();
        let has = |pool: &Pool| ["e0", "e1", "e2"].map(|id| pool.in_flight(id));
        let before = has(&pool);
        assert_eq!(before.iter().sum::<u64>(), 6, "{algorithm:?}");
        pool.set(PoolSpec::new(Algorithm::LeastRequest { choices: 16 }, equal(3)));
        assert_eq!(has(&pool), before, "{algorithm:?}");
        // As many as make all alike, from wherever they are.
        let most = before.into_iter().max().unwrap_or(0);
        for worker in 0..3 * most - 6 {
            open.extend(begins(&mut pool, usize::from(worker % 2 > 0), None));
        }
        assert_eq!(has(&pool), [most; 3], "{algorithm:?}: {before:?}");
        // Those that were counted apart end first, and the rest is still compared.
        open.drain(..6);
        pool.tick(MS);
        let left = has(&pool);
        assert_eq!(left.iter().sum::<u64>(), 3 * most - 6, "{algorithm:?}");
        let least = left.into_iter().min();
        let (id, _guard) = begins(&mut pool, 0, None).expect("an endpoint");
        assert_eq!(Some(pool.in_flight(&id) - 1), least, "{algorithm:?}: {left:?}");
        drop(open);
    }
}

#[test]
fn a_limit_counts_what_began_without_one() {
    for algorithm in without_loads() {
        let mut pool = Pool::new(algorithm.clone(), equal(1));
        let first = begins(&mut pool, 0, None);
        let second = begins(&mut pool, 1, None);
        assert!(begins(&mut pool, 0, Some(2)).is_none(), "{algorithm:?}");
        assert!(begins(&mut pool, 1, Some(3)).is_some(), "{algorithm:?}");
        drop(first);
        let third = begins(&mut pool, 1, Some(2));
        assert!(third.is_some() && begins(&mut pool, 0, Some(2)).is_none(), "{algorithm:?}");
        drop((second, third));
        pool.tick(MS);
        assert_eq!(pool.in_flight("e0"), 0, "{algorithm:?}");
        let alone = begins(&mut pool, 1, Some(1));
        assert!(alone.is_some() && begins(&mut pool, 0, Some(1)).is_none(), "{algorithm:?}");
    }
}

#[test]
fn a_request_may_end_on_another_thread() {
    for algorithm in without_loads() {
        let mut pool = Pool::new(algorithm.clone(), equal(2));
        let open: Vec<_> = (0..8).filter_map(|worker| begins(&mut pool, worker % 4, None)).collect();
        assert_eq!(pool.state.in_flight(), 8, "{algorithm:?}");
        std::thread::scope(|scope| scope.spawn(move || drop(open)).join().expect("it ends"));
        assert_eq!(pool.state.in_flight(), 0, "{algorithm:?}");
        let requests = ["e0", "e1"].map(|id| pool.state.endpoint(&id.into()).requests());
        assert_eq!(requests.iter().sum::<u64>(), 8, "{algorithm:?}");
    }
}
