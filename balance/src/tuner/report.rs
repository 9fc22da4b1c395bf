//! What a tuner did, as data for a status page.

use super::{AutoReport, Ejected, Tuner};
use crate::{Absence, Algorithm, EndpointId, plan::panicking};

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
    /// The ejection that is on, or whose probation is. In a panic an endpoint takes requests in spite of it.
    pub ejection: Option<Ejected>,
}

/// Whether an endpoint takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    InRotation,
    /// It takes one, by which it is judged after an ejection.
    Probation,
    /// It does not.
    Absent(Absence),
}

impl Tuner {
    /// The pool as it was balanced at the last tick. O(n).
    #[must_use]
    pub fn report(&self) -> TunerReport {
        let ejection = |id| self.records.get(id).and_then(|record| record.ejection.ejected());
        let mut endpoints = Vec::new();
        for set in &self.plan.sets {
            endpoints.extend(set.members.iter().map(|member| EndpointReport {
                backend: set.backend.clone(),
                id: member.endpoint.id.clone(),
                weight: member.endpoint.weight,
                effective_weight: member.weight,
                standing: if member.probation { Standing::Probation } else { Standing::InRotation },
                ejection: ejection(&member.endpoint.id),
            }));
        }
        endpoints.extend(self.plan.others.iter().map(|other| EndpointReport {
            backend: other.backend.clone(),
            id: other.endpoint.id.clone(),
            weight: other.endpoint.weight,
            effective_weight: 0.0,
            standing: Standing::Absent(other.reason),
            ejection: ejection(&other.endpoint.id),
        }));
        let sets = self.plan.sets.iter().map(|set| (set.backend.as_str(), set.panic));
        let panicking = panicking(sets);
        TunerReport { algorithm: self.plan.algorithm.clone(), auto: self.auto_report(), panicking, endpoints }
    }
}
