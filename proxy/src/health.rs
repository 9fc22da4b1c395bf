//! Active checks of endpoints, apart from requests. Each endpoint has a task of its own on the control runtime; what it finds
//! is kept by the endpoint's identity, so that it survives pushes, and a change asks the plane to build that pool anew.

mod probe;
mod record;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use evenkeel_api::{channel::PoolUid, object::ActiveHealthCheck};
use evenkeel_balance::EndpointId;
use rand::Rng as _;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    task::AbortHandle,
    time,
};

pub(crate) use record::{Change, EndpointHealth, Standing};

use crate::{limits, metrics::Metrics, plane::Origin};

/// What is checked, and how.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) address: SocketAddr,
    /// Without one, an endpoint from disk is checked by a connection, until that has opened once.
    pub(crate) check: Option<ActiveHealthCheck>,
}

/// A task that checks an endpoint, until it is dropped.
#[derive(Debug)]
pub(crate) struct Checker(AbortHandle);

impl Drop for Checker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What all checks share.
#[derive(Debug)]
pub(crate) struct Checks {
    pub(crate) runtime: Handle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) changed: Changed,
    room: Semaphore,
}

/// What checks have found that the plane does not know yet.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    findings: Mutex<Findings>,
    wake: Notify,
}

/// See [`Changed`].
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Pools whose endpoints' health has changed since they were built.
    pub(crate) pools: BTreeSet<PoolUid>,
    /// Endpoints that were ejected when a check of them began, and that passed it.
    pub(crate) passed: BTreeMap<PoolUid, BTreeSet<EndpointId>>,
}

impl Changed {
    fn add(&self, pool: &PoolUid) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).pools.insert(pool.clone());
        self.wake.notify_one();
    }

    fn add_passed(&self, subject: &Subject) {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = EndpointId::from(subject.endpoint.as_str());
        findings.passed.entry(subject.pool.clone()).or_default().insert(endpoint);
        self.wake.notify_one();
    }

    /// Waits until there is something, and takes it.
    pub(crate) async fn take(&self) -> Findings {
        loop {
            let findings = mem::take(&mut *self.findings.lock().unwrap_or_else(PoisonError::into_inner));
            if !findings.pools.is_empty() || !findings.passed.is_empty() {
                return findings;
            }
            self.wake.notified().await;
        }
    }
}

/// Who is told of, where a check speaks of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) pool: PoolUid,
    /// Namespace and name of the pool.
    pub(crate) pool_name: String,
    pub(crate) endpoint: String,
}

impl Checks {
    pub(crate) fn new(runtime: Handle, metrics: Arc<Metrics>) -> Self {
        let room = Semaphore::new(limits::CHECKS_AT_ONCE);
        Self { runtime, metrics, changed: Changed::default(), room }
    }

    /// Starts to check an endpoint, the first time at once, in place of whoever did; `None` if there is nothing to check.
    pub(crate) fn start(
        self: &Arc<Self>,
        subject: Subject,
        plan: Plan,
        health: &Arc<EndpointHealth>,
    ) -> Option<Checker> {
        let number = health.supersede();
        if plan.check.is_none() && !health.is_unverified() {
            return None;
        }
        let (checks, health) = (Arc::clone(self), Arc::clone(health));
        let task = self.runtime.spawn(async move { checks.run(&subject, &plan, &health, number).await });
        Some(Checker(task.abort_handle()))
    }

    async fn run(&self, subject: &Subject, plan: &Plan, health: &EndpointHealth, number: u64) {
        let interval = plan.check.as_ref().map_or(limits::DISK_CHECK, |check| check.interval.into());
        let mut streak = record::Streak::new(plan.check.as_ref(), number);
        // After the first check a random part of the interval, so that proxies and endpoints do not march in step.
        let mut pause = interval.mul_f64(rand::rng().random_range(0.0..1.0));
        loop {
            let was_ejected = health.is_ejected();
            let result = self.probe(plan).await;
            let passed = result.is_ok();
            if let Some(change) = health.observe(&mut streak, result.as_ref().err().map(ToString::to_string))
            {
                self.log(subject, plan, change, result.err().as_ref());
                self.changed.add(&subject.pool);
            }
            if was_ejected && passed && health.is_healthy() {
                self.changed.add_passed(subject);
            }
            if plan.check.is_none() && !health.is_unverified() {
                return;
            }
            time::sleep(pause).await;
            pause = interval.mul_f64(rand::rng().random_range(0.9..1.1));
        }
    }

    async fn probe(&self, plan: &Plan) -> Result<(), probe::CheckError> {
        // Never closed; if it were, checks would only be less bounded.
        let _room = self.room.acquire().await.ok();
        let result = probe::probe(plan).await;
        let word = if result.is_ok() { "passed" } else { "failed" };
        self.metrics.health_checks_total.with_label_values(&[word]).inc();
        result
    }

    fn log(&self, subject: &Subject, plan: &Plan, healthy: bool, error: Option<&probe::CheckError>) {
        let (pool, endpoint, address) = (&subject.pool_name, &subject.endpoint, plan.address);
        match error {
            Some(error) if !healthy => {
                tracing::warn!(pool, endpoint, %address, %error, "endpoint is unhealthy");
            }
            _ => tracing::info!(pool, endpoint, %address, healthy, "endpoint's health changed"),
        }
    }
}

impl EndpointHealth {
    /// The health of an endpoint that comes to be known.
    pub(crate) fn new(origin: Origin) -> Self {
        match origin {
            Origin::Controller => Self::healthy(),
            Origin::Disk => Self::unverified(),
        }
    }
}
