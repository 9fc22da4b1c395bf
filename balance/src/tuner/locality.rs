//! Spill-over: a level of locality that is too busy gives part of its traffic to the next, a little more at each look.

use std::time::Duration;

use super::{Look, Tuner, mean};
use crate::{
    Place, Time,
    plan::{LEVELS, Member},
};

const INTERVAL: Duration = Duration::from_secs(1);
/// How long a report says how busy an endpoint is: what is given away at each look must not go by what was long ago.
const REPORTED: Duration = Duration::from_secs(30);
/// Part of its traffic that a level gives away at a look, at most.
const MAX_STEP: f64 = 0.2;
/// Part of what it could take that it takes back at a look.
const BACK: f64 = 0.05;
/// Below this part of `spill_at` it takes back.
const CALM: f64 = 0.9;

impl Tuner {
    pub(super) fn tick_locality(&mut self, now: Time) {
        let Some(locality) = &self.spec.locality else {
            self.kept.clear();
            return;
        };
        let Look::Over(_) = self.clocks.locality.look(INTERVAL, now) else { return };
        let sets = &self.plan.sets;
        for (backend, all_kept) in &mut self.kept {
            for (level, kept) in all_kept.iter_mut().enumerate() {
                if !sets.iter().any(|set| set.backend == *backend && set.level == level) {
                    *kept = 1.0; // whoever comes there is not busy yet
                }
            }
        }
        for set in sets {
            let Some(place) = locality.places()[set.level] else { continue };
            let all_kept = self.kept.entry(set.backend.clone()).or_insert([1.0; LEVELS]);
            let kept = &mut all_kept[set.level];
            // What takes nothing is not busy by what it is given, and what it has reported is old.
            let utilization = (set.share > 0.0).then(|| utilization(place, &set.members, now)).flatten();
            let Some(utilization) = utilization else {
                *kept = 1.0;
                continue;
            };
            if utilization > place.spill_at {
                *kept = (*kept * (place.spill_at / utilization).max(1.0 - MAX_STEP)).max(0.01);
            } else if utilization < place.spill_at * CALM {
                *kept = (*kept + BACK).min(1.0);
            }
        }
    }
}

/// Mean utilization of the endpoints of which one is known.
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 requests in flight")]
fn utilization(place: &Place, members: &[Member], now: Time) -> Option<f64> {
    let of = |member: &Member| {
        let reported = member.state.reported(now, REPORTED).utilization.map(|reported| reported.value);
        let by_capacity = || {
            let capacity = place.capacity.filter(|capacity| *capacity > 0.0)?;
            Some(member.state.in_flight() as f64 / (capacity * f64::from(member.endpoint.weight.max(1))))
        };
        reported.or_else(by_capacity)
    };
    mean(members.iter().filter_map(of))
}
