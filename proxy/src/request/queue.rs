//! Where requests wait for a place at an endpoint, the first that came first served.
//!
//! Only the one in front looks for a place: when it comes to the front, and whenever one may have become free. No
//! wake-up is lost: who leaves a place does so before it looks for somebody who waits ([`Queue::wake`]), and who comes
//! says that it waits before it looks for a place, with a fence between the two on both sides.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed, fence},
    },
    time::Duration,
};

use evenkeel_balance::Guard;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// The requests of a pool that wait. Survives pushes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: AtomicUsize,
    line: Mutex<Line>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    /// By the order in which they came.
    waiters: BTreeMap<u64, Arc<Notify>>,
}

/// What became of those that waited, or would have.
#[derive(Debug, Default)]
struct Counts {
    served: AtomicU64,
    full: AtomicU64,
    timeout: AtomicU64,
    cancelled: AtomicU64,
}

/// How many may wait, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) size: usize,
    pub(crate) timeout: Duration,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// As many wait as may.
    Full,
    /// None became free in time.
    Timeout,
}

/// A request in flight to an endpoint, whose end lets another look for a place.
#[derive(Debug)]
pub(crate) struct Place {
    // Dropped in this order.
    pub(crate) guard: Guard,
    _freed: Option<Freed>,
}

#[derive(Debug)]
struct Freed(Arc<Queue>);

impl Drop for Freed {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl Place {
    /// `queue`: where requests wait for it, if anywhere.
    pub(crate) fn new(guard: Guard, queue: Option<&Arc<Queue>>) -> Self {
        Self { guard, _freed: queue.map(|queue| Freed(Arc::clone(queue))) }
    }
}

impl Queue {
    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Those that waited, or would have, by what became of them.
    pub(crate) fn results(&self) -> BTreeMap<&'static str, u64> {
        let Counts { served, full, timeout, cancelled } = &self.counts;
        let all = [("served", served), ("full", full), ("timeout", timeout), ("cancelled", cancelled)];
        all.into_iter()
            .map(|(name, count)| (name, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// A place may have become free.
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.waiting() > 0 {
            self.line().wake_front();
        }
    }

    /// Waits until `look` finds something.
    ///
    /// # Errors
    /// If too many wait already, or nothing is found in time.
    pub(crate) async fn wait<T>(
        &self,
        rules: Rules,
        mut look: impl FnMut() -> Option<T>,
    ) -> Result<T, Refusal> {
        let Some(mut ticket) = self.enter(rules.size) else {
            self.counts.full.fetch_add(1, Relaxed);
            return Err(Refusal::Full);
        };
        let deadline = Instant::now() + rules.timeout;
        loop {
            if ticket.is_front()
                && let Some(found) = look()
            {
                ticket.ends = &self.counts.served;
                return Ok(found);
            }
            if timeout_at(deadline, ticket.wake.notified()).await.is_err() {
                ticket.ends = &self.counts.timeout;
                return Err(Refusal::Timeout);
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, size: usize) -> Option<Ticket<'_>> {
        let mut line = self.line();
        if line.waiters.len() >= size {
            return None;
        }
        let number = line.next;
        line.next += 1;
        let wake = Arc::new(Notify::new());
        line.waiters.insert(number, Arc::clone(&wake));
        self.waiting.fetch_add(1, Relaxed);
        fence(Ordering::SeqCst);
        Some(Ticket { queue: self, number, wake, ends: &self.counts.cancelled })
    }
}

impl Line {
    fn front(&self) -> Option<u64> {
        self.waiters.first_key_value().map(|(number, _)| *number)
    }

    fn wake_front(&self) {
        if let Some((_, front)) = self.waiters.first_key_value() {
            front.notify_one();
        }
    }
}

/// A place in the line, until it is dropped.
struct Ticket<'a> {
    queue: &'a Queue,
    number: u64,
    wake: Arc<Notify>,
    /// What its end counts as.
    ends: &'a AtomicU64,
}

impl Ticket<'_> {
    fn is_front(&self) -> bool {
        self.queue.line().front() == Some(self.number)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.ends.fetch_add(1, Relaxed);
        let mut line = self.queue.line();
        let was_front = line.front() == Some(self.number);
        line.waiters.remove(&self.number);
        self.queue.waiting.fetch_sub(1, Relaxed);
        // There may be more than one place, and a wake-up that came for this one must not be lost with it.
        if was_front {
            line.wake_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Poll};

    use futures::poll;

    use super::*;

    const RULES: Rules = Rules { size: 3, timeout: Duration::from_secs(1) };

    /// Places to be had.
    #[derive(Debug, Default)]
    struct Places(AtomicUsize);

    impl Places {
        fn take(&self) -> Option<()> {
            self.0.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(1)).ok().map(|_| ())
        }

        fn free(&self, queue: &Queue) {
            self.0.fetch_add(1, Relaxed);
            queue.wake();
        }
    }

