//! A pool as the mutator keeps it: its document, and what was learned of it, which outlives every version.

mod endpoint;
mod overrides;
mod place;
mod spec;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use evenkeel_api::{
    channel::{EndpointDocument, PoolDocument, PoolUid},
    object::AlgorithmType,
};
use evenkeel_balance::{Algorithm, Balancer, EndpointId, PoolSpec, PoolState, Time, Tuner, TunerReport};

use self::endpoint::EndpointEntry;
use super::{Origin, report};
use crate::{
    clock,
    health::{self, Checks, EndpointHealth, Plan, PoolChecks, Subject},
    limits,
    metrics::PoolMetrics,
    request::{
        affinity::Affinity, budget::Budget, headers::Passage, queue::Queue, retry::Policy, sampling::Sampling,
    },
    room::Room,
    snapshot::{Bounds, Choice, Overrides, Pool, PoolEndpoint},
    usage::{self, Pages, PoolPages},
};

#[derive(Debug)]
pub(super) struct PoolEntry {
    uid: PoolUid,
    /// The name of this proxy.
    proxy: Option<String>,
    document: Arc<PoolDocument>,
    state: Arc<PoolState>,
    tuner: Tuner,
    tuned: Arc<Mutex<TunerReport>>,
    metrics: Arc<PoolMetrics>,
    checks: Arc<PoolChecks>,
    pages: Arc<PoolPages>,
    endpoints: HashMap<EndpointId, EndpointEntry>,
    /// Health of those that have left, as long as the tuner remembers them. What is measured of them, of which there is
    /// only room for so many, is not kept.
    left: HashMap<EndpointId, Arc<EndpointHealth>>,
    reported: Arc<[PoolEndpoint]>,
    affinity: Option<Arc<Affinity>>,
    queue: Arc<Queue>,
    /// For each thread, as many as the pool may have under way there.
    probes: Arc<[Room]>,
    budget: Option<Arc<Budget>>,
    /// What requests were last given, and when.
    last: Option<Arc<Pool>>,
    built: Time,
    observed: Time,
    /// No version has been taken yet.
    new: bool,
}

/// Whose pool it is.
pub(super) struct Owner<'a> {
    pub(super) workers: usize,
    pub(super) name: Option<String>,
    pub(super) checks: &'a Arc<Checks>,
    pub(super) pages: &'a Pages,
}

impl PoolEntry {
    /// A pool that is new to this proxy, without endpoints yet.
    pub(super) fn new(uid: PoolUid, document: Arc<PoolDocument>, owner: &Owner<'_>) -> Self {
        let state = Arc::new(PoolState::new(owner.workers, &mut rand::rng()));
        let empty = PoolSpec::new(Algorithm::RoundRobin, Vec::new());
        let tuner = Tuner::new(empty, Arc::clone(&state), clock::now());
        let metrics = Arc::new(PoolMetrics::new());
        Self {
            uid,
            proxy: owner.name.clone(),
            document,
            state,
            tuned: Arc::new(Mutex::new(tuner.report())),
            tuner,
            checks: Arc::new(PoolChecks::new(owner.checks)),
            pages: Arc::new(PoolPages::new(owner.pages, &metrics)),
            metrics,
            endpoints: HashMap::new(),
            left: HashMap::new(),
            reported: Arc::default(),
            affinity: None,
            queue: Arc::default(),
            probes: (0..owner.workers).map(|_| Room::new(limits::PROBES_OF_POOL_AT_ONCE)).collect(),
            budget: None,
            last: None,
            built: Time::ZERO,
            observed: Time::ZERO,
            new: true,
        }
    }

    /// Requests that wait may find what they could not find before.
    pub(super) fn wake(&self) {
        self.queue.wake();
    }

    pub(super) const fn document(&self) -> &Arc<PoolDocument> {
        &self.document
    }

