//! The algorithms: which of a set of endpoints takes a request.

mod keyed;
mod least;
mod prequal;

use rand::Rng;

use self::{keyed::Keyed, least::Least, prequal::PrequalSet};
use crate::{
    Algorithm, Balancer, PoolState, Query, Signals,
    alias::{Alias, MAX_DRAWS},
    balancer::Slot,
    plan::Member,
    shares::Shares,
    state::Trial,
};

/// Up to this many endpoints all are compared: a draw would leave out one or none.
const COMPARE_ALL: usize = 3;

/// What an algorithm precomputes over the endpoints.
#[derive(Debug)]
pub(crate) enum Candidates {
    Cyclic(Shares),
    Random(Alias),
    Least(Least),
    Keyed(Box<Keyed>),
    Prequal(Box<PrequalSet>),
}

/// What a pick looks at.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) slots: &'a [Slot],
    /// The balancer's index of the first of them.
    pub(crate) first: usize,
    /// Any of them is on probation.
    pub(crate) probation: bool,
    pub(crate) query: &'a Query<'a>,
    pub(crate) state: &'a PoolState,
    /// Requests that are counted apart may be in flight.
    pub(crate) apart: bool,
    pub(crate) balancer: &'a Balancer,
}

impl Scene<'_> {
    /// The request has been there, another one is on trial there, or it is full.
    pub(crate) fn excludes(&self, index: usize) -> bool {
        let tried = self.balancer.is_tried(self.query.tried, self.first + index);
        let slot = || &self.slots[index];
        tried
            || (self.probation && slot().probation && slot().state.trial() != Trial::Open)
            || self.query.finds_full(|| self.in_flight_to(slot()))
    }

    /// No endpoint is excluded, whichever it is.
    pub(crate) const fn excludes_none(&self) -> bool {
        self.query.tried.is_empty() && !self.probation && self.query.max_in_flight.is_none()
    }

    /// Requests in flight to these endpoints. Where they are the only set, that is the pool's total less what is in
    /// flight to endpoints out of rotation; otherwise, or while the total is not complete, the sum over them, O(n). A
    /// part of the pool's total would not do: backends with as many requests have as many in flight only if they are as
    /// fast.
    fn in_flight(&self) -> u64 {
        let elsewhere = &self.balancer.elsewhere;
        let one = self.balancer.sets.len() == 1 && elsewhere.len() < self.slots.len();
        let Some(total) = one.then(|| self.state.total()).flatten() else {
            return self.slots.iter().map(|slot| self.in_flight_to(slot)).sum();
        };
        total.saturating_sub(elsewhere.iter().map(|state| state.in_flight_with(self.apart)).sum())
    }

    /// Requests in flight to an endpoint.
    pub(crate) fn in_flight_to(&self, slot: &Slot) -> u64 {
        slot.state.in_flight_with(self.apart)
    }

    /// The same with one more.
    pub(crate) fn in_flight_with_one_more(&self, slot: &Slot) -> f64 {
        f64::from(u32::try_from(self.in_flight_to(slot)).unwrap_or(u32::MAX)) + 1.0
    }

    /// `index`, or the first after it that is not excluded.
    fn from(&self, index: usize) -> Option<usize> {
        if !self.excludes(index) {
            return Some(index);
        }
        let len = self.slots.len();
        (1..len).map(|step| (index + step) % len).find(|index| !self.excludes(*index))
    }
}

/// What an algorithm saw of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Score {
    /// Of those compared, the lowest takes the request.
    Cost(f64),
    /// Prequal's answer of a cold endpoint: the lowest latency, in nanoseconds, takes the request.
    Cold(f64),
    /// Prequal's answer of a hot endpoint: if all are, the lowest number of requests in flight takes the request.
    Hot(f64),
    /// It has no room by bounded load: requests in flight, and how many it may have.
    Full(u64, u64),
}

/// Who watches a pick.
pub(crate) trait Observe {
    /// The pick is made, and not only explained: turns are taken and answers used up.
    const LIVE: bool;

    /// A session goes back to its endpoint.
    fn session(&mut self, _index: usize) {}

    /// From here on, indices count from the balancer's `first`.
    fn begin(&mut self, _first: usize) {}

    fn scored(&mut self, _index: usize, _score: Score) {}

    /// What the algorithm would need is missing.
    fn fell_back(&mut self, _why: Fallback) {}

    /// A session's endpoint is passed over for want of room.
    fn session_full(&mut self) {}

    /// The endpoint chosen may have so many requests in flight, with this one.
    fn may_have(&mut self, _room: u64) {}
}

