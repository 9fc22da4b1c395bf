//! What the leader does to the world: Services, aliases, the default class, and the statuses.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use evenkeel_api::{
    channel::EndpointReport,
    channel::PoolText,
    object::{
        Address, AlgorithmStatus, BalancerPoolStatus, EndpointCounts, ProxyCounts, ServiceType, reason,
    },
};

use super::{Core, Now, Role, pools::PoolState};
use crate::{
    compile::Mode,
    effect::Effect,
    event::{ObjectName, Service},
    fleet::{Member, PATIENCE},
    index::Changes,
    problem::{Problem, Subject},
    services,
    status::{self, Facts, Programmed},
};

/// The class that pools belong to if they name none.
const DEFAULT_CLASS: &str = "default";
/// How often counts alone are written.
const COUNTS_EVERY: Duration = Duration::from_secs(5);

/// Effects given out, so that none is given out twice while the writer is at it.
#[derive(Debug, Default)]
pub(super) struct Issued {
    services: BTreeMap<ObjectName, Effect>,
    default_class: bool,
    counts_due: Option<Instant>,
}

impl Issued {
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        self.counts_due.filter(|due| *due > now)
    }

    /// Keeps an effect on a Service if it was not given out before.
    fn service(&mut self, name: &ObjectName, effect: Effect, effects: &mut Vec<Effect>) {
        if self.services.get(name) != Some(&effect) {
            self.services.insert(name.clone(), effect.clone());
            effects.push(effect);
        }
    }
}

impl Core {
    /// What is to be done after a step. `told` says that something happened on which a status may depend.
    pub(super) fn effects(&mut self, changes: &Changes, told: bool, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for name in &changes.services {
            self.issued.services.remove(name);
        }
        if let Mode::Kubernetes { namespace, .. } = self.mode.clone() {
            let absent = self.index.class(DEFAULT_CLASS).is_none();
            if absent && !self.issued.default_class {
                effects.push(Effect::DefaultClass);
            }
            self.issued.default_class = absent;
            self.services(&namespace, &mut effects);
            self.sweep(&mut effects);
        }
        let due = self.issued.counts_due.is_some_and(|due| due <= now.instant);
        if told || due || !effects.is_empty() || self.wakes_statuses(now.instant) {
            self.statuses(now, &mut effects);
        }
        effects
    }

    /// Time alone has changed what a status says: a proxy has been silent for too long, or a new leader has waited enough.
    fn wakes_statuses(&self, now: Instant) -> bool {
        let just = |time: Instant| {
            let since = now.duration_since(time);
            since >= PATIENCE && since < 2 * PATIENCE
        };
        let quiet = self.fleet.members().any(|member| just(member.heard) || !member.answered);
        quiet || matches!(self.role, Role::Leader { since, .. } if just(since))
    }

    /// What the pools' Services lack. A pool's status says that it waits for that.
    fn services(&mut self, namespace: &str, effects: &mut Vec<Effect>) {
        let work: Vec<_> =
            self.pools.iter().map(|(pool, state)| self.service_work(pool, state, namespace)).collect();
        for (state, work) in self.pools.values_mut().zip(work) {
            state.service_pending = !work.is_empty();
            for (name, effect) in work {
                self.issued.service(&name, effect, effects);
            }
        }
    }

    /// What has to be done to the Services of a pool. Those of others are not touched.
    fn service_work(
        &self,
        pool: &ObjectName,
        state: &PoolState,
        namespace: &str,
    ) -> Vec<(ObjectName, Effect)> {
        let Some(good) = &state.good else { return Vec::new() };
        let published = self.published_ports(pool, state);
        let bound = self.bound_ports(state);
        let ports: BTreeMap<_, _> = bound
            .into_iter()
            .filter(|(name, (port, everywhere))| *everywhere || published.get(name) == Some(port))
            .map(|(name, (port, _))| (name, port))
            .collect();
        if ports.is_empty() {
            return Vec::new();
        }
        let mut work = Vec::new();
        let foreign = |service: &Service| services::made_for(service) != Some(&state.uid);
        let desired = services::desired(pool, &state.uid, &good.spec, namespace, &ports);
        let name = desired.name.clone();
        let right = |service: &Service| foreign(service) || services::is_as_desired(service, &desired);
        if !self.index.services().get(&name).is_some_and(right) {
            work.push((name.clone(), Effect::Service(Box::new(desired))));
        }
        let alias = services::alias_name(pool);
        let target = self.dns_name(&name);
        let right = |service: &Service| foreign(service) || service.external_name.as_ref() == Some(&target);
        if !self.index.services().get(&alias).is_some_and(right) {
            let effect = services::alias(pool, &state.uid, &good.spec.proxy_class, target.clone());
            work.push((alias, effect));
        }
        work
    }

