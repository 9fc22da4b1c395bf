//! What the proxies of a class are to know, and what they said.

use std::{collections::BTreeMap, net::SocketAddr};

use evenkeel_api::channel::{PoolText, PoolUid, PoolsReport, Rejection, snapshot_hash};

/// One version of the whole state of a class. Immutable; shared by all publishing tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The leadership that publishes it; 0 from a follower, which only answers pulls.
    pub epoch: u64,
    /// Counts changes within the epoch, from 1.
    pub revision: u64,
    /// Hash of `pools`.
    pub hash: String,
    /// The pools by UID.
    pub pools: BTreeMap<PoolUid, PublishedPool>,
}

/// A pool within a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPool {
    /// Its document.
    pub text: PoolText,
    /// Generation of the object that the document was made from.
    pub generation: i64,
}

impl Published {
    /// A version, with its hash computed.
    #[must_use]
    pub fn new(epoch: u64, revision: u64, pools: BTreeMap<PoolUid, PublishedPool>) -> Self {
        let hash = snapshot_hash(pools.iter().map(|(uid, pool)| (uid.as_str(), pool.text.digest())));
        Self { epoch, revision, hash, pools }
    }
}

/// Identity of a proxy: the UID of its pod, so that a new pod is never taken for the old one.
pub type ProxyId = String;

/// A proxy to publish to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Identity.
    pub id: ProxyId,
    /// The class that it serves.
    pub class: String,
    /// Name of the pod, for people.
    pub name: String,
    /// Node that it runs on, for people.
    pub node: Option<String>,
    /// Zone that it runs in.
    pub zone: Option<String>,
    /// Where its config channel listens.
    pub address: SocketAddr,
    /// Passes its readiness probe.
    pub serving: bool,
    /// On its way out.
    pub terminating: bool,
}

impl Proxy {
    /// Carries traffic and will go on to: what `Programmed` counts.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.serving && !self.terminating
    }
}

/// What a publishing task learned of a proxy.
#[derive(Clone, Debug, PartialEq)]
pub enum ProxyEvent {
    /// The proxy's request path uses this version, but for the pools rejected.
    Acknowledged {
        /// Epoch of the version.
        epoch: u64,
        /// Revision of the version.
        revision: u64,
        /// Generations of the version's pools.
        generations: BTreeMap<PoolUid, i64>,
        /// Pools that keep their last good version, and why.
        rejected: BTreeMap<PoolUid, Vec<Rejection>>,
    },
    /// The heartbeat answered.
    Reported(Box<PoolsReport>),
    /// The proxy has had a push of this newer epoch: another leads, or the Lease was made anew.
    Superseded {
        /// The proxy's epoch.
        epoch: u64,
    },
    /// A push or a heartbeat got no answer, or an unexpected one.
    Failed {
        /// What went wrong, for people.
        message: String,
    },
}
