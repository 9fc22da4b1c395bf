//! A pool as the mutator keeps it: its document, and what was learned of it, which outlives every version.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use evenkeel_api::channel::{EndpointDocument, PoolDocument, PoolUid};
use evenkeel_balance::{Backend, Balancer, Endpoint, EndpointId, PoolSpec, PoolState};

use super::Origin;
use crate::{
    health::{Checker, Checks, EndpointHealth, Plan, Subject},
    metrics::{EndpointMetrics, PoolMetrics},
    request::headers::Passage,
    snapshot::{Pool, PoolEndpoint},
};

#[derive(Debug)]
pub(super) struct PoolEntry {
    uid: PoolUid,
    document: Arc<PoolDocument>,
    state: Arc<PoolState>,
    metrics: Arc<PoolMetrics>,
    endpoints: HashMap<EndpointId, EndpointEntry>,
    /// No version has been taken yet.
    new: bool,
}

#[derive(Debug)]
struct EndpointEntry {
    health: Arc<EndpointHealth>,
    metrics: Arc<EndpointMetrics>,
    plan: Plan,
    checker: Option<Checker>,
}

impl EndpointEntry {
    fn is_unverified(&self) -> bool {
        self.health.is_unverified()
    }

    /// Takes what the origin says of the endpoint, and has it checked by `plan`.
    fn update(&mut self, subject: Subject, plan: Plan, origin: Origin, checks: &Arc<Checks>) {
        let vouched = origin == Origin::Controller;
        let needless = vouched && plan.check.is_none();
        if self.plan != plan || self.checker.is_none() || needless {
            // The old check has its last say before the controller has its own.
            self.checker = None;
            self.health.supersede();
        }
        if vouched {
            self.health.vouch(plan.check.is_some());
        }
        if self.checker.is_none() {
            self.checker = checks.start(subject, plan.clone(), &self.health);
            self.plan = plan;
        }
    }
}

impl PoolEntry {
    /// A pool that is new to this proxy, without endpoints yet.
    pub(super) fn new(uid: PoolUid, document: Arc<PoolDocument>, workers: usize) -> Self {
        Self {
            uid,
            document,
            state: Arc::new(PoolState::new(workers, &mut rand::rng())),
            metrics: Arc::new(PoolMetrics::new()),
            endpoints: HashMap::new(),
            new: true,
        }
    }

    pub(super) const fn document(&self) -> &Arc<PoolDocument> {
        &self.document
    }

    /// Takes another version, and what its origin says of the endpoints. Whether that makes a difference.
    pub(super) fn update(
        &mut self,
        document: Arc<PoolDocument>,
        origin: Origin,
        checks: &Arc<Checks>,
    ) -> bool {
        let vouched =
            origin == Origin::Controller && self.endpoints.values().any(EndpointEntry::is_unverified);
        if !self.new && !vouched && *self.document == *document {
            return false;
        }
        self.new = false;
        let mut before = std::mem::take(&mut self.endpoints);
        for (id, endpoint) in endpoints(&document) {
            let id = EndpointId::from(id.as_str());
            let plan = Plan { address: endpoint.address, check: document.health_check.clone() };
            let entry = before.remove(&id).or_else(|| self.endpoints.remove(&id));
            let mut entry = entry.unwrap_or_else(|| EndpointEntry {
                health: Arc::new(EndpointHealth::new(origin)),
                metrics: Arc::new(checks.metrics.endpoint()),
                plan: plan.clone(),
                checker: None,
            });
            let subject = Subject {
                pool: self.uid.clone(),
                pool_name: format!("{}/{}", document.namespace, document.name),
                endpoint: id.to_string(),
            };
            entry.update(subject, plan, origin, checks);
            self.endpoints.insert(id, entry);
        }
        self.document = document;
        let known: HashSet<_> = self.endpoints.keys().cloned().collect();
        self.state.retain(&known);
        true
    }

    /// The pool as requests are to see it, with the health that is known now. O(n).
    pub(super) fn build(&self, instance: u32) -> Arc<Pool> {
        let document = &self.document;
        let balancer = Balancer::new(&self.spec(), &self.state);
        let picked = balancer.endpoints().filter_map(|endpoint| self.endpoints.get(&endpoint.id));
        Arc::new(Pool {
            picked: picked.map(|entry| Arc::clone(&entry.metrics)).collect(),
            balancer,
            endpoints: self.reported(),
            timeouts: document.timeouts.into(),
            passage: Passage::new(instance, tag(&self.uid)),
            metrics: Arc::clone(&self.metrics),
            document: Arc::clone(document),
        })
    }

    fn spec(&self) -> PoolSpec {
        let backend = |(key, backend): (&String, &evenkeel_api::channel::BackendDocument)| Backend {
            key: key.clone(),
            weight: backend.weight,
            endpoints: backend.endpoints.iter().map(|(id, endpoint)| self.endpoint(id, endpoint)).collect(),
        };
        let backends = self.document.backends.iter().map(backend).collect();
        PoolSpec::new(self.document.algorithm.into(), backends)
    }

    fn endpoint(&self, id: &str, document: &EndpointDocument) -> Endpoint {
        let entry = self.endpoints.get(id);
        Endpoint {
            id: id.into(),
            address: document.address,
            weight: document.weight,
            terminating: document.terminating,
            healthy: entry.is_some_and(|entry| entry.health.is_healthy()),
            ready_since: None,
            zone: None,
            region: None,
        }
    }

    fn reported(&self) -> Vec<PoolEndpoint> {
        let backends = self.document.backends.iter();
        let all = backends.flat_map(|(key, backend)| backend.endpoints.iter().map(move |each| (key, each)));
        all.filter_map(|(backend, (id, document))| {
            let entry = self.endpoints.get(id.as_str())?;
            Some(PoolEndpoint {
                id: id.clone(),
                address: document.address,
                backend: backend.clone(),
                pod: document.pod.clone(),
                weight: document.weight,
                draining: document.terminating || document.weight == 0,
                health: Arc::clone(&entry.health),
                state: self.state.endpoint(&id.as_str().into()),
                metrics: Arc::clone(&entry.metrics),
            })
        })
        .collect()
    }
}

fn endpoints(document: &PoolDocument) -> impl Iterator<Item = (&String, &EndpointDocument)> {
    document.backends.values().flat_map(|backend| &backend.endpoints)
}

/// A few bits of a pool's UID (FNV-1a), to tell the pools of one process apart.
fn tag(uid: &str) -> u32 {
    uid.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