    /// Ports of the pool's Service as it is; none while it leads to the proxies of another class.
    fn published_ports(&self, pool: &ObjectName, state: &PoolState) -> BTreeMap<String, u16> {
        let Some(service) = self.pool_service(pool) else { return BTreeMap::new() };
        if services::made_for(service) != Some(&state.uid) || services::class_of(service) != state.class() {
            return BTreeMap::new();
        }
        service.ports.iter().filter_map(|port| Some((port.name.clone(), port.target_port?))).collect()
    }

    fn pool_service(&self, pool: &ObjectName) -> Option<&Service> {
        let Mode::Kubernetes { namespace, .. } = &self.mode else { return None };
        self.index.services().get(&ObjectName::new(&**namespace, services::service_name(pool)))
    }

    /// Ports of the pool's listeners, and whether every live proxy (and at least one) has bound them.
    fn bound_ports(&self, state: &PoolState) -> BTreeMap<String, (u16, bool)> {
        let (Some(good), Some(document)) = (&state.good, &state.document) else { return BTreeMap::new() };
        let class = &good.spec.proxy_class;
        let mut live = self.fleet.live(class).peekable();
        let bound = live.peek().is_some() && live.all(|member| member.uses(&state.uid, document.generation));
        let wanted = good.spec.listeners.iter().filter_map(|listener| {
            let port = document.listeners.get(&listener.name)?.port;
            Some((listener.name.clone(), (port, bound)))
        });
        wanted.collect()
    }

    fn dns_name(&self, service: &ObjectName) -> String {
        let domain = match &self.mode {
            Mode::Kubernetes { cluster_domain, .. } => cluster_domain.as_str(),
            Mode::Files(_) => "local",
        };
        format!("{}.{}.svc.{domain}", service.name, service.namespace)
    }

    /// Deletes what was made for pools that are gone, or for whom it has another name or place now.
    fn sweep(&mut self, effects: &mut Vec<Effect>) {
        let Mode::Kubernetes { namespace, .. } = &self.mode else { return };
        let wanted = |pool: &ObjectName, name: &ObjectName| {
            *name == services::alias_name(pool)
                || *name == ObjectName::new(&**namespace, services::service_name(pool))
        };
        let by_uid: BTreeMap<&str, (&ObjectName, bool)> = self
            .pools
            .iter()
            .map(|(name, state)| {
                (state.uid.as_str(), (name, state.good.is_some() || state.document.is_some()))
            })
            .collect();
        for (name, service) in self.index.services() {
            let Some(uid) = services::made_for(service) else { continue };
            let keep = by_uid.get(uid).is_some_and(|(pool, serves)| *serves && wanted(pool, name));
            if !keep {
                let effect = Effect::DeleteService { name: name.clone(), uid: service.uid.clone() };
                self.issued.service(name, effect, effects);
            }
        }
    }

    fn statuses(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.issued.counts_due = None;
        self.count_endpoints(now.instant);
        let new: Vec<_> = self.pools.iter().map(|(name, state)| self.status_of(name, state, now)).collect();
        for ((name, state), status) in self.pools.iter_mut().zip(new) {
            let urgent = match &state.status {
                Some(old) if *old == status => continue,
                Some(old) => status::differs_at_once(old, &status),
                None => true,
            };
            if let Some(due) = state.written.map(|written| written + COUNTS_EVERY)
                && !urgent
                && due > now.instant
            {
                let first = self.issued.counts_due.map_or(due, |other| other.min(due));
                self.issued.counts_due = Some(first);
                continue;
            }
            let news = status::news(state.status.as_ref(), &status);
            state.status = Some(status.clone());
            state.written = Some(now.instant);
            effects.push(Effect::Status {
                pool: name.clone(),
                uid: state.uid.clone(),
                status: Box::new(status),
                news,
            });
        }
    }

    fn status_of(&self, name: &ObjectName, state: &PoolState, now: Now) -> BalancerPoolStatus {
        let mut problems = state.problems();
        problems.extend(self.service_problems(name, state));
        let (address, address_pending) = self.address(name, state);
        status::status(Facts {
            generation: state.generation,
            examined: state.good.as_ref().map(|good| good.generation),
            listeners: listeners(state),
            problems: &problems,
            programmed: self.programmed(name, state, now.instant),
            endpoints: state.counts.clone(),
            proxies: self.proxy_counts(name, state, now.instant),
            algorithm: self.algorithm(name, state, now),
            revision: state.changed.map(|(epoch, revision)| format!("{epoch}.{revision}")),
            hash: state.text.as_ref().map(|text| text.digest().to_string()),
            address,
            address_pending,
            old: state.status.as_ref(),
            now: now.time,
        })
    }

