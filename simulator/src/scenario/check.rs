//! What the numbers of a case must be that no type says: each complaint names the field and what it must be.

use std::ops::RangeInclusive;

use super::{Case, Change, Effect, Group, Kind, Problem, Range, limits, value};
use crate::span::Span;

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
            (
                self.measure.0 > 0 && self.measure.0 <= limits::LONGEST,
                "measure",
                "be above 0s and at most 86400s",
            ),
            (self.warmup.0 <= limits::LONGEST, "warmup", "be at most 86400s"),
            (self.window.0 >= limits::SHORTEST, "window", "be at least 1ms"),
            (self.tick.0 >= limits::SHORTEST, "tick", "be at least 1ms"),
            (self.contended > 0.0 && self.contended <= 1.0, "contended", "be above 0 and at most 1"),
            (self.swap_spare.is_none_or(long_enough), "swapSpare", "be at least 1ms"),
            (
                self.weights.is_none_or(|weights| long_enough(weights.every)),
                "weights.every",
                "be at least 1ms",
            ),
            (self.probe_cost >= 0.0 && self.probe_cost.is_finite(), "probeCost", "not be negative"),
            (
                self.keys.is_none_or(|keys| limits::KEYS.contains(&keys.count)),
                "keys.count",
                "be from 1 to 10000000",
            ),
            (self.keys.is_none_or(|keys| limits::ZIPF.contains(&keys.zipf)), "keys.zipf", "be from 0 to 10"),
        ];
        if let Some((_, field, must)) = checks.iter().find(|(holds, ..)| !holds) {
            return Err(value(field, must));
        }
        let seconds = self.end() as f64 / 1e9;
        let come = self.rate * self.load * seconds;
        let come = self.requests.map_or(come, |requests| come.min(requests as f64));
        ensure(
            come <= limits::REQUESTS,
            "rate",
            &format!("make at most {} requests in {seconds} s", limits::REQUESTS),
        )?;
        let windows = self.end() / self.window.0;
        ensure(
            windows <= limits::WINDOWS,
            "window",
            &format!("be longer: {} of them at most", limits::WINDOWS),
        )?;
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
        match &self.server {
            Kind::Unlimited {} => {}
            Kind::Workers { count, .. } => must(*count > 0, "server.workers.count", "be at least 1")?,
            Kind::Sharing { cores, spare } => {
                must(limits::CORES.contains(cores), "server.sharing.cores", &within(&limits::CORES))?;
                let spare = limits::SPARE.contains(&spare.from) && limits::SPARE.contains(&spare.to);
                must(spare, "server.sharing.spare", &within(&limits::SPARE))?;
            }
        }
        let Some(noise) = &self.noise else { return Ok(()) };
        must(long_enough(noise.every_from), "noise.everyFrom", "be at least 1ms")?;
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
        must(self.flap.is_none_or(long_enough), "flap", "be at least 1ms")?;
        let ends = case.deadline.is_some() || !matches!(self.effect, Effect::Dead {});
        ensure(ends, "deadline", "be set where endpoints die, or their requests never end")
    }
}

const fn long_enough(span: Span) -> bool {
    span.0 >= limits::SHORTEST
}

fn within(range: &RangeInclusive<f64>) -> String {
    format!("be from {} to {}", range.start(), range.end())
}

/// Complains of the field unless it is as it must be.
fn ensure(holds: bool, field: &str, must: &str) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(value(field, must)) }
}
