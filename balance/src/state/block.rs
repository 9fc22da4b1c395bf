//! Endpoints by the block, with what each worker writes of them alone: a pick that compares no loads then writes nothing
//! that another worker's picks write.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
};

use super::{Count, EndpointState, Shared, wrapped};
use crate::sync::Line;

/// Endpoints of a block, and what a pool of one takes memory for: 8 KB with 2 workers, 30 with 64. More would keep more
/// of those in memory that are forgotten; fewer would take more for each.
pub(super) const LEN: usize = 16;

/// What a worker counts apart, by the place of the endpoint.
pub(super) type WorkerCounts = Line<[Count; LEN]>;

/// What keeps a block in memory. Each worker has one, whose count of owners no other worker's picks write.
pub(crate) struct Hold {
    states: Arc<[Arc<EndpointState>; LEN]>,
    /// By worker.
    counts: Arc<[WorkerCounts]>,
    worker: usize,
}

/// A place in a block.
#[derive(Clone)]
pub(crate) struct BlockPlace {
    /// By worker.
    holds: Arc<[Arc<Line<Hold>>]>,
    place: usize,
}

/// The state of an endpoint, and its place in the block that was made with it: endpoints that came one after another
/// leave the memory together.
#[derive(Clone, Debug)]
pub(crate) struct Resident {
    pub(crate) state: Arc<EndpointState>,
    pub(crate) at: BlockPlace,
}

/// The state of an endpoint, as a request in flight keeps it.
// What only one of the variants needs stands beside them: with variants of two fields each a pick takes 7 ns longer,
// since they are copied as wholes before they are written as wholes.
#[derive(Debug)]
pub(crate) struct Held {
    by: By,
    /// Of one that is counted apart.
    place: usize,
    /// Of one that is counted together: how many were in flight when it began, itself included.
    load: u32,
}

#[derive(Debug)]
enum By {
    /// The request is counted together with those of other workers.
    Together(Arc<EndpointState>),
    /// It is counted apart.
    Apart(Arc<Line<Hold>>),
}

/// A block of new endpoints, with numbers from `first` on.
pub(super) fn residents(shared: &Arc<Shared>, first: u64) -> [Resident; LEN] {
    let workers = 0..shared.workers();
    let counts: Arc<[_]> = workers.clone().map(|_| Line(std::array::from_fn(|_| Count::new()))).collect();
    let state = |place: usize| {
        EndpointState::new(Arc::clone(shared), first + place as u64, Arc::clone(&counts), place)
    };
    let states: Arc<[_; LEN]> = Arc::new(std::array::from_fn(|place| Arc::new(state(place))));
    let hold = |worker| Line(Hold { states: Arc::clone(&states), counts: Arc::clone(&counts), worker });
    let holds: Arc<[_]> = workers.map(|worker| Arc::new(hold(worker))).collect();
    std::array::from_fn(|place| {
        let at = BlockPlace { holds: Arc::clone(&holds), place };
        Resident { state: Arc::clone(&states[place]), at }
    })
}

impl Resident {
    /// Whether none but this one and its block have the state. What others did with it before is then seen.
    pub(super) fn is_alone(&self) -> bool {
        let alone = Arc::strong_count(&self.state) <= 2;
        fence(Ordering::Acquire);
        alone
    }
}

impl Deref for Resident {
    type Target = EndpointState;

    fn deref(&self) -> &EndpointState {
        &self.state
    }
}

impl Hold {
    // The remainder changes nothing: it spares a branch.
    fn count(&self, place: usize) -> &Count {
        &self.counts[self.worker][place % LEN]
    }
}

