//! What this proxy was sent, and what it made of it: the order of pushes, their hashes, and one verdict per pool.
//!
//! Pure: a push is checked against a [`Received`] and becomes a [`Candidate`], which says what to activate and becomes
//! the next [`Received`] once the request path has answered. Received and active versions are kept apart; the hash is
//! of what was received, so that a rejected pool never looks like a lost push.

mod pool;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use evenkeel_api::channel::{
    Acknowledgement, PoolDocument, PoolReport, PoolUid, PoolsReport, ReceivedSnapshot, Rejection,
    SnapshotDocument, SnapshotPatch, merge, snapshot_hash,
};
use serde_json::Value;

use self::pool::{Pool, Version};

/// Why a push changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not newer than what is here.
    #[error(
        "this proxy has epoch {epoch}, revision {revision}; a push must be newer, or the same with the same hash"
    )]
    Stale {
        /// Epoch here.
        epoch: u64,
        /// Revision here.
        revision: u64,
    },
    /// A patch of something else than what is here.
    #[error("this proxy has {0}, which is not what the patch is made for; send the whole with PUT")]
    UnknownBase(String),
    /// A patch that does not give what it says.
    #[error("the patch gives {made}, not {said} as it says; send the whole with PUT")]
    Diverged {
        /// Hash of the result.
        made: String,
        /// Hash that the patch names.
        said: String,
    },
    /// A hash that is not that of the pools.
    #[error(
        "the pools hash to {made}, not to {said} as the snapshot says; hash them as the document of the channel tells"
    )]
    WrongHash {
        /// Hash of the pools.
        made: String,
        /// Hash that the snapshot names.
        said: String,
    },
    /// A pool that has no canonical form.
    #[error("pool {uid} has no canonical form (RFC 8785): {message}")]
    NotCanonical {
        /// The pool.
        uid: PoolUid,
        /// What is wrong.
        message: String,
    },
}

/// What to do with a push that is in order.
#[derive(Debug)]
pub enum Step {
    /// It is here already: answer as if it were new.
    Same,
    /// Activate this, then settle it.
    Next(Candidate),
}

/// Where a state comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nothing has come yet.
    Nothing,
    /// The last good state, from disk.
    Disk,
    /// A follower's answer to a pull: epoch 0.
    Follower,
    /// A leader.
    Leader,
}

/// A state as received, with the verdict on each pool. Immutable.
#[derive(Clone, Debug)]
pub struct Received {
    source: Source,
    position: (u64, u64),
    /// Highest epoch ever seen, also before a restart: an older leader stays out even if a follower has answered since.
    fence: u64,
    hash: String,
    pools: BTreeMap<PoolUid, Pool>,
}

/// A state on its way into the request path.
#[derive(Debug)]
pub struct Candidate {
    next: Received,
    desired: BTreeMap<PoolUid, Version>,
}

impl Received {
    /// Nothing yet; leaders before epoch `fence` stay out.
    #[must_use]
    pub fn nothing(fence: u64) -> Self {
        let pools = BTreeMap::new();
        Self { source: Source::Nothing, position: (0, 0), fence, hash: hash_of(&pools), pools }
    }

