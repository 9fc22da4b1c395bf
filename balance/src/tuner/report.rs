//! What a tuner did, as data for a status page.

use super::{AutoReport, EjectionReason, Tuner, ejection::Ejected};
use crate::{Absence, Algorithm, EndpointId, Time, plan};

/// A pool as it is balanced now.
#[derive(Clone, Debug, PartialEq)]
pub struct TunerReport {
    /// The algorithm in use.
    pub algorithm: Algorithm,
    /// What Auto stands for and why, if it is configured.
    pub auto: Option<AutoReport>,
    /// Backends that are balanced over all endpoints, since too few are healthy.
    pub panicking: Vec<String>,
    /// All endpoints: those in rotation, then the others.
    pub endpoints: Vec<EndpointReport>,
}

/// An endpoint as it is balanced now.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointReport {
    /// Key of its backend.
    pub backend: String,
    /// Identity.
    pub id: EndpointId,
    /// Weight as configured.
    pub weight: u32,
    /// With all that adapts it; 0 out of rotation.
    pub effective_weight: f64,
    /// Whether it takes requests, and if not, why.
    pub standing: Standing,
}

/// Whether an endpoint takes requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// It does.
    InRotation,
    /// It takes one, by which it is judged after an ejection.
    Probation,
    /// It was ejected.
    Ejected {
        /// When.
        since: Time,
        /// Until when at least.
        until: Time,
        /// Why.
        reason: EjectionReason,
    },
    /// It does not, for another reason.
    Absent(Absence),
}

impl Tuner {
    /// The pool as it was balanced at the last tick. O(n).
    #[must_use]
    pub fn report(&self) -> TunerReport {
        let mut endpoints = Vec::new();
        for set in &self.plan.sets {
            endpoints.extend(set.members.iter().map(|member| EndpointReport {
                backend: set.backend.clone(),
                id: member.endpoint.id.clone(),
                weight: member.endpoint.weight,
                effective_weight: member.weight,
                standing: if member.probation { Standing::Probation } else { Standing::InRotation },
            }));
        }
        endpoints.extend(self.plan.others.iter().map(|other| EndpointReport {
            backend: other.backend.clone(),
            id: other.endpoint.id.clone(),
            weight: other.endpoint.weight,
            effective_weight: 0.0,
            standing: self.absence(other),
        }));
        let panicking = self.plan.sets.iter().filter(|set| set.panic).map(|set| set.backend.clone());
        let mut panicking: Vec<_> = panicking.collect();
        panicking.dedup();
        TunerReport { algorithm: self.plan.algorithm.clone(), auto: self.auto_report(), panicking, endpoints }
    }

    fn absence(&self, other: &plan::Other) -> Standing {
        let record = self.records.get(&other.endpoint.id);
        match record.and_then(|record| record.ejection.ejected()) {
            Some(Ejected { since, until, reason }) if other.reason == Absence::Ejected => {
                Standing::Ejected { since, until, reason }
            }
            _ => Standing::Absent(other.reason),
        }
    }
}
