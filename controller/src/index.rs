//! The world in memory, as the sources told it, and which pools a change concerns.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use evenkeel_api::{
    labels::{CONTROLLER, PROXIES_PREFIX},
    object::{BalancerPoolSpec, ProxyClassSpec},
};

use crate::{
    event::{Event, ObjectName, PodFacts, Pool, Relist, Service, Slice},
    published::{Proxy, ProxyId},
    regions::Regions,
};

/// The world in memory.
#[derive(Debug, Default)]
pub struct Index {
    pools: BTreeMap<ObjectName, Pool>,
    /// Of the pools of which a version serves.
    serving: BTreeMap<ObjectName, Serving>,
    classes: BTreeMap<String, Result<ProxyClassSpec, String>>,
    services: BTreeMap<ObjectName, Service>,
    slices: BTreeMap<ObjectName, Slice>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    pods: HashMap<String, PodFacts>,
    regions: Regions,
    proxies: BTreeMap<ProxyId, Proxy>,
    slices_of: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
    /// By what serves.
    pools_of: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
    synced: bool,
    changes: Changes,
}

/// On what the version of a pool depends that serves, which is an earlier one as long as the newest is not admitted.
#[derive(Debug)]
struct Serving {
    services: BTreeSet<ObjectName>,
    class: String,
    /// It matters since when pods are ready.
    starts_slowly: bool,
}

/// What a batch of events may have changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Pools whose own object changed, or the class or namespace that they belong to: all of them is to be looked at
    /// again.
    pub pools: BTreeSet<ObjectName>,
    /// Pools of whose backends' endpoints some changed.
    pub endpoints: BTreeSet<ObjectName>,
    /// Services that changed or went.
    pub services: BTreeSet<ObjectName>,
    /// The set of proxies changed, or addresses of ours did.
    pub proxies: bool,
}

