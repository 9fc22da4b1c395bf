//! What a request sees: the pools as they are at one moment, ready to be routed to and picked from. Immutable; every
//! change of configuration or health makes a new one, and a request keeps the one that it began with.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use evenkeel_api::{
    channel::{PoolDocument, PoolUid},
    object::{self, AlgorithmType, HashKey},
};
use evenkeel_balance::{Balancer, EndpointState, TunerReport};
use http::StatusCode;

use crate::{
    clock,
    health::EndpointHealth,
    metrics::{EndpointMetrics, PoolMetrics},
    request::{
        affinity::Affinity,
        headers::Passage,
        queue::{Queue, Rules},
        retry::Policy,
        route::Routes,
        sampling::Sampling,
    },
    room::Room,
    usage::LastUsage,
};

/// All pools in use.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) pools: BTreeMap<PoolUid, Arc<Pool>>,
    pub(crate) routes: Routes,
}

impl Snapshot {
    pub(crate) fn new(pools: BTreeMap<PoolUid, Arc<Pool>>, shared_port: Option<u16>) -> Self {
        let routes = Routes::new(pools.values(), shared_port);
        Self { pools, routes }
    }
}

/// A pool as a request sees it.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) uid: PoolUid,
    pub(crate) document: Arc<PoolDocument>,
    pub(crate) choice: Arc<Choice>,
    /// What requests may name in place of the pool's algorithm, if anything.
    pub(crate) overrides: Option<Overrides>,
    /// How it is balanced, as of the last tick. Requests do not look at it.
    pub(crate) tuned: Arc<Mutex<TunerReport>>,
    /// What keeps clients at their endpoints, if anything.
    pub(crate) affinity: Option<Arc<Affinity>>,
    /// Clients get the load reports of endpoints, too.
    pub(crate) keeps_reports: bool,
    /// How Prequal gets its samples, if not from what this proxy sees.
    pub(crate) sampling: Option<Sampling>,
    /// All endpoints, for reports.
    pub(crate) endpoints: Arc<[PoolEndpoint]>,
    pub(crate) timeouts: Timeouts,
    /// How much endpoints are given at a time, if that is limited.
    pub(crate) bounds: Option<Bounds>,
    pub(crate) queue: Arc<Queue>,
    /// For each thread, room for probes of its endpoints.
    pub(crate) probes: Arc<[Room]>,
    pub(crate) retry: Policy,
    /// Where this proxy is, if the pool goes by that.
    pub(crate) zone: Option<String>,
    pub(crate) region: Option<String>,
    /// By which a request that comes back is known.
    pub(crate) passage: Passage,
    pub(crate) metrics: Arc<PoolMetrics>,
}

impl Pool {
    /// What a request picks from that names `algorithm`; what it may not name any more stands for the pool's own.
    pub(crate) fn choice(&self, algorithm: Option<AlgorithmType>) -> &Choice {
        let others = self.overrides.iter().flat_map(|overrides| &overrides.others);
        let named = algorithm.and_then(|name| others.into_iter().find(|(of, _)| *of == name));
        named.map_or(&self.choice, |(_, choice)| choice)
    }

    /// What is hashed of a request that names `algorithm`, if anything.
    pub(crate) fn keys(&self, algorithm: Option<AlgorithmType>) -> Option<&[HashKey]> {
        let own = self.document.algorithm.consistent_hash.as_ref();
        let named = || self.document.allow_algorithm_override.as_ref()?.consistent_hash.as_ref();
        let hash = own.or_else(|| named().filter(|_| algorithm == Some(AlgorithmType::ConsistentHash)));
        hash.map(|hash| hash.keys.as_slice())
    }

    /// A response of an endpoint broke off: what counted as a success by its head was none. O(n), of what is rare.
    pub(crate) fn broke(&self, address: SocketAddr, status: StatusCode) {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.address == address);
        if let Some(endpoint) = endpoint.filter(|_| !status.is_server_error()) {
            endpoint.metrics.recent.broke(clock::now());
        }
    }
}

/// Endpoints, ready to be picked from by an algorithm.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) balancer: Balancer,
    /// What is measured of the endpoints that may be picked, by `Pick::index`.
    pub(crate) measured: Vec<Arc<EndpointMetrics>>,
}

/// What requests may name in place of a pool's algorithm.
#[derive(Debug)]
pub(crate) struct Overrides {
    /// The pool's own, which may be named too.
    pub(crate) own: AlgorithmType,
    pub(crate) others: Vec<(AlgorithmType, Arc<Choice>)>,
}

/// An endpoint as a report shows it.
#[derive(Clone, Debug)]
pub(crate) struct PoolEndpoint {
    pub(crate) id: String,
    pub(crate) address: SocketAddr,
    pub(crate) backend: String,
    pub(crate) pod: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) weight: u32,
    pub(crate) draining: bool,
    pub(crate) health: Arc<EndpointHealth>,
    pub(crate) state: Arc<EndpointState>,
    pub(crate) metrics: Arc<EndpointMetrics>,
    /// What its Prometheus page showed, if it is read.
    pub(crate) usage: Option<Arc<LastUsage>>,
}

/// How much this proxy gives at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// To one endpoint.
    pub(crate) max_in_flight: u32,
    pub(crate) queue: Option<Rules>,
}

impl Bounds {
    /// This proxy's part, one of `proxies`.
    pub(crate) fn new(limits: &object::Limits, proxies: u32) -> Self {
        let part = |of: u32| of.div_ceil(proxies.max(1)).max(1);
        let queue = |queue: object::Queue| Rules {
            size: usize::try_from(part(queue.size)).unwrap_or(usize::MAX),
            timeout: queue.timeout.into(),
        };
        Self { max_in_flight: part(limits.per_endpoint.concurrent_requests), queue: limits.queue.map(queue) }
    }
}

/// How long a request waits, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For a connection to an endpoint.
    pub(crate) connect: Duration,
    /// From the end of the request to the head of the response.
    pub(crate) request: Duration,
    /// For the next bytes of a body.
    pub(crate) stream_idle: Duration,
}

impl From<object::Timeouts> for Timeouts {
    fn from(timeouts: object::Timeouts) -> Self {
        Self {
            connect: timeouts.connect.into(),
            request: timeouts.request.into(),
            stream_idle: timeouts.stream_idle.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_takes_its_part_of_the_limits() {
        let limits: object::Limits =
            serde_json::from_str(r#"{"perEndpoint": {"concurrentRequests": 10}, "queue": {"size": 3}}"#)
                .unwrap();
        let check = |proxies, in_flight, size| {
            let bounds = Bounds::new(&limits, proxies);
            assert_eq!((bounds.max_in_flight, bounds.queue.map(|queue| queue.size)), (in_flight, Some(size)));
        };
        check(0, 10, 3);
        check(1, 10, 3);
        check(3, 4, 1);
        check(1000, 1, 1);
    }
}
