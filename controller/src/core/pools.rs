//! Pools on their way from the index to a document: admitted, given host names and ports, compiled.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Instant,
};

use evenkeel_api::{
    channel::{Digest, ListenerDocument, PoolDocument, PoolText, PoolUid},
    object::{BalancerPoolStatus, EndpointCounts, reason},
    schema,
};

use super::{Core, Role, locality::locate};
use crate::{
    admission,
    compile::{self, Compiled, Good, Mode},
    event::{ObjectName, Pool},
    fleet::{Fleet, Opinions},
    hostnames::{Claimant, Hostnames},
    index::{Changes, Index},
    ports::ListenerKey,
    problem::{Problem, Subject},
    resolve::Own,
    services,
};

/// A pool and how far it came.
#[derive(Debug)]
pub(super) struct PoolState {
    pub(super) uid: PoolUid,
    pub(super) created: i64,
    /// Generation of the object, whether it serves or not.
    pub(super) generation: i64,
    /// The version that serves, if any.
    pub(super) good: Option<Good>,
    /// What is wrong with the object as it is.
    pub(super) admission: Vec<Problem>,
    /// What is wrong with its ports.
    pub(super) placement: Vec<Problem>,
    /// What is wrong with its host names.
    pub(super) conflicts: Vec<Problem>,
    /// What is wrong with references.
    pub(super) resolution: Vec<Problem>,
    pub(super) document: Option<PoolDocument>,
    pub(super) text: Option<PoolText>,
    /// (epoch, revision) in which the text last changed.
    pub(super) changed: Option<(u64, u64)>,
    /// Something has to be done to its Services yet.
    pub(super) service_pending: bool,
    /// Endpoints, counted.
    pub(super) counts: EndpointCounts,
    /// What was counted: the proxies' opinions, and the document.
    pub(super) counted: Option<(Opinions, Option<Digest>)>,
    /// The status last written or stored.
    pub(super) status: Option<BalancerPoolStatus>,
    pub(super) written: Option<Instant>,
}

impl PoolState {
    fn new(pool: &Pool) -> Self {
        Self {
            uid: pool.uid.clone(),
            created: pool.created,
            generation: pool.generation,
            good: None,
            admission: Vec::new(),
            placement: Vec::new(),
            conflicts: Vec::new(),
            resolution: Vec::new(),
            document: None,
            text: None,
            changed: None,
            service_pending: false,
            counts: EndpointCounts::default(),
            counted: None,
            status: pool.status.clone(),
            written: None,
        }
    }

    /// The class that serves the pool.
    pub(super) fn class(&self) -> Option<&str> {
        self.good.as_ref().map(|good| good.spec.proxy_class.as_str())
    }

    pub(super) fn key(&self, listener: &str) -> ListenerKey {
        ListenerKey { pool: self.uid.clone(), listener: listener.to_owned() }
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let all = [&self.admission, &self.placement, &self.conflicts, &self.resolution];
        all.into_iter().flatten().cloned().collect()
    }
}

impl Core {
    /// Judges the pools that changed, and settles who has which host name.
    pub(super) fn admit(&mut self, changes: &mut Changes) {
        if changes.pools.is_empty() {
            return;
        }
        for name in &changes.pools {
            let found = self.index.pools().get(name);
            let known = self.pools.get(name);
            if known.is_some_and(|known| found.is_none_or(|found| found.uid != known.uid)) {
                self.remove(name);
            }
        }
        let mut forbidden = Vec::new();
        for name in &changes.pools {
            let Some(pool) = self.index.pools().get(name) else { continue };
            let state = self.pools.entry(name.clone()).or_insert_with(|| PoolState::new(pool));
            state.generation = pool.generation;
            let class = state.class().map(str::to_owned);
            (state.good, state.admission) = admitted(&self.index, name, pool, state.good.take());
            self.index.serves(name, state.good.as_ref().map(|good| &good.spec));
            if let (Some(class), None) = (class, &state.good) {
                forbidden.extend(state.document.take().map(|document| (state.uid.clone(), class, document)));
            }
        }
        for (uid, class, document) in forbidden {
            self.leave(&uid, class, document);
        }
        let hostnames = self.resolve_hostnames();
        changes.pools.extend(hostnames.changed(&self.hostnames).cloned());
        self.hostnames = hostnames;
    }

    fn resolve_hostnames(&self) -> Hostnames {
        let claimants = self.pools.iter().filter_map(|(name, state)| {
            let Good { spec, class, .. } = state.good.as_ref()?;
            let labels = self.index.namespace_labels(&name.namespace);
            Some(Claimant { name, created: state.created, spec, class, labels })
        });
        Hostnames::resolve(claimants.collect())
    }

    /// Gives listeners their ports, and finds the pools whose listeners changed by that.
    pub(super) fn allot(&mut self, changes: &mut Changes, now: Instant) {
        match self.mode {
            Mode::Files(_) => self.place_as_written(changes),
            Mode::Kubernetes { .. } => self.place_by_class(changes, now),
        }
    }

