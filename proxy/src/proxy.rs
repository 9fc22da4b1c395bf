//! A proxy in this process: its threads, its plane, and what is asked of it. Signals, ports of probes and the config
//! channel are the caller's.

use std::{io, net::IpAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use prometheus::proto::MetricFamily;
use tokio::runtime::Handle;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    health::Checks,
    limits,
    metrics::Metrics,
    overload::{self, Overload},
    plane::{Plane, SharedPort},
    readiness::Readiness,
    snapshot::Snapshot,
    worker::{Shared, Worker},
};

/// How a proxy is set up.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// The name by which controllers know it: that of its pod, if it is one.
    pub name: Option<String>,
    /// Threads that serve.
    pub threads: NonZeroUsize,
    /// Where ports are bound; `::` takes IPv4 too, and is `0.0.0.0` where there is no IPv6.
    pub address: IpAddr,
    /// The port where host names select the pool.
    pub shared_port: SharedPort,
    /// Whether endpoints have metrics of their own.
    pub endpoint_metrics: bool,
    /// Bytes of memory near which it refuses what comes; `None`: the limit of its container, if it has one.
    pub memory_limit: Option<u64>,
}

/// A running proxy. Dropping it ends its threads and cuts what is open; see [`Proxy::drain`].
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    plane: Plane,
    readiness: Arc<Readiness>,
    workers: Vec<Arc<Worker>>,
    _stop: DropGuard,
}

/// Why a proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The shared port.
    #[error("cannot bind the shared port, choose another by --shared-port: {0}")]
    SharedPort(#[source] io::Error),
    /// The metrics.
    #[error("cannot define the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A worker has given no sign of life for long.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("worker {worker} has been silent for {} s", silence.as_secs())]
pub struct Stuck {
    worker: usize,
    silence: Duration,
}

impl Proxy {
    /// Starts a proxy without pools. Health checks and changes of configuration run on the caller's runtime.
    ///
    /// # Errors
    /// Where the system gives no thread, or the shared port is taken.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: ProxyConfig) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(config.endpoint_metrics)?);
        let overload = Arc::new(Overload::default());
        let shared = Arc::new(Shared {
            overload: Arc::clone(&overload),
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            metrics: Arc::clone(&metrics),
            connections: TaskTracker::new(),
            draining: CancellationToken::new(),
            instance: rand::random(),
            name: config.name,
        });
        let stop = CancellationToken::new();
        let watching = overload::watch(overload, config.memory_limit);
        tokio::spawn(stop.clone().run_until_cancelled_owned(watching));
        let workers: Vec<_> = (0..config.threads.get())
            .map(|index| Worker::start(index, &shared, stop.clone()))
            .collect::<io::Result<_>>()
            .map_err(StartError::Thread)?;
        let checks = Arc::new(Checks::new(Handle::current(), metrics));
        let plane = Plane::new(&shared, checks, workers.clone(), config.address, config.shared_port)
            .map_err(StartError::SharedPort)?;
        Ok(Self { shared, plane, readiness: Arc::default(), workers, _stop: stop.drop_guard() })
    }

    /// Where pools are put in, and what is known of them.
    #[must_use]
    pub const fn plane(&self) -> &Plane {
        &self.plane
    }

    /// Whether it is to get traffic.
    #[must_use]
    pub const fn readiness(&self) -> &Arc<Readiness> {
        &self.readiness
    }

    /// What is counted; the config channel sets its part.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// All metrics, as of now.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.plane.gather()
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether every thread gives signs of life.
    ///
    /// # Errors
    /// The first one that does not.
    pub fn live(&self) -> Result<(), Stuck> {
        self.live_within(limits::HEARTBEAT_TIMEOUT)
    }

    fn live_within(&self, limit: Duration) -> Result<(), Stuck> {
        let mut stuck =
            self.workers.iter().map(|worker| Stuck { worker: worker.index, silence: worker.silence() });
        stuck.find(|worker| worker.silence > limit).map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, thread, time::Instant};

    use super::*;

    #[tokio::test]
    async fn a_stuck_worker_is_noticed_and_forgiven() {
        let config = ProxyConfig {
            name: None,
            threads: NonZeroUsize::MIN,
            address: Ipv4Addr::LOCALHOST.into(),
            shared_port: SharedPort::None,
            endpoint_metrics: true,
            memory_limit: None,
        };
        let proxy = Proxy::start(config).unwrap();
        let limit = 2 * limits::HEARTBEAT;
        assert!(proxy.live_within(limit).is_ok());
        let stuck = proxy.workers[0].spawn(async move { thread::sleep(limit + limits::HEARTBEAT) });
        let (start, mut noticed) = (Instant::now(), false);
        while !stuck.is_finished() {
            noticed |= proxy.live_within(limit).is_err_and(|stuck| stuck.worker == 0);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(noticed, "not within {:?}", start.elapsed());
        while proxy.live_within(limit).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
