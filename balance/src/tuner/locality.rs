//! Spill-over: a level of locality that is too busy gives part of its traffic to the next, a little more at each look.

use std::time::Duration;

use super::Tuner;
use crate::{Locality, Time, plan::Member};

const INTERVAL: Duration = Duration::from_secs(1);
/// Age of a report from which on it is not believed: A58's.
const EXPIRATION: Duration = Duration::from_secs(180);
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
        if self.clocks.locality.over(INTERVAL, now).is_none() {
            return;
        }
        let mut nearest: Vec<&crate::plan::EndpointSet> = Vec::new();
        for set in &self.plan.sets {
            if nearest.last().is_none_or(|last| last.backend != set.backend) {
                nearest.push(set);
            }
        }
        for set in nearest {
            let Some(utilization) = utilization(locality, &set.members, now) else {
                self.kept.remove(&set.backend);
                continue;
            };
            let kept = self.kept.entry(set.backend.clone()).or_insert(1.0);
            if utilization > locality.spill_at {
                *kept = (*kept * (locality.spill_at / utilization).max(1.0 - MAX_STEP)).max(0.01);
            } else if utilization < locality.spill_at * CALM {
                *kept = (*kept + BACK).min(1.0);
            }
        }
    }
}

/// Mean utilization of the endpoints of which one is known.
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 requests in flight")]
fn utilization(locality: &Locality, members: &[Member], now: Time) -> Option<f64> {
    let of = |member: &Member| {
        let reported = member.state.reported(now, EXPIRATION).utilization.map(|reported| reported.value);
        let by_capacity = || {
            let capacity = locality.capacity.filter(|capacity| *capacity > 0.0)?;
            Some(member.state.in_flight() as f64 / (capacity * f64::from(member.endpoint.weight.max(1))))
        };
        reported.or_else(by_capacity)
    };
    let known: Vec<_> = members.iter().filter_map(of).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}
