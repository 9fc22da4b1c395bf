//! An immutable view of a pool, ready to be picked from.

mod probing;

pub use probing::ProbeAnswer;

use std::{collections::HashSet, sync::Arc};

use rand::Rng;

use crate::{
    Algorithm, Endpoint, EndpointState, Pick, PoolSpec, PoolState, Query, hash,
    pick::{Guard, Verdict},
    plan::{EndpointSet, Member, Other, Plan, Tuning},
    select::{Candidates, Live, Observe, Scene},
    shares::Shares,
    state::{BlockPlace, Held, Resident, Trial, Turn, Turns, wrapped},
};

/// How often a pick is tried where other threads come first.
const ROUNDS: u32 = 8;

/// A pool, ready to be picked from. Health was asked when it was made: picks see only endpoints in rotation, and those
/// that keep their sessions.
#[derive(Debug)]
pub struct Balancer {
    pub(crate) algorithm: Algorithm,
    pub(crate) backends: Vec<String>,
    pub(crate) sets: Vec<Set>,
    shares: Shares,
    /// Those of the sets, then those that only keep sessions.
    pub(crate) slots: Vec<Slot>,
    /// Where workers count requests to them apart, by slot.
    places: Vec<BlockPlace>,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Hash of an endpoint's identity and its index, in order.
    by_id: Vec<(u64, usize)>,
    /// Endpoints that are not picked, for explanations.
    pub(crate) absent: Vec<Other>,
    /// Of those the ones that no other backend has in rotation, each once.
    pub(crate) elsewhere: Vec<Resident>,
    pub(crate) state: Arc<PoolState>,
    turns: Arc<Turns>,
    generation: u64,
}

/// What a pick reads of an endpoint.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) state: Arc<EndpointState>,
    /// Effective, above 0.
    pub(crate) weight: f64,
    /// Hash of its identity.
    pub(crate) id: u64,
    /// Index of its backend's key.
    backend: u32,
    pub(crate) probation: bool,
}

/// Endpoints among which the algorithm decides. There is at least one.
#[derive(Debug)]
pub(crate) struct Set {
    hash: u64,
    share: f64,
    /// Index of the first endpoint.
    pub(crate) first: usize,
    pub(crate) len: usize,
    /// Any of them is on probation.
    pub(crate) probation: bool,
    /// Too few of its backend are well, so that these are all of them.
    pub(crate) panic: bool,
    pub(crate) candidates: Candidates,
}

/// Where a session leads.
enum Session {
    At(usize),
    /// Its endpoint may take no more requests now, and could otherwise.
    Full,
    Gone,
}

impl Balancer {
    /// A balancer over those endpoints of `spec` that take new requests, by their configured weights. What changes with
    /// time (slow start, ejections, reported load, Auto's choice) is a [`Tuner`](crate::Tuner)'s. O(n log n), and what
    /// the tables of [`ConsistentHash`](crate::ConsistentHash) take.
    #[must_use]
    pub fn new(spec: &PoolSpec, state: &Arc<PoolState>) -> Self {
        Self::from_plan(&Plan::new(spec, state, &Tuning::default()), state)
    }

    pub(crate) fn from_plan(plan: &Plan, state: &Arc<PoolState>) -> Self {
        if plan.algorithm.compares_loads() {
            state.count_together();
        }
        let mut built = Self {
            algorithm: plan.algorithm.clone(),
            backends: Vec::new(),
            sets: Vec::new(),
            shares: Shares::new(plan.sets.iter().map(|set| set.share)),
            slots: Vec::new(),
            places: Vec::new(),
            endpoints: Vec::new(),
            by_id: Vec::new(),
            absent: Vec::new(),
            elsewhere: Vec::new(),
            state: Arc::clone(state),
            turns: state.turns(plan.turns),
            generation: state.next_generation(),
        };
        for set in &plan.sets {
            built.add_set(set);
        }
        for other in &plan.others {
            built.absent.push(other.clone());
            if other.reason.keeps_sessions() {
                let (endpoint, state) = (other.endpoint.clone(), other.state.clone());
                let probation = other.probation;
                built
                    .add(&other.backend, &Member { endpoint, state, weight: 1.0, adapted: false, probation });
            }
        }
        let mut known: HashSet<_> =
            plan.sets.iter().flat_map(|set| &set.members).map(|member| member.state.number()).collect();
        let elsewhere = plan.others.iter().map(|other| &other.state);
        built.elsewhere = elsewhere.filter(|state| known.insert(state.number())).cloned().collect();
        built.by_id = built.slots.iter().enumerate().map(|(index, slot)| (slot.id, index)).collect();
        built.by_id.sort_unstable();
        built
    }

