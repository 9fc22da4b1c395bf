//! The algorithms: which of a backend's endpoints takes a request. One function each.

use std::{net::IpAddr, sync::Arc};

use rand::Rng;
use smallvec::SmallVec;

use crate::{Algorithm, Endpoint, EndpointState, Query, hash, shares::Shares};

/// What an algorithm precomputes over the endpoints.
#[derive(Debug)]
pub(crate) enum Candidates {
    Cyclic(Shares),
    Random(Shares),
    Draw { choices: usize },
    Scan { choices: usize },
    Hash(Vec<u64>),
}

type Endpoints = [(Endpoint, Arc<EndpointState>)];

/// Up to this many endpoints all are compared: a draw would leave out one or none.
const COMPARE_ALL: usize = 3;
/// Highest number of draws, as the schema bounds it.
const MAX_DRAWS: usize = 10;

impl Candidates {
    pub(crate) fn new(algorithm: Algorithm, endpoints: &Endpoints) -> Self {
        let weights = || Shares::new(endpoints.iter().map(|(endpoint, _)| endpoint.weight));
        match algorithm {
            Algorithm::RoundRobin => Self::Cyclic(Shares::new(endpoints.iter().map(|_| 1))),
            Algorithm::WeightedRoundRobin => Self::Cyclic(weights()),
            Algorithm::Random => Self::Random(weights()),
            Algorithm::PowerOfTwoChoices { choices } => {
                let choices = usize::from(choices).clamp(2, MAX_DRAWS);
                if endpoints.len() <= choices.max(COMPARE_ALL) {
                    Self::Scan { choices: endpoints.len() }
                } else {
                    Self::Draw { choices }
                }
            }
            Algorithm::LeastRequest { choices } => Self::Scan { choices: usize::from(choices).max(2) },
            Algorithm::SourceIpHash => {
                Self::Hash(endpoints.iter().map(|(endpoint, _)| hash::node(endpoint.id.as_str())).collect())
            }
        }
    }
}

/// The key of a client by its address; an IPv4 address within IPv6 is the same client.
pub(crate) fn client_key(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => hash::key(&address.octets()),
        IpAddr::V6(address) => hash::key(&address.octets()),
    }
}

/// Index of the endpoint picked, or `None` if all have been tried. `first` is the index of the backend's first endpoint in
/// `query.tried`, `turn` gives the worker's next turn.
pub(crate) fn select(
    candidates: &Candidates,
    endpoints: &Endpoints,
    first: usize,
    query: &Query<'_>,
    turn: impl Fn() -> u64,
    rng: &mut impl Rng,
) -> Option<usize> {
    let tried = |index: usize| query.tried.contains(&(first + index));
    let untried =
        |index: usize| if tried(index) { next_untried(index, endpoints.len(), tried) } else { Some(index) };
    match candidates {
        Candidates::Cyclic(shares) => untried(shares.at(turn())?.0),
        Candidates::Random(shares) => untried(shares.holding(rng.random_range(0..shares.sum()))),
        Candidates::Draw { choices } => {
            let drawn = draw(*choices, endpoints.len(), rng);
            let drawn = drawn.into_iter().filter(|index| !tried(*index));
            least_loaded(drawn, endpoints).or_else(|| next_untried(0, endpoints.len(), tried))
        }
        Candidates::Scan { choices } => {
            let start = turn() % endpoints.len() as u64;
            #[expect(clippy::cast_possible_truncation, reason = "below the number of endpoints")]
            let start = start as usize;
            let in_turn = (0..endpoints.len()).map(|step| (start + step) % endpoints.len());
            least_loaded(in_turn.filter(|index| !tried(*index)).take(*choices), endpoints)
        }
        Candidates::Hash(nodes) => {
            let nodes = nodes.iter().zip(endpoints).enumerate().filter(|(index, _)| !tried(*index));
            let nodes = nodes.map(|(index, (node, (endpoint, _)))| (index, *node, endpoint.weight));
            hash::rendezvous(client_key(query.client), nodes)
        }
    }
}

/// The first endpoint after `index`, in their own order, that has not been tried.
fn next_untried(index: usize, len: usize, tried: impl Fn(usize) -> bool) -> Option<usize> {
    (1..=len).map(|step| (index + step) % len).find(|index| !tried(*index))
}

/// `choices` distinct numbers below `len`, which is larger (Floyd's algorithm).
fn draw(choices: usize, len: usize, rng: &mut impl Rng) -> SmallVec<[usize; MAX_DRAWS]> {
    let mut drawn = SmallVec::new();
    for highest in len - choices..len {
        let index = rng.random_range(0..=highest);
        drawn.push(if drawn.contains(&index) { highest } else { index });
    }
    drawn
}

/// The one with the lowest (in flight + 1) / weight; of equals the first.
fn least_loaded(indices: impl Iterator<Item = usize>, endpoints: &Endpoints) -> Option<usize> {
    let mut best: Option<(usize, u64, u64)> = None;
    for index in indices {
        let (endpoint, state) = &endpoints[index];
        let (load, weight) = (state.in_flight() + 1, u64::from(endpoint.weight));
        // load / weight < best load / best weight, without the division
        if best.is_none_or(|(_, best_load, best_weight)| load * best_weight < best_load * weight) {
            best = Some((index, load, weight));
        }
    }
    best.map(|(index, ..)| index)
}
