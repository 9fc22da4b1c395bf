//! For any weights: each endpoint gets its share, and an endpoint that comes or goes moves its own keys.

use evenkeel_balance::{
    Adaptive, Algorithm, Backend, ConsistentHash, Endpoint, Guard, HashFunction, SourceIpHash, Table,
    WeightedByLoad,
};
use proptest::prelude::*;

use crate::common::{Pool, backend, endpoint};

/// Requests of which shares are counted; each is another client's.
const REQUESTS: u32 = 20_000;

fn weighted(weights: &[u32]) -> Vec<Endpoint> {
    weights.iter().enumerate().map(|(index, weight)| endpoint(&format!("e{index}"), *weight)).collect()
}

fn pool(algorithm: &Algorithm, weights: &[u32]) -> Pool {
    Pool::new(algorithm.clone(), vec![backend("b", 1, weighted(weights))])
}

fn hash(table: Table) -> Algorithm {
    Algorithm::ConsistentHash(ConsistentHash { table, function: HashFunction::XxHash64, bounded_load: None })
}

/// Every count is as far as `deviations` standard deviations from its share at most, and `uneven` parts of it.
fn near(counts: &[u32], weights: &[u32], deviations: f64, uneven: impl Fn(f64) -> f64) -> Result<(), String> {
    let (all, sum) = (f64::from(counts.iter().sum::<u32>()), f64::from(weights.iter().sum::<u32>()));
    for (count, weight) in counts.iter().zip(weights) {
        let part = f64::from(*weight) / sum;
        let off = deviations * (all * part * (1.0 - part)).sqrt() + uneven(f64::from(*weight)) * all * part;
        if (f64::from(*count) - all * part).abs() > off + 1.0 {
            return Err(format!("{counts:?} by {weights:?}: more than {off:.0} off"));
        }
    }
    Ok(())
}

fn counts(pool: &mut Pool, endpoints: usize, requests: u32) -> Vec<u32> {
    let counts = pool.counts(requests);
    (0..endpoints).map(|index| counts.get(&format!("e{index}")).copied().unwrap_or(0)).collect()
}

/// The endpoint of each client.
fn owners(algorithm: &Algorithm, endpoints: Vec<Endpoint>) -> Vec<String> {
    let backends: Vec<Backend> = vec![backend("b", 1, endpoints)];
    let mut pool = Pool::new(algorithm.clone(), backends);
    let owner =
        |client: u32| pool.pick(client.to_be_bytes().into(), &[]).map(|pick| pick.endpoint.id.to_string());
    (0..2000).filter_map(owner).collect()
}

/// An endpoint of any of several goes, or comes back; which clients it had, and how many others moved.
fn moved(algorithm: &Algorithm, weights: &[u32], which: usize) -> (usize, usize) {
    let endpoints = weighted(weights);
    let gone = endpoints[which].id.to_string();
    let mut left = endpoints.clone();
    left.remove(which);
    let (with, without) = (owners(algorithm, endpoints), owners(algorithm, left));
    let own = with.iter().filter(|owner| **owner == gone).count();
    let others = with.iter().zip(&without).filter(|(with, without)| **with != gone && with != without);
    (own, others.count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn turns_give_each_its_weight_exactly(weights in prop::collection::vec(1..=20_u32, 1..12), rounds in 1..5_u32) {
        for algorithm in [
            Algorithm::WeightedRoundRobin,
            Algorithm::WeightedByLoad(WeightedByLoad::default()),
            Algorithm::Adaptive(Adaptive::default()),
        ] {
            let common = if weights.windows(2).all(|pair| pair[0] == pair[1]) { weights[0] } else { 1 };
            let round = weights.iter().sum::<u32>() / common;
            let found = counts(&mut pool(&algorithm, &weights), weights.len(), rounds * round);
            let expect: Vec<_> = weights.iter().map(|weight| rounds * weight / common).collect();
            prop_assert_eq!(found, expect, "{:?}", algorithm);
        }
    }

    #[test]
    fn draws_and_hashes_give_each_about_its_weight(weights in prop::collection::vec(1..=5_u32, 2..10)) {
        let exact = |_| 0.0;
        // A ring's share of a weight is the sum of 160 arcs for each unit of it.
        let ring = |weight: f64| 5.0 / (160.0 * weight).sqrt();
        for (algorithm, uneven) in [
            (Algorithm::Random, &exact as &dyn Fn(f64) -> f64),
            (hash(Table::Rendezvous), &exact),
            (hash(Table::Maglev { size: 65537 }), &exact),
            (hash(Table::default()), &ring),
            (Algorithm::SourceIpHash(SourceIpHash::default()), &ring),
        ] {
            let found = counts(&mut pool(&algorithm, &weights), weights.len(), REQUESTS);
            let near = near(&found, &weights, 6.0, uneven);
            prop_assert!(near.is_ok(), "{:?}: {:?}", algorithm, near);
        }
    }

    #[test]
    fn requests_that_do_not_end_are_spread_by_weight(
        weights in prop::collection::vec(1..=20_u32, 1..12), requests in 1..200_u32
    ) {
        let mut pool = pool(&Algorithm::LeastRequest { choices: 16 }, &weights);
        let guards: Vec<Guard> = pool.guards(requests);
        prop_assert_eq!(guards.len(), requests as usize);
        let load = |index: usize, more| {
            (pool.in_flight(&format!("e{index}")) as f64 + more) / f64::from(weights[index])
        };
        // Nobody has more than another one had with one request more.
        for one in 0..weights.len() {
            for other in 0..weights.len() {
                prop_assert!(load(one, 0.0) <= load(other, 1.0) + 1e-9, "{} and {}", one, other);
            }
        }
    }

    #[test]
    fn rings_and_rendezvous_move_the_keys_of_what_goes_and_no_other(
        weights in prop::collection::vec(1..=5_u32, 2..16), which in any::<prop::sample::Index>()
    ) {
        let which = which.index(weights.len());
        let ip_hash = Algorithm::SourceIpHash(SourceIpHash::default());
        for algorithm in [hash(Table::default()), hash(Table::Rendezvous), ip_hash] {
            let (own, others) = moved(&algorithm, &weights, which);
            prop_assert!(own > 0, "it had some: {:?}", algorithm);
            prop_assert_eq!(others, 0, "{:?}", algorithm);
        }
    }

    #[test]
    fn maglev_moves_hardly_more_than_it_must(count in 3..32_usize, which in any::<prop::sample::Index>()) {
        let which = which.index(count);
        let (own, others) = moved(&hash(Table::Maglev { size: 65537 }), &vec![1; count], which);
        // Two of n, and what chance makes of 2000 clients.
        let bound = 2.0 / count as f64 * 2000.0;
        prop_assert!(own > 0);
        prop_assert!(((own + others) as f64) <= bound + 6.0 * bound.sqrt(), "{} and {}", own, others);
    }
}
