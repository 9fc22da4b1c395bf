//! The one mutator of what requests see. Pushes and changes of health both go through its lock, which no request takes,
//! and end in the swap of one snapshot; so neither can undo the other.

mod check;
mod claims;
mod ledger;
mod pool;
mod report;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, PoisonError},
};

use evenkeel_api::channel::{PoolDocument, PoolReport, PoolUid, Rejection};
use prometheus::proto::MetricFamily;
use tokio::{
    sync::Mutex,
    task::AbortHandle,
    time::{self, MissedTickBehavior},
};

pub use self::claims::SharedPort;
use self::ledger::Ledger;
pub use crate::control::Origin;
use crate::{
    control::Activate,
    health::Checks,
    limits,
    metrics::{EndpointFigures, PoolFigures},
    snapshot::Pool,
    worker::{Shared, Worker},
};

/// What this proxy carries out. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Plane(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    checks: Arc<Checks>,
    ledger: Arc<Mutex<Ledger>>,
    refresher: AbortHandle,
}

impl Activate for Plane {
    async fn activate(
        &self,
        desired: BTreeMap<PoolUid, Arc<PoolDocument>>,
        origin: Origin,
    ) -> BTreeMap<PoolUid, Vec<Rejection>> {
        Self::activate(self, desired, origin).await
    }

    fn report(&self) -> BTreeMap<PoolUid, PoolReport> {
        Self::report(self)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.refresher.abort();
    }
}

impl Plane {
    /// A plane without pools, whose health checks run on `checks.runtime`.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        checks: Arc<Checks>,
        workers: Vec<Arc<Worker>>,
        address: IpAddr,
        shared_port: SharedPort,
    ) -> std::io::Result<Self> {
        let ledger = Ledger::new(Arc::clone(shared), Arc::clone(&checks), workers, address, shared_port)?;
        let ledger = Arc::new(Mutex::new(ledger));
        let refreshing = refresh(Arc::clone(&checks), Arc::clone(&ledger));
        let refresher = checks.runtime.spawn(refreshing).abort_handle();
        Ok(Self(Arc::new(Inner { shared: Arc::clone(shared), checks, ledger, refresher })))
    }

    /// Makes `desired`, the whole set of pools, what requests see. Binds what is new, builds off the request path,
    /// swaps one snapshot, and carries over what was learned by the identity of the endpoints. When it returns, every
    /// thread uses the new state, but for the pools in the answer: those keep the version that they had, if any, and
    /// are told the field and the way out. It runs to its end even if the caller does not wait for it.
    pub async fn activate(
        &self,
        desired: BTreeMap<PoolUid, Arc<PoolDocument>>,
        origin: Origin,
    ) -> BTreeMap<PoolUid, Vec<Rejection>> {
        let uids: Vec<_> = desired.keys().cloned().collect();
        let ledger = Arc::clone(&self.0.ledger);
        let activation =
            self.0.checks.runtime.spawn(async move { ledger.lock().await.activate(&desired, origin).await });
        match activation.await {
            Ok(rejected) => rejected,
            Err(error) => {
                tracing::error!(%error, "a snapshot was not carried out");
                let rejection = || vec![check::rejection("", format!("this proxy is at fault: {error}"))];
                uids.into_iter().map(|uid| (uid, rejection())).collect()
            }
        }
    }

    /// What this proxy knows of its pools.
    #[must_use]
    pub fn report(&self) -> BTreeMap<PoolUid, PoolReport> {
        let snapshot = self.0.shared.snapshot.load();
        snapshot.pools.iter().map(|(uid, pool)| (uid.clone(), report::of(pool))).collect()
    }

    /// The pools in use.
    #[must_use]
    pub fn active(&self) -> BTreeMap<PoolUid, Arc<PoolDocument>> {
        let snapshot = self.0.shared.snapshot.load();
        snapshot.pools.iter().map(|(uid, pool)| (uid.clone(), Arc::clone(&pool.document))).collect()
    }

    /// All metrics of the proxy, as of now.
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        let snapshot = self.0.shared.snapshot.load();
        let pools: Vec<_> = snapshot.pools.values().map(|pool| figures(pool)).collect();
        self.0.shared.metrics.gather(&pools)
    }

    /// Accepts no more connections, and binds no more ports.
    pub(crate) async fn stop_accepting(&self) {
        self.0.ledger.lock().await.stop_accepting().await;
    }
}

/// Builds pools anew whose endpoints' health has changed, or that what was learned of them changes.
async fn refresh(checks: Arc<Checks>, ledger: Arc<Mutex<Ledger>>) {
    let every = |period| {
        let mut ticks = time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let (mut ticks, mut looks) = (every(limits::TICK), every(limits::URGENT));
    loop {
        tokio::select! {
            findings = checks.changed.take() => ledger.lock().await.take_in(&findings),
            _ = ticks.tick() => ledger.lock().await.tick(false),
            _ = looks.tick() => ledger.lock().await.tick(true),
        }
    }
}

fn figures(pool: &Pool) -> PoolFigures<'_> {
    let tuned = pool.tuned.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let now = crate::clock::now();
    let endpoints = report::seats(pool, &tuned).into_iter().map(|seat| EndpointFigures {
        up: seat.is_up(),
        address: seat.endpoint.address.to_string(),
        pod: seat.endpoint.pod.as_deref(),
        weight: seat.endpoint.weight,
        effective_weight: seat.effective_weight(),
        response_time: seat.endpoint.state.response_time_nanos(now).map(|nanos| nanos / 1e9),
        ejected: seat.ejected(now),
        requests: seat.endpoint.state.requests(),
        failures: seat.endpoint.state.failures(),
        in_flight: seat.endpoint.state.in_flight(),
        metrics: &seat.endpoint.metrics,
    });
    let backends = pool.document.backends.keys().map(String::as_str);
    PoolFigures {
        namespace: &pool.document.namespace,
        name: &pool.document.name,
        metrics: &pool.metrics,
        queue: &pool.queue,
        algorithm: tuned.algorithm.name(),
        backends: backends.map(|key| (key, tuned.panicking.iter().any(|of| of == key))).collect(),
        endpoints: endpoints.collect(),
    }
}
