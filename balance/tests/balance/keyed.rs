//! Which endpoint has a key, and where its requests go when that one is full.

use std::{
    hint,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
};

use evenkeel_balance::{
    Algorithm, Backend, Balancer, ConsistentHash, Endpoint, HashFunction, Key, PoolSpec, PoolState, Query,
    Table, Time,
};
use rand::{SeedableRng as _, rngs::SmallRng};

use crate::common::{MS, Pool, backend, endpoint, equal};

const TABLES: [Table; 3] =
    [Table::Ring { points_per_weight: 160 }, Table::Maglev { size: 65537 }, Table::Rendezvous];

fn hash(table: Table, bounded_load: Option<f64>) -> Algorithm {
    Algorithm::ConsistentHash(ConsistentHash { table, function: HashFunction::XxHash64, bounded_load })
}

/// Where a request with this key goes.
fn asked(key: u32) -> Query<'static> {
    Query {
        key: Some(Key::Hash(u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15))),
        ..Query::at(Time::ZERO, 0)
    }
}

#[test]
fn a_key_has_one_owner_among_all_backends_on_every_proxy() {
    let backends = vec![
        backend("b", 1, vec![endpoint("b0", 1), endpoint("b1", 1)]),
        backend("c", 1, vec![endpoint("c0", 1), endpoint("c1", 1)]),
    ];
    for table in TABLES {
        let owner = |seed, key| {
            let mut rng = SmallRng::seed_from_u64(seed);
            let state = PoolState::new(1, &mut rng).into();
            let balancer = Balancer::new(&PoolSpec::new(hash(table, None), backends.clone()), &state);
            balancer.pick(&asked(key), &mut rng).expect("an endpoint").index
        };
        let owners: Vec<_> = (0..50).map(|key| owner(1, key)).collect();
        assert_eq!((0..50).map(|key| owner(2, key)).collect::<Vec<_>>(), owners, "{table:?}");
        assert!((0..4).all(|index| owners.contains(&index)), "{table:?}");
    }
}

#[test]
fn with_room_for_it_a_key_stays_at_its_owner() {
    for table in TABLES {
        let owners = |bounded_load| {
            let mut pool = Pool::new(hash(table, bounded_load), equal(10));
            // Ten in flight at each endpoint, of which it may have 13.
            let mut held: Vec<_> = (0..10)
                .flat_map(|_| (0..10).map(|index| pool.begins(&format!("e{index}"))).collect::<Vec<_>>())
                .collect();
            let owners: Vec<_> = (0..200)
                .map(|key| pool.balancer.pick(&asked(key), &mut pool.rng).map(|pick| pick.index))
                .collect();
            held.clear();
            owners
        };
        assert_eq!(owners(Some(1.25)), owners(None), "{table:?}");
    }
}

/// Requests with one key, none of which ends: each goes to the key's owner while it has room, else to the other
/// endpoint while that has, else to the less loaded of the two.
fn check(table: Table, backends: Vec<Backend>) {
    let key = asked(5);
    let mut pool = Pool::new(hash(table, Some(1.25)), backends);
    let owner = pool.balancer.pick(&key, &mut pool.rng).map(|pick| pick.index).expect("an endpoint");
    let first = owner / 2 * 2;
    let weights =
        [0, 1].map(|local| f64::from(pool.balancer.endpoints().nth(first + local).expect("two").weight));
    let mut has = [0.0; 2];
    let mut open = Vec::new();
    for total in 0..60_u32 {
        let room = weights.map(|weight| {
            (1.25 * weight / (weights[0] + weights[1]) * f64::from(total + 1) - 1e-9).ceil().max(1.0)
        });
        let (own, other) = (owner - first, 1 - (owner - first));
        let load = |local: usize| (has[local] + 1.0) / weights[local];
        let expect = match () {
            () if has[own] < room[own] => own,
            () if has[other] < room[other] => other,
            () => usize::from(load(1) < load(0)),
        };
        let pick = pool.balancer.pick(&key, &mut pool.rng).expect("an endpoint");
        assert_eq!(pick.index, first + expect, "{table:?}: {has:?} of {room:?}");
        has[expect] += 1.0;
        open.push(pick.guard);
    }
    assert!(has[0] > 2.0 && has[1] > 2.0, "both were needed: {has:?}");
}

#[test]
fn bounded_load_leaves_room_by_weight_within_a_backend() {
    for table in TABLES {
        check(table, vec![backend("b", 1, vec![endpoint("e0", 3), endpoint("e1", 1)])]);
        let two = |key: &str, weight| {
            let endpoint = |number, weight| endpoint(&format!("{key}{number}"), weight);
            backend(key, weight, vec![endpoint(0, 3), endpoint(1, 2)])
        };
        check(table, vec![two("b", 3), two("c", 2)]);
    }
}

#[test]
fn requests_elsewhere_make_no_room() {
    let names = |part: &str, healthy| {
        let named = move |number| Endpoint { healthy, ..endpoint(&format!("{part}{number}"), 1) };
        (0..10).map(named).collect::<Vec<_>>()
    };
    let spec = |endpoints| PoolSpec::new(hash(TABLES[0], Some(1.25)), vec![backend("b", 1, endpoints)]);
    let new = names("new", true);
    // Where those that were there before are gone, or out of rotation; and where another backend has the same and
    // drains.
    for old in [vec![], names("old", false)] {
        let mut pool = Pool::of(spec(names("old", true)));
        let streams = pool.guards(500);
        let mut changed = spec([new.clone(), old].concat());
        changed.backends.push(backend("drains", 0, new.clone()));
        pool.set(changed);
        pool.tick(MS);
        let mut open = Vec::new();
        for total in 0..30_u32 {
            let pick = pool.balancer.pick(&asked(5), &mut pool.rng).expect("an endpoint");
            let has = pool.state.endpoint(&pick.endpoint.id).in_flight();
            assert!(has <= u64::from((5 * (total + 1)).div_ceil(40)), "{has} with {total} others");
            open.push(pick.guard);
        }
        let most = new.iter().map(|of| pool.in_flight(of.id.as_str())).max();
        assert_eq!(most, Some(4), "as much room as there is");
        drop(streams);
    }
}

#[test]
fn threads_together_keep_to_the_bound() {
    const ROUNDS: usize = 5000;
    let pool = Pool::new(hash(TABLES[0], Some(1.25)), equal(10));
    let (arrived, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    // No thread goes on before both have come so far, and both go on at once, or they would hardly ever meet at an
    // endpoint.
    let meet = |times: usize| {
        arrived.fetch_add(1, SeqCst);
        let mut looks = 0_u32;
        while arrived.load(SeqCst) < 2 * times {
            looks += 1;
            assert!(!failed.load(SeqCst), "the other thread failed");
            if looks > 1000 { thread::yield_now() } else { hint::spin_loop() }
        }
    };
    thread::scope(|scope| {
        for worker in 0..2 {
            let (balancer, meet, failed) = (&pool.balancer, &meet, &failed);
            scope.spawn(move || {
                let mut rng = SmallRng::seed_from_u64(1);
                let query = Query { worker, ..asked(5) };
                for round in 0..ROUNDS {
                    meet(3 * round + 1);
                    let pick = balancer.pick(&query, &mut rng).expect("an endpoint");
                    meet(3 * round + 2);
                    let state = balancer.state_of(pick.index).expect("its state");
                    let alone = state.in_flight() == 1;
                    failed.fetch_or(!alone, SeqCst);
                    assert!(alone, "of two at ten, each has its own");
                    meet(3 * round + 3);
                }
            });
        }
    });
}
