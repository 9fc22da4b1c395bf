//! What a pool learns, shared by all threads of a proxy, kept across every push by the identity of the endpoints.

mod apart;
mod block;
mod count;
mod counters;
mod endpoint;
mod estimate;
mod load;
mod probes;
mod response_time;
mod tap;
mod total;
mod trial;

pub use endpoint::EndpointState;
pub use estimate::LatencyEstimate;
use {apart::Apart, total::Total};
pub(crate) use {
    block::{BlockPlace, Held, Resident},
    count::Count,
    counters::Counters,
    endpoint::Seen,
    load::Reported,
    probes::{Answer, Entry, MAX_ENTRIES, ProbePool},
    tap::{Mark, STRETCH, Tap, Tapped},
    trial::Trial,
};

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rand::{Rng, SeedableRng as _, rngs::SmallRng};

use crate::{
    EndpointId, hash,
    sync::{AtomicBool, AtomicF64, AtomicU32, AtomicU64, Line, Relaxed},
    time,
};

/// What a pool learns.
#[derive(Debug)]
pub struct PoolState {
    endpoints: Mutex<HashMap<EndpointId, Resident>>,
    /// Those that left, until no request is in flight to them and nobody remembers them. Locked after the others, where
    /// both are.
    left: Mutex<HashMap<EndpointId, Resident>>,
    /// Made with others, and no endpoint's yet. Locked last.
    spare: Mutex<VecDeque<Resident>>,
    /// Requests in flight to them at the last look.
    in_flight_left: AtomicU64,
    probes: Mutex<HashMap<u64, Arc<Probes>>>,
    turns: Mutex<HashMap<&'static str, Arc<Turns>>>,
    /// Of where turns start.
    seed: u64,
    shared: Arc<Shared>,
    generations: AtomicU64,
    /// Numbers given to endpoints, by the block.
    numbers: AtomicU64,
}

/// The probe pools of one set of endpoints, one for each worker.
pub(crate) type Probes = [Line<Mutex<ProbePool>>];

/// What all endpoints of a pool share.
pub(crate) struct Shared {
    pub(crate) rules: Rules,
    /// Of requests in flight.
    pub(crate) total: Total,
    pub(crate) apart: Apart,
    /// Something happened that the next tick should look at soon.
    urgent: AtomicBool,
    pub(crate) tap: Tap,
}

/// How outcomes are learned from; read-mostly.
pub(crate) struct Rules {
    /// Nanoseconds.
    pub(crate) decay: AtomicF64,
    /// Nanoseconds.
    pub(crate) error_penalty: AtomicF64,
    /// Mean latency of the pool's answers in nanoseconds; 0 while nothing was measured.
    pub(crate) mean_latency: AtomicF64,
    /// Server errors in a row of an endpoint from which on the next tick should come soon.
    pub(crate) urgent_errors: AtomicU32,
    /// Named metrics that make the utilization.
    pub(crate) metrics: ArcSwap<Vec<String>>,
}

/// Where workers stand in the cyclic orders of one algorithm.
#[derive(Debug)]
pub(crate) struct Turns(Box<[Line<Turn>]>);

/// Where one of them stands.
#[derive(Debug)]
pub(crate) struct Turn {
    backend: AtomicU64,
    endpoint: AtomicU64,
}

impl PoolState {
    /// The state of a new pool that `workers` threads will use; 0 is 1.
    pub fn new(workers: usize, rng: &mut impl Rng) -> Self {
        let rules = Rules {
            decay: AtomicF64::new(time::nanos_f64(Duration::from_secs(10))),
            error_penalty: AtomicF64::new(time::nanos_f64(Duration::from_secs(5))),
            mean_latency: AtomicF64::new(0.0),
            urgent_errors: AtomicU32::new(u32::MAX),
            metrics: ArcSwap::default(),
        };
        Self {
            endpoints: Mutex::default(),
            left: Mutex::default(),
            spare: Mutex::default(),
            in_flight_left: AtomicU64::new(0),
            probes: Mutex::default(),
            turns: Mutex::default(),
            seed: rng.random(),
            shared: Arc::new(Shared {
                rules,
                total: Total::new(workers),
                apart: Apart::new(),
                urgent: AtomicBool::new(false),
                tap: Tap::new(AtomicBool::new(false)),
            }),
            generations: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
        }
    }

