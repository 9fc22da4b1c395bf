//! What the numbers of a case must be that no type says: each complaint names the field and what it must be.

use std::ops::RangeInclusive;

use super::{Case, Change, Effect, Group, Problem, Range, limits, value};

impl Case {
    /// Complains of the first field that is out of range.
    pub(super) fn check(&self) -> Result<(), Problem> {
        let all = self.len();
        let positive = |number: f64| number.is_finite() && number > 0.0;
        let checks = [
            (all > 0 && all <= 10_000, "endpoints", "be from 1 to 10000"),
            (positive(self.rate), "rate", "be above 0"),
            (positive(self.load), "load", "be above 0"),
            ((1..=1_000).contains(&self.proxies), "proxies", "be from 1 to 1000"),
            (self.measure.0 > 0, "measure", "be above 0s"),
            (self.window.0 > 0, "window", "be above 0s"),
            (self.tick.0 >= 1_000_000, "tick", "be at least 1ms"),
            (self.contended > 0.0 && self.contended <= 1.0, "contended", "be above 0 and at most 1"),
            (self.swap_spare.is_none_or(|span| span.0 > 0), "swapSpare", "be above 0s"),
            (self.weights.is_none_or(|weights| weights.every.0 > 0), "weights.every", "be above 0s"),
            (self.probe_cost >= 0.0 && self.probe_cost.is_finite(), "probeCost", "not be negative"),
            (
                self.keys.is_none_or(|keys| keys.count > 0 && keys.zipf >= 0.0),
                "keys",
                "be some, zipf not negative",
            ),
        ];
        if let Some((_, field, must)) = checks.iter().find(|(holds, ..)| !holds) {
            return Err(value(field, must));
        }
        for (index, group) in self.endpoints.iter().enumerate() {
            group.check(&format!("endpoints[{index}]"))?;
        }
        for (index, change) in self.changes.iter().enumerate() {
            change.check(&format!("changes[{index}]"), self)?;
        }
        self.service.work().map(|_| ())
    }
}

impl Group {
    fn check(&self, field: &str) -> Result<(), Problem> {
        let must = |holds: bool, name: &str, must: &str| ensure(holds, &format!("{field}.{name}"), must);
        must(limits::FACTOR.contains(&self.speed), "speed", &within(&limits::FACTOR))?;
        let Some(noise) = &self.noise else { return Ok(()) };
        must(noise.every_from.0 > 0, "noise.everyFrom", "be above 0s")?;
        must(noise.every_to >= noise.every_from, "noise.everyTo", "not be before everyFrom")?;
        must(!noise.factors.is_empty(), "noise.factors", "be at least one")?;
        let factor =
            |range: &Range| limits::FACTOR.contains(&range.from) && limits::FACTOR.contains(&range.to);
        must(noise.factors.iter().all(factor), "noise.factors", &within(&limits::FACTOR))
    }
}

impl Change {
    fn check(&self, field: &str, case: &Case) -> Result<(), Problem> {
        let must = |holds: bool, name: &str, must: &str| ensure(holds, &format!("{field}.{name}"), must);
        let numbers = format!("name endpoints by their numbers, from 0 to {}", case.len() - 1);
        let known = self.endpoints.iter().all(|number| *number < case.len());
        must(known && !self.endpoints.is_empty(), "endpoints", &numbers)?;
        must(self.at.0 < case.end(), "at", "be before the end of the run, warm-up included")?;
        let after = self.until.is_none_or(|until| until > self.at);
        must(after, "until", "be after its at; leave it out of what lasts")?;
        if let Effect::Join { from, .. } | Effect::Replace { from, .. } = self.effect {
            let stays = "not be set of those that join or are replaced, which stay; let them leave by a change of its own";
            must(self.until.is_none(), "until", stays)?;
            must(self.flap.is_none(), "flap", stays)?;
            must((0.0..=1.0).contains(&from), "effect.from", "be from 0 to 1, a part of the speed")?;
        }
        if let Effect::Slow { times } = self.effect {
            must(limits::FACTOR.contains(&times), "effect.slow.times", &within(&limits::FACTOR))?;
        }
        must(self.flap.is_none_or(|flap| flap.0 > 0), "flap", "be above 0s")?;
        let ends = case.deadline.is_some() || !matches!(self.effect, Effect::Dead {});
        ensure(ends, "deadline", "be set where endpoints die, or their requests never end")
    }
}

fn within(range: &RangeInclusive<f64>) -> String {
    format!("be from {} to {}", range.start(), range.end())
}

/// Complains of the field unless it is as it must be.
fn ensure(holds: bool, field: &str, must: &str) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(value(field, must)) }
}
