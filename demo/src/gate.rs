//! The concurrency limit: so many requests are worked on, so many wait, the rest are turned away.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::behaviour::Concurrency;

/// One limit. A changed limit is a new gate; requests under way stay with the one they entered.
#[derive(Debug)]
pub(crate) struct Gate {
    slots: Arc<Semaphore>,
    queue: Semaphore,
}

/// Why a request did not enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// The queue is full.
    Full,
    /// Another gate has taken the place of this one: enter that.
    Replaced,
}

impl Gate {
    pub(crate) fn new(concurrency: Concurrency) -> Self {
        let permits = |count: u32| usize::try_from(count).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self {
            slots: Arc::new(Semaphore::new(permits(concurrency.limit.get()))),
            queue: Semaphore::new(permits(concurrency.queue)),
        }
    }

    /// Waits in order of arrival. The permit is the slot: dropping it lets the next one in.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, Turned> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Ok(slot);
        }
        if self.slots.is_closed() {
            return Err(Turned::Replaced);
        }
        let Ok(_place) = self.queue.try_acquire() else { return Err(Turned::Full) };
        Arc::clone(&self.slots).acquire_owned().await.map_err(|_closed| Turned::Replaced)
    }

    /// Sends those who wait to the gate that took this one's place.
    pub(crate) fn close(&self) {
        self.slots.close();
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn gate(limit: u32, queue: u32) -> Arc<Gate> {
        Arc::new(Gate::new(Concurrency { limit: NonZeroU32::new(limit).unwrap(), queue }))
    }

    #[tokio::test]
    async fn one_beyond_the_limit_waits_and_one_beyond_the_queue_is_turned_away() {
        let gate = gate(1, 1);
        let slot = gate.enter().await.unwrap();
        let mut waiting = Box::pin(gate.enter());
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("entered beyond the limit"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(gate.enter().await.unwrap_err(), Turned::Full);
        drop(slot);
        drop(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_closed_gate_sends_on_those_who_wait() {
        let gate = gate(1, 1);
        let _slot = gate.enter().await.unwrap();
        let waiting = gate.enter();
        gate.close();
        assert_eq!(waiting.await.unwrap_err(), Turned::Replaced);
        assert_eq!(gate.enter().await.unwrap_err(), Turned::Replaced);
    }
}
