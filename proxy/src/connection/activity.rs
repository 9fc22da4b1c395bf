//! What a connection's requests tell its socket, and how long it has had none.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{self, Instant},
};

use crate::limits;

/// Which requests are under way on a connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    requests: AtomicUsize,
    begun: AtomicUsize,
    resets: Mutex<Resets>,
    flooded: Notify,
    /// How long the client may take none of the bytes that are for it, in milliseconds; 0 for the default.
    write_stall_ms: AtomicU64,
}

/// Streams since a moment, and how many of them the client gave up before it had a response.
#[derive(Debug, Default)]
struct Resets {
    since: Option<Instant>,
    streams: usize,
    reset: usize,
}

/// A request under way, from its head to the end of its response.
#[derive(Debug)]
pub(crate) struct InRequest {
    activity: Arc<Activity>,
    answered: bool,
}

impl InRequest {
    /// The client gets a response.
    pub(crate) const fn answered(&mut self) {
        self.answered = true;
    }
}

impl Activity {
    pub(crate) fn begin(self: &Arc<Self>) -> InRequest {
        self.requests.fetch_add(1, Relaxed);
        self.begun.fetch_add(1, Relaxed);
        InRequest { activity: Arc::clone(self), answered: false }
    }

    /// Whether a request is under way.
    pub(super) fn busy(&self) -> bool {
        self.requests.load(Relaxed) > 0
    }

    /// How many requests have begun so far.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Relaxed)
    }

    /// The response under way may stall for so long.
    pub(crate) fn set_write_stall(&self, stall: Duration) {
        self.write_stall_ms.store(u64::try_from(stall.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn write_stall(&self) -> Duration {
        match self.write_stall_ms.load(Relaxed) {
            0 => limits::CLIENT_STALL,
            millis => Duration::from_millis(millis),
        }
    }

    /// Completes when there has been no request for the keep-alive time; up to twice as long may have passed.
    pub(super) async fn idle(&self) {
        let mut begun = self.begun.load(Relaxed);
        loop {
            time::sleep(limits::KEEP_ALIVE).await;
            let now = self.begun.load(Relaxed);
            if !self.busy() && now == begun {
                return;
            }
            begun = now;
        }
    }
}

impl Activity {
    /// Completes when the client opens streams only to reset them (CVE-2023-44487).
    pub(super) async fn flooded(&self) {
        self.flooded.notified().await;
    }

    fn ended(&self, answered: bool) {
        self.requests.fetch_sub(1, Relaxed);
        let mut resets = self.resets.lock().unwrap_or_else(PoisonError::into_inner);
        if resets.streams == 0 {
            // Nothing is to be counted before the first reset.
            if answered {
                return;
            }
            resets.since = Some(Instant::now());
        }
        resets.streams += 1;
        resets.reset += usize::from(!answered);
        if resets.streams >= limits::HTTP2_RESET_WINDOW {
            let fast = resets.since.is_some_and(|since| since.elapsed() <= limits::HTTP2_RESET_TIME);
            if fast && resets.reset > limits::HTTP2_RESET_WINDOW / 2 {
                self.flooded.notify_one();
            }
            *resets = Resets::default();
        }
    }
}

impl Drop for InRequest {
    fn drop(&mut self) {
        self.activity.ended(self.answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(answers: impl Iterator<Item = bool>, pause: Duration, expect: bool) {
        let activity = Arc::new(Activity::default());
        for answered in answers {
            let mut request = activity.begin();
            if answered {
                request.answered();
            }
            time::advance(pause).await;
        }
        let flooded = time::timeout(Duration::from_millis(1), activity.flooded()).await.is_ok();
        assert_eq!(flooded, expect);
    }

    #[tokio::test(start_paused = true)]
    async fn many_fast_resets_are_a_flood() {
        let fast = Duration::from_micros(100);
        check((0..500).map(|_| false), fast, true).await;
        check((0..500).map(|_| false), Duration::from_millis(10), false).await;
        check((0..5_000).map(|number| number % 2 == 0), fast, false).await;
        check((0..5_000).map(|_| true), fast, false).await;
        check((0..499).map(|_| false), fast, false).await;
    }
}
