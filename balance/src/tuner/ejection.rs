//! Endpoints that fail are taken out for a while, tried with one request, and let back in with slow start.

use std::time::Duration;

use rand::Rng;

use super::{Look, Record as EndpointRecord, Tuner, mean};
use crate::{
    Backend, Ejection, EndpointId, FailurePercentage, SuccessRate, Time,
    plan::Standing,
    state::{Seen, Trial},
};

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EjectionReason {
    /// Too many server errors in a row.
    Consecutive5xx,
    /// Too many gateway errors in a row.
    ConsecutiveGatewayErrors,
    /// Its success rate is far below the mean.
    SuccessRate,
    /// Too large a part of its requests failed.
    FailurePercentage,
    /// The request by which it was tried failed.
    Probation,
}

/// What is known of one endpoint's ejections.
#[derive(Debug)]
pub(super) struct Record {
    stands: Stands,
    /// How many times the base time the next ejection takes, less one.
    times: u32,
    readmitted: Option<Time>,
    /// At the beginning of the interval.
    pub(super) seen: Seen,
    /// In this interval.
    ejected_lately: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stands {
    In,
    Ejected(Ejected),
    Probation(Ejected),
}

/// An ejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejected {
    /// When it began.
    pub since: Time,
    /// When it ends, or ended if the endpoint is on probation since.
    pub until: Time,
    /// Why.
    pub reason: EjectionReason,
}

impl Record {
    pub(super) const fn new(seen: Seen) -> Self {
        Self { stands: Stands::In, times: 0, readmitted: None, seen, ejected_lately: false }
    }

    pub(super) const fn standing(&self) -> Option<Standing> {
        match self.stands {
            Stands::In => None,
            Stands::Ejected(_) => Some(Standing::Ejected),
            Stands::Probation(_) => Some(Standing::Probation),
        }
    }

    /// The ejection that is on, or whose probation is.
    pub(super) const fn ejected(&self) -> Option<Ejected> {
        match self.stands {
            Stands::In => None,
            Stands::Ejected(ejected) | Stands::Probation(ejected) => Some(ejected),
        }
    }

    pub(super) const fn readmitted(&self) -> Option<Time> {
        self.readmitted
    }
}

impl EndpointRecord {
    /// Ends an ejection or a probation.
    pub(super) fn readmit(&mut self, now: Time) -> bool {
        let was = self.ejection.stands != Stands::In;
        if was {
            self.ejection.stands = Stands::In;
            self.ejection.readmitted = Some(now);
            self.state.set_trial(Trial::Off);
            self.state.forget_errors();
        }
        was
    }

    fn eject(&mut self, rules: &Ejection, reason: EjectionReason, now: Time, rng: &mut impl Rng) {
        let record = &mut self.ejection;
        record.times = record.times.saturating_add(1);
        let time = rules.base_time.saturating_mul(record.times).min(rules.max_time);
        let time = time.mul_f64(1.0 + rules.jitter.clamp(0.0, 1.0) * rng.random_range(0.0..1.0));
        record.stands = Stands::Ejected(Ejected { since: now, until: now.after(time), reason });
        record.ejected_lately = true;
        self.state.set_trial(Trial::Off);
        self.state.forget_errors();
    }

    /// Ends what is over, and gives the probation's result.
    fn advance(&mut self, now: Time) -> Option<EjectionReason> {
        match self.ejection.stands {
            Stands::Ejected(ejected) if now >= ejected.until => {
                self.ejection.stands = Stands::Probation(ejected);
                self.state.forget_errors();
                self.state.set_trial(Trial::Open);
            }
            Stands::Probation(_) => match self.state.trial() {
                Trial::Passed => {
                    self.readmit(now);
                }
                Trial::Failed => return Some(EjectionReason::Probation),
                Trial::Off | Trial::Open | Trial::Taken => {}
            },
            Stands::In | Stands::Ejected(_) => {}
        }
        None
    }

    /// Enough errors in a row.
    fn in_a_row(&self, rules: &Ejection) -> Option<EjectionReason> {
        let reached = |count: u32, limit: Option<u32>| limit.is_some_and(|limit| count >= limit.max(1));
        let counters = self.state.counters();
        if reached(counters.gateway_errors(), rules.consecutive_gateway_errors) {
            Some(EjectionReason::ConsecutiveGatewayErrors)
        } else if reached(counters.server_errors(), rules.consecutive_5xx) {
            Some(EjectionReason::Consecutive5xx)
        } else {
            None
        }
    }
}

impl Tuner {
    pub(super) fn tick_ejections(&mut self, now: Time, rng: &mut impl Rng) {
        let Some(rules) = self.spec.ejection else { return };
        let look = self.clocks.ejection.look(rules.interval.max(Duration::from_millis(100)), now);
        let over = matches!(look, Look::Over(_));
        // Endpoints of several backends are looked at once for each; the second look finds nothing new.
        for index in 0..self.spec.backends.len() {
            let mut found = self.found_now(index, &rules, now);
            if over {
                found.extend(self.found_by_rates(index, &rules));
            }
            for (id, reason) in found {
                let free = self.may_eject(&self.spec.backends[index], &rules, &id);
                if let Some(record) = self.records.get_mut(&id).filter(|_| free) {
                    record.eject(&rules, reason, now, rng);
                }
            }
        }
        if !matches!(look, Look::Early) {
            for record in self.records.values_mut() {
                record.ejection.seen = record.state.seen();
                let lately = std::mem::take(&mut record.ejection.ejected_lately);
                if !lately && record.ejection.stands == Stands::In {
                    record.ejection.times = record.ejection.times.saturating_sub(1);
                }
            }
        }
    }