    /// State of an endpoint; made if the endpoint is new. One that left and comes back while requests are in flight to
    /// it has what it had.
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Arc<EndpointState> {
        self.resident(id).state
    }

    /// The same, as a pick needs it.
    pub(crate) fn resident(&self, id: &EndpointId) -> Resident {
        let mut endpoints = locked(&self.endpoints);
        let make = || {
            let mut left = locked(&self.left);
            let back = left.remove(id);
            if back.is_some() {
                self.look_at_left(&mut left);
            }
            back.unwrap_or_else(|| self.new_resident())
        };
        endpoints.entry(id.clone()).or_insert_with(make).clone()
    }

    fn new_resident(&self) -> Resident {
        let mut spare = locked(&self.spare);
        spare.pop_front().unwrap_or_else(|| {
            let first = self.numbers.fetch_add(block::LEN as u64, Relaxed);
            let [one, others @ ..] = block::residents(&self.shared, first);
            *spare = others.into_iter().collect();
            one
        })
    }

    /// Begins a request to an endpoint without a pick.
    #[cfg(test)]
    pub(crate) fn begins(&self, id: &EndpointId) -> crate::Guard {
        let (resident, query) = (self.resident(id), crate::Query::at(crate::Time::ZERO, 0));
        let held = Held::begin(&self.shared, &resident.state, &resident.at, 0, None).expect("no limit");
        crate::Guard::new(held, &self.shared, &query, false)
    }

    /// Forgets the endpoints that are not in `known`, once no request is in flight to them; those that are end as they
    /// would have.
    pub fn retain(&self, known: &HashSet<EndpointId>) {
        let mut endpoints = locked(&self.endpoints);
        let mut left = locked(&self.left);
        left.extend(endpoints.extract_if(|id, _| !known.contains(id)));
        self.look_at_left(&mut left);
        drop((endpoints, left));
        locked(&self.probes).retain(|_, probes| Arc::strong_count(probes) > 1);
    }

