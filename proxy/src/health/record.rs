//! What is known of an endpoint's health, and how checks change it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use evenkeel_api::{channel::HealthState, object::ActiveHealthCheck};
use evenkeel_balance::Time;

use crate::{clock, limits};

/// What is known of an endpoint's health. Survives pushes.
#[derive(Debug)]
pub(crate) struct EndpointHealth(Mutex<Record>);

#[derive(Debug)]
struct Record {
    state: State,
    /// Counts the tasks that have checked the endpoint: the latest has a say, one that is ending has none.
    checker: u64,
    standing: Standing,
    /// The latest first.
    history: VecDeque<Change>,
}

/// Whether an endpoint was taken out for how it answers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    In,
    /// With the reason as a word.
    Ejected(&'static str),
    Probation,
}

/// A change of health.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) at: Time,
    pub(crate) to: HealthState,
    pub(crate) reason: Option<String>,
}

impl Record {
    fn changed(&mut self, to: HealthState, reason: Option<String>) {
        self.history.truncate(limits::HEALTH_HISTORY - 1);
        self.history.push_front(Change { at: clock::now(), to, reason });
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Healthy,
    Unhealthy {
        reason: String,
    },
    /// From disk, and no check has passed yet. One is enough.
    Unverified {
        reason: Option<String>,
        /// As many checks in a row have failed as make an endpoint unhealthy.
        failed: bool,
    },
}

/// Checks in a row with the same result.
#[derive(Debug)]
pub(super) struct Streak {
    passed: u8,
    failed: u8,
    healthy_threshold: u8,
    unhealthy_threshold: u8,
    /// The task that makes them.
    checker: u64,
}

impl Streak {
    /// Without a check of the pool's own, one result is enough. `checker` is what [`EndpointHealth::supersede`] gave.
    pub(super) fn new(check: Option<&ActiveHealthCheck>, checker: u64) -> Self {
        let (healthy_threshold, unhealthy_threshold) =
            check.map_or((1, 1), |check| (check.healthy_threshold, check.unhealthy_threshold));
        Self { passed: 0, failed: 0, healthy_threshold, unhealthy_threshold, checker }
    }

    fn add(&mut self, passed: bool) {
        let (same, other) =
            if passed { (&mut self.passed, &mut self.failed) } else { (&mut self.failed, &mut self.passed) };
        *same = same.saturating_add(1);
        *other = 0;
    }
}

impl EndpointHealth {
    pub(super) const fn healthy() -> Self {
        Self::of(State::Healthy)
    }

    pub(super) const fn unverified() -> Self {
        Self::of(State::Unverified { reason: None, failed: false })
    }

