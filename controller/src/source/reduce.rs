//! From what a watch says to events. A list is held back until it is complete: half a list would read as deletions.

use std::collections::{BTreeMap, HashMap};

use evenkeel_api::object::{BalancerPool, ProxyClass};
use k8s_openapi::api::{
    core::v1::{Namespace, Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    core::PartialObjectMeta,
    runtime::watcher::Event::{self as Watched, Apply, Delete, Init, InitApply, InitDone},
};

use super::{
    convert::{self, SeenPod},
    proxies::{self, Proxies},
    stored::Stored,
};
use crate::{
    event::{Event, NodePlace, ObjectName, PodFacts, Relist},
    published::Proxy,
};

/// Makes events of what the watch of one kind of object says, in order.
pub(crate) trait Reduce: Send + 'static {
    /// The kind, as it is watched.
    type Object;

    /// Takes the next thing that the watch says.
    fn reduce(&mut self, watched: Watched<Self::Object>) -> Vec<Event>;
}

/// A kind of which each object is told by itself.
pub(crate) trait Kind: Send + 'static {
    type Object;
    type Key: Send + Clone;

    fn key(object: &Self::Object) -> Option<Self::Key>;
    /// `None` for an object that does not count.
    fn seen(key: Self::Key, object: Self::Object) -> Option<Event>;
    fn gone(key: Self::Key) -> Event;
    fn relist(keys: Vec<Self::Key>) -> Relist;
}

/// Reduces a [`Kind`].
pub(crate) struct Each<K: Kind> {
    list: Vec<Event>,
    keys: Vec<K::Key>,
}

impl<K: Kind> Default for Each<K> {
    fn default() -> Self {
        Self { list: Vec::new(), keys: Vec::new() }
    }
}

impl<K: Kind> Reduce for Each<K> {
    type Object = K::Object;

    fn reduce(&mut self, watched: Watched<K::Object>) -> Vec<Event> {
        match watched {
            Apply(object) => {
                let Some(key) = K::key(&object) else { return Vec::new() };
                vec![K::seen(key.clone(), object).unwrap_or_else(|| K::gone(key))]
            }
            Delete(object) => K::key(&object).map(K::gone).into_iter().collect(),
            Init => {
                *self = Self::default();
                Vec::new()
            }
            InitApply(object) => {
                if let Some(key) = K::key(&object)
                    && let Some(event) = K::seen(key.clone(), object)
                {
                    self.list.push(event);
                    self.keys.push(key);
                }
                Vec::new()
            }
            InitDone => {
                let Self { mut list, keys } = std::mem::take(self);
                list.push(Event::Relisted(K::relist(keys)));
                list
            }
        }
    }
}

/// BalancerPools.
pub(crate) struct Pools;

impl Kind for Pools {
    type Object = Stored<BalancerPool>;
    type Key = ObjectName;

    fn key(object: &Self::Object) -> Option<ObjectName> {
        convert::object_name(&object.metadata)
    }

    fn seen(name: ObjectName, object: Self::Object) -> Option<Event> {
        Some(Event::Pool(name, Box::new(convert::pool(&object))))
    }

    fn gone(name: ObjectName) -> Event {
        Event::PoolDeleted(name)
    }

    fn relist(names: Vec<ObjectName>) -> Relist {
        Relist::Pools(names)
    }
}

/// ProxyClasses.
pub(crate) struct Classes;

impl Kind for Classes {
    type Object = Stored<ProxyClass>;
    type Key = String;

    fn key(object: &Self::Object) -> Option<String> {
        object.metadata.name.clone()
    }

    fn seen(name: String, object: Self::Object) -> Option<Event> {
        Some(Event::Class(name, convert::class(&object)))
    }

    fn gone(name: String) -> Event {
        Event::ClassDeleted(name)
    }

    fn relist(names: Vec<String>) -> Relist {
        Relist::Classes(names)
    }
}

/// Services.
pub(crate) struct Services;

impl Kind for Services {
    type Object = Service;
    type Key = ObjectName;

    fn key(object: &Service) -> Option<ObjectName> {
        convert::object_name(&object.metadata)
    }

    fn seen(name: ObjectName, object: Service) -> Option<Event> {
        Some(Event::Service(name, convert::service(object)))
    }

    fn gone(name: ObjectName) -> Event {
        Event::ServiceDeleted(name)
    }

    fn relist(names: Vec<ObjectName>) -> Relist {
        Relist::Services(names)
    }
}

/// Namespaces.
pub(crate) struct Namespaces;

impl Kind for Namespaces {
    type Object = PartialObjectMeta<Namespace>;
    type Key = String;

    fn key(object: &Self::Object) -> Option<String> {
        object.metadata.name.clone()
    }

    fn seen(name: String, object: Self::Object) -> Option<Event> {
        Some(Event::Namespace(name, convert::namespace_labels(object)))
    }

    fn gone(name: String) -> Event {
        Event::NamespaceDeleted(name)
    }

    fn relist(names: Vec<String>) -> Relist {
        Relist::Namespaces(names)
    }
}

/// EndpointSlices that belong to Services.
struct PlainSlices;

impl Kind for PlainSlices {
    type Object = EndpointSlice;
    type Key = ObjectName;

    fn key(object: &EndpointSlice) -> Option<ObjectName> {
        convert::object_name(&object.metadata)
    }

