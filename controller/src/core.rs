//! The controller's only mutable state, and the one step that turns what happened into what is to be done. No I/O, no
//! clock:
//! [`Core::step`] is told the time and returns versions to publish, effects to carry out, and when it wants to be called again.

mod effects;
mod locality;
mod pools;
mod services;
mod statuses;
mod versions;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use evenkeel_api::channel::{PoolUid, ReceivedSnapshot};
use k8s_openapi::jiff::Timestamp;

use crate::{
    compile::Mode,
    effect::Effect,
    event::{Event, ObjectName},
    fleet::Fleet,
    hostnames::Hostnames,
    index::{Changes, Index},
    published::{ProxyEvent, Published},
    write::Verdict,
};
use effects::Issued;
use pools::PoolState;
use versions::{ClassState, Leaving};

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub instant: Instant,
    /// For transition times.
    pub time: Timestamp,
}

/// What this process is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Compiles, and answers pulls; publishes, writes and allots nothing.
    Follower,
    /// Does everything.
    Leader { epoch: u64, since: Instant },
}

/// The controller's state.
#[derive(Debug)]
pub struct Core {
    mode: Mode,
    index: Index,
    role: Role,
    pools: BTreeMap<ObjectName, PoolState>,
    classes: BTreeMap<String, ClassState>,
    hostnames: Hostnames,
    /// By class and UID.
    leaving: BTreeMap<(String, PoolUid), Leaving>,
    adopted: BTreeMap<PoolUid, serde_json::Value>,
    fleet: Fleet,
    issued: Issued,
    /// Why the API server refuses a Service that we want written.
    refused: BTreeMap<ObjectName, String>,
    /// Pools to look at again at the next step, whatever the index says.
    dirty: BTreeSet<ObjectName>,
    /// Something that statuses depend on happened.
    told: bool,
    /// The epoch of the versions published last.
    published_epoch: Option<u64>,
    raise_above: Option<u64>,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub struct Step {
    /// The newest version of each class that has one now and had another before.
    pub versions: BTreeMap<String, Arc<Published>>,
    /// Changes to make, in order; empty unless leader.
    pub effects: Vec<Effect>,
    /// When to call again if nothing happens.
    pub wake: Option<Instant>,
    /// A proxy has had a push of this epoch, and we lead with a lower one: the Lease's count has to go above it.
    pub raise_above: Option<u64>,
}

impl Core {
    /// A controller that knows nothing yet, as a follower.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            index: Index::default(),
            role: Role::Follower,
            pools: BTreeMap::new(),
            classes: BTreeMap::new(),
            hostnames: Hostnames::default(),
            leaving: BTreeMap::new(),
            adopted: BTreeMap::new(),
            fleet: Fleet::default(),
            issued: Issued::default(),
            refused: BTreeMap::new(),
            dirty: BTreeSet::new(),
            told: false,
            published_epoch: None,
            raise_above: None,
        }
    }

    /// The world as the sources told it.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// What the proxies said.
    #[must_use]
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Takes in a change of the world.
    pub fn apply(&mut self, event: Event) {
        self.index.apply(event);
    }

    /// Takes in what a proxy said.
    pub fn tell(&mut self, proxy: &str, event: ProxyEvent, now: Now) {
        if let (ProxyEvent::Superseded { epoch }, Role::Leader { epoch: own, .. }) = (&event, self.role)
            && *epoch >= own
        // the same epoch at another process: the Lease was made anew
        {
            self.raise_above = self.raise_above.max(Some(*epoch));
        }
        self.fleet.tell(proxy, event, now.instant);
        self.told = true;
    }

    /// Takes in what the API server says of a Service that we want written.
    pub fn judged(&mut self, verdict: Verdict) {
        let known = match verdict.refusal.clone() {
            Some(refusal) => self.refused.insert(verdict.service, refusal),
            None => self.refused.remove(&verdict.service),
        };
        self.told |= known != verdict.refusal;
    }

    /// Becomes the leader. `adopted` are the snapshots that the proxies have: from them come the last good versions of
    /// pools that cannot be read now, and the ports of pools that are gone but still bound.
    pub fn lead(&mut self, epoch: u64, adopted: &[ReceivedSnapshot], now: Now) {
        self.role = Role::Leader { epoch, since: now.instant };
        self.fleet.begin_epoch(now.instant);
        self.issued = Issued::default();
        self.refused.clear();
        for class in self.classes.values_mut() {
            class.begin_epoch();
        }
        for (name, state) in &mut self.pools {
            // Another leader may have written since this one did.
            state.status = self.index.pools().get(name).and_then(|pool| pool.status.clone());
            state.written = None;
        }
        self.adopt(adopted);
        self.dirty.extend(self.index.pools().keys().cloned());
    }

    /// Stops leading.
    pub fn follow(&mut self) {
        self.role = Role::Follower;
        self.dirty.extend(self.index.pools().keys().cloned());
    }

    /// Looks at what changed and says what is to be done. Nothing is, before every source has told all that there is.
    pub fn step(&mut self, now: Now) -> Step {
        if !self.index.is_synced() {
            return Step::default();
        }
        let mut changes = self.index.take_changes();
        changes.pools.append(&mut self.dirty);
        if changes.proxies {
            self.fleet.set_proxies(self.index.proxies(), now.instant);
            changes.endpoints.extend(self.pools.keys().cloned()); // a proxy is never an endpoint
        }
        self.admit(&mut changes);
        self.allot(&mut changes, now.instant);
        let changed = changes != Changes::default();
        let told = std::mem::take(&mut self.told) || changed;
        self.compile(&changes);
        let epoch = self.epoch();
        let publishes = changed || !self.leaving.is_empty() || self.published_epoch != Some(epoch);
        let versions = if publishes { self.publish(epoch, now.instant) } else { BTreeMap::new() };
        let mut step = Step { versions, raise_above: self.raise_above.take(), ..Step::default() };
        if matches!(self.role, Role::Leader { .. }) {
            step.effects = self.effects(&changes, told, now);
        }
        step.wake = self.next_deadline(now.instant);
        step
    }

    fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let ports = self.classes.values().filter_map(|class| class.ports.next_deadline());
        let silence = self.fleet.next_deadline(now);
        let takeover = match self.role {
            Role::Leader { since, .. } => Some(since + crate::fleet::PATIENCE).filter(|time| *time > now),
            Role::Follower => None,
        };
        ports.chain(silence).chain(takeover).chain(self.issued.next_deadline(now)).min()
    }

    const fn epoch(&self) -> u64 {
        match self.role {
            Role::Leader { epoch, .. } => epoch,
            Role::Follower => 0,
        }
    }
}

#[cfg(test)]
mod tests;
