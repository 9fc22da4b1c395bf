//! What a replica knows of the Lease, and what follows from it. Pure: time comes in as an argument.

use std::time::Duration;

use evenkeel_api::labels::CONTROLLER;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use tokio::time::Instant;

use super::{HOLD, LEASE, holder};

/// The highest epoch that there can be: a Lease counts in 32 bits, with a sign.
pub(super) const MAX_EPOCH: u64 = i32::MAX as u64 - 1;

/// How far apart two looks may be that find no Lease, for there to have been none between them.
const LOOK: Duration = Duration::from_secs(5);

/// What a follower does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing, and nothing before then unless the Lease changes.
    Wait(Instant),
    /// There is none: make it.
    Create { epoch: u64 },
    /// Its holder is gone: take it.
    Take { epoch: u64 },
}

/// What a replica knows of the Lease.
#[derive(Debug)]
pub(super) struct Known {
    identity: String,
    lease: Option<Lease>,
    /// When it was first seen as it is. Never compared with what the Lease says: clocks differ.
    since: Instant,
    /// When it was last read, if ever.
    looked: Option<Instant>,
    /// The highest epoch that a Lease ever had; 0 if none.
    highest: u64,
    /// The highest epoch that a proxy told of, which must be outdone.
    told: u64,
}

impl Known {
    pub(super) const fn new(identity: String, now: Instant) -> Self {
        Self { identity, lease: None, since: now, looked: None, highest: 0, told: 0 }
    }

    /// The Lease (or that there is none), as read just `now`.
    pub(super) fn saw(&mut self, lease: Option<Lease>, now: Instant) {
        let spec = |lease: &Option<Lease>| {
            lease.as_ref().map(|lease| (lease.metadata.uid.clone(), lease.spec.clone()))
        };
        // Nobody can tell whether there was one while nobody looked.
        let is_unwatched = lease.is_none() && self.looked.is_none_or(|looked| now > looked + LOOK);
        if is_unwatched || spec(&lease) != spec(&self.lease) {
            self.since = now;
        }
        self.looked = Some(now);
        self.highest = self.highest.max(lease.as_ref().map_or(0, transitions));
        self.lease = lease;
    }

    /// A proxy has had a push of this epoch that was not ours.
    pub(super) fn raise_above(&mut self, epoch: u64) {
        self.told = self.told.max(epoch);
    }

    /// Whether there was none at the last look.
    pub(super) const fn is_missing(&self) -> bool {
        self.lease.is_none()
    }

    /// Whether the Lease says that this replica leads under this epoch.
    pub(super) fn holds(&self, epoch: u64) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|lease| holder(lease) == Some(&self.identity) && transitions(lease) == epoch)
    }

    /// The epoch of a new leadership.
    pub(super) fn next_epoch(&self) -> u64 {
        self.highest.max(self.told) + 1
    }

    /// The epoch under which a leader of `epoch` goes on: the same, unless it is not its own.
    pub(super) fn epoch_to_hold(&self, epoch: u64) -> u64 {
        if self.highest > epoch || self.told >= epoch { self.next_epoch() } else { epoch }
    }

    pub(super) fn decide(&self, now: Instant) -> Decision {
        let epoch = self.next_epoch();
        let Some(lease) = &self.lease else {
            return due(now, self.since + HOLD, Decision::Create { epoch });
        };
        match holder(lease) {
            Some(other) if other != self.identity => due(now, self.since + LEASE, Decision::Take { epoch }),
            // Deleted, and laid down anew by hand: the leader may not have heard yet.
            None if transitions(lease) < self.highest => {
                due(now, self.since + HOLD, Decision::Take { epoch })
            }
            _ => Decision::Take { epoch },
        }
    }

    /// The Lease as last read, claimed for this replica; to be replaced under its resourceVersion.
    pub(super) fn claim(&self, epoch: u64) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_default();
        let time = Some(MicroTime(Timestamp::now()));
        let is_renewal = self.holds(epoch);
        let spec = lease.spec.get_or_insert_default();
        if !is_renewal {
            spec.acquire_time.clone_from(&time);
        }
        spec.renew_time = time;
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_transitions = i32::try_from(epoch).ok();
        spec.lease_duration_seconds = i32::try_from(LEASE.as_secs()).ok();
        lease
    }

    /// A Lease that this replica holds from the start. Without labels, which may be somebody's who lays it down again.
    pub(super) fn new_lease(&self, epoch: u64) -> Lease {
        let blank = Self { lease: None, identity: self.identity.clone(), ..*self };
        let metadata = ObjectMeta { name: Some(CONTROLLER.to_owned()), ..ObjectMeta::default() };
        Lease { metadata, ..blank.claim(epoch) }
    }

    /// The Lease as last read, held by nobody.
    pub(super) fn freed(&self) -> Lease {
        let mut lease = self.lease.clone().unwrap_or_default();
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        lease
    }
}