    fn seen(name: ObjectName, object: EndpointSlice) -> Option<Event> {
        Some(Event::Slice(name, convert::slice(object)?))
    }

    fn gone(name: ObjectName) -> Event {
        Event::SliceDeleted(name)
    }

    fn relist(names: Vec<ObjectName>) -> Relist {
        Relist::Slices(names)
    }
}

/// EndpointSlices; those of our headless Services tell the proxies too.
pub(crate) struct Slices {
    namespace: String,
    slices: Each<PlainSlices>,
    proxies: Proxies,
}

impl Slices {
    /// `namespace` is where the proxies are.
    pub(crate) fn new(namespace: String) -> Self {
        Self { namespace, slices: Each::default(), proxies: Proxies::default() }
    }

    /// The slice that an event is of, if it may hold proxies, and the proxies that it holds.
    fn proxies(&self, event: &Event) -> Option<(ObjectName, Vec<Proxy>)> {
        let (name, proxies) = match event {
            Event::Slice(name, slice) => (name, proxies::of_slice(slice).unwrap_or_default()),
            Event::SliceDeleted(name) => (name, Vec::new()),
            _ => return None,
        };
        (name.namespace == self.namespace).then(|| (name.clone(), proxies))
    }
}

impl Reduce for Slices {
    type Object = EndpointSlice;

    fn reduce(&mut self, watched: Watched<EndpointSlice>) -> Vec<Event> {
        let is_list = matches!(watched, InitDone);
        let mut events = self.slices.reduce(watched);
        let told: BTreeMap<_, _> = events.iter().filter_map(|event| self.proxies(event)).collect();
        if is_list {
            events.extend(self.proxies.relist(told));
        } else {
            events.extend(told.into_iter().flat_map(|(name, proxies)| self.proxies.apply(name, proxies)));
        }
        events
    }
}

/// A kind of which much is said and little is used.
pub(crate) trait Facts: Send + 'static {
    type Object;
    /// The default if there is nothing to know.
    type Known: Default + Clone + PartialEq + Send;

    /// The key of an object, and what is known of it.
    fn of(object: Self::Object) -> Option<(String, Self::Known)>;
    fn event(key: String, known: Self::Known) -> Event;
    fn relist(keys: Vec<String>) -> Relist;
}

/// Reduces [`Facts`]: told only where what is known of an object changes.
pub(crate) struct Changes<F: Facts> {
    known: HashMap<String, F::Known>,
    list: HashMap<String, F::Known>,
}

impl<F: Facts> Default for Changes<F> {
    fn default() -> Self {
        Self { known: HashMap::new(), list: HashMap::new() }
    }
}

impl<F: Facts> Changes<F> {
    fn set(&mut self, key: String, now: F::Known) -> Vec<Event> {
        let known = match now == F::Known::default() {
            true => self.known.remove(&key),
            false => self.known.insert(key.clone(), now.clone()),
        };
        if known.unwrap_or_default() == now { Vec::new() } else { vec![F::event(key, now)] }
    }
}

impl<F: Facts> Reduce for Changes<F> {
    type Object = F::Object;

    fn reduce(&mut self, watched: Watched<Self::Object>) -> Vec<Event> {
        match watched {
            Apply(object) => F::of(object).map_or_else(Vec::new, |(key, known)| self.set(key, known)),
            Delete(object) => {
                F::of(object).map_or_else(Vec::new, |(key, _)| self.set(key, F::Known::default()))
            }
            Init => {
                self.list.clear();
                Vec::new()
            }
            InitApply(object) => {
                self.list.extend(F::of(object).filter(|(_, known)| *known != F::Known::default()));
                Vec::new()
            }
            InitDone => {
                self.known = std::mem::take(&mut self.list);
                let told = self.known.iter().map(|(key, known)| F::event(key.clone(), known.clone()));
                let mut events: Vec<_> = told.collect();
                events.push(Event::Relisted(F::relist(self.known.keys().cloned().collect())));
                events
            }
        }
    }
}

/// Pods, by UID.
pub(crate) struct PodsByUid;

/// Reduces pods.
pub(crate) type Pods = Changes<PodsByUid>;

impl Facts for PodsByUid {
    type Object = SeenPod;
    type Known = PodFacts;

    fn of(pod: SeenPod) -> Option<(String, PodFacts)> {
        convert::pod(pod)
    }

    fn event(uid: String, facts: PodFacts) -> Event {
        Event::Pod(uid, facts)
    }

    fn relist(uids: Vec<String>) -> Relist {
        Relist::Pods(uids)
    }
}

/// Nodes, by name. Their objects change all the time, and where they are hardly ever.
pub(crate) struct NodesByName;

/// Reduces nodes.
pub(crate) type Nodes = Changes<NodesByName>;

impl Facts for NodesByName {
    type Object = PartialObjectMeta<Node>;
    type Known = Option<NodePlace>;

    fn of(node: Self::Object) -> Option<(String, Self::Known)> {
        Some((node.metadata.name.clone()?, convert::node_place(node)))
    }

    fn event(name: String, place: Self::Known) -> Event {
        Event::Node(name, place)
    }

    fn relist(names: Vec<String>) -> Relist {
        Relist::Nodes(names)
    }
}

#[cfg(test)]
mod tests;