    fn wait<'a>(queue: &'a Queue, places: &'a Places) -> impl Future<Output = Result<(), Refusal>> + 'a {
        queue.wait(RULES, || places.take())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_first_and_one_too_many_is_refused() {
        let (queue, places) = (Queue::default(), Places::default());
        let (mut a, mut b, mut c) =
            (pin!(wait(&queue, &places)), pin!(wait(&queue, &places)), pin!(wait(&queue, &places)));
        for waiter in [&mut a, &mut b, &mut c] {
            assert!(poll!(waiter).is_pending());
        }
        assert_eq!(wait(&queue, &places).await, Err(Refusal::Full));
        places.free(&queue);
        assert!(poll!(&mut b).is_pending() && poll!(&mut c).is_pending());
        assert_eq!(poll!(&mut a), Poll::Ready(Ok(())));
        // Two at once: the first to go lets the second know.
        places.0.fetch_add(1, Relaxed);
        places.free(&queue);
        assert_eq!((poll!(&mut b), poll!(&mut c)), (Poll::Ready(Ok(())), Poll::Ready(Ok(()))));
        assert_eq!(queue.waiting(), 0);
        assert_eq!(queue.results(), [("full", 1), ("served", 3)].into());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_passes_the_place_on() {
        let (queue, places) = (Queue::default(), Places::default());
        let mut a = Box::pin(wait(&queue, &places));
        let mut b = pin!(wait(&queue, &places));
        assert!(poll!(&mut a).is_pending() && poll!(&mut b).is_pending());
        places.free(&queue);
        drop(a);
        assert_eq!(poll!(&mut b), Poll::Ready(Ok(())));
        assert_eq!(queue.results(), [("cancelled", 1), ("served", 1)].into());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_longer_than_allowed() {
        let (queue, places) = (Queue::default(), Places::default());
        let start = Instant::now();
        assert_eq!(wait(&queue, &places).await, Err(Refusal::Timeout));
        assert_eq!((start.elapsed(), queue.waiting()), (RULES.timeout, 0));
        assert_eq!(queue.results(), [("timeout", 1)].into());
    }

    /// A wake-up that is lost would leave somebody waiting for ever, for there is nobody else to wake it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_wake_up_is_lost() {
        let rules = Rules { size: 64, timeout: Duration::from_secs(60) };
        let (queue, places) = (Arc::new(Queue::default()), Arc::new(Places::default()));
        places.0.store(2, Relaxed);
        let client = |number: usize| {
            let (queue, places) = (Arc::clone(&queue), Arc::clone(&places));
            tokio::spawn(async move {
                for turn in 0..2_000 {
                    let mut waiting = Box::pin(queue.wait(rules, || places.take()));
                    // Some give up while they wait.
                    let served = match poll!(&mut waiting) {
                        Poll::Ready(served) => served,
                        Poll::Pending if (turn + number).is_multiple_of(7) => continue,
                        Poll::Pending => waiting.await,
                    };
                    served.unwrap();
                    if turn % 3 == 1 {
                        tokio::task::yield_now().await;
                    }
                    places.free(&queue);
                }
            })
        };
        let clients: Vec<_> = (0..8).map(client).collect();
        for client in clients {
            client.await.unwrap();
        }
        assert_eq!((places.0.load(Relaxed), queue.waiting()), (2, 0));
    }
}
