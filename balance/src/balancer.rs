//! An immutable view of a pool, ready to be picked from.

use std::sync::Arc;

use rand::Rng;

use crate::{
    Backend, Endpoint, EndpointState, Pick, PoolState, Query, hash,
    pick::Guard,
    select::{self, Candidates},
    shares::Shares,
};

/// How an endpoint of a backend is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// One after the other, whatever the weights.
    RoundRobin,
    /// One after the other, each as often as its weight says, evenly spread.
    WeightedRoundRobin,
    /// At random, as likely as the weight says.
    Random,
    /// Of `choices` distinct endpoints drawn at random the one with the lowest (in flight + 1) / weight (Mitzenmacher 2001).
    PowerOfTwoChoices {
        /// How many are drawn, from 2.
        choices: u8,
    },
    /// Of `choices` endpoints in turn, or of all, the one with the lowest (in flight + 1) / weight; of equals the next in turn.
    LeastRequest {
        /// How many are compared, from 2.
        choices: u8,
    },
    /// Always the same endpoint for the same client address.
    SourceIpHash,
}

/// What a balancer is built from.
#[derive(Clone, Debug)]
pub struct PoolSpec {
    /// How an endpoint is picked.
    pub algorithm: Algorithm,
    /// Where endpoints come from, each with its share.
    pub backends: Vec<Backend>,
}

/// A pool, ready to be picked from. Holds only what may be picked: no health is asked on the way.
#[derive(Debug)]
pub struct Balancer {
    algorithm: Algorithm,
    backends: Vec<EligibleBackend>,
    shares: Shares,
    state: Arc<PoolState>,
}

/// A backend's endpoints that take new requests. There is at least one.
#[derive(Debug)]
struct EligibleBackend {
    key: String,
    hash: u64,
    weight: u32,
    /// Index of the first endpoint among all of the balancer.
    first: usize,
    endpoints: Vec<(Endpoint, Arc<EndpointState>)>,
    candidates: Candidates,
}

impl Balancer {
    /// A balancer over those endpoints of `spec` that take new requests. O(n).
    #[must_use]
    pub fn new(spec: &PoolSpec, state: &Arc<PoolState>) -> Self {
        let mut backends = Vec::new();
        let mut first = 0;
        for backend in spec.backends.iter().filter(|backend| backend.weight > 0) {
            let endpoints: Vec<_> =
                backend.eligible().map(|endpoint| (endpoint.clone(), state.endpoint(&endpoint.id))).collect();
            if endpoints.is_empty() {
                continue;
            }
            backends.push(EligibleBackend {
                key: backend.key.clone(),
                hash: hash::node(&backend.key),
                weight: backend.weight,
                first,
                candidates: Candidates::new(spec.algorithm, &endpoints),
                endpoints,
            });
            first += backends.last().map_or(0, |backend| backend.endpoints.len());
        }
        let shares = Shares::new(backends.iter().map(|backend| backend.weight));
        Self { algorithm: spec.algorithm, backends, shares, state: Arc::clone(state) }
    }

    /// The algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The endpoints that may be picked, in the order of [`Pick::index`].
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.backends.iter().flat_map(|backend| backend.endpoints.iter().map(|(endpoint, _)| endpoint))
    }

    /// Picks an endpoint and counts a request in flight to it, or `None` if no endpoint is left. Allocates nothing.
    pub fn pick(&self, query: &Query<'_>, rng: &mut impl Rng) -> Option<Pick<'_>> {
        let (start, own_turn) = self.backend(query)?;
        // A backend all of whose endpoints have been tried gives its turn to the next.
        (0..self.backends.len()).find_map(|step| {
            let backend = &self.backends[(start + step) % self.backends.len()];
            // A backend's own turns have no gaps; those of all backends together would always meet the same endpoints.
            let turn = || match own_turn {
                Some(turn) if step == 0 => turn,
                _ => self.state.next_endpoint(query.worker),
            };
            let local =
                select::select(&backend.candidates, &backend.endpoints, backend.first, query, turn, rng)?;
            let (endpoint, state) = &backend.endpoints[local];
            Some(Pick {
                endpoint,
                backend: &backend.key,
                index: backend.first + local,
                guard: Guard::new(state),
            })
        })
    }

    /// The backend whose turn it is, with the number of that turn, or to which the key belongs.
    fn backend(&self, query: &Query<'_>) -> Option<(usize, Option<u64>)> {
        match (self.backends.len(), self.algorithm) {
            (0, _) => None,
            (1, _) => Some((0, None)),
            (_, Algorithm::SourceIpHash) => {
                let nodes = self.backends.iter().enumerate();
                let nodes = nodes.map(|(index, backend)| (index, backend.hash, backend.weight));
                hash::rendezvous(select::client_key(query.client), nodes).map(|index| (index, None))
            }
            _ => {
                let (index, turn) = self.shares.at(self.state.next_backend(query.worker))?;
                Some((index, Some(turn)))
            }
        }
    }
}