    /// Where it comes from.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.source
    }

    /// Epoch and revision; (0, 0) before anything came.
    #[must_use]
    pub const fn position(&self) -> (u64, u64) {
        self.position
    }

    /// Leaders before this epoch stay out.
    #[must_use]
    pub const fn fence(&self) -> u64 {
        self.fence
    }

    /// Hash of the pools as received.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Number of pools rejected.
    #[must_use]
    pub fn rejected_pools(&self) -> usize {
        self.rejected().count()
    }

    /// True if the request path has refused what parses: it may do better at another time.
    #[must_use]
    pub fn may_improve(&self) -> bool {
        self.pools.values().any(|pool| pool.parsed.is_ok() && !pool.rejections.is_empty())
    }

    /// A whole state.
    ///
    /// # Errors
    /// If it is out of order, or its hash is not that of its pools.
    pub fn put(&self, document: SnapshotDocument) -> Result<Step, Refusal> {
        let position = (document.epoch, document.revision);
        self.admit(position)?;
        let pools: Result<_, _> =
            document.pools.into_iter().map(|(uid, value)| self.read(uid, &value)).collect();
        let (pools, said) = (pools?, document.hash);
        let made = hash_of(&pools);
        if made != said {
            return Err(Refusal::WrongHash { made, said });
        }
        if self.has(position, &made)? {
            return Ok(Step::Same);
        }
        Ok(Step::Next(self.next(position, made, pools)))
    }

    /// A change of the state whose hash is `base`.
    ///
    /// # Errors
    /// If it is out of order, or the base or the result is not what it says.
    pub fn patch(&self, base: &str, patch: &SnapshotPatch) -> Result<Step, Refusal> {
        let position = (patch.epoch, patch.revision);
        self.admit(position)?;
        // First, because a patch that arrives twice finds its own result for a base.
        if self.has(position, &patch.hash)? {
            return Ok(Step::Same);
        }
        if base != self.hash || self.source == Source::Nothing {
            return Err(Refusal::UnknownBase(self.hash.clone()));
        }
        let mut pools = self.pools.clone();
        for (uid, change) in &patch.pools {
            if change.is_null() {
                pools.remove(uid);
                continue;
            }
            let mut value = self.pools.get(uid).map_or(Value::Null, |pool| pool.text.to_value());
            merge(&mut value, change);
            let (uid, pool) = self.read(uid.clone(), &value)?;
            pools.insert(uid, pool);
        }
        let made = hash_of(&pools);
        if made != patch.hash {
            return Err(Refusal::Diverged { made, said: patch.hash.clone() });
        }
        Ok(Step::Next(self.next(position, made, pools)))
    }

    /// The state that `snapshot` was taken of, to be activated as it was: of rejected pools the version in use.
    ///
    /// # Errors
    /// If its hash is not that of its pools.
    pub fn restore(&self, snapshot: &ReceivedSnapshot) -> Result<Candidate, Refusal> {
        let (mut pools, mut desired) = (BTreeMap::new(), BTreeMap::new());
        for (uid, value) in &snapshot.pools {
            let mut pool = Pool::read(uid, value, None)?;
            let version = match snapshot.active.get(uid) {
                Some(active) => Version::read(uid, active)?,
                None if snapshot.rejected.contains_key(uid) => None,
                None => pool.received(),
            };
            desired.extend(version.map(|version| (uid.clone(), version)));
            pool.rejections = snapshot.rejected.get(uid).cloned().unwrap_or(pool.rejections);
            pools.insert(uid.clone(), pool);
        }
        let made = hash_of(&pools);
        if made != snapshot.hash {
            return Err(Refusal::WrongHash { made, said: snapshot.hash.clone() });
        }
        let position = (snapshot.epoch, snapshot.revision);
        let next =
            Self { source: Source::Disk, position, fence: self.fence.max(snapshot.epoch), hash: made, pools };
        Ok(Candidate { next, desired })
    }

    /// The same state once more, for pools that the request path has refused.
    #[must_use]
    pub fn again(&self) -> Candidate {
        let mut next = self.clone();
        for pool in next.pools.values_mut() {
            pool.rejections = pool.unreadable();
        }
        Candidate::new(next)
    }

    /// What GET /v1/snapshot says.
    #[must_use]
    pub fn snapshot(&self) -> ReceivedSnapshot {
        let active = self.rejected().filter_map(|(uid, pool)| {
            pool.active.as_ref().map(|version| (uid.clone(), version.text.to_value()))
        });
        ReceivedSnapshot {
            epoch: self.position.0,
            revision: self.position.1,
            hash: self.hash.clone(),
            pools: self.pools.iter().map(|(uid, pool)| (uid.clone(), pool.text.to_value())).collect(),
            active: active.collect(),
            rejected: self.rejections(),
        }
    }

    /// What GET /v1/pools says.
    #[must_use]
    pub fn report(&self, pools: BTreeMap<PoolUid, PoolReport>) -> PoolsReport {
        let (epoch, revision) = self.position;
        PoolsReport { epoch, revision, hash: self.hash.clone(), rejected: self.rejections(), pools }
    }

    /// What answers a push.
    #[must_use]
    pub fn acknowledgement(&self) -> Acknowledgement {
        let (epoch, revision) = self.position;
        Acknowledgement { epoch, revision, hash: self.hash.clone(), rejected: self.rejections() }
    }

    fn rejected(&self) -> impl Iterator<Item = (&PoolUid, &Pool)> {
        self.pools.iter().filter(|(_, pool)| !pool.rejections.is_empty())
    }

    fn rejections(&self) -> BTreeMap<PoolUid, Vec<Rejection>> {
        self.rejected().map(|(uid, pool)| (uid.clone(), pool.rejections.clone())).collect()
    }

    /// Refuses what is older. Epoch 0 is a follower's, who knows no order: it may come before any leader's, not after.
    fn admit(&self, position: (u64, u64)) -> Result<(), Refusal> {
        let (epoch, _) = position;
        let older = match self.source {
            Source::Nothing | Source::Disk if epoch == 0 => false,
            Source::Follower if epoch == 0 => position < self.position,
            Source::Nothing | Source::Follower => epoch < self.fence,
            Source::Disk | Source::Leader => epoch < self.fence || position < self.position,
        };
        if older { Err(self.stale()) } else { Ok(()) }
    }

    /// True if this very state is here already; refuses another one of the same position. What came from disk is
    /// activated once more when a leader sends it, because its endpoints are trusted then.
    fn has(&self, position: (u64, u64), hash: &str) -> Result<bool, Refusal> {
        if self.source == Source::Nothing || position != self.position {
            return Ok(false);
        }
        if self.hash != hash {
            return if position.0 == 0 && self.source == Source::Disk {
                Ok(false)
            } else {
                Err(self.stale())
            };
        }
        Ok(self.source != Source::Disk)
    }

    fn stale(&self) -> Refusal {
        let (epoch, revision) = self.position;
        if epoch < self.fence {
            return Refusal::Stale { epoch: self.fence, revision: 0 };
        }
        Refusal::Stale { epoch, revision }
    }

    fn read(&self, uid: PoolUid, value: &Value) -> Result<(PoolUid, Pool), Refusal> {
        let pool = Pool::read(&uid, value, self.pools.get(&uid))?;
        Ok((uid, pool))
    }

    fn next(&self, position: (u64, u64), hash: String, mut pools: BTreeMap<PoolUid, Pool>) -> Candidate {
        for pool in pools.values_mut() {
            pool.rejections = pool.unreadable();
        }
        let source = if position.0 == 0 { Source::Follower } else { Source::Leader };
        Candidate::new(Self { source, position, fence: self.fence.max(position.0), hash, pools })
    }
}

