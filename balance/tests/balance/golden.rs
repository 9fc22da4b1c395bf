//! Hashes and owners of keys beside those of an independent implementation: `testdata/golden.py` makes `golden.txt`.

use crate::common::{Pool, backend, endpoint};
use evenkeel_balance::{Algorithm, Backend, ConsistentHash, HashFunction, Key, Query, Table, Time};

const GOLDEN: &str = include_str!("../../testdata/golden.txt");

fn function(name: &str) -> HashFunction {
    *HashFunction::ALL.iter().find(|function| format!("{function:?}") == name).expect("a known function")
}

fn pool(name: &str) -> Vec<Backend> {
    let endpoints = match name {
        "equal" => (0..10).map(|index| endpoint(&format!("pod-{index}:8080"), 1)).collect(),
        _ => vec![endpoint("a", 1), endpoint("b", 3), endpoint("c", 2)],
    };
    vec![backend("b", 1, endpoints)]
}

fn owner(table: Table, function: HashFunction, backends: Vec<Backend>, key: &str) -> String {
    let parameters = ConsistentHash { table, function, bounded_load: None };
    let mut pool = Pool::new(Algorithm::ConsistentHash(parameters), backends);
    let query = Query { key: Some(Key::Bytes(key.as_bytes())), ..Query::at(Time::ZERO, 0) };
    let pick = pool.balancer.pick(&query, &mut pool.rng);
    pick.expect("an endpoint").endpoint.id.to_string()
}

#[test]
fn hashes() {
    let mut checked = 0;
    for line in GOLDEN.lines().filter_map(|line| line.strip_prefix("hash ")) {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().expect("four words");
        let (name, seed, hash, text) = (word(), word(), word(), word());
        let seed = seed.parse().expect("a seed");
        assert_eq!(format!("{:016x}", function(name).hash(text.as_bytes(), seed)), hash, "{line}");
        checked += 1;
    }
    assert_eq!(checked, 90);
}

#[test]
fn owners() {
    let mut checked = 0;
    for line in GOLDEN.lines().filter_map(|line| line.strip_prefix("owner ")) {
        let words: Vec<_> = line.split(' ').collect();
        let [name, backends, key, ring, maglev, rendezvous] = *words.as_slice() else { panic!("{line}") };
        let tables = [
            (Table::Ring { points_per_weight: 160 }, ring),
            (Table::Maglev { size: 251 }, maglev),
            (Table::Rendezvous, rendezvous),
        ];
        for (table, expect) in tables {
            assert_eq!(owner(table, function(name), pool(backends), key), expect, "{table:?} {line}");
            checked += 1;
        }
    }
    assert_eq!(checked, 720);
}
