//! What the status of each pool says, and when it is written.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use evenkeel_api::{
    channel::{EndpointReport, PoolText},
    object::{AlgorithmStatus, BalancerPoolStatus, EndpointCounts, ProxyCounts, reason},
};

use super::{Core, Now, Role, pools::PoolState};
use crate::{
    compile::Mode,
    effect::Effect,
    event::ObjectName,
    fleet::{Member, PATIENCE},
    status::{self, Facts, Programmed},
};

/// How often counts alone are written.
const COUNTS_EVERY: Duration = Duration::from_secs(5);

impl Core {
    pub(super) fn statuses(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.issued.counts_due = None;
        self.count_endpoints(now.instant);
        let new: Vec<_> = self.pools.iter().map(|(name, state)| self.status_of(name, state, now)).collect();
        for ((name, state), status) in self.pools.iter_mut().zip(new) {
            let urgent = match &state.status {
                Some(old) if *old == status => continue,
                Some(old) => status::differs_at_once(old, &status),
                None => true,
            };
            if let Some(due) = state.written.map(|written| written + COUNTS_EVERY)
                && !urgent
                && due > now.instant
            {
                let first = self.issued.counts_due.map_or(due, |other| other.min(due));
                self.issued.counts_due = Some(first);
                continue;
            }
            let news = status::news(state.status.as_ref(), &status);
            state.status = Some(status.clone());
            state.written = Some(now.instant);
            effects.push(Effect::Status {
                pool: name.clone(),
                uid: state.uid.clone(),
                status: Box::new(status),
                news,
            });
        }
    }

    fn status_of(&self, name: &ObjectName, state: &PoolState, now: Now) -> BalancerPoolStatus {
        let mut problems = state.problems();
        problems.extend(self.service_problems(name, state));
        let (address, address_pending) = self.address(name, state);
        status::status(Facts {
            generation: state.generation,
            examined: state.good.as_ref().map(|good| good.generation),
            listeners: listeners(state),
            problems: &problems,
            programmed: self.programmed(name, state, now.instant),
            endpoints: state.counts.clone(),
            proxies: self.proxy_counts(name, state, now.instant),
            algorithm: self.algorithm(name, state, now),
            revision: state.changed.map(|(epoch, revision)| format!("{epoch}.{revision}")),
            hash: state.text.as_ref().map(|text| text.digest().to_string()),
            address,
            address_pending,
            old: state.status.as_ref(),
            now: now.time,
        })
    }

    /// Time alone has changed what a status says: a proxy has been silent for too long, or a new leader has waited
    /// enough.
    pub(super) fn wakes_statuses(&self, now: Instant) -> bool {
        let just = |time: Instant| {
            let since = now.duration_since(time);
            since >= PATIENCE && since < 2 * PATIENCE
        };
        let quiet = self.fleet.members().any(|member| just(member.heard) || !member.answered);
        quiet || matches!(self.role, Role::Leader { since, .. } if just(since))
    }

    fn programmed(&self, name: &ObjectName, state: &PoolState, now: Instant) -> Programmed {
        let generation = state.generation;
        let Some(serving) = state.document.as_ref().map(|document| document.generation) else {
            return Programmed::No(reason::PENDING, "no version of the pool can be carried out".to_owned());
        };
        let Some(good) = state.good.as_ref().filter(|good| good.generation == generation) else {
            let message = format!("generation {generation} is not accepted; generation {serving} serves on");
            return Programmed::No(reason::PENDING, message);
        };
        let class = &good.spec.proxy_class;
        let live: Vec<_> = self.fleet.live(class).collect();
        if live.is_empty() {
            return Programmed::No(reason::NO_PROXIES, format!("class {class:?} has no proxy that serves"));
        }
        for member in &live {
            if let Some(rejection) = member.rejection(&state.uid).and_then(<[_]>::first) {
                let (proxy, field) = (&member.proxy.name, &rejection.field);
                return Programmed::No(
                    reason::PROXY_REJECTED,
                    format!("proxy {proxy} rejected {field}: {}", rejection.message),
                );
            }
        }
        let version = self.classes.get(class).and_then(super::ClassState::version).unwrap_or_default();
        let uses = |member: &&&Member| {
            member.uses(&state.uid, generation) && !member.is_silent(now) && !member.is_behind(version, now)
        };
        let without: Vec<_> = live.iter().filter(|member| !uses(member)).collect();
        if without.is_empty() {
            return self.published_everywhere(name, state);
        }
        let fresh = matches!(self.role, Role::Leader { since, .. } if now.duration_since(since) < PATIENCE);
        if fresh && without.iter().all(|member| !member.answered || member.acknowledged.is_none()) {
            return Programmed::Unknown;
        }
        let late = without.iter().any(|member| member.is_silent(now) || member.is_behind(version, now));
        let reason = if late { reason::PARTIALLY_PROGRAMMED } else { reason::PENDING };
        let proxies: Vec<_> = without.iter().map(|member| member.proxy.name.as_str()).collect();
        Programmed::No(reason, format!("generation {generation} is not used yet by {}", proxies.join(", ")))
    }