/// Why an algorithm did something simpler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The request has no key: a draw by weight.
    NoKey,
    /// Fewer than two answers: a draw by weight.
    FewAnswers,
    /// All drawn were tried, on trial or full: another draw, or the next after it that is none of these.
    AllDrawnExcluded,
}

/// The pick itself.
#[derive(Default)]
pub(crate) struct Live {
    /// What was said of the endpoint chosen last.
    pub(crate) room: Option<u64>,
    pub(crate) session_full: bool,
}

impl Observe for Live {
    const LIVE: bool = true;

    fn session_full(&mut self) {
        self.session_full = true;
    }

    fn may_have(&mut self, room: u64) {
        self.room = Some(room);
    }
}

impl Candidates {
    /// `hash` names the set.
    pub(crate) fn new(algorithm: &Algorithm, members: &[Member], state: &PoolState, hash: u64) -> Self {
        let weights = || members.iter().map(|member| member.weight).collect::<Vec<_>>();
        let alias = || Alias::new(&weights());
        match algorithm {
            Algorithm::RoundRobin
            | Algorithm::WeightedRoundRobin
            | Algorithm::WeightedByLoad(_)
            | Algorithm::Adaptive(_) => Self::Cyclic(Shares::new(members.iter().map(|member| member.weight))),
            Algorithm::Random => Self::Random(alias()),
            Algorithm::PowerOfTwoChoices { choices } => Self::Least(Least::drawn(*choices, &weights())),
            Algorithm::LeastRequest { choices } => Self::Least(Least::in_turn(*choices, &weights())),
            Algorithm::LeastResponseTime(parameters) => {
                Self::Least(Least::drawn(parameters.choices, &weights()).by_response_time(parameters))
            }
            Algorithm::SourceIpHash(parameters) => {
                Self::Keyed(Box::new(Keyed::by_client(parameters, members, alias())))
            }
            Algorithm::ConsistentHash(parameters) => {
                if parameters.bounded_load.is_some() {
                    state.start_total();
                }
                Self::Keyed(Box::new(Keyed::by_key(parameters, members, alias())))
            }
            Algorithm::Prequal(parameters) => {
                // What endpoints say themselves is not mixed with what the proxy sees of them.
                let probes = state.probes(hash ^ u64::from(parameters.signals == Signals::Fed));
                Self::Prequal(Box::new(PrequalSet::new(parameters, &weights(), probes)))
            }
            // Plans name what Auto stands for.
            Algorithm::Auto(_) => Self::Least(Least::in_turn(16, &weights())),
        }
    }

    /// The hash of the request's key, if the algorithm goes by it.
    pub(crate) fn key(&self, query: &Query<'_>) -> Option<u64> {
        match self {
            Self::Keyed(keyed) => keyed.key(query),
            _ => None,
        }
    }

    /// Index of the endpoint picked, or `None` if none is left. `turn` gives the worker's next turn.
    pub(crate) fn select<O: Observe>(
        &self,
        scene: &Scene<'_>,
        turn: impl Fn() -> u64,
        rng: &mut impl Rng,
        observer: &mut O,
    ) -> Option<usize> {
        match self {
            Self::Cyclic(shares) => cyclic(shares, scene, turn(), rng),
            Self::Random(alias) => random(alias, scene, rng),
            Self::Least(least) => least.select(scene, turn, rng, observer),
            Self::Keyed(keyed) => keyed.select(scene, rng, observer),
            Self::Prequal(prequal) => prequal.select(scene, rng, observer),
        }
    }
}

/// `first`, or if it is excluded one that is drawn: the next one would always stand in for it.
fn or_drawn(first: usize, scene: &Scene<'_>, mut draw: impl FnMut() -> usize) -> usize {
    if !scene.excludes(first) {
        return first;
    }
    (0..MAX_DRAWS).map(|_| draw()).find(|index| !scene.excludes(*index)).unwrap_or(first)
}

fn cyclic(shares: &Shares, scene: &Scene<'_>, turn: u64, rng: &mut impl Rng) -> Option<usize> {
    scene.from(or_drawn(shares.entry(turn)?, scene, || by_chance(shares, rng)))
}

/// An entry by its weight; there must be one.
fn by_chance(shares: &Shares, rng: &mut impl Rng) -> usize {
    shares.entry(rng.random::<u32>().into()).unwrap_or(0)
}

/// A draw by weight, again a few times if what is drawn is excluded; then the next in order.
fn random(alias: &Alias, scene: &Scene<'_>, rng: &mut impl Rng) -> Option<usize> {
    let drawn = (0..MAX_DRAWS).map(|_| alias.draw(rng)).find(|index| !scene.excludes(*index));
    drawn.or_else(|| scene.from(alias.draw(rng)))
}