    /// What keeps the pool's Services from being as they should be.
    fn service_problems(&self, pool: &ObjectName, state: &PoolState) -> Vec<Problem> {
        let Mode::Kubernetes { namespace, .. } = &self.mode else { return Vec::new() };
        let names = [ObjectName::new(&**namespace, services::service_name(pool)), services::alias_name(pool)];
        let problem = |name: &ObjectName| {
            let observed = self.index.services().get(name);
            if observed.is_some_and(|service| services::made_for(service) != Some(&state.uid)) {
                let message = format!("Service {name} exists and is not ours: delete or rename it");
                return Some(Problem::new(Subject::Programmed, reason::SERVICE_CONFLICT, message));
            }
            let refusal = self.refused.get(name)?;
            let message = format!("the API server refuses Service {name}: {refusal}");
            Some(Problem::new(Subject::Programmed, reason::SERVICE_REFUSED, message))
        };
        names.iter().filter_map(problem).collect()
    }

    fn programmed(&self, name: &ObjectName, state: &PoolState, now: Instant) -> Programmed {
        let generation = state.generation;
        let Some(serving) = state.document.as_ref().map(|document| document.generation) else {
            return Programmed::No(reason::PENDING, "no version of the pool can be carried out".to_owned());
        };
        let Some(good) = state.good.as_ref().filter(|good| good.generation == generation) else {
            let message = format!("generation {generation} is not accepted; generation {serving} serves on");
            return Programmed::No(reason::PENDING, message);
        };
        let class = &good.spec.proxy_class;
        let live: Vec<_> = self.fleet.live(class).collect();
        if live.is_empty() {
            return Programmed::No(reason::NO_PROXIES, format!("class {class:?} has no proxy that serves"));
        }
        for member in &live {
            if let Some(rejection) = member.rejection(&state.uid).and_then(<[_]>::first) {
                let (proxy, field) = (&member.proxy.name, &rejection.field);
                return Programmed::No(
                    reason::PROXY_REJECTED,
                    format!("proxy {proxy} rejected {field}: {}", rejection.message),
                );
            }
        }
        let version = self.classes.get(class).and_then(super::ClassState::version).unwrap_or_default();
        let uses = |member: &&&Member| {
            member.uses(&state.uid, generation) && !member.is_silent(now) && !member.is_behind(version, now)
        };
        let without: Vec<_> = live.iter().filter(|member| !uses(member)).collect();
        if without.is_empty() {
            return self.published_everywhere(name, state);
        }
        let fresh = matches!(self.role, Role::Leader { since, .. } if now.duration_since(since) < PATIENCE);
        if fresh && without.iter().all(|member| !member.answered || member.acknowledged.is_none()) {
            return Programmed::Unknown;
        }
        let late = without.iter().any(|member| member.is_silent(now) || member.is_behind(version, now));
        let reason = if late { reason::PARTIALLY_PROGRAMMED } else { reason::PENDING };
        let proxies: Vec<_> = without.iter().map(|member| member.proxy.name.as_str()).collect();
        Programmed::No(reason, format!("generation {generation} is not used yet by {}", proxies.join(", ")))
    }

    /// On Kubernetes the pool's Service has to have the listeners' ports too.
    fn published_everywhere(&self, name: &ObjectName, state: &PoolState) -> Programmed {
        if matches!(self.mode, Mode::Files(_)) {
            let served = state.document.as_ref().is_some_and(|document| !document.listeners.is_empty());
            let none = || Programmed::No(reason::CONFLICTED, "no listener has its port".to_owned());
            return if served { Programmed::Yes } else { none() };
        }
        let published = self.published_ports(name, state);
        let missing: Vec<_> = self
            .bound_ports(state)
            .into_iter()
            .filter(|(listener, (port, _))| published.get(listener) != Some(port))
            .map(|(listener, _)| listener)
            .collect();
        if !missing.is_empty() {
            let message = format!("the pool's Service does not have listener {} yet", missing.join(", "));
            return Programmed::No(reason::PENDING, message);
        }
        if state.service_pending {
            let message = "the pool's Service, or its alias, is not yet as the pool says".to_owned();
            return Programmed::No(reason::PENDING, message);
        }
        Programmed::Yes
    }