    /// Takes another version, and what its origin says of the endpoints. Whether that makes a difference.
    pub(super) fn update(&mut self, document: Arc<PoolDocument>, origin: Origin) -> bool {
        let vouched =
            origin == Origin::Controller && self.endpoints.values().any(EndpointEntry::is_unverified);
        if !self.new && !vouched && *self.document == *document {
            return false;
        }
        // What comes to a pool that is known already is new; what was there before this proxy was is not.
        let seen = (!self.new && origin == Origin::Controller).then(clock::now);
        self.new = false;
        self.left.retain(|id, _| self.tuner.remembers(id));
        let mut before = std::mem::take(&mut self.endpoints);
        for (id, endpoint) in endpoints(&document) {
            let id = EndpointId::from(id.as_str());
            let check = document.health_check.as_ref().and_then(|check| check.active.clone());
            let plan = Plan { address: endpoint.address, check };
            let entry = before.remove(&id).or_else(|| self.endpoints.remove(&id));
            let mut entry = entry.unwrap_or_else(|| EndpointEntry {
                health: self.left.remove(&id).unwrap_or_else(|| Arc::new(EndpointHealth::new(origin))),
                metrics: Arc::new(self.checks.all.metrics.endpoint()),
                plan: plan.clone(),
                checker: None,
                usage: Arc::default(),
                reader: None,
                ready_since: (None, seen),
            });
            let said = endpoint.ready_since.map(SystemTime::from);
            if let Some(since) = said.filter(|_| entry.ready_since.0 != said) {
                entry.ready_since = (said, Some(clock::at(since)));
            }
            let subject =
                Subject { pool: self.uid.clone(), pool_name: called(&document), endpoint: id.to_string() };
            entry.update(subject, plan, origin, &self.checks);
            let usage = usage::Plan::new(&document.algorithm, endpoint.address);
            entry.read_usage(usage, &self.pages);
            self.endpoints.insert(id, entry);
        }
        self.left.extend(before.into_iter().map(|(id, entry)| (id, entry.health)));
        self.document = document;
        self.reported = self.report();
        self.renew_budget();
        self.affinity = self.document.session_affinity.as_ref().map(|affinity| {
            let ids = self.endpoints.keys().cloned();
            Arc::new(Affinity::new(&affinity.cookie, &self.uid, ids))
        });
        true
    }

    /// The pool as requests are to see it, with the health that is known now. O(n).
    pub(super) fn build(&mut self, instance: u32) -> Arc<Pool> {
        let spec = self.spec();
        let balancer = self.tuner.set_spec(spec, clock::now());
        self.pool(balancer, instance)
    }

    /// Looks at what was learned, and builds the pool anew if that makes a difference. O(n) where anything can.
    pub(super) fn tick(&mut self, instance: u32) -> Option<Arc<Pool>> {
        if !self.is_tuned() {
            return self.observe();
        }
        self.feed();
        match self.tuner.tick(clock::now(), &mut rand::rng()) {
            Some(balancer) => Some(self.pool(balancer, instance)),
            // A tick tells only whether the pool's own balancer has changed.
            None if self.follows_for_others() && clock::now().since(self.built) >= limits::OVERRIDES => {
                self.renew_others(instance)
            }
            None => {
                // Nothing else is told of that can change without the balancer.
                if self.document.algorithm.type_ == AlgorithmType::Auto {
                    self.tell();
                }
                None
            }
        }
    }

    /// Nothing changes with time; but another algorithm would find here what it goes by.
    fn observe(&mut self) -> Option<Arc<Pool>> {
        let now = clock::now();
        if now.since(self.observed) >= limits::OBSERVATION {
            self.observed = now;
            self.tuner.observe(now);
        } else {
            self.state.settle();
        }
        None
    }

    /// Brings the tuner what endpoints' pages show.
    fn feed(&mut self) {
        for (id, entry) in self.endpoints.iter().filter(|(_, entry)| entry.reader.is_some()) {
            if let Some(usage) = entry.usage.read() {
                self.tuner.set_usage(id, usage);
            }
        }
    }

    /// Something was learned that should not wait for the next tick.
    pub(super) fn is_urgent(&self) -> bool {
        self.state.is_urgent() && self.is_tuned()
    }

    /// Checks of these endpoints passed, which were ejected: they come back with the next tick.
    pub(super) fn checks_passed(&mut self, endpoints: &BTreeSet<EndpointId>) {
        let pool = self.called();
        for id in endpoints.iter().filter(|id| self.tuner.check_passed(id, clock::now())) {
            tracing::info!(pool, endpoint = %id, "ejection ended: a check passed");
        }
    }

    /// Anything about it changes by what is learned, or with time.
    fn is_tuned(&self) -> bool {
        let document = &self.document;
        let passive = document.health_check.as_ref().is_some_and(|check| check.passive.is_some());
        let learns = |type_: AlgorithmType| match type_ {
            AlgorithmType::LeastResponseTime
            | AlgorithmType::Prequal
            | AlgorithmType::WeightedByLoad
            | AlgorithmType::Adaptive
            | AlgorithmType::Auto => true,
            AlgorithmType::RoundRobin
            | AlgorithmType::WeightedRoundRobin
            | AlgorithmType::Random
            | AlgorithmType::PowerOfTwoChoices
            | AlgorithmType::LeastRequest
            | AlgorithmType::SourceIPHash
            | AlgorithmType::ConsistentHash => false,
        };
        learns(document.algorithm.type_)
            || self.others().any(learns)
            || passive
            || document.slow_start.is_some()
            || document.locality.is_some()
    }

    fn called(&self) -> String {
        called(&self.document)
    }