    /// On Kubernetes the pool's Service has to have the listeners' ports too.
    fn published_everywhere(&self, name: &ObjectName, state: &PoolState) -> Programmed {
        if matches!(self.mode, Mode::Files(_)) {
            let served = state.document.as_ref().is_some_and(|document| !document.listeners.is_empty());
            let why = || state.problems().into_iter().find(|problem| problem.listener.is_some());
            let none = || {
                let why = why().map_or_else(String::new, |why| format!(": {}", why.message));
                Programmed::No(reason::CONFLICTED, format!("no listener has its port{why}"))
            };
            return if served { Programmed::Yes } else { none() };
        }
        let published = self.published_ports(name, state);
        let missing: Vec<_> = self
            .bound_ports(state)
            .into_iter()
            .filter(|(listener, (port, _))| published.get(listener) != Some(port))
            .map(|(listener, _)| listener)
            .collect();
        if !missing.is_empty() {
            let message = format!("the pool's Service does not have listener {} yet", missing.join(", "));
            return Programmed::No(reason::PENDING, message);
        }
        if state.service_pending {
            let message = "the pool's Service, or its alias, is not yet as the pool says".to_owned();
            return Programmed::No(reason::PENDING, message);
        }
        Programmed::Yes
    }

    /// Counts the endpoints of the pools for which they, or what the proxies think of them, may have changed.
    fn count_endpoints(&mut self, now: Instant) {
        let opinions = self.fleet.opinions(now);
        let key = |state: &PoolState| Some((opinions, state.text.as_ref().map(PoolText::digest)));
        let stale = self.pools.iter().filter(|(_, state)| state.counted != key(state));
        let counted: Vec<_> = stale
            .map(|(name, state)| (name.clone(), key(state), self.endpoint_counts(name, state, now)))
            .collect();
        for (name, key, counts) in counted {
            if let Some(state) = self.pools.get_mut(&name) {
                (state.counted, state.counts) = (key, counts);
            }
        }
    }

    /// O(endpoints x proxies).
    fn endpoint_counts(&self, name: &ObjectName, state: &PoolState, now: Instant) -> EndpointCounts {
        let Some(document) = &state.document else { return EndpointCounts::default() };
        let class = self.class_of(name, state).unwrap_or_default();
        let live: Vec<_> = self.fleet.live(&class).collect();
        let mut counts = EndpointCounts::default();
        let mut seen = BTreeSet::new();
        // One that several backends have counts as where it takes requests.
        let mut backends: Vec<_> = document.backends.values().collect();
        backends.sort_by_key(|backend| backend.weight == 0);
        let endpoints =
            backends.into_iter().flat_map(|of| of.endpoints.iter().map(move |each| (of.weight, each)));
        for (share, (id, endpoint)) in endpoints {
            if !seen.insert(id) {
                continue;
            }
            counts.total += 1;
            if endpoint.terminating || endpoint.weight == 0 || share == 0 {
                counts.draining += 1;
            } else {
                let says = |holds: fn(&EndpointReport) -> bool| {
                    half(&live, |member| member.report_of(&state.uid, id, now).is_some_and(holds))
                };
                counts.healthy += u32::from(says(EndpointReport::is_healthy));
                counts.ejected += u32::from(says(EndpointReport::is_ejected));
            }
        }
        let panics = |backend: &&String| half(&live, |member| member.is_panicking(&state.uid, backend, now));
        counts.panicking = document.backends.keys().filter(panics).cloned().collect();
        counts.summary = format!("{}/{}", counts.healthy, counts.total);
        counts
    }

    fn proxy_counts(&self, name: &ObjectName, state: &PoolState, now: Instant) -> ProxyCounts {
        let Some(class) = self.class_of(name, state) else { return ProxyCounts::default() };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let total = count(self.fleet.live(&class).count());
        let uses = |member: &&Member| member.uses(&state.uid, state.generation) && !member.is_silent(now);
        let programmed = count(self.fleet.live(&class).filter(uses).count());
        ProxyCounts { total, programmed, summary: format!("{programmed}/{total}") }
    }

    fn algorithm(&self, name: &ObjectName, state: &PoolState, now: Now) -> Option<AlgorithmStatus> {
        let class = self.class_of(name, state)?;
        let speaking = self.fleet.live(&class).filter(|member| !member.is_silent(now.instant));
        let reports = speaking.filter_map(|member| member.report.as_ref()?.pools.get(&state.uid));
        let old = state.status.as_ref().and_then(|status| status.algorithm.as_ref());
        status::algorithm(reports, old, now.time)
    }
}

/// Of the version that serves.
fn listeners(state: &PoolState) -> Vec<&str> {
    match (&state.good, &state.document) {
        (Some(good), _) => good.spec.listeners.iter().map(|listener| listener.name.as_str()).collect(),
        (None, Some(document)) => document.listeners.keys().map(String::as_str).collect(),
        (None, None) => Vec::new(),
    }
}

/// At least half of them, if there are any.
fn half(live: &[&Member], says: impl Fn(&Member) -> bool) -> bool {
    !live.is_empty() && 2 * live.iter().filter(|member| says(member)).count() >= live.len()
}
