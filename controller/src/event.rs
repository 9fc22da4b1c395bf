//! What sources tell of the world, reduced to what is used: nothing else is kept in memory.

use std::{collections::BTreeMap, net::IpAddr};

use evenkeel_api::{
    channel::PoolUid,
    object::{BalancerPoolSpec, BalancerPoolStatus, ProxyClassSpec},
};

use crate::published::Proxy;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectName {
    /// A namespace and a name.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A change of the world. Applying one twice is the same as once.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A pool was seen.
    Pool(ObjectName, Box<Pool>),
    /// A pool is gone.
    PoolDeleted(ObjectName),
    /// A class was seen.
    Class(String, ClassSeen),
    /// A class is gone.
    ClassDeleted(String),
    /// A Service was seen.
    Service(ObjectName, Service),
    /// A Service is gone.
    ServiceDeleted(ObjectName),
    /// An EndpointSlice was seen; the name is the slice's.
    Slice(ObjectName, Slice),
    /// An EndpointSlice is gone.
    SliceDeleted(ObjectName),
    /// Labels of a namespace.
    Namespace(String, BTreeMap<String, String>),
    /// A namespace is gone.
    NamespaceDeleted(String),
    /// What is known of a pod, by its UID; the default if there is nothing to know, or it is gone.
    Pod(String, PodFacts),
    /// Where a node says that it is, by its name; `None` if it says nothing of that, or is gone.
    Node(String, Option<NodePlace>),
    /// A proxy was seen (by the UID of its pod).
    Proxy(Proxy),
    /// A proxy is gone, by the UID of its pod.
    ProxyDeleted(String),
    /// Every source has told all that there was at its start. Nothing is published, answered or written before.
    Synced,
    /// A watch began anew: these objects of a kind are all there are, told in place of deletions one by one.
    Relisted(Relist),
}

/// The names that a full list held; what else the index has of that kind is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "kinds of objects")]
pub enum Relist {
    Pools(Vec<ObjectName>),
    Classes(Vec<String>),
    Services(Vec<ObjectName>),
    Slices(Vec<ObjectName>),
    Namespaces(Vec<String>),
    Pods(Vec<String>),
    Nodes(Vec<String>),
    Proxies(Vec<String>),
}

/// What is known of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its annotation `evenkeel.dev/weight`.
    pub weight: Option<String>,
    /// When it became ready, in seconds since 1970; `None` if it is not.
    pub ready_since: Option<i64>,
}

/// Where a node is, by its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlace {
    /// `topology.kubernetes.io/zone`.
    pub zone: String,
    /// `topology.kubernetes.io/region`.
    pub region: String,
}

/// A pool as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// UID of the object.
    pub uid: PoolUid,
    /// Generation of the object.
    pub generation: i64,
    /// Seconds since the epoch at which the object was made: of two claims the older wins.
    pub created: i64,
    /// The spec, or why it cannot be read.
    pub spec: Result<BalancerPoolSpec, String>,
    /// The status as stored, from which conditions keep their transition times.
    pub status: Option<BalancerPoolStatus>,
}

/// A class as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassSeen {
    /// The spec, or why it cannot be read.
    pub spec: Result<ProxyClassSpec, String>,
}

/// A Service, reduced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// UID of the object.
    pub uid: String,
    /// Labels that start with `evenkeel.dev/`, and `app.kubernetes.io/managed-by`.
    pub labels: BTreeMap<String, String>,
    /// Annotations, only of Services that carry our mark.
    pub annotations: BTreeMap<String, String>,
    /// `spec.type`.
    pub type_: String,
    /// `spec.selector`, only of Services that carry our mark.
    pub selector: BTreeMap<String, String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// `spec.ipFamilies`, in order: IPv4 or IPv6.
    pub ip_families: Vec<String>,
    /// `spec.externalName`.
    pub external_name: Option<String>,
    /// `spec.externalTrafficPolicy`.
    pub external_traffic_policy: Option<String>,
    /// `spec.loadBalancerClass`.
    pub load_balancer_class: Option<String>,
    /// `spec.ipFamilyPolicy`.
    pub ip_family_policy: Option<String>,
    /// Addresses and host names of `status.loadBalancer`.
    pub ingress: Vec<String>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty if it has none.
    pub name: String,
    /// Port.
    pub port: u16,
    /// Protocol: TCP, UDP or SCTP.
    pub protocol: String,
    /// `targetPort`, where it is a number.
    pub target_port: Option<u16>,
}

/// An EndpointSlice, reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The Service that it belongs to.
    pub service: String,
    /// IPv4, IPv6 or FQDN.
    pub address_type: String,
    /// Ports by name (empty if it has none); only those over TCP with a number.
    pub ports: BTreeMap<String, u16>,
    /// Endpoints.
    pub endpoints: Vec<SliceEndpoint>,
}

/// An endpoint of a slice, one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Address; `None` where it is a host name.
    pub address: Option<IpAddr>,
    /// UID and name of the pod that it refers to, if any.
    pub pod: Option<PodReference>,
    /// nil counts as ready.
    pub ready: bool,
    /// nil counts as what `ready` says.
    pub serving: bool,
    /// nil counts as not terminating.
    pub terminating: bool,
    /// Node that it runs on.
    pub node: Option<String>,
    /// Zone that it runs in.
    pub zone: Option<String>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReference {
    /// UID.
    pub uid: String,
    /// Name.
    pub name: String,
}