    const fn of(state: State) -> Self {
        Self(Mutex::new(Record { state, checker: 0, standing: Standing::In, history: VecDeque::new() }))
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on no task has a say but one that is given the number returned.
    pub(crate) fn supersede(&self) -> u64 {
        let mut record = self.record();
        record.checker += 1;
        record.checker
    }

    /// Whether the endpoint takes requests.
    pub(crate) fn is_healthy(&self) -> bool {
        self.record().state == State::Healthy
    }

    pub(crate) fn is_unverified(&self) -> bool {
        matches!(self.record().state, State::Unverified { .. })
    }

    /// Taken out for how it answers requests, or on probation.
    pub(crate) fn is_ejected(&self) -> bool {
        self.record().standing != Standing::In
    }

    /// Whether that is a change.
    pub(crate) fn set_standing(&self, standing: Standing) -> bool {
        let mut record = self.record();
        if record.standing == standing {
            return false;
        }
        record.standing = standing;
        match standing {
            Standing::In => record.changed(HealthState::Returned, None),
            Standing::Ejected(reason) => record.changed(HealthState::Ejected, Some(reason.to_owned())),
            Standing::Probation => record.changed(HealthState::OnProbation, None),
        }
        true
    }

    /// The last changes, the latest first.
    pub(crate) fn history(&self) -> Vec<Change> {
        self.record().history.iter().cloned().collect()
    }

    /// Why the last check failed, while unhealthy.
    pub(crate) fn reason(&self) -> Option<String> {
        match &self.record().state {
            State::Healthy => None,
            State::Unhealthy { reason } | State::Unverified { reason: Some(reason), .. } => {
                Some(reason.clone())
            }
            State::Unverified { reason: None, .. } => Some("not checked yet since the restart".to_owned()),
        }
    }

    /// A controller says that the endpoint is ready: good enough for one that no check has found to fail, or that has
    /// none.
    pub(crate) fn vouch(&self, checked: bool) {
        let mut record = self.record();
        if !checked || matches!(record.state, State::Unverified { failed: false, .. }) {
            let was_unhealthy = matches!(record.state, State::Unhealthy { .. });
            record.state = State::Healthy;
            if was_unhealthy {
                record.changed(HealthState::Healthy, None);
            }
        }
    }

    /// Takes in the result of a check: an error, or none. Returns the new health if it changed.
    pub(super) fn observe(&self, streak: &mut Streak, error: Option<String>) -> Option<bool> {
        streak.add(error.is_none());
        let mut record = self.record();
        if record.checker != streak.checker {
            return None;
        }
        let state = &mut record.state;
        let Some(reason) = error else {
            let enough = streak.passed >= streak.healthy_threshold;
            let changed = matches!(*state, State::Unverified { .. })
                || (enough && matches!(*state, State::Unhealthy { .. }));
            if changed {
                *state = State::Healthy;
                record.changed(HealthState::Healthy, None);
            }
            return changed.then_some(true);
        };
        let enough = streak.failed >= streak.unhealthy_threshold;
        match &mut *state {
            State::Healthy if !enough => None,
            State::Healthy => {
                *state = State::Unhealthy { reason: reason.clone() };
                record.changed(HealthState::Unhealthy, Some(reason));
                Some(false)
            }
            State::Unhealthy { reason: known } => {
                *known = reason;
                None
            }
            State::Unverified { reason: known, failed } => {
                *known = Some(reason.clone());
                let first = enough && !*failed;
                *failed |= enough;
                if first {
                    record.changed(HealthState::Unhealthy, Some(reason));
                }
                first.then_some(false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streak(healthy_threshold: u8, unhealthy_threshold: u8) -> Streak {
        Streak { passed: 0, failed: 0, healthy_threshold, unhealthy_threshold, checker: 0 }
    }

    /// Results as `+` and `-`, and the health after each.
    fn check(health: &EndpointHealth, mut streak: Streak, results: &str, expect: &str) {
        let after = results.chars().map(|result| {
            health.observe(&mut streak, (result == '-').then(|| "down".to_owned()));
            if health.is_healthy() { '+' } else { '-' }
        });
        assert_eq!(after.collect::<String>(), expect);
    }

    #[test]
    fn thresholds_count_in_a_row() {
        check(&EndpointHealth::healthy(), streak(2, 3), "--+---+-++-", "+++++----++");
    }

    #[test]
    fn one_check_is_enough_for_an_endpoint_from_disk() {
        check(&EndpointHealth::unverified(), streak(2, 1), "--+-++", "--+--+");
    }

    #[test]
    fn a_controller_vouches_for_what_has_not_failed() {
        let health = EndpointHealth::unverified();
        assert_eq!(health.reason().as_deref(), Some("not checked yet since the restart"));
        health.observe(&mut streak(1, 2), Some("down".to_owned()));
        assert_eq!(health.reason().as_deref(), Some("down"));
        health.vouch(true);
        assert!(health.is_healthy());

        let health = EndpointHealth::unverified();
        health.observe(&mut streak(1, 1), Some("down".to_owned()));
        health.vouch(true);
        assert!(!health.is_healthy());
        health.vouch(false);
        assert!(health.is_healthy());
    }

    #[test]
    fn the_last_changes_are_kept() {
        let health = EndpointHealth::healthy();
        health.observe(&mut streak(1, 1), Some("down".to_owned()));
        health.observe(&mut streak(1, 1), Some("down still".to_owned()));
        health.set_standing(Standing::Ejected("Consecutive5xx"));
        health.set_standing(Standing::Ejected("Consecutive5xx"));
        health.set_standing(Standing::In);
        health.observe(&mut streak(1, 1), None);
        let told: Vec<_> = health.history().into_iter().map(|change| (change.to, change.reason)).collect();
        let reason = |text: &str| Some(text.to_owned());
        let expect = [
            (HealthState::Healthy, None),
            (HealthState::Returned, None),
            (HealthState::Ejected, reason("Consecutive5xx")),
            (HealthState::Unhealthy, reason("down")),
        ];
        assert_eq!(told, expect);
        check(&health, streak(1, 1), &"-+".repeat(20), &"-+".repeat(20));
        assert_eq!(health.history().len(), limits::HEALTH_HISTORY);
    }

    #[test]
    fn a_check_that_is_superseded_has_no_say() {
        let health = EndpointHealth::healthy();
        let next = health.supersede();
        check(&health, streak(1, 1), "--", "++");
        check(&health, Streak { checker: next, ..streak(1, 1) }, "-", "-");
    }
}
