//! Active checks of endpoints, apart from requests. Each endpoint has a task of its own on the control runtime; what it
//! finds is kept by the endpoint's identity, so that it survives pushes, and a change asks the plane to build that pool
//! anew.

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
use tokio::{runtime::Handle, sync::Notify, task::AbortHandle, time};

pub(crate) use record::{Change, EndpointHealth, Standing};

use crate::{
    limits,
    metrics::Metrics,
    plane::Origin,
    room::{PoolRoom, Room},
};

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

/// What the checks of all pools share.
#[derive(Debug)]
pub(crate) struct Checks {
    pub(crate) runtime: Handle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) changed: Changed,
    room: Room,
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

/// Names an endpoint and its pool, in logs and findings.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) pool: PoolUid,
    /// Namespace and name of the pool.
    pub(crate) pool_name: String,
    pub(crate) endpoint: String,
}

impl Checks {
    pub(crate) fn new(runtime: Handle, metrics: Arc<Metrics>) -> Self {
        let room = Room::new(limits::CHECKS_AT_ONCE);
        Self { runtime, metrics, changed: Changed::default(), room }
    }
}

/// What the checks of a pool share.
#[derive(Debug)]
pub(crate) struct PoolChecks {
    pub(crate) all: Arc<Checks>,
    room: PoolRoom,
}

impl PoolChecks {
    pub(crate) fn new(all: &Arc<Checks>) -> Self {
        Self { all: Arc::clone(all), room: all.room.part(limits::CHECKS_OF_POOL_AT_ONCE) }
    }

    /// Starts to check an endpoint, the first time at once, in place of whoever did; `None` if there is nothing to
    /// check.
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
        let task = self.all.runtime.spawn(async move { checks.run(&subject, &plan, &health, number).await });
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
                log(subject, plan, change, result.err().as_ref());
                self.all.changed.add(&subject.pool);
            }
            if was_ejected && passed && health.is_healthy() {
                self.all.changed.add_passed(subject);
            }
            if plan.check.is_none() && !health.is_unverified() {
                return;
            }
            time::sleep(pause).await;
            pause = interval.mul_f64(rand::rng().random_range(0.9..1.1));
        }
    }

    async fn probe(&self, plan: &Plan) -> Result<(), probe::CheckError> {
        let _place = self.room.place().await;
        let result = probe::probe(plan).await;
        let word = if result.is_ok() { "passed" } else { "failed" };
        self.all.metrics.health_checks_total.with_label_values(&[word]).inc();
        result
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

fn log(subject: &Subject, plan: &Plan, healthy: bool, error: Option<&probe::CheckError>) {
    let (pool, endpoint, address) = (&subject.pool_name, &subject.endpoint, plan.address);
    match error {
        Some(error) if !healthy => {
            tracing::warn!(pool, endpoint, %address, %error, "endpoint is unhealthy");
        }
        _ => tracing::info!(pool, endpoint, %address, healthy, "endpoint's health changed"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evenkeel_api::object::{ActiveHealthCheckType, HttpHealthCheck};
    use tokio::net::TcpListener;

    use super::*;

    /// A check by HTTP of who listens there, which may take a minute.
    fn plan(of: &TcpListener) -> Plan {
        let check = ActiveHealthCheck {
            type_: ActiveHealthCheckType::Http,
            http: Some(HttpHealthCheck::default()),
            port: None,
            interval: evenkeel_api::Duration::from_secs(60),
            timeout: evenkeel_api::Duration::from_secs(60),
            healthy_threshold: 1,
            unhealthy_threshold: 1,
        };
        Plan { address: of.local_addr().unwrap(), check: Some(check) }
    }

    fn start(pool: &Arc<PoolChecks>, plan: &Plan) -> Option<Checker> {
        let (uid, pool_name, endpoint) = ("a".into(), "shop/checkout".to_owned(), "one".to_owned());
        let health = Arc::new(EndpointHealth::healthy());
        pool.start(Subject { pool: uid, pool_name, endpoint }, plan.clone(), &health)
    }

    #[tokio::test]
    async fn a_pool_whose_endpoints_hang_leaves_room_to_others() {
        let listens = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (hangs, answers) = (listens().await, listens().await);
        let metrics = Arc::new(Metrics::new(false).unwrap());
        let checks = Arc::new(Checks::new(Handle::current(), metrics));
        let pool = || Arc::new(PoolChecks::new(&checks));
        let stuck = pool();
        let _checkers: Vec<_> =
            (0..2 * limits::CHECKS_AT_ONCE).map(|_| start(&stuck, &plan(&hangs))).collect();
        // So many are under way, and no more come.
        let mut asked = Vec::new();
        while asked.len() < limits::CHECKS_OF_POOL_AT_ONCE {
            asked.push(hangs.accept().await.unwrap());
        }
        let _checker = start(&pool(), &plan(&answers));
        let ours = time::timeout(Duration::from_secs(30), answers.accept()).await;
        assert!(ours.is_ok(), "the other pool's endpoint is checked");
        assert!(futures::future::poll_immediate(hangs.accept()).await.is_none(), "more than its room");
    }
}
