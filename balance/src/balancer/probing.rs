//! What endpoints say of their load themselves, for Prequal.

use std::time::Duration;

use rand::Rng;

use super::Balancer;
use crate::{Query, Time, select::Candidates};

/// An endpoint's answer to a question after its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeAnswer {
    /// Requests in flight at the endpoint.
    pub in_flight: u32,
    /// What a request takes there now.
    pub latency: Duration,
}

impl Balancer {
    /// Brings Prequal what an endpoint, by [`Pick::index`](crate::Pick::index), answered to `worker`'s question after
    /// its load. Of no effect with another algorithm, or if its signals are not [`Signals::Fed`](crate::Signals::Fed).
    pub fn answer(&self, worker: usize, index: usize, answer: ProbeAnswer, now: Time) {
        let Some(set) = self.sets.iter().find(|set| (set.first..set.first + set.len).contains(&index)) else {
            return;
        };
        if let Candidates::Prequal(prequal) = &set.candidates {
            prequal.feed(&self.scene(set, &Query::at(now, worker)), index - set.first, answer);
        }
    }

    /// The endpoints, by [`Pick::index`](crate::Pick::index), that Prequal wants asked for their load with this
    /// request; none unless its signals are [`Signals::Fed`](crate::Signals::Fed). Of one backend or level, each as
    /// often as requests go there. At most 8.
    pub fn to_probe(&self, rng: &mut impl Rng) -> impl Iterator<Item = usize> {
        let set = self.set_by_chance(rng).map(|index| &self.sets[index]);
        let first = set.map_or(0, |set| set.first);
        let drawn = match set.map(|set| &set.candidates) {
            Some(Candidates::Prequal(prequal)) => prequal.to_probe(rng),
            _ => Default::default(),
        };
        drawn.into_iter().map(move |index| first + index)
    }
}