impl Candidate {
    fn new(next: Received) -> Self {
        let desired = next.pools.iter().filter_map(|(uid, pool)| {
            let version = pool.received().or_else(|| pool.active.clone())?;
            Some((uid.clone(), version))
        });
        Self { desired: desired.collect(), next }
    }

    /// What the request path is to do: of pools that cannot be read the version in use.
    #[must_use]
    pub fn desired(&self) -> BTreeMap<PoolUid, Arc<PoolDocument>> {
        self.desired.iter().map(|(uid, version)| (uid.clone(), version.document.clone())).collect()
    }

    /// Where it comes from.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.next.source
    }

    /// The state, once the request path has carried out `desired` but for what it `refused`.
    #[must_use]
    pub fn settle(mut self, refused: BTreeMap<PoolUid, Vec<Rejection>>) -> Received {
        for (uid, version) in self.desired {
            if let Entry::Occupied(mut pool) = self.next.pools.entry(uid)
                && !refused.contains_key(pool.key())
            {
                pool.get_mut().active = Some(version);
            }
        }
        for (uid, rejections) in refused {
            if let Some(pool) = self.next.pools.get_mut(&uid) {
                pool.rejections.extend(rejections);
            }
        }
        self.next
    }
}

fn hash_of(pools: &BTreeMap<PoolUid, Pool>) -> String {
    snapshot_hash(pools.iter().map(|(uid, pool)| (uid.as_str(), pool.text.digest())))
}

#[cfg(test)]
mod tests;
