//! Places for what goes on at once beside requests. All pools share them, and each may take a part, so that one whose
//! endpoints hang leaves the rest to others.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Places, of all pools or of one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

impl Room {
    pub(crate) fn new(places: usize) -> Self {
        Self(Arc::new(Semaphore::new(places)))
    }

    /// A place for what does not wait for one; `None` if there is none.
    pub(crate) fn take(&self) -> Option<Taken> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(|permit| Taken { _permit: permit })
    }

    /// For a pool, which may take so many of them.
    pub(crate) fn part(&self, places: usize) -> PoolRoom {
        PoolRoom { all: self.clone(), own: Semaphore::new(places) }
    }
}

/// A pool's part.
#[derive(Debug)]
pub(crate) struct PoolRoom {
    all: Room,
    own: Semaphore,
}

/// A place that is taken until this is dropped.
pub(crate) struct Taken {
    _permit: OwnedSemaphorePermit,
}

/// Held as long as what takes the place goes on.
pub(crate) struct Place<'a> {
    _own: Option<SemaphorePermit<'a>>,
    _of_all: Option<SemaphorePermit<'a>>,
}

impl PoolRoom {
    /// Waits for a place.
    pub(crate) async fn place(&self) -> Place<'_> {
        // Never closed; if they were, there would only be no bound. A pool waits for its own first, lest it holds
        // another's place.
        let own = self.own.acquire().await.ok();
        Place { _own: own, _of_all: self.all.0.acquire().await.ok() }
    }
}
