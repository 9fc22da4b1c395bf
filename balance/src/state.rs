//! What a pool learns, shared by all threads of a proxy, kept across every push by the identity of the endpoints.

mod counters;
mod endpoint;
mod estimate;
mod load;
mod probes;
mod response_time;
mod trial;

pub use endpoint::EndpointState;
pub use estimate::LatencyEstimate;
pub(crate) use {
    counters::Counters,
    endpoint::Seen,
    load::Reported,
    probes::{Entry, MAX_ENTRIES, ProbePool, rounded},
    trial::Trial,
};

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rand::Rng;

use crate::{
    EndpointId,
    sync::{AtomicBool, AtomicF64, AtomicU64, Line, Relaxed},
    time,
};

/// What a pool learns.
#[derive(Debug)]
pub struct PoolState {
    endpoints: Mutex<HashMap<EndpointId, Arc<EndpointState>>>,
    probes: Mutex<HashMap<u64, Arc<Probes>>>,
    shared: Arc<Shared>,
    generations: AtomicU64,
}

/// The probe pools of one set of endpoints, one for each worker.
pub(crate) type Probes = [Line<Mutex<ProbePool>>];

/// What all endpoints of a pool share.
pub(crate) struct Shared {
    pub(crate) rules: Rules,
    workers: Box<[Worker]>,
    /// Something happened that the next tick should look at soon.
    urgent: AtomicBool,
}

/// How outcomes are learned from; read-mostly.
pub(crate) struct Rules {
    /// Nanoseconds.
    pub(crate) decay: AtomicF64,
    /// Nanoseconds.
    pub(crate) error_penalty: AtomicF64,
    /// Mean latency of the pool's answers in nanoseconds; 0 while nothing was measured.
    pub(crate) mean_latency: AtomicF64,
    /// Named metrics that make the utilization.
    pub(crate) metrics: ArcSwap<Vec<String>>,
}

/// What a worker writes.
struct Worker {
    turns: Line<Turns>,
    in_flight: Line<AtomicU64>,
}

/// Where a worker stands in the cyclic orders.
struct Turns {
    backend: AtomicU64,
    endpoint: AtomicU64,
}

impl PoolState {
    /// The state of a new pool that `workers` threads will use. Each worker starts at a random turn, so that workers and
    /// proxies do not march in step.
    pub fn new(workers: usize, rng: &mut impl Rng) -> Self {
        let worker = || {
            // Small enough that no product of a tick overflows, and that it never wraps within the life of a process.
            let mut start = || AtomicU64::new(u64::from(rng.random::<u32>()));
            let turns = Line(Turns { backend: start(), endpoint: start() });
            Worker { turns, in_flight: Line(AtomicU64::new(0)) }
        };
        let rules = Rules {
            decay: AtomicF64::new(time::nanos_f64(Duration::from_secs(10))),
            error_penalty: AtomicF64::new(time::nanos_f64(Duration::from_secs(5))),
            mean_latency: AtomicF64::new(0.0),
            metrics: ArcSwap::default(),
        };
        let workers = std::iter::repeat_with(worker).take(workers.max(1)).collect();
        Self {
            endpoints: Mutex::default(),
            probes: Mutex::default(),
            shared: Arc::new(Shared { rules, workers, urgent: AtomicBool::new(false) }),
            generations: AtomicU64::new(0),
        }
    }

    /// State of an endpoint; made if the endpoint is new.
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Arc<EndpointState> {
        let mut endpoints = locked(&self.endpoints);
        let new = || Arc::new(EndpointState::new(Arc::clone(&self.shared)));
        Arc::clone(endpoints.entry(id.clone()).or_insert_with(new))
    }

    /// Forgets the endpoints that are not in `known`. Requests still in flight to them end as they would have.
    pub fn retain(&self, known: &HashSet<EndpointId>) {
        locked(&self.endpoints).retain(|id, _| known.contains(id));
        locked(&self.probes).retain(|_, probes| Arc::strong_count(probes) > 1);
    }

    /// Requests in flight to all endpoints of the pool.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        // A request may end on another worker than it began on, so a single number may have wrapped; the sum has not, but
        // for requests that begin or end meanwhile.
        let sum = self
            .shared
            .workers
            .iter()
            .fold(0_u64, |sum, each| sum.wrapping_add(each.in_flight.load(Relaxed)));
        if sum > u64::MAX / 2 { 0 } else { sum }
    }

    /// Whether something happened that [`Tuner::tick`](crate::Tuner::tick) should look at soon: an endpoint failed often
    /// enough to be ejected, or a trial after an ejection ended. Cheap; the next tick clears it.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.shared.urgent.load(Relaxed)
    }

    pub(crate) fn clear_urgent(&self) {
        self.shared.urgent.store(false, Relaxed);
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.shared.rules
    }

    /// The probe pools of the set of endpoints called `set`; made if new.
    pub(crate) fn probes(&self, set: u64) -> Arc<Probes> {
        let new = || self.shared.workers.iter().map(|_| Line(Mutex::default())).collect();
        Arc::clone(locked(&self.probes).entry(set).or_insert_with(new))
    }

    /// A number that no other balancer over this state has.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generations.fetch_add(1, Relaxed) + 1
    }

    pub(crate) fn worker(&self, worker: usize) -> usize {
        worker % self.shared.workers.len()
    }

    /// The worker's next turn among the backends; taken if `take`, otherwise only looked at.
    pub(crate) fn backend_turn(&self, worker: usize, take: bool) -> u64 {
        turn(&self.shared.worker(worker).turns.backend, take)
    }

    /// The worker's next turn among endpoints; taken if `take`, otherwise only looked at.
    pub(crate) fn endpoint_turn(&self, worker: usize, take: bool) -> u64 {
        turn(&self.shared.worker(worker).turns.endpoint, take)
    }
}

impl Shared {
    fn worker(&self, worker: usize) -> &Worker {
        &self.workers[worker % self.workers.len()]
    }

    pub(crate) fn begin(&self, worker: usize) {
        self.worker(worker).in_flight.fetch_add(1, Relaxed);
    }

    pub(crate) fn end(&self, worker: usize) {
        self.worker(worker).in_flight.fetch_sub(1, Relaxed);
    }

    pub(crate) fn set_urgent(&self) {
        self.urgent.store(true, Relaxed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

fn turn(counter: &AtomicU64, take: bool) -> u64 {
    if take { counter.fetch_add(1, Relaxed) } else { counter.load(Relaxed) }
}

#[cfg(all(test, loom))]
mod model;

/// What a panic of another thread left is still a consistent whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
