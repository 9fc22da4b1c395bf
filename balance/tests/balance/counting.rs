//! Requests in flight are the same number whether workers count them apart or together, and through the change.

use std::sync::{
    Arc, RwLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use evenkeel_balance::{
    Adaptive, Algorithm, Balancer, Guard, PoolSpec, PoolState, Query, SourceIpHash, Time,
};
use rand::{SeedableRng as _, rngs::SmallRng};

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

#[test]
fn nothing_is_lost_while_threads_pick_and_the_counting_changes() {
    const REQUESTS: u64 = 20_000;
    let state = Arc::new(PoolState::new(3, &mut SmallRng::seed_from_u64(1)));
    let balancer = |algorithm| Arc::new(Balancer::new(&PoolSpec::new(algorithm, equal(4)), &state));
    let (current, made) = (RwLock::new(balancer(Algorithm::RoundRobin)), AtomicU64::new(0));
    let picks = |worker: usize| {
        let mut rng = SmallRng::seed_from_u64(worker as u64);
        let mut open = Vec::new();
        while made.fetch_add(1, Relaxed) < REQUESTS {
            let balancer = Arc::clone(&current.read().expect("no panic"));
            // Every third has a limit, once loads are compared.
            let limited = *balancer.algorithm() != Algorithm::RoundRobin && worker == 2;
            let max_in_flight = limited.then_some(1_000);
            let pick = balancer.pick(&Query { max_in_flight, ..Query::at(Time::ZERO, worker) }, &mut rng);
            open.push(pick.expect("an endpoint").guard);
            if open.len() > 50 {
                open.clear();
            }
        }
        open
    };
    let open: Vec<Guard> = std::thread::scope(|scope| {
        let picks = &picks;
        let running = [0, 1, 2].map(|worker| scope.spawn(move || picks(worker)));
        for (algorithm, after) in
            [(Algorithm::LeastRequest { choices: 2 }, 5_000), (Algorithm::Random, 10_000)]
        {
            while made.load(Relaxed) < after {
                std::hint::spin_loop();
            }
            *current.write().expect("no panic") = balancer(algorithm);
            state.settle();
        }
        running.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
    });
    assert_eq!(state.in_flight(), open.len() as u64);
    drop(open);
    assert_eq!(state.in_flight(), 0);
    let requests = ["e0", "e1", "e2", "e3"].map(|id| state.endpoint(&id.into()).requests());
    assert_eq!(requests.iter().sum::<u64>(), REQUESTS);
}
