//! The only writer of statuses and Services. One queue, in which each object waits at most once: the latest wins.
//!
//! Nothing is written unless the fence that came with an effect holds; what waits when it ends is dropped, since a new
//! leadership begins by saying all anew. A Service without our mark is never touched (`carry_out`).

mod announce;
mod carry_out;
mod document;
mod queue;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use announce::Announcer;
use carry_out::{Cluster, Outcome};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use queue::{Item, Key, Queue};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use crate::{effect::Effect, election::Fence, event::ObjectName, metrics::WriteMetrics};

/// Objects written at the same time.
pub const CONCURRENCY: usize = 8;
/// Time that writing an object may take: less than the time between the end of a leadership and the start of the next.
const ATTEMPT: Duration = Duration::from_secs(4);
/// Pause after the first failure; each further one doubles it, give or take a quarter.
const RETRY_FIRST: Duration = Duration::from_millis(200);
/// Pause at most.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Takes effects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    pending: watch::Receiver<usize>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    pending: watch::Sender<usize>,
    metrics: WriteMetrics,
}

/// Carries effects out; [`WriterTask::run`] does the work.
pub struct WriterTask {
    shared: Arc<Shared>,
    cluster: Cluster,
    announcer: Announcer,
    verdicts: mpsc::Sender<Verdict>,
}

/// What the API server said of a Service that was to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The Service.
    pub service: ObjectName,
    /// Why it is refused; `None` if it is not.
    pub refusal: Option<String>,
}

/// Verdicts that wait to be read at most. More are dropped: a refused write is tried again, and refused again.
const VERDICTS: usize = 256;

impl Writer {
    /// A writer to this cluster, and where it tells what the API server refuses.
    #[must_use]
    pub fn new(client: Client, metrics: WriteMetrics) -> (Self, WriterTask, mpsc::Receiver<Verdict>) {
        let (sender, pending) = watch::channel(0);
        let queue = Mutex::new(Queue::default());
        let shared = Arc::new(Shared { queue, wake: Notify::new(), pending: sender, metrics });
        let (verdicts, receiver) = mpsc::channel(VERDICTS);
        let announcer = Announcer::new(client.clone());
        let task = WriterTask { shared: shared.clone(), cluster: Cluster::new(client), announcer, verdicts };
        (Self { shared, pending }, task, receiver)
    }

    /// Has these effects carried out, as long as `fence` holds. A newer effect on an object replaces one that waits.
    pub fn submit(&self, fence: &Fence, effects: impl IntoIterator<Item = Effect>) {
        let now = Instant::now();
        let items = effects.into_iter().map(|effect| Item { effect, fence: fence.clone() });
        let replaced = self
            .shared
            .with_queue(|queue| items.flat_map(|item| queue.submit(item, now)).collect::<Vec<_>>());
        self.shared.superseded(&replaced);
        self.shared.wake.notify_one();
    }

    /// Completes when nothing waits and nothing is being written.
    pub async fn idle(&self) {
        let mut pending = self.pending.clone();
        // No error: the sender lives as long as `self`.
        let _zero = pending.wait_for(|pending| *pending == 0).await;
    }
}

impl Shared {
    fn with_queue<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut queue);
        let pending = queue.len();
        drop(queue);
        self.metrics.pending.set(i64::try_from(pending).unwrap_or(i64::MAX));
        self.pending.send_if_modified(|known| std::mem::replace(known, pending) != pending);
        result
    }

    fn superseded(&self, items: &[Item]) {
        for item in items {
            self.metrics.done(kind(&item.effect), "superseded");
        }
    }
}

impl WriterTask {
    /// Writes until it is dropped.
    pub async fn run(self) {
        tokio::join!(self.write(), self.announcer.run());
    }

    async fn write(&self) {
        let mut running: FuturesUnordered<BoxFuture<'_, (Item, Outcome)>> = FuturesUnordered::new();
        loop {
            while running.len() < CONCURRENCY
                && let Some(item) = self.shared.with_queue(|queue| queue.take(Instant::now()))
            {
                running.push(self.attempt(item).boxed());
            }
            let is_full = running.len() >= CONCURRENCY;
            let due = self.shared.with_queue(|queue| queue.next_due()).filter(|_| !is_full);
            tokio::select! {
                Some((item, outcome)) = running.next() => self.finish(item, &outcome),
                () = self.shared.wake.notified() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    async fn attempt(&self, item: Item) -> (Item, Outcome) {
        let attempt = self.cluster.carry_out(&item.effect, &item.fence);
        let outcome = timeout(ATTEMPT, attempt).await.unwrap_or(Outcome::TimedOut);
        (item, outcome)
    }

    fn finish(&self, item: Item, outcome: &Outcome) {
        let (kind, key) = (kind(&item.effect), Key::of(&item.effect));
        self.shared.metrics.done(kind, outcome.result());
        match outcome {
            Outcome::Failed(error) => {
                tracing::warn!(kind, object = %key, error = %carry_out::hint(error), "cannot write, trying again");
            }
            Outcome::TimedOut => tracing::warn!(kind, object = %key, "cannot write in time, trying again"),
            Outcome::Foreign => tracing::info!(kind, object = %key, "left alone, for it is not ours"),
            _ => tracing::debug!(kind, object = %key, result = outcome.result(), "written"),
        }
        if let (Effect::Status { pool, uid, news, .. }, Outcome::Applied) = (&item.effect, outcome) {
            self.announcer.submit(pool, uid, news);
        }
        if let Key::Service(service) = &key
            && (outcome.is_final() || outcome.refusal().is_some())
        {
            let verdict = Verdict { service: service.clone(), refusal: outcome.refusal() };
            let _full = self.verdicts.try_send(verdict);
        }
        let now = Instant::now();
        let replaced = self.shared.with_queue(|queue| {
            if outcome.is_final() {
                queue.done(&key, now);
                return Vec::new();
            }
            queue.failed(item, outcome.is_overload(), now, jittered)
        });
        self.shared.superseded(&replaced);
    }
}

/// The pause after so many failures in a row.
fn jittered(failures: u32) -> Duration {
    let pause = RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RETRY_MAX);
    pause.mul_f64(rand::random_range(0.75..1.25))
}

/// The label of an effect.
const fn kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Status { .. } => "status",
        Effect::Service(_) => "service",
        Effect::Alias { .. } => "alias",
        Effect::DeleteService { .. } => "delete_service",
        Effect::DefaultClass => "default_class",
    }
}