    /// Counts the endpoints of the pools for which they, or what the proxies think of them, may have changed.
    fn count_endpoints(&mut self, now: Instant) {
        let opinions = self.fleet.opinions(now);
        let key = |state: &PoolState| Some((opinions, state.text.as_ref().map(PoolText::digest)));
        let stale = self.pools.iter().filter(|(_, state)| state.counted != key(state));
        let counted: Vec<_> = stale
            .map(|(name, state)| (name.clone(), key(state), self.endpoint_counts(name, state, now)))
            .collect();
        for (name, key, counts) in counted {
            if let Some(state) = self.pools.get_mut(&name) {
                (state.counted, state.counts) = (key, counts);
            }
        }
    }

    /// O(endpoints x proxies).
    fn endpoint_counts(&self, name: &ObjectName, state: &PoolState, now: Instant) -> EndpointCounts {
        let Some(document) = &state.document else { return EndpointCounts::default() };
        let class = self.class_of(name, state).unwrap_or_default();
        let live: Vec<_> = self.fleet.live(&class).collect();
        let mut counts = EndpointCounts::default();
        let mut seen = BTreeSet::new();
        // One that several backends have counts as where it takes requests.
        let mut backends: Vec<_> = document.backends.values().collect();
        backends.sort_by_key(|backend| backend.weight == 0);
        let endpoints =
            backends.into_iter().flat_map(|of| of.endpoints.iter().map(move |each| (of.weight, each)));
        for (share, (id, endpoint)) in endpoints {
            if !seen.insert(id) {
                continue;
            }
            counts.total += 1;
            if endpoint.terminating || endpoint.weight == 0 || share == 0 {
                counts.draining += 1;
            } else {
                let says = |holds: fn(&EndpointReport) -> bool| {
                    half(&live, |member| member.report_of(&state.uid, id, now).is_some_and(holds))
                };
                counts.healthy += u32::from(says(EndpointReport::is_healthy));
                counts.ejected += u32::from(says(EndpointReport::is_ejected));
            }
        }
        let panics = |backend: &&String| half(&live, |member| member.is_panicking(&state.uid, backend, now));
        counts.panicking = document.backends.keys().filter(panics).cloned().collect();
        counts.summary = format!("{}/{}", counts.healthy, counts.total);
        counts
    }

    fn proxy_counts(&self, name: &ObjectName, state: &PoolState, now: Instant) -> ProxyCounts {
        let Some(class) = self.class_of(name, state) else { return ProxyCounts::default() };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let total = count(self.fleet.live(&class).count());
        let uses = |member: &&Member| member.uses(&state.uid, state.generation) && !member.is_silent(now);
        let programmed = count(self.fleet.live(&class).filter(uses).count());
        ProxyCounts { total, programmed, summary: format!("{programmed}/{total}") }
    }

    fn algorithm(&self, name: &ObjectName, state: &PoolState, now: Now) -> Option<AlgorithmStatus> {
        let class = self.class_of(name, state)?;
        let speaking = self.fleet.live(&class).filter(|member| !member.is_silent(now.instant));
        let reports = speaking.filter_map(|member| member.report.as_ref()?.pools.get(&state.uid));
        let old = state.status.as_ref().and_then(|status| status.algorithm.as_ref());
        status::algorithm(reports, old, now.time)
    }

    fn address(&self, pool: &ObjectName, state: &PoolState) -> (Option<Address>, bool) {
        let Mode::Kubernetes { namespace, .. } = &self.mode else { return (None, false) };
        let ours = self.pool_service(pool).filter(|service| services::made_for(service) == Some(&state.uid));
        let balanced = state.good.as_ref().is_some_and(|g| g.spec.service.type_ == ServiceType::LoadBalancer);
        let Some(service) = ours else { return (None, balanced) };
        let name = ObjectName::new(&**namespace, services::service_name(pool));
        let address = Address {
            service: self.dns_name(&name),
            alias: self.dns_name(&services::alias_name(pool)),
            external: service.ingress.clone(),
        };
        (Some(address), balanced && service.ingress.is_empty())
    }
}

/// Of the version that serves.
fn listeners(state: &PoolState) -> Vec<&str> {
    match (&state.good, &state.document) {
        (Some(good), _) => good.spec.listeners.iter().map(|listener| listener.name.as_str()).collect(),
        (None, Some(document)) => document.listeners.keys().map(String::as_str).collect(),
        (None, None) => Vec::new(),
    }
}

/// At least half of them, if there are any.
fn half(live: &[&Member], says: impl Fn(&Member) -> bool) -> bool {
    !live.is_empty() && 2 * live.iter().filter(|member| says(member)).count() >= live.len()
}