    fn add_set(&mut self, set: &EndpointSet) {
        let first = self.slots.len();
        let name =
            if set.level == 0 { set.backend.clone() } else { format!("{}@{}", set.backend, set.level) };
        let hash = hash::node(&name);
        for member in &set.members {
            self.add(&set.backend, member);
        }
        self.sets.push(Set {
            hash,
            share: set.share,
            first,
            len: set.members.len(),
            probation: set.members.iter().any(|member| member.probation),
            panic: set.panic,
            candidates: Candidates::new(&self.algorithm, &set.members, &self.state, hash),
        });
    }

    fn add(&mut self, backend: &str, member: &Member) {
        if self.backends.last().is_none_or(|last| last != backend) {
            self.backends.push(backend.to_owned());
        }
        let Resident { state, at } = member.state.clone();
        self.endpoints.push(member.endpoint.clone());
        self.places.push(at);
        self.slots.push(Slot {
            state,
            weight: member.weight,
            id: hash::node(member.endpoint.id.as_str()),
            backend: u32::try_from(self.backends.len() - 1).unwrap_or(u32::MAX),
            probation: member.probation,
        });
    }

    /// The algorithm in use; never [`Algorithm::Auto`].
    #[must_use]
    pub const fn algorithm(&self) -> &Algorithm {
        &self.algorithm
    }