fn due(now: Instant, time: Instant, decision: Decision) -> Decision {
    if now < time { Decision::Wait(time) } else { decision }
}

fn transitions(lease: &Lease) -> u64 {
    let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
    transitions.and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(holder: &str, transitions: i32) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    /// What is decided so many seconds after the last of the observations, which are one second apart.
    fn check(seen: &[Option<Lease>], after: u32, expect: impl FnOnce(Instant) -> Decision) {
        let start = Instant::now();
        let mut known = Known::new("me".to_owned(), start);
        let mut now = start;
        for lease in seen {
            now += SECOND;
            known.saw(lease.clone(), now);
        }
        assert_eq!(known.decide(now + after * SECOND), expect(start));
    }

    #[test]
    fn a_lease_that_is_missing_may_have_had_a_leader() {
        check(&[None], 9, |start| Decision::Wait(start + SECOND + HOLD));
        check(&[None], 10, |_| Decision::Create { epoch: 1 });
    }

    #[test]
    fn one_that_was_deleted_is_made_when_its_leader_must_have_stopped() {
        check(&[Some(lease("other", 4)), None], 9, |start| Decision::Wait(start + 2 * SECOND + HOLD));
        check(&[Some(lease("other", 4)), None], 10, |_| Decision::Create { epoch: 5 });
    }

    #[test]
    fn an_absence_that_nobody_watched_counts_from_the_next_look() {
        let start = Instant::now();
        let mut known = Known::new("me".to_owned(), start);
        known.saw(Some(lease("other", 4)), start);
        known.saw(None, start + SECOND);
        known.saw(None, start + 9 * SECOND);
        assert_eq!(known.decide(start + 11 * SECOND), Decision::Wait(start + 9 * SECOND + HOLD));
    }

    #[test]
    fn a_lease_expires_by_when_it_was_last_seen_to_change() {
        let (old, new) = (Some(lease("other", 4)), Some(lease("another", 5)));
        check(std::slice::from_ref(&old), 14, |start| Decision::Wait(start + SECOND + LEASE));
        check(&[old.clone(), old.clone()], 14, |_| Decision::Take { epoch: 5 });
        check(&[old, new], 14, |start| Decision::Wait(start + 2 * SECOND + LEASE));
    }

    #[test]
    fn a_free_lease_and_our_own_are_taken_at_once() {
        check(&[Some(lease("", 4))], 0, |_| Decision::Take { epoch: 5 });
        check(&[Some(lease("me", 4))], 0, |_| Decision::Take { epoch: 5 });
        check(&[Some(Lease::default())], 0, |_| Decision::Take { epoch: 1 });
        let again = [Some(lease("other", 4)), Some(Lease::default())];
        check(&again, 9, |start| Decision::Wait(start + 2 * SECOND + HOLD));
        check(&again, 10, |_| Decision::Take { epoch: 5 });
    }

    #[test]
    fn a_higher_epoch_elsewhere_is_outdone() {
        let mut known = Known::new("me".to_owned(), Instant::now());
        known.saw(Some(lease("me", 2)), Instant::now());
        assert_eq!(known.epoch_to_hold(2), 2);
        known.raise_above(1);
        assert_eq!(known.epoch_to_hold(2), 2);
        known.raise_above(2);
        assert_eq!(known.epoch_to_hold(2), 3);
        known.raise_above(7);
        assert_eq!(known.epoch_to_hold(2), 8);
        assert_eq!(known.claim(8).spec.unwrap().lease_transitions, Some(8));
    }

    #[test]
    fn only_a_new_leadership_sets_the_time_of_acquisition() {
        let mut known = Known::new("me".to_owned(), Instant::now());
        known.saw(Some(lease("me", 2)), Instant::now());
        assert_eq!(known.claim(2).spec.unwrap().acquire_time, None);
        assert!(known.claim(3).spec.unwrap().acquire_time.is_some());
    }
}
