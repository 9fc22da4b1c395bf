//! An endpoint as the mutator keeps it, with the tasks that look after it.

use std::{sync::Arc, time::SystemTime};

use evenkeel_balance::Time;

use crate::{
    health::{Checker, EndpointHealth, Plan, PoolChecks, Subject},
    metrics::EndpointMetrics,
    plane::Origin,
    usage::{self, LastUsage, PoolPages},
};

#[derive(Debug)]
pub(super) struct EndpointEntry {
    pub(super) health: Arc<EndpointHealth>,
    pub(super) metrics: Arc<EndpointMetrics>,
    pub(super) plan: Plan,
    pub(super) checker: Option<Checker>,
    pub(super) usage: Arc<LastUsage>,
    pub(super) reader: Option<usage::Reader>,
    /// When it became ready: what the document says, and by our clock.
    pub(super) ready_since: (Option<SystemTime>, Option<Time>),
}

impl EndpointEntry {
    pub(super) fn is_unverified(&self) -> bool {
        self.health.is_unverified()
    }

    /// Takes what the origin says of the endpoint, and has it checked by `plan`.
    pub(super) fn update(&mut self, subject: Subject, plan: Plan, origin: Origin, checks: &Arc<PoolChecks>) {
        let vouched = origin == Origin::Controller;
        let needless = vouched && plan.check.is_none();
        if self.plan != plan || self.checker.is_none() || needless {
            // The old check has its last say before the controller has its own.
            self.checker = None;
            self.health.supersede();
        }
        if vouched {
            self.health.vouch(plan.check.is_some());
        }
        if self.checker.is_none() {
            self.checker = checks.start(subject, plan.clone(), &self.health);
            self.plan = plan;
        }
    }

    /// Has its page read by `plan`.
    pub(super) fn read_usage(&mut self, plan: Option<usage::Plan>, pages: &Arc<PoolPages>) {
        let same = self.reader.take().filter(|reader| plan.as_ref().is_some_and(|plan| reader.is_by(plan)));
        if same.is_none() {
            // What another page showed may have been of another kind.
            self.usage = Arc::default();
        }
        self.reader = same.or_else(|| plan.map(|plan| pages.start(plan, &self.usage)));
    }
}
