//! What this proxy knows of a pool, as the channel tells it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::PoisonError,
};

use evenkeel_api::channel::{
    AutoReport, EjectionReport, EndpointReport, Health, HealthChange, PoolReport, Quantiles, RecentReport,
    SessionsReport, UsageReport,
};
use evenkeel_balance::{self as balance, Ejected, EjectionReason, Standing, Time, TunerReport, Usage};

use crate::{
    clock,
    health::Change,
    metrics::{Recent, Summary},
    snapshot::{Pool, PoolEndpoint},
};

/// The report on a pool. O(n).
pub(super) fn of(pool: &Pool) -> PoolReport {
    let now = clock::now();
    let tuned = pool.tuned.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let endpoints = seats(pool, &tuned)
        .into_iter()
        .map(|Seat { endpoint, tuned }| (endpoint.id.clone(), endpoint_report(endpoint, tuned, now)));
    PoolReport {
        namespace: pool.document.namespace.clone(),
        name: pool.document.name.clone(),
        generation: pool.document.generation,
        requests: pool.metrics.responses(),
        retries: pool.metrics.retries.sum(),
        zone: pool.zone.clone(),
        region: pool.region.clone(),
        queued: pool.queue.waiting() as u64,
        sessions: pool.affinity.as_ref().map(|_| sessions_report(pool)),
        algorithm: tuned.algorithm.name().to_owned(),
        auto: tuned.auto.as_ref().map(|auto| auto_report(auto, now)),
        endpoints: endpoints.collect(),
        panicking: tuned.panicking,
    }
}

fn sessions_report(pool: &Pool) -> SessionsReport {
    let [begun, kept, moved, passed_over] = pool.metrics.sessions.each();
    SessionsReport { begun, kept, moved, passed_over }
}

/// An endpoint and how it is balanced.
pub(super) struct Seat<'p, 't> {
    pub(super) endpoint: &'p PoolEndpoint,
    tuned: Option<&'t balance::EndpointReport>,
}

impl Seat<'_, '_> {
    /// Is in rotation, be it only because too few endpoints are well.
    fn takes_requests(&self) -> bool {
        self.tuned.is_some_and(|of| matches!(of.standing, Standing::InRotation | Standing::Probation))
    }

    /// With all that adapts it; 0 out of rotation.
    pub(super) fn effective_weight(&self) -> f64 {
        self.tuned.map_or(0.0, |tuned| tuned.effective_weight)
    }

    /// Why it is ejected, if it is; on probation it is not.
    pub(super) fn ejected(&self, now: Time) -> Option<&'static str> {
        let ejected = self.tuned?.ejection.filter(|ejected| now < ejected.until)?;
        Some(word(ejected.reason))
    }

    /// Is in rotation, and well.
    pub(super) fn is_up(&self) -> bool {
        self.takes_requests() && self.endpoint.health.is_healthy()
    }
}

/// Each endpoint once, in the backend by which it takes requests if several have it. O(n).
pub(super) fn seats<'p, 't>(pool: &'p Pool, tuned: &'t TunerReport) -> Vec<Seat<'p, 't>> {
    let key = |of: &'t balance::EndpointReport| (of.backend.as_str(), of.id.as_str());
    let tuned: HashMap<_, _> = tuned.endpoints.iter().map(|of| (key(of), of)).collect();
    let mut seats: BTreeMap<&str, Seat<'p, 't>> = BTreeMap::new();
    for endpoint in pool.endpoints.iter() {
        let tuned = tuned.get(&(endpoint.backend.as_str(), endpoint.id.as_str())).copied();
        let seat = Seat { endpoint, tuned };
        if !seats.get(endpoint.id.as_str()).is_some_and(Seat::takes_requests) {
            seats.insert(&endpoint.id, seat);
        }
    }
    seats.into_values().collect()
}

fn auto_report(auto: &balance::AutoReport, now: Time) -> AutoReport {
    AutoReport {
        seconds_ago: now.since(auto.since).as_secs(),
        reason: auto.reason.clone(),
        spread: auto.evidence.spread,
        reporting: auto.evidence.reporting,
        scores: auto.scores.iter().map(|(of, score)| (of.name().to_owned(), *score)).collect(),
        played: auto.played,
    }
}

fn endpoint_report(
    endpoint: &PoolEndpoint,
    tuned: Option<&balance::EndpointReport>,
    now: Time,
) -> EndpointReport {
    let unhealthy = endpoint.health.reason();
    EndpointReport {
        address: endpoint.address.to_string(),
        backend: endpoint.backend.clone(),
        pod: endpoint.pod.clone(),
        zone: endpoint.zone.clone(),
        region: endpoint.region.clone(),
        weight: endpoint.weight,
        effective_weight: tuned.map_or(0.0, |tuned| tuned.effective_weight),
        draining: endpoint.draining,
        health: if unhealthy.is_none() { Health::Healthy } else { Health::Unhealthy },
        unhealthy_reason: unhealthy,
        ejection: tuned.and_then(|tuned| tuned.ejection).map(|ejected| ejection(ejected, now)),
        recent: endpoint.metrics.recent.summary(now).map(recent),
        history: endpoint.health.history().into_iter().map(|change| health_change(change, now)).collect(),
        response_time_ms: endpoint.state.response_time_nanos(now).map(|nanos| nanos / 1e6),
        usage: endpoint.usage.as_ref().and_then(|usage| usage.read()).map(|usage| usage_report(usage, now)),
        in_flight: endpoint.state.in_flight(),
        requests: endpoint.state.requests(),
        failures: endpoint.state.failures(),
    }
}

fn ejection(Ejected { since, until, reason }: Ejected, now: Time) -> EjectionReport {
    EjectionReport {
        seconds_ago: now.since(since).as_secs(),
        seconds_left: (now < until).then(|| until.since(now).as_secs()),
        reason: word(reason).to_owned(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 requests")]
fn recent(summary: Summary) -> RecentReport {
    let Summary { requests, failures, quantiles_ms } = summary;
    let quantiles = |[p50_ms, p95_ms, p99_ms]: [f64; 3]| Quantiles { p50_ms, p95_ms, p99_ms };
    RecentReport {
        seconds: Recent::SPAN.as_secs(),
        requests,
        failures,
        success_rate: 1.0 - failures as f64 / requests as f64,
        response_time: quantiles_ms.map(quantiles),
    }
}

fn usage_report(usage: Usage, now: Time) -> UsageReport {
    let Usage { at, cpu, memory } = usage;
    UsageReport { seconds_ago: now.since(at).as_secs(), cpu_cores: cpu, memory_bytes: memory }
}

fn health_change(change: Change, now: Time) -> HealthChange {
    HealthChange { seconds_ago: now.since(change.at).as_secs(), to: change.to, reason: change.reason }
}

pub(super) const fn word(reason: EjectionReason) -> &'static str {
    match reason {
        EjectionReason::Consecutive5xx => "Consecutive5xx",
        EjectionReason::ConsecutiveGatewayErrors => "ConsecutiveGatewayErrors",
        EjectionReason::SuccessRate => "SuccessRate",
        EjectionReason::FailurePercentage => "FailurePercentage",
        EjectionReason::Probation => "ProbationFailed",
    }
}