impl Index {
    /// Takes in a change. O(log n), but for classes, namespaces and regions, which look at every pool, and weights of
    /// pods, which look at every slice.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Pool(name, pool) => self.put_pool(name, *pool),
            Event::PoolDeleted(name) => self.remove_pool(&name),
            Event::Class(name, class) => {
                self.classes.insert(name.clone(), class.spec);
                self.class_changed(&name);
            }
            Event::ClassDeleted(name) => {
                self.classes.remove(&name);
                self.class_changed(&name);
            }
            Event::Service(name, service) => {
                self.services.insert(name.clone(), service);
                self.service_changed(name);
            }
            Event::ServiceDeleted(name) => {
                self.services.remove(&name);
                self.service_changed(name);
            }
            Event::Slice(name, slice) => self.put_slice(name, Some(slice)),
            Event::SliceDeleted(name) => self.put_slice(name, None),
            Event::Namespace(name, labels) => {
                if self.namespaces.insert(name.clone(), labels.clone()).as_ref() != Some(&labels) {
                    self.namespace_changed(&name);
                }
            }
            Event::NamespaceDeleted(name) => {
                self.namespaces.remove(&name);
                self.namespace_changed(&name);
            }
            Event::Pod(uid, facts) => self.put_pod(uid, facts),
            Event::Node(name, place) => {
                if self.regions.put(name, place) {
                    self.regions_changed();
                }
            }
            Event::Proxy(proxy) => {
                self.proxies.insert(proxy.id.clone(), proxy);
                self.changes.proxies = true;
            }
            Event::ProxyDeleted(id) => {
                self.proxies.remove(&id);
                self.changes.proxies = true;
            }
            Event::Synced => self.synced = true,
            Event::Relisted(list) => self.relisted(list),
        }
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Every source has told all that there was at its start.
    #[must_use]
    pub const fn is_synced(&self) -> bool {
        self.synced
    }

    /// The pools, by namespace and name.
    #[must_use]
    pub const fn pools(&self) -> &BTreeMap<ObjectName, Pool> {
        &self.pools
    }

    /// A class; `Err` if it is there but cannot be read.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<Result<&ProxyClassSpec, &str>> {
        self.classes.get(name).map(|spec| spec.as_ref().map_err(String::as_str))
    }

    /// Names of the classes.
    pub fn class_names(&self) -> impl Iterator<Item = &str> {
        self.classes.keys().map(String::as_str)
    }

    /// The Services, by namespace and name.
    #[must_use]
    pub const fn services(&self) -> &BTreeMap<ObjectName, Service> {
        &self.services
    }

    /// The slices of a Service.
    pub fn slices_of(&self, service: &ObjectName) -> impl Iterator<Item = &Slice> {
        self.slices_of.get(service).into_iter().flatten().filter_map(|name| self.slices.get(name))
    }

    /// Labels of a namespace.
    #[must_use]
    pub fn namespace_labels(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(name)
    }

    /// The weight that a pod's annotation names, by the pod's UID.
    #[must_use]
    pub fn pod(&self, uid: &str) -> Option<&PodFacts> {
        self.pods.get(uid)
    }

    /// The region that a zone is in, as far as it is known.
    #[must_use]
    pub fn region(&self, zone: &str) -> Option<&str> {
        self.regions.of(zone)
    }

    /// The proxies by identity.
    #[must_use]
    pub const fn proxies(&self) -> &BTreeMap<ProxyId, Proxy> {
        &self.proxies
    }

    /// Addresses of the controllers and proxies in `namespace`, of both IP families, ready or not: what the slices of
    /// our own Services hold.
    #[must_use]
    pub fn own_pods(&self, namespace: &str) -> BTreeMap<IpAddr, &'static str> {
        let mut pods = BTreeMap::new();
        let from = ObjectName::new(namespace, "");
        for (service, slices) in
            self.slices_of.range(from..).take_while(|(name, _)| name.namespace == namespace)
        {
            let Some(what) = own_kind(&service.name) else { continue };
            let slices = slices.iter().filter_map(|name| self.slices.get(name));
            let addresses = slices.flat_map(|slice| &slice.endpoints).filter_map(|endpoint| endpoint.address);
            pods.extend(addresses.map(|ip| (ip.to_canonical(), what)));
        }
        pods.extend(
            self.proxies.values().map(|proxy| (proxy.address.ip().to_canonical(), "a proxy of our own")),
        );
        pods
    }

    fn put_pool(&mut self, name: ObjectName, pool: Pool) {
        let old = self.pools.insert(name.clone(), pool);
        let new = &self.pools[&name];
        let same = old.as_ref().is_some_and(|old| {
            (&old.uid, old.generation, &old.spec) == (&new.uid, new.generation, &new.spec)
        });
        if same {
            return; // only the status changed, and that was us
        }
        self.changes.pools.insert(name);
    }

    fn remove_pool(&mut self, name: &ObjectName) {
        if self.pools.remove(name).is_some() {
            self.serves(name, None);
            self.changes.pools.insert(name.clone());
        }
    }

    /// Says which version of a pool serves: from now on that decides which changes concern the pool. O(log n) for each
    /// backend.
    pub fn serves(&mut self, name: &ObjectName, spec: Option<&BalancerPoolSpec>) {
        for service in self.serving.remove(name).into_iter().flat_map(|gone| gone.services) {
            if let Some(pools) = self.pools_of.get_mut(&service) {
                pools.remove(name);
                if pools.is_empty() {
                    self.pools_of.remove(&service);
                }
            }
        }
        let Some(spec) = spec else { return };
        let services = services_of(name, spec);
        for service in &services {
            self.pools_of.entry(service.clone()).or_default().insert(name.clone());
        }
        let (class, starts_slowly) = (spec.proxy_class.clone(), spec.slow_start.is_some());
        self.serving.insert(name.clone(), Serving { services, class, starts_slowly });
    }

    fn service_changed(&mut self, name: ObjectName) {
        self.changes.endpoints.extend(self.pools_of.get(&name).into_iter().flatten().cloned());
        self.changes.services.insert(name);
    }

    fn put_slice(&mut self, name: ObjectName, slice: Option<Slice>) {
        let old = self.slices.get(&name);
        if old == slice.as_ref() {
            return;
        }
        let service_of = |slice: &Slice| ObjectName::new(&*name.namespace, &*slice.service);
        let (from, to) = (old.map(service_of), slice.as_ref().map(service_of));
        if let Some(service) = &from
            && let Some(slices) = self.slices_of.get_mut(service)
        {
            slices.remove(&name);
            if slices.is_empty() {
                self.slices_of.remove(service);
            }
        }
        if let Some(service) = &to {
            self.slices_of.entry(service.clone()).or_default().insert(name.clone());
        }
        for service in from.iter().chain(&to) {
            self.changes.proxies |= own_kind(&service.name).is_some();
            self.changes.endpoints.extend(self.pools_of.get(service).into_iter().flatten().cloned());
        }
        match slice {
            Some(slice) => self.slices.insert(name, slice),
            None => self.slices.remove(&name),
        };
    }

    fn put_pod(&mut self, uid: String, facts: PodFacts) {
        let known = self.pods.get(&uid).cloned().unwrap_or_default();
        if known == facts {
            return;
        }
        let weight_differs = known.weight != facts.weight;
        let of_pod = |slice: &Slice| {
            slice.endpoints.iter().any(|endpoint| endpoint.pod.as_ref().is_some_and(|pod| pod.uid == uid))
        };
        for (name, slice) in self.slices.iter().filter(|(_, slice)| of_pod(slice)) {
            let service = ObjectName::new(&*name.namespace, &*slice.service);
            let pools = self.pools_of.get(&service).into_iter().flatten();
            let starts_slowly = |pool| self.serving.get(pool).is_some_and(|serving| serving.starts_slowly);
            let depends = pools.filter(|pool| weight_differs || starts_slowly(pool));
            let depends: Vec<_> = depends.cloned().collect();
            self.changes.endpoints.extend(depends);
        }
        if facts == PodFacts::default() {
            self.pods.remove(&uid);
        } else {
            self.pods.insert(uid, facts);
        }
    }

    /// Looks at all pools, since zones hardly ever change their region.
    fn regions_changed(&mut self) {
        self.changes.endpoints.extend(self.pools.keys().cloned());
    }

    fn class_changed(&mut self, class: &str) {
        let names_it = |pool: &Pool| pool.spec.as_ref().is_ok_and(|spec| spec.proxy_class == class);
        let serves_it = |name| self.serving.get(name).is_some_and(|serving| serving.class == class);
        let pools = self.pools.iter().filter(|(name, pool)| names_it(pool) || serves_it(name));
        self.changes.pools.extend(pools.map(|(name, _)| name.clone()));
    }

    fn namespace_changed(&mut self, namespace: &str) {
        let pools = self.pools.keys().filter(|name| name.namespace == namespace).cloned();
        self.changes.pools.extend(pools);
    }

    fn relisted(&mut self, list: Relist) {
        fn gone<K: Ord + Clone, V>(map: &BTreeMap<K, V>, list: Vec<K>) -> Vec<K> {
            let listed: BTreeSet<_> = list.into_iter().collect();
            map.keys().filter(|name| !listed.contains(name)).cloned().collect()
        }
        let deletions: Vec<_> = match list {
            Relist::Pools(list) => gone(&self.pools, list).into_iter().map(Event::PoolDeleted).collect(),
            Relist::Classes(list) => gone(&self.classes, list).into_iter().map(Event::ClassDeleted).collect(),
            Relist::Services(list) => {
                gone(&self.services, list).into_iter().map(Event::ServiceDeleted).collect()
            }
            Relist::Slices(list) => gone(&self.slices, list).into_iter().map(Event::SliceDeleted).collect(),
            Relist::Namespaces(list) => {
                gone(&self.namespaces, list).into_iter().map(Event::NamespaceDeleted).collect()
            }
            Relist::Pods(list) => {
                let listed: BTreeSet<_> = list.into_iter().collect();
                let gone = self.pods.keys().filter(|uid| !listed.contains(*uid)).cloned();
                gone.map(|uid| Event::Pod(uid, PodFacts::default())).collect()
            }
            Relist::Nodes(list) => {
                let listed: BTreeSet<_> = list.into_iter().collect();
                let gone = self.regions.nodes().filter(|name| !listed.contains(*name)).cloned();
                gone.map(|name| Event::Node(name, None)).collect()
            }
            Relist::Proxies(list) => gone(&self.proxies, list).into_iter().map(Event::ProxyDeleted).collect(),
        };
        for deletion in deletions {
            self.apply(deletion);
        }
    }
}

/// What is behind a Service of this name, if it is one of ours.
fn own_kind(service: &str) -> Option<&'static str> {
    match service {
        CONTROLLER => Some("a controller of our own"),
        name if name.starts_with(PROXIES_PREFIX) => Some("a proxy of our own"),
        _ => None,
    }
}

fn services_of(pool: &ObjectName, spec: &BalancerPoolSpec) -> BTreeSet<ObjectName> {
    let services = spec.backends.iter().filter_map(|backend| backend.service.as_ref());
    services.map(|service| ObjectName::new(&*pool.namespace, &*service.name)).collect()
}