    fn tell(&self) {
        let (report, now) = (self.tuner.report(), clock::now());
        for told in &report.endpoints {
            if let Some(entry) = self.endpoints.get(&told.id) {
                let standing = match told.ejection {
                    None => health::Standing::In,
                    Some(ejected) if now < ejected.until => {
                        health::Standing::Ejected(report::word(ejected.reason))
                    }
                    Some(_) => health::Standing::Probation,
                };
                if let (true, health::Standing::Ejected(reason)) =
                    (entry.health.set_standing(standing), standing)
                {
                    self.metrics.ejections.add(reason);
                    tracing::info!(pool = self.called(), endpoint = %told.id, reason, "ejected");
                }
            }
        }
        let mut tuned = self.tuned.lock().unwrap_or_else(PoisonError::into_inner);
        for backend in report.panicking.iter().filter(|backend| !tuned.panicking.contains(backend)) {
            tracing::warn!(
                pool = self.called(),
                backend,
                "panic: too few endpoints are healthy, so that all take requests"
            );
        }
        for backend in tuned.panicking.iter().filter(|backend| !report.panicking.contains(backend)) {
            tracing::info!(pool = self.called(), backend, "the panic is over");
        }
        *tuned = report;
    }

    fn pool(&mut self, balancer: Balancer, instance: u32) -> Arc<Pool> {
        let choice = Arc::new(self.choice(balancer));
        self.show(choice, self.overrides(None), instance)
    }

    /// As the last one was, but for the algorithms that requests may name and that go by what was learned since.
    fn renew_others(&mut self, instance: u32) -> Option<Arc<Pool>> {
        let last = self.last.take()?;
        let others = self.overrides(last.overrides.as_ref());
        Some(self.show(Arc::clone(&last.choice), others, instance))
    }

    fn show(&mut self, choice: Arc<Choice>, overrides: Option<Overrides>, instance: u32) -> Arc<Pool> {
        self.tell();
        self.built = clock::now();
        let document = &self.document;
        let pool = Arc::new(Pool {
            choice,
            overrides,
            tuned: Arc::clone(&self.tuned),
            affinity: self.affinity.clone(),
            keeps_reports: document.load_reports.is_some_and(|reports| reports.keep_header),
            sampling: document.algorithm.prequal.as_ref().and_then(Sampling::new),
            endpoints: Arc::clone(&self.reported),
            timeouts: document.timeouts.into(),
            bounds: document.limits.as_ref().map(|limits| Bounds::new(limits, document.proxies)),
            queue: Arc::clone(&self.queue),
            probes: Arc::clone(&self.probes),
            retry: self.retry_policy(),
            uid: self.uid.clone(),
            zone: self.zone().cloned(),
            region: self.region().cloned(),
            passage: Passage::new(instance, tag(&self.uid)),
            metrics: Arc::clone(&self.metrics),
            document: Arc::clone(document),
        });
        self.last = Some(Arc::clone(&pool));
        pool
    }

    /// What was spent goes on to count as long as the rules are the same.
    fn renew_budget(&mut self) {
        let before = self.budget.take();
        self.budget = self.document.retries.as_ref().map(|retries| {
            let (budget, rate) = (retries.budget, retries.min_retry_rate);
            let same = before.filter(|before| before.is_by(budget, rate));
            same.unwrap_or_else(|| Arc::new(Budget::new(budget, rate)))
        });
    }

    fn retry_policy(&self) -> Policy {
        let retries = self.document.retries.as_ref().zip(self.budget.as_ref());
        retries.map_or_else(Policy::default, |(retries, budget)| Policy::new(retries, Arc::clone(budget)))
    }

    fn report(&self) -> Arc<[PoolEndpoint]> {
        let backends = self.document.backends.iter();
        let all = backends.flat_map(|(key, backend)| backend.endpoints.iter().map(move |each| (key, each)));
        all.filter_map(|(backend, (id, document))| {
            let entry = self.endpoints.get(id.as_str())?;
            Some(PoolEndpoint {
                id: id.clone(),
                address: document.address,
                backend: backend.clone(),
                pod: document.pod.clone(),
                zone: document.zone.clone(),
                region: self.region_of(document.zone.as_ref()).cloned(),
                weight: document.weight,
                draining: document.terminating || document.weight == 0,
                health: Arc::clone(&entry.health),
                state: self.state.endpoint(&id.as_str().into()),
                metrics: Arc::clone(&entry.metrics),
                usage: entry.reader.is_some().then(|| Arc::clone(&entry.usage)),
            })
        })
        .collect()
    }
}

fn called(document: &PoolDocument) -> String {
    format!("{}/{}", document.namespace, document.name)
}

fn endpoints(document: &PoolDocument) -> impl Iterator<Item = (&String, &EndpointDocument)> {
    document.backends.values().flat_map(|backend| &backend.endpoints)
}

/// A few bits of a pool's UID (FNV-1a), to tell the pools of one process apart.
fn tag(uid: &str) -> u32 {
    uid.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
