//! Endpoints by the block, with what each worker writes of them alone: a pick that compares no loads then writes nothing
//! that another worker's picks write.

use std::{ops::Deref, sync::Arc};

use super::{Count, EndpointState, Shared, wrapped};
use crate::sync::Line;

/// Endpoints of a block. More would keep more of those in memory that are forgotten; fewer would take more for each.
pub(super) const LEN: usize = 16;

/// What a worker counts apart of the endpoints of a block.
type Counts = Line<[Count; LEN]>;

/// The same of all workers.
#[derive(Debug)]
pub(super) struct Parts(Box<[Arc<Counts>]>);

/// What keeps a block in memory. Each worker has one, whose count of owners no other worker's picks write.
#[derive(Debug)]
pub(crate) struct Hold {
    states: Arc<[Arc<EndpointState>; LEN]>,
    counts: Arc<Counts>,
}

/// A place in a block.
#[derive(Clone, Debug)]
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
#[derive(Debug)]
pub(crate) struct Held {
    by: By,
    place: usize,
    /// Requests that were in flight when it began, itself included, if they are counted together.
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
    let parts = Arc::new(Parts::new(shared.workers()));
    let state = |place: usize| {
        EndpointState::new(Arc::clone(shared), first + place as u64, Arc::clone(&parts), place)
    };
    let states: Arc<[_; LEN]> = Arc::new(std::array::from_fn(|place| Arc::new(state(place))));
    let hold = |counts: &Arc<_>| Line(Hold { states: Arc::clone(&states), counts: Arc::clone(counts) });
    let holds: Arc<[_]> = parts.0.iter().map(|counts| Arc::new(hold(counts))).collect();
    std::array::from_fn(|place| {
        let at = BlockPlace { holds: Arc::clone(&holds), place };
        Resident { state: Arc::clone(&states[place]), at }
    })
}

impl Parts {
    fn new(workers: usize) -> Self {
        let counts = || Arc::new(Line(std::array::from_fn(|_| Count::new())));
        Self(std::iter::repeat_with(counts).take(workers).collect())
    }

    /// The counts of one endpoint, by worker.
    pub(super) fn of(&self, place: usize) -> impl Iterator<Item = &Count> {
        self.0.iter().map(move |counts| &counts[place % LEN])
    }
}

impl Resident {
    /// Whether none but this one and its block have the state.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.state) <= 2
    }
}

impl Deref for Resident {
    type Target = EndpointState;

    fn deref(&self) -> &EndpointState {
        &self.state
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
        let load = match max_in_flight {
            None if pool.apart.is_on() => {
                let hold = &at.holds[wrapped(worker, at.holds.len())];
                hold.counts[at.place % LEN].begin_unseen();
                return Some(Self { by: By::Apart(Arc::clone(hold)), place: at.place, load: 0 });
            }
            None => state.begin(pool),
            Some(max) => {
                pool.apart.end();
                state.begin_below(max, pool)?
            }
        };
        Some(Self { by: By::Together(Arc::clone(state)), place: at.place, load })
    }

    /// Requests that were in flight when this one began, itself included. Of those that are counted apart, how many are
    /// now: those that leave meet as many as those that come, as long as the load is steady.
    pub(crate) fn load(&self) -> u32 {
        match self.by {
            By::Together(_) => self.load,
            By::Apart(_) => u32::try_from(self.in_flight()).unwrap_or(u32::MAX),
        }
    }

    #[inline]
    pub(crate) fn end(&self) {
        match &self.by {
            By::Together(state) => state.end(),
            By::Apart(hold) => hold.counts[self.place % LEN].end(),
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

/// What an endpoint takes for two workers, in bytes: its state, and a sixteenth of its block.
#[cfg(not(loom))]
const SIZE: usize = {
    let counts_of_owners = 2 * size_of::<usize>();
    // Those of what begins a line take a line.
    let of_worker = 2 * align_of::<Counts>() + size_of::<Line<Hold>>() + size_of::<Counts>();
    let block = 2 * (of_worker + 2 * size_of::<usize>()) + 3 * counts_of_owners + size_of::<Parts>();
    counts_of_owners + size_of::<EndpointState>() + size_of::<usize>() + block.div_ceil(LEN)
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