    /// With files, ports are what the listeners say; of two pools that want the same one, the first by name has it.
    fn place_as_written(&mut self, changes: &mut Changes) {
        if changes.pools.is_empty() {
            return;
        }
        let mut taken: BTreeMap<u16, ObjectName> = BTreeMap::new();
        for (name, state) in &mut self.pools {
            state.placement.clear();
            for listener in state.good.iter().flat_map(|good| &good.spec.listeners) {
                let owner = taken.entry(listener.port).or_insert_with(|| name.clone());
                if owner != name {
                    let message = format!("port {} belongs to pool {owner}: take another", listener.port);
                    for subject in [Subject::Accepted, Subject::Programmed] {
                        let (name, reason, message) = (&listener.name, reason::CONFLICTED, message.clone());
                        state.placement.push(Problem::of_listener(subject, name, reason, message));
                    }
                }
            }
        }
        changes.pools.extend(self.pools.keys().cloned()); // few, and any of them may have moved
    }

    fn place_by_class(&mut self, changes: &mut Changes, now: Instant) {
        self.adopt_services(changes);
        let mut wanted: BTreeMap<&str, BTreeSet<ListenerKey>> = BTreeMap::new();
        for state in self.pools.values() {
            let Some(good) = &state.good else { continue };
            let keys = good.spec.listeners.iter().map(|listener| state.key(&listener.name));
            wanted.entry(good.spec.proxy_class.as_str()).or_default().extend(keys);
        }
        let leads = matches!(self.role, Role::Leader { .. });
        let mut published = published_ports(&self.index);
        for name in wanted.keys() {
            if !self.classes.contains_key(*name) {
                self.classes.insert((*name).to_owned(), super::ClassState::default());
            }
        }
        for (name, class) in &mut self.classes {
            let wanted = wanted.remove(name.as_str()).unwrap_or_default();
            class.ports.settle(&wanted, &published.remove(name).unwrap_or_default(), now);
            if leads {
                class.exhausted = wanted.into_iter().filter(|key| class.ports.allot(key).is_none()).collect();
            }
            let moved = class.ports.take_moved();
            let pools = self.pools.iter().filter(|(_, state)| moved.contains(&state.uid));
            changes.pools.extend(pools.map(|(name, _)| name.clone()));
        }
        for name in &changes.pools {
            if let Some(state) = self.pools.get_mut(name) {
                state.placement = exhausted(state, &self.classes);
            }
        }
    }

    /// Documents of the pools that changed.
    pub(super) fn compile(&mut self, changes: &Changes) {
        if changes.pools.is_empty() && changes.endpoints.is_empty() {
            return; // most steps are answers of proxies
        }
        let own = self.own();
        for name in &changes.pools {
            self.compile_pool(name, &own);
        }
        for name in changes.endpoints.difference(&changes.pools) {
            let Some(state) = self.pools.get_mut(name) else { continue };
            if let (Some(good), Some(document)) = (&state.good, &mut state.document) {
                document.proxies = sharers(&self.fleet, good);
                (document.backends, state.resolution) =
                    compile::compile_endpoints(&self.index, &self.mode, name, good, &own);
                state.resolution.extend(locate(document, &self.index, &self.fleet, &self.mode, good));
                state.text = text(document);
            }
        }
    }

    fn compile_pool(&mut self, name: &ObjectName, own: &Own) {
        let Some(state) = self.pools.get(name) else { return };
        let compiled = state.good.as_ref().map(|good| {
            let (listeners, conflicts) = self.listeners(name, state, good);
            let mut compiled = compile::compile(&self.index, &self.mode, name, good, listeners, own);
            compiled.document.proxies = sharers(&self.fleet, good);
            let missing = locate(&mut compiled.document, &self.index, &self.fleet, &self.mode, good);
            compiled.problems.extend(missing);
            (compiled, conflicts)
        });
        let adopted = self.adopted.get(&state.uid).cloned();
        let Some(state) = self.pools.get_mut(name) else { return };
        match compiled {
            Some((Compiled { document, problems }, conflicts)) => {
                self.adopted.remove(&state.uid);
                state.conflicts = conflicts;
                state.resolution = problems;
                state.text = text(&document);
                state.document = Some(document);
            }
            // The last good version that a proxy had, before this process could see one.
            None => {
                state.resolution.clear();
                state.conflicts.clear();
                state.text = adopted.as_ref().and_then(|document| PoolText::new(document).ok());
                state.document = adopted.and_then(|document| serde_json::from_value(document).ok());
            }
        }
    }

