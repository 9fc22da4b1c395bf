//! From a pool to the document that the proxies get, and what is wrong with it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use evenkeel_api::{
    channel::{BackendDocument, ListenerDocument, PoolDocument},
    object::{BalancerPoolSpec, ProxyClassSpec},
};

use crate::{
    event::ObjectName,
    index::Index,
    problem::Problem,
    resolve::{Own, Resolved, resolve},
};

/// Where pools come from, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From the API server.
    Kubernetes {
        /// Namespace of the controller and the proxies.
        namespace: String,
        /// DNS suffix of the cluster, such as `cluster.local`.
        cluster_domain: String,
    },
    /// From files: a listener's port is bound as it is, and addresses of this machine are allowed.
    Files(Listens),
}

/// Where this process listens, beside the listeners of its pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listens {
    /// The addresses at which its pools' ports are bound.
    pub addresses: BTreeSet<IpAddr>,
    /// What it has bound itself.
    pub sockets: BTreeSet<SocketAddr>,
}

/// The version of a pool that serves: its newest spec that could be read and that its class allows.
#[derive(Clone, Debug)]
pub struct Good {
    /// Generation of the object.
    pub generation: i64,
    /// The spec.
    pub spec: BalancerPoolSpec,
    /// Its class, as it was when it last allowed this.
    pub class: ProxyClassSpec,
}

/// A pool's document with what was found on the way.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// For the proxies.
    pub document: PoolDocument,
    /// Of its references.
    pub problems: Vec<Problem>,
}

/// Compiles one pool. `listeners` are those that have a port, `own` what leads to ourselves.
#[must_use]
pub fn compile(
    index: &Index,
    mode: &Mode,
    name: &ObjectName,
    good: &Good,
    listeners: BTreeMap<String, ListenerDocument>,
    own: &Own,
) -> Compiled {
    let spec = &good.spec;
    let Resolved { backends, problems } = resolve(index, mode, &name.namespace, spec, own);
    let document = PoolDocument {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        generation: good.generation,
        listeners,
        backends,
        algorithm: spec.algorithm.clone(),
        allow_algorithm_override: spec.allow_algorithm_override.clone(),
        health_check: spec.health_check.clone(),
        slow_start: spec.slow_start.clone(),
        locality: spec.locality.clone(),
        proxy_zones: BTreeMap::new(),
        zone_regions: BTreeMap::new(),
        load_reports: spec.load_reports,
        session_affinity: spec.session_affinity.clone(),
        timeouts: spec.timeouts,
        retries: spec.retries.clone(),
        limits: spec.limits.clone(),
        proxies: 1,
        trusted_cidrs: good.class.trusted_cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect(),
    };
    Compiled { document, problems }
}

/// Compiles the endpoints alone into a document made before: the fast path of a rollout.
#[must_use]
pub fn compile_endpoints(
    index: &Index,
    mode: &Mode,
    name: &ObjectName,
    good: &Good,
    own: &Own,
) -> (BTreeMap<String, BackendDocument>, Vec<Problem>) {
    let Resolved { backends, problems } = resolve(index, mode, &name.namespace, &good.spec, own);
    (backends, problems)
}