    /// For a pool that begins to eject: what came before is not judged.
    pub(super) fn begin_ejections(&mut self) {
        self.clocks.ejection = super::Clock::default();
        for record in self.records.values().chain(self.left.records()) {
            record.state.forget_errors();
        }
    }

    /// For a pool that ejects by other rules now: what is on lasts no longer than they let it.
    pub(super) fn shorten_ejections(&mut self) {
        let Some(rules) = self.spec.ejection else { return };
        let longest = rules.max_time.mul_f64(1.0 + rules.jitter.clamp(0.0, 1.0));
        for record in self.records.values_mut() {
            if let Stands::Ejected(ejected) = &mut record.ejection.stands {
                ejected.until = ejected.until.min(ejected.since.after(longest));
            }
        }
    }

    /// For a pool that ejects no more.
    pub(super) fn end_ejections(&mut self, now: Time) {
        for record in self.records.values_mut() {
            record.readmit(now);
        }
    }

    fn found_now(
        &mut self,
        backend: usize,
        rules: &Ejection,
        now: Time,
    ) -> Vec<(EndpointId, EjectionReason)> {
        let mut found = Vec::new();
        for endpoint in &self.spec.backends[backend].endpoints {
            let Some(record) = self.records.get_mut(&endpoint.id) else { continue };
            let reason = match record.ejection.stands {
                Stands::In => record.in_a_row(rules),
                Stands::Ejected(_) | Stands::Probation(_) => record.advance(now),
            };
            found.extend(reason.map(|reason| (endpoint.id.clone(), reason)));
        }
        found
    }

    fn found_by_rates(&self, backend: usize, rules: &Ejection) -> Vec<(EndpointId, EjectionReason)> {
        let members = self.members(&self.spec.backends[backend].endpoints);
        let seen: Vec<_> = members
            .filter(|(_, record)| record.ejection.stands == Stands::In)
            .map(|(endpoint, record)| (&endpoint.id, record.state.seen().since(record.ejection.seen)))
            .collect();
        let mut found = Vec::new();
        if let Some(rule) = rules.success_rate {
            let ids = by_success_rate(&seen, rule).into_iter();
            found.extend(ids.map(|id| (id.clone(), EjectionReason::SuccessRate)));
        }
        if let Some(rule) = rules.failure_percentage {
            let ids = by_failure_percentage(&seen, rule).into_iter();
            found.extend(ids.map(|id| (id.clone(), EjectionReason::FailurePercentage)));
        }
        found
    }

    /// Whether this endpoint may be ejected beside the backend's others that are out: ejected, or on probation, which
    /// may last. One on probation is out already: where fewer may be than are, it must still be tried again.
    fn may_eject(&self, backend: &Backend, rules: &Ejection, id: &EndpointId) -> bool {
        let (mut all, mut out, mut serving) = (0, 0, 0);
        let mut on_probation = false;
        for (endpoint, record) in self.members(&backend.endpoints) {
            if endpoint.weight == 0 || endpoint.terminating {
                continue;
            }
            all += 1;
            if endpoint.id == *id {
                if matches!(record.ejection.stands, Stands::Ejected(_)) {
                    return false;
                }
                on_probation = record.ejection.stands != Stands::In;
                continue;
            }
            let is_out = record.ejection.stands != Stands::In;
            out += usize::from(is_out);
            serving += usize::from(!is_out && endpoint.healthy);
        }
        let most = (all * usize::from(rules.max_percent) / 100).max(1);
        (on_probation || out < most) && serving > 0
    }
}

#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 requests")]
fn by_success_rate<'a>(seen: &[(&'a EndpointId, Seen)], rule: SuccessRate) -> Vec<&'a EndpointId> {
    let enough = seen.iter().filter(|(_, seen)| seen.judged >= rule.min_requests.max(1));
    let rates: Vec<_> =
        enough.map(|(id, seen)| (*id, 1.0 - seen.failures as f64 / seen.judged as f64)).collect();
    if rates.len() < rule.min_endpoints.max(1) {
        return Vec::new();
    }
    let by_rate = || rates.iter().map(|(_, rate)| *rate);
    let middle = mean(by_rate()).unwrap_or(1.0);
    let variance = mean(by_rate().map(|rate| (rate - middle).powi(2))).unwrap_or(0.0);
    let threshold = middle - rule.deviations * variance.sqrt();
    rates.into_iter().filter(|(_, rate)| *rate < threshold).map(|(id, _)| id).collect()
}

fn by_failure_percentage<'a>(
    seen: &[(&'a EndpointId, Seen)],
    rule: FailurePercentage,
) -> Vec<&'a EndpointId> {
    let enough: Vec<_> = seen.iter().filter(|(_, seen)| seen.judged >= rule.min_requests.max(1)).collect();
    if enough.len() < rule.min_endpoints.max(1) {
        return Vec::new();
    }
    let fails = |seen: &Seen| seen.failures * 100 >= seen.judged * u64::from(rule.percent);
    enough.into_iter().filter(|(_, seen)| fails(seen)).map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests;