    fn listeners(
        &self,
        name: &ObjectName,
        state: &PoolState,
        good: &Good,
    ) -> (BTreeMap<String, ListenerDocument>, Vec<Problem>) {
        let mut documents = BTreeMap::new();
        let mut conflicts = Vec::new();
        let ports = self.classes.get(&good.spec.proxy_class).map(|class| &class.ports);
        for listener in &good.spec.listeners {
            let mut hostnames = Vec::new();
            for hostname in &listener.hostnames {
                match self.hostnames.owner(&good.spec.proxy_class, hostname) {
                    Some(owner) if owner == name => hostnames.push(hostname.clone()),
                    owner => conflicts.push(hostname_problem(&listener.name, hostname, owner)),
                }
            }
            let port = match self.mode {
                Mode::Files(_) => {
                    (!state.placement.iter().any(|p| p.listener.as_deref() == Some(&listener.name)))
                        .then_some(listener.port)
                }
                Mode::Kubernetes { .. } => ports.and_then(|ports| ports.port(&state.key(&listener.name))),
            };
            if let Some(port) = port {
                documents.insert(listener.name.clone(), ListenerDocument { port, hostnames });
            }
        }
        // Still bound for a moment, for clients whose nodes have not heard that the Service has the port no more.
        let lingering = ports.into_iter().flat_map(|ports| ports.lingering().chain(ports.held()));
        for (key, port) in lingering.filter(|(key, _)| key.pool == state.uid) {
            let document = ListenerDocument { port, hostnames: Vec::new() };
            documents.entry(key.listener.clone()).or_insert(document);
        }
        (documents, conflicts)
    }

    /// What leads to ourselves. O(proxies), so made once for all pools of a step.
    fn own(&self) -> Own {
        match &self.mode {
            Mode::Files(listens) => {
                let good = self.pools.values().filter_map(|state| state.good.as_ref());
                let ports = good.flat_map(|good| &good.spec.listeners).map(|listener| listener.port);
                let bound =
                    ports.flat_map(|port| listens.addresses.iter().map(move |ip| SocketAddr::new(*ip, port)));
                Own { listeners: bound.chain(listens.sockets.iter().copied()).collect(), ..Own::default() }
            }
            Mode::Kubernetes { namespace, .. } => {
                Own { pods: self.index.own_pods(namespace), ..Own::default() }
            }
        }
    }
}

/// How many proxies share a pool's limits; 1 where nothing depends on that, so that no proxy's coming or going changes
/// the document.
fn sharers(fleet: &Fleet, good: &Good) -> u32 {
    if good.spec.limits.is_none() && good.spec.locality.is_none() {
        return 1;
    }
    u32::try_from(fleet.live(&good.spec.proxy_class).count().max(1)).unwrap_or(u32::MAX)
}

/// The version that serves, and what is wrong with the object as it is.
fn admitted(
    index: &Index,
    name: &ObjectName,
    pool: &Pool,
    good: Option<Good>,
) -> (Option<Good>, Vec<Problem>) {
    let problems = match &pool.spec {
        Ok(spec) => match admission::admit(index, name, spec) {
            Ok(class) => {
                let (generation, spec, class) = (pool.generation, spec.clone(), class.clone());
                return (Some(Good { generation, spec, class }), Vec::new());
            }
            Err(problems) => problems,
        },
        Err(error) => {
            let message = format!("the object cannot be read: {error}");
            vec![Problem::new(Subject::Accepted, reason::INVALID, message)]
        }
    };
    // The last good version serves on, unless its class forbids that one too. A class that is gone, or cannot be read,
    // forbids nothing: its deletion by mistake must not take every pool with it.
    let allowed = |good: &Good| match index.class(&good.spec.proxy_class) {
        Some(Ok(_)) => admission::admit(index, name, &good.spec).is_ok(),
        Some(Err(_)) | None => true,
    };
    (good.filter(allowed), problems)
}

fn hostname_problem(listener: &str, hostname: &str, owner: Option<&ObjectName>) -> Problem {
    let (reason, message) = match owner {
        Some(owner) => (reason::CONFLICTED, format!("{hostname} belongs to the older pool {owner}")),
        None => {
            let message = format!("{hostname} is not granted to this namespace by the class's hostnames");
            (reason::NOT_ALLOWED_BY_CLASS, message)
        }
    };
    Problem::of_listener(Subject::Accepted, listener, reason, message)
}

fn exhausted(state: &PoolState, classes: &BTreeMap<String, super::ClassState>) -> Vec<Problem> {
    let class = state.class().and_then(|class| classes.get(class));
    let without = class.into_iter().flat_map(|class| &class.exhausted).filter(|key| key.pool == state.uid);
    without
        .map(|key| {
            let message = format!("listener {}: the class has no free port left", key.listener);
            Problem::new(Subject::Programmed, reason::PORTS_EXHAUSTED, message)
        })
        .collect()
}

/// Ports that Services of ours publish, by the class whose proxies they select, with the pool that each was made for.
fn published_ports(index: &Index) -> BTreeMap<String, BTreeSet<(PoolUid, u16)>> {
    let mut published: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for service in index.services().values() {
        if let (Some(uid), Some(class)) = (services::made_for(service), services::class_of(service)) {
            let ports = service.ports.iter().filter_map(|port| Some((uid.to_owned(), port.target_port?)));
            published.entry(class.to_owned()).or_default().extend(ports);
        }
    }
    published
}

/// A document as it is sent.
pub(super) fn text(document: &PoolDocument) -> Option<PoolText> {
    PoolText::new(&schema::sparse(document)).ok()
}
