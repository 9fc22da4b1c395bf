//! A time-out that starts anew with whatever moves. A timer is made only when something has to be waited for, and is
//! set anew only when it fires, so that a busy stream costs a clock reading and no more.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug)]
pub(super) struct Idle {
    limit: Duration,
    moved: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, moved: None, timer: None }
    }

    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    /// Something has moved.
    pub(super) fn moved(&mut self) {
        if self.timer.is_some() {
            self.moved = Some(Instant::now());
        }
    }

    /// Allows more time, also for what is waited for now. Whether that is more than before.
    pub(super) fn extend(&mut self, limit: Duration) -> bool {
        let more = limit.saturating_sub(self.limit);
        if let Some(timer) = &mut self.timer {
            let deadline = timer.deadline() + more;
            timer.as_mut().reset(deadline);
        }
        self.limit += more;
        !more.is_zero()
    }

    /// Completes when nothing has moved for the limit, from the first poll or the last move.
    pub(super) fn poll_elapsed(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        loop {
            ready!(timer.as_mut().poll(context));
            match self.moved.take() {
                Some(moved) => timer.as_mut().reset(moved + limit),
                None => return Poll::Ready(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_moves_is_waited_for() {
        let limit = Duration::from_secs(10);
        let start = Instant::now();
        let mut idle = Idle::new(limit);
        for _ in 0..5 {
            let pause =
                tokio::time::timeout(Duration::from_secs(6), poll_fn(|context| idle.poll_elapsed(context)));
            assert!(pause.await.is_err());
            idle.moved();
        }
        poll_fn(|context| idle.poll_elapsed(context)).await;
        assert_eq!(start.elapsed().as_secs(), 5 * 6 + 10);
        assert!(idle.extend(Duration::from_secs(25)));
        poll_fn(|context| idle.poll_elapsed(context)).await;
        assert_eq!(start.elapsed().as_secs(), 5 * 6 + 25);
        assert!(!idle.extend(limit));
    }
}
