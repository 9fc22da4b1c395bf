//! A thread with a runtime of its own, which accepts, serves, and keeps its own connections to endpoints. Nothing that
//! it does waits for another thread; what they share is in [`Shared`].

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{
    runtime::{Builder, Handle},
    task::JoinHandle,
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    endpoint::connections::Connections, limits, metrics::Metrics, overload::Overload, room::Room,
    snapshot::Snapshot,
};

/// What all threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What requests see.
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) metrics: Arc<Metrics>,
    /// All connections from clients.
    pub(crate) connections: TaskTracker,
    /// The proxy ends: each request is the last of its connection.
    pub(crate) draining: CancellationToken,
    /// Whether memory runs out.
    pub(crate) overload: Arc<Overload>,
    /// Tells this process from others in Via.
    pub(crate) instance: u32,
    /// The name by which controllers know it.
    pub(crate) name: Option<String>,
}

/// A thread of the data plane.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its number, from 0.
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) endpoints: Arc<Connections>,
    /// Room for probes.
    pub(crate) probes: Room,
    runtime: Handle,
    started: Instant,
    /// Milliseconds from the start to the last sign of life.
    heartbeat: AtomicU64,
}

impl Worker {
    /// Starts a thread, which ends with `stop`, whatever it does then.
    ///
    /// # Errors
    /// Where the system gives no thread or no epoll.
    pub(crate) fn start(
        index: usize,
        shared: &Arc<Shared>,
        stop: CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let worker = Arc::new(Self {
            index,
            shared: Arc::clone(shared),
            endpoints: Arc::new(Connections::new(Arc::clone(&shared.metrics))),
            probes: Room::new(limits::PROBES_AT_ONCE),
            runtime: runtime.handle().clone(),
            started: Instant::now(),
            heartbeat: AtomicU64::new(0),
        });
        worker.spawn(tick(Arc::clone(&worker)));
        thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || runtime.block_on(stop.cancelled_owned()))?;
        Ok(worker)
    }

    /// Runs a task on this thread.
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// How long ago it gave a sign of life.
    pub(crate) fn silence(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.heartbeat.load(Relaxed)))
    }

    fn beat(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heartbeat.store(millis, Relaxed);
    }
}

/// What a worker does at times: show that it lives, and close connections that have been idle for long.
async fn tick(worker: Arc<Worker>) {
    let mut ticks = time::interval(limits::HEARTBEAT.min(limits::ENDPOINT_SWEEP));
    loop {
        ticks.tick().await;
        worker.beat();
        worker.endpoints.sweep();
    }
}
