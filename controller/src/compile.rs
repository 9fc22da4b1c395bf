//! From a pool to the document that the proxies get, and what is wrong with it. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use evenkeel_api::{
    channel::{
        AlgorithmDocument, BackendDocument, HealthCheckDocument, HttpCheckDocument, ListenerDocument,
        PoolDocument, StatusRange, TimeoutsDocument,
    },
    object::{
        ActiveHealthCheck, ActiveHealthCheckType, Algorithm, AlgorithmType, BalancerPoolSpec, ProxyClassSpec,
        Timeouts,
    },
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
    let Resolved { backends, problems } = resolve(index, mode, &name.namespace, &spec.backends, own);
    let document = PoolDocument {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        generation: good.generation,
        listeners,
        backends,
        algorithm: algorithm(&spec.algorithm),
        health_check: spec.health_check.as_ref().and_then(|check| check.active.as_ref()).map(health_check),
        timeouts: timeouts(&spec.timeouts),
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
    let Resolved { backends, problems } = resolve(index, mode, &name.namespace, &good.spec.backends, own);
    (backends, problems)
}

fn algorithm(algorithm: &Algorithm) -> AlgorithmDocument {
    match algorithm.type_ {
        AlgorithmType::RoundRobin => AlgorithmDocument::RoundRobin {},
        AlgorithmType::WeightedRoundRobin => AlgorithmDocument::WeightedRoundRobin {},
        AlgorithmType::Random => AlgorithmDocument::Random {},
        AlgorithmType::PowerOfTwoChoices => AlgorithmDocument::PowerOfTwoChoices {
            choices: algorithm.power_of_two_choices.clone().unwrap_or_default().choices,
        },
        AlgorithmType::LeastRequest => AlgorithmDocument::LeastRequest {
            choices: algorithm.least_request.clone().unwrap_or_default().choices,
        },
        AlgorithmType::SourceIPHash => AlgorithmDocument::SourceIPHash {},
    }
}

fn health_check(check: &ActiveHealthCheck) -> HealthCheckDocument {
    let http = (check.type_ == ActiveHealthCheckType::Http).then(|| {
        let http = check.http.clone().unwrap_or_default();
        let expected_statuses = http.expected_statuses.iter().filter_map(|text| status_range(text)).collect();
        HttpCheckDocument { path: http.path, expected_statuses }
    });
    HealthCheckDocument {
        http,
        port: check.port,
        interval_ms: millis(check.interval),
        timeout_ms: millis(check.timeout),
        healthy_threshold: check.healthy_threshold,
        unhealthy_threshold: check.unhealthy_threshold,
    }
}

/// Reads `200` or `200-299`; the schema lets nothing else through.
fn status_range(text: &str) -> Option<StatusRange> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    Some(StatusRange { from: from.parse().ok()?, to: to.parse().ok()? })
}

fn timeouts(timeouts: &Timeouts) -> TimeoutsDocument {
    TimeoutsDocument {
        connect_ms: millis(timeouts.connect),
        request_ms: millis(timeouts.request),
        stream_idle_ms: millis(timeouts.stream_idle),
    }
}

fn millis(duration: evenkeel_api::Duration) -> u64 {
    u64::try_from(std::time::Duration::from(duration).as_millis()).unwrap_or(u64::MAX)
}