    /// The endpoints that may be picked, if only by those whose session they have, in the order of [`Pick::index`].
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter()
    }

    /// An endpoint, by [`Pick::index`].
    #[must_use]
    pub fn endpoint(&self, index: usize) -> Option<&Endpoint> {
        self.endpoints.get(index)
    }

    /// What is learned of an endpoint, by [`Pick::index`].
    #[must_use]
    pub fn state_of(&self, index: usize) -> Option<&EndpointState> {
        self.slots.get(index).map(|slot| &*slot.state)
    }

    /// Requests in flight to an endpoint, by [`Pick::index`], as picks compare them.
    #[must_use]
    pub fn in_flight(&self, index: usize) -> Option<u64> {
        self.slots.get(index).map(|slot| self.in_flight_to(slot))
    }

    /// The same of a slot.
    pub(crate) fn in_flight_to(&self, slot: &Slot) -> u64 {
        slot.state.in_flight_with(self.state.shared().apart.may_be())
    }

    /// Picks an endpoint and counts a request in flight to it, or `None` if no endpoint is left. Allocates nothing, and
    /// takes no lock that another thread takes. While no endpoint is full, tried or on trial it is O(1) in the
    /// endpoints, but O(log n) for weighted turns and O(n) for rendezvous hashing and bounded load; otherwise O(n) at
    /// worst. O(backends) besides; and each look at a load is O(workers) while requests are in flight that began before
    /// any algorithm compared loads.
    // A call of its own takes 6 ns longer, of 36.
    #[inline(always)]
    pub fn pick(&self, query: &Query<'_>, rng: &mut impl Rng) -> Option<Pick<'_>> {
        // More than one round only if another thread takes the one request of a probation, or the last place, first.
        for round in 1..=ROUNDS {
            let mut live = Live::default();
            let index = self.choose(query, rng, &mut live)?;
            let slot = &self.slots[index];
            if slot.probation && !slot.state.take_trial() {
                continue;
            }
            // An endpoint above its bound is better than none.
            let bound =
                live.room.filter(|_| round < ROUNDS).map(|room| u32::try_from(room).unwrap_or(u32::MAX));
            let max = query.max_in_flight.into_iter().chain(bound).min();
            let pool = self.state.shared();
            let begun = Held::begin(pool, &slot.state, &self.places[index], query.worker, max);
            let Some(held) = begun else {
                if slot.probation {
                    slot.state.trial_ended(Verdict::Cancelled);
                }
                continue;
            };
            return Some(Pick {
                endpoint: &self.endpoints[index],
                backend: &self.backends[slot.backend as usize],
                index,
                passed_over: live.session_full,
                guard: Guard::new(held, pool, query, slot.probation),
            });
        }
        None
    }

    /// Whether an endpoint in rotation is none of those tried. A request that finds none may then find one later: all
    /// such are full or on trial. O(n).
    #[must_use]
    pub fn has_untried(&self, tried: &[usize]) -> bool {
        self.sets.iter().any(|set| (set.first..set.first + set.len).any(|index| !self.is_tried(tried, index)))
    }

    /// Whether an endpoint is among those tried, as this backend's or as another's.
    #[inline]
    pub(crate) fn is_tried(&self, tried: &[usize], index: usize) -> bool {
        // Most requests have tried none.
        !tried.is_empty() && self.is_one_of(tried, index)
    }

    fn is_one_of(&self, indices: &[usize], index: usize) -> bool {
        let it = &self.slots[index].state;
        indices.iter().any(|other| self.slots.get(*other).is_some_and(|slot| Arc::ptr_eq(&slot.state, it)))
    }

    /// One by its share, without a draw if there is one only.
    fn set_by_chance(&self, rng: &mut impl Rng) -> Option<usize> {
        let last = self.sets.len().checked_sub(1)?;
        if last == 0 {
            return Some(last);
        }
        let mut left = self.sets.iter().map(|set| set.share).sum::<f64>() * rng.random::<f64>();
        let found = self.sets.iter().position(|set| {
            left -= set.share;
            left < 0.0
        });
        found.or(Some(last))
    }

    /// The index of the endpoint to which a request goes.
    pub(crate) fn choose<O: Observe>(
        &self,
        query: &Query<'_>,
        rng: &mut impl Rng,
        observer: &mut O,
    ) -> Option<usize> {
        match query.affinity.map(|id| self.session(id, query)) {
            Some(Session::At(index)) => {
                observer.session(index);
                return Some(index);
            }
            Some(Session::Full) => observer.session_full(),
            Some(Session::Gone) | None => {}
        }
        // A request that comes again leaves the turn to the next one: it would take that of the endpoint at which it
        // failed from those that are well, so that first attempts met the failing one more often. It goes by chance,
        // since the turn to come is the same for all that come again until then.
        let again = !query.tried.is_empty();
        let take = O::LIVE && !again;
        let by_chance = again.then(|| u64::from(rng.random::<u32>()));
        let turns = self.turns.of(query.worker);
        let (start, own_turn) = self.set(query, turns, take, rng)?;
        // A set all of whose endpoints have been tried gives its turn to the next.
        (0..self.sets.len()).find_map(|step| {
            let set = &self.sets[wrapped(start + step, self.sets.len())];
            // A set's own turns have no gaps; those of all sets together would always meet the same endpoints.
            let turn = || match (by_chance, own_turn) {
                (Some(turn), _) => turn,
                (None, Some(turn)) if step == 0 => turn,
                (None, _) => turns.endpoint(take),
            };
            observer.begin(set.first);
            let local = set.candidates.select(&self.scene(set, query), turn, rng, observer)?;
            Some(set.first + local)
        })
    }

    fn scene<'a>(&'a self, set: &Set, query: &'a Query<'a>) -> Scene<'a> {
        Scene {
            slots: &self.slots[set.first..set.first + set.len],
            first: set.first,
            probation: set.probation,
            query,
            state: &self.state,
            apart: self.state.shared().apart.may_be(),
            balancer: self,
        }
    }

    /// The endpoint to which a session goes back.
    fn session(&self, id: &str, query: &Query<'_>) -> Session {
        let found = self.find(hash::node(id)).filter(|index| self.endpoints[*index].id.as_str() == id);
        let Some(index) = found else { return Session::Gone };
        let slot = &self.slots[index];
        let on_trial = slot.probation && slot.state.trial() != Trial::Open;
        match () {
            () if self.is_tried(query.tried, index) || on_trial => Session::Gone,
            () if query.finds_full(|| self.in_flight_to(slot)) => Session::Full,
            () => Session::At(index),
        }
    }

    /// The index of the endpoint whose identity has this hash.
    fn find(&self, id: u64) -> Option<usize> {
        let place = self.by_id.binary_search_by_key(&id, |(hash, _)| *hash).ok()?;
        Some(self.by_id[place].1)
    }

    /// The same within the endpoints from `first` on, since one of two backends is there twice.
    pub(crate) fn find_within(&self, id: u64, first: usize, len: usize) -> Option<usize> {
        let place = self.by_id.partition_point(|of| *of < (id, first));
        let (hash, index) = *self.by_id.get(place)?;
        (hash == id && index < first + len).then(|| index - first)
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// The key of an endpoint's backend.
    pub(crate) fn backend_of(&self, index: usize) -> &str {
        &self.backends[self.slots[index].backend as usize]
    }

    /// The set whose turn it is, with the number of that turn, or to which the key belongs.
    #[inline]
    fn set(
        &self,
        query: &Query<'_>,
        turns: &Turn,
        take: bool,
        rng: &mut impl Rng,
    ) -> Option<(usize, Option<u64>)> {
        match self.sets.as_slice() {
            [] => None,
            [_] => Some((0, None)),
            [first, ..] => self.set_of_many(first, query, turns, take, rng),
        }
    }

    // Apart, or most picks, which have one set, take 5 % longer.
    #[inline(never)]
    fn set_of_many(
        &self,
        first: &Set,
        query: &Query<'_>,
        turns: &Turn,
        take: bool,
        rng: &mut impl Rng,
    ) -> Option<(usize, Option<u64>)> {
        if let Some(key) = first.candidates.key(query) {
            let nodes = self.sets.iter().enumerate().map(|(index, set)| (index, set.hash, set.share));
            return hash::rendezvous(key, nodes).map(|index| (index, None));
        }
        if !query.tried.is_empty() {
            return self.set_by_chance(rng).map(|index| (index, None));
        }
        let (index, turn) = self.shares.at(turns.backend(take))?;
        Some((index, Some(turn)))
    }
}