impl Held {
    /// Begins a request to an endpoint of the pool, unless it has `max_in_flight` already.
    // In a call of its own it takes longer, as a pick does.
    #[inline(always)]
    pub(crate) fn begin(
        pool: &Shared,
        state: &Arc<EndpointState>,
        at: &BlockPlace,
        worker: usize,
        max_in_flight: Option<u32>,
    ) -> Option<Self> {
        let place = at.place;
        let load = match max_in_flight {
            None if pool.apart.is_on() => {
                let hold = &at.holds[wrapped(worker, at.holds.len())];
                hold.count(place).begin();
                return Some(Self { by: By::Apart(Arc::clone(hold)), place, load: 0 });
            }
            None => state.begin_together(pool),
            Some(max) => {
                pool.apart.end();
                state.begin_together_below(max, pool)?
            }
        };
        Some(Self { by: By::Together(Arc::clone(state)), place, load })
    }

    /// How many requests were in flight when this one began, itself included; `None` if it is counted apart: it would be
    /// a look at what all workers write.
    pub(crate) fn load(&self) -> Option<u32> {
        match self.by {
            By::Together(_) => Some(self.load),
            By::Apart(_) => None,
        }
    }

    /// The same as the request begins, be it counted apart.
    pub(crate) fn load_now(&self) -> u32 {
        self.load().unwrap_or_else(|| u32::try_from(self.in_flight()).unwrap_or(u32::MAX))
    }

    #[inline]
    pub(crate) fn end(&self) {
        match &self.by {
            By::Together(state) => state.end_together(),
            By::Apart(hold) => hold.count(self.place).end(),
        }
    }
}

impl Deref for Held {
    type Target = EndpointState;

    fn deref(&self) -> &EndpointState {
        match &self.by {
            By::Together(state) => state,
            By::Apart(hold) => &hold.states[self.place % LEN],
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl fmt::Debug for BlockPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockPlace").field("place", &self.place).finish_non_exhaustive()
    }
}

/// What an endpoint takes with two workers, in bytes: its state, and its part of the block.
#[cfg(not(loom))]
const SIZE: usize = {
    let owners = 2 * size_of::<usize>();
    let hold = align_of::<Line<Hold>>() + size_of::<Line<Hold>>() + size_of::<usize>();
    let block = 3 * owners + align_of::<WorkerCounts>() + 2 * (hold + size_of::<WorkerCounts>());
    owners + size_of::<EndpointState>() + size_of::<usize>() + block.div_ceil(LEN)
};

#[cfg(not(loom))]
const _: () = assert!(SIZE <= 512);

#[cfg(all(test, not(loom)))]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;
    use crate::PoolState;

    fn pool(workers: usize) -> PoolState {
        PoolState::new(workers, &mut SmallRng::seed_from_u64(1))
    }

    #[test]
    fn a_block_leaves_the_memory_with_its_last_endpoint_and_request() {
        let pool = pool(2);
        let ids: Vec<_> = (0..=LEN).map(|number| format!("e{number}").as_str().into()).collect();
        let states: Vec<_> = ids.iter().map(|id| Arc::downgrade(&pool.endpoint(id))).collect();
        let there = || states.iter().filter(|state| state.strong_count() > 0).count();
        let request = pool.begins(&ids[3]);
        pool.retain(&HashSet::from([ids[LEN].clone()]));
        assert_eq!((there(), pool.in_flight()), (LEN + 1, 1));
        drop(request);
        pool.settle();
        assert_eq!((there(), pool.in_flight()), (1, 0));
        drop(pool);
        assert_eq!(there(), 0);
    }

    #[test]
    fn a_request_outlives_its_pool() {
        let pool = pool(1);
        let state = pool.endpoint(&"e".into());
        let request = pool.begins(&"e".into());
        drop(pool);
        assert_eq!(state.in_flight(), 1);
        drop(request);
        assert_eq!((state.in_flight(), state.requests()), (0, 1));
    }

    #[test]
    fn every_endpoint_has_a_number_of_its_own() {
        let pool = pool(1);
        let number = |index: usize| pool.endpoint(&format!("e{index}").as_str().into()).number();
        let numbers: HashSet<_> = (0..3 * LEN).map(number).collect();
        assert_eq!(numbers.len(), 3 * LEN);
    }
}
