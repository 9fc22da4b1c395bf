//! What a pool learns, shared by all threads of a proxy, kept across every push by the identity of the endpoints.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crossbeam_utils::CachePadded;
use rand::Rng;

use crate::EndpointId;

/// Counters of one endpoint. They only inform, so every access is relaxed.
#[derive(Debug, Default)]
pub struct EndpointState {
    counters: CachePadded<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    in_flight: AtomicU64,
    requests: AtomicU64,
    failures: AtomicU64,
}

impl EndpointState {
    /// Requests picked and not ended.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.counters.in_flight.load(Relaxed)
    }

    /// Requests picked so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.counters.requests.load(Relaxed)
    }

    /// Requests that failed at the endpoint so far.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.counters.failures.load(Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.counters.in_flight.fetch_add(1, Relaxed);
        self.counters.requests.fetch_add(1, Relaxed);
    }

    pub(crate) fn end(&self, failed: bool) {
        self.counters.in_flight.fetch_sub(1, Relaxed);
        if failed {
            self.counters.failures.fetch_add(1, Relaxed);
        }
    }
}

/// What a pool learns.
#[derive(Debug)]
pub struct PoolState {
    endpoints: Mutex<HashMap<EndpointId, Arc<EndpointState>>>,
    turns: Box<[CachePadded<Turns>]>,
}

/// Where a worker stands in the cyclic orders.
#[derive(Debug)]
struct Turns {
    backend: AtomicU64,
    endpoint: AtomicU64,
}

impl PoolState {
    /// The state of a new pool that `workers` threads will use. Each worker starts at a random turn, so that workers and
    /// proxies do not march in step.
    pub fn new(workers: usize, rng: &mut impl Rng) -> Self {
        let turns = || {
            // Small enough that no product of a tick overflows, and that it never wraps within the life of a process.
            let mut start = || AtomicU64::new(u64::from(rng.random::<u32>()));
            CachePadded::new(Turns { backend: start(), endpoint: start() })
        };
        Self {
            endpoints: Mutex::default(),
            turns: std::iter::repeat_with(turns).take(workers.max(1)).collect(),
        }
    }

    /// State of an endpoint; made if the endpoint is new.
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Arc<EndpointState> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(endpoints.entry(id.clone()).or_default())
    }

    /// Forgets the endpoints that are not in `known`. Requests still in flight to them end as they would have.
    pub fn retain(&self, known: &HashSet<EndpointId>) {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| known.contains(id));
    }

    pub(crate) fn next_backend(&self, worker: usize) -> u64 {
        self.turns[worker % self.turns.len()].backend.fetch_add(1, Relaxed)
    }

    pub(crate) fn next_endpoint(&self, worker: usize) -> u64 {
        self.turns[worker % self.turns.len()].endpoint.fetch_add(1, Relaxed)
    }
}