    /// Requests in flight to all endpoints of the pool, those that are forgotten among them. O(n x workers).
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.sum(EndpointState::in_flight)
    }

    fn sum(&self, of: impl Fn(&EndpointState) -> u64) -> u64 {
        // Both at once, or one that comes back meanwhile would be in neither.
        let (known, left) = (locked(&self.endpoints), locked(&self.left));
        known.values().chain(left.values()).map(|state| of(state)).sum()
    }

    /// Counts the requests in flight from now on, for [`Self::total`].
    pub(crate) fn start_total(&self) {
        self.shared.total.start(|| self.in_flight());
    }

    /// Workers count requests together from now on: picks compare how many are in flight.
    pub(crate) fn count_together(&self) {
        if self.shared.apart.end() {
            // Of a new pool; otherwise a request may just begin that was to be counted apart.
            self.shared.apart.settle(|| self.sum(EndpointState::requests_apart));
        }
    }

    /// Brings up to date what picks know of the counts: whether all requests have ended that began before bounded load
    /// had a total counted (until then it adds up the endpoints' for each pick), or while workers counted apart (until
    /// then picks add up the workers'), and what is in flight to endpoints that have left.
    /// [`Tuner::tick`](crate::Tuner::tick) and [`Tuner::observe`](crate::Tuner::observe) do so; who has no tuner
    /// should, now and then. O(n x workers) until those requests have ended.
    pub fn settle(&self) {
        self.look_at_left(&mut locked(&self.left));
        self.shared.total.settle(|| self.in_flight());
        self.shared.apart.settle(|| self.sum(EndpointState::in_flight_apart));
    }

    fn look_at_left(&self, left: &mut HashMap<EndpointId, Resident>) {
        // In this order: one that is not alone may get requests that are counted apart, which do not own it.
        left.retain(|_, state| !state.is_alone() || state.in_flight() > 0);
        self.in_flight_left.store(left.values().map(|state| state.in_flight()).sum(), Relaxed);
    }

    /// Requests in flight to the endpoints that are known, in O(workers); `None` as long as not all are counted. Too
    /// low by what has ended at endpoints that have left, since the last [`Self::settle`].
    pub(crate) fn total(&self) -> Option<u64> {
        let total = self.shared.total.read()?;
        Some(total.saturating_sub(self.in_flight_left.load(Relaxed)))
    }

    /// Whether something happened that [`Tuner::tick`](crate::Tuner::tick) should look at soon: an endpoint failed
    /// often enough to be ejected, or a trial after an ejection ended. Cheap; the next tick clears it.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.shared.urgent.load(Relaxed)
    }

    pub(crate) fn clear_urgent(&self) {
        self.shared.urgent.store(false, Relaxed);
    }

    pub(crate) fn tap(&self) -> &Tap {
        &self.shared.tap
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn workers(&self) -> usize {
        self.shared.workers()
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.shared.rules
    }

    /// The probe pools of the set of endpoints called `set`; made if new.
    pub(crate) fn probes(&self, set: u64) -> Arc<Probes> {
        let new = || (0..self.workers()).map(|_| Line(Mutex::default())).collect();
        Arc::clone(locked(&self.probes).entry(set).or_insert_with(new))
    }

    /// The turns of `algorithm`, each its own: requests that name another algorithm than the pool's must not take the
    /// turns of those that do not. Each worker starts at a random one, so that workers and proxies do not march in
    /// step.
    pub(crate) fn turns(&self, algorithm: &'static str) -> Arc<Turns> {
        let new = || {
            let mut rng = SmallRng::seed_from_u64(self.seed ^ hash::node(algorithm));
            // Small enough that no product of a tick overflows, and that it never wraps within the life of a process.
            let mut start = || AtomicU64::new(u64::from(rng.random::<u32>()));
            let turn = || Line(Turn { backend: start(), endpoint: start() });
            Arc::new(Turns(std::iter::repeat_with(turn).take(self.workers()).collect()))
        };
        Arc::clone(locked(&self.turns).entry(algorithm).or_insert_with(new))
    }

    /// A part of an interval, by which pools that begin together do not do everything together.
    #[expect(clippy::cast_precision_loss, reason = "a part")]
    pub(crate) fn phase(&self) -> f64 {
        (self.seed >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number that no other balancer over this state has.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Relaxed) + 1
    }

    pub(crate) fn worker(&self, worker: usize) -> usize {
        wrapped(worker, self.workers())
    }
}

impl Turns {
    pub(crate) fn of(&self, worker: usize) -> &Turn {
        &self.0[wrapped(worker, self.0.len())]
    }
}

impl Turn {
    /// The next among the backends; taken if `take`, otherwise only looked at.
    pub(crate) fn backend(&self, take: bool) -> u64 {
        next(&self.backend, take)
    }

    /// The next among the endpoints; taken if `take`, otherwise only looked at.
    pub(crate) fn endpoint(&self, take: bool) -> u64 {
        next(&self.endpoint, take)
    }
}

impl Shared {
    fn workers(&self) -> usize {
        self.total.workers()
    }

    pub(crate) fn set_urgent(&self) {
        self.urgent.store(true, Relaxed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("workers", &self.workers()).finish_non_exhaustive()
    }
}

/// `number % len`, without the division where it is below.
pub(crate) const fn wrapped(number: usize, len: usize) -> usize {
    if number < len { number } else { number % len }
}

fn next(counter: &AtomicU64, take: bool) -> u64 {
    if take { counter.fetch_add(1, Relaxed) } else { counter.load(Relaxed) }
}

#[cfg(all(test, loom))]
mod model;

/// What a panic of another thread left is still a consistent whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
