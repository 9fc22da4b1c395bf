//! What a pool consists of.

use std::{borrow::Borrow, fmt, net::SocketAddr, sync::Arc};

use crate::Time;

/// Identity of an endpoint: UID of the pod and port, or address and port. All that is learned is kept under it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(Arc<str>);

impl EndpointId {
    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for EndpointId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl Borrow<str> for EndpointId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An endpoint as configured, with what is known of its health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Identity.
    pub id: EndpointId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Weight among the endpoints of its backend; 0 drains: it takes no new requests.
    pub weight: u32,
    /// It terminates and still serves: it takes new requests only if its backend has no other.
    pub terminating: bool,
    /// Checks say that it works, or there are none.
    pub healthy: bool,
    /// When it became ready, by the caller's clock: slow start counts from there. `None`: long ago.
    pub ready_since: Option<Time>,
    /// Where it runs.
    pub zone: Option<Arc<str>>,
    /// What zone that is in.
    pub region: Option<Arc<str>>,
}

impl Endpoint {
    /// A healthy endpoint of weight 1 that has long been ready, somewhere.
    #[must_use]
    pub fn new(id: &str, address: SocketAddr) -> Self {
        Self {
            id: id.into(),
            address,
            weight: 1,
            terminating: false,
            healthy: true,
            ready_since: None,
            zone: None,
            region: None,
        }
    }
}

/// A source of endpoints with its share of the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// What the backend is called; hash algorithms place it by this.
    pub key: String,
    /// Share of the traffic in proportion to the other backends'; 0 takes none.
    pub weight: u32,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}
