//! What the numbers of a case must be that no type says: each complaint names the field and what it must be.

use std::{fmt::Display, ops::RangeInclusive};

use super::{Case, Change, Effect, Group, Kind, Problem, Range, limits, value};
use crate::{engine::SAMPLE, number, span::Span};

impl Case {
    /// Complains of the first field that is out of range.
    pub(super) fn check(&self) -> Result<(), Problem> {
        ensure(limits::ENDPOINTS.contains(&self.len()), "endpoints", &within(&limits::ENDPOINTS))?;
        ensure(limits::PROXIES.contains(&self.proxies), "proxies", &within(&limits::PROXIES))?;
        let most = (limits::VIEWS / self.len()).max(1);
        let few =
            format!("be at most {most} with so many endpoints, each of which every proxy has a view of");
        ensure(self.proxies <= most, "proxies", &few)?;
        ensure(self.measure.0 > 0, "measure", "be above 0s")?;
        let some = self.deadline.is_none_or(|deadline| deadline.0 > 0);
        ensure(some, "deadline", "be above 0s; leave it out of requests that wait as long as it takes")?;
        self.check_load()?;
        let part = self.contended > 0.0 && self.contended <= 1.0;
        ensure(part, "contended", "be above 0 and at most 1")?;
        range(self.probe_cost, &limits::PROBE_COST, "probeCost")?;
        if let Some(keys) = self.keys {
            ensure(limits::KEYS.contains(&keys.count), "keys.count", &within(&limits::KEYS))?;
            let most = limits::LOOKS / self.len() as f64;
            let few = format!("be at most {most:.0} with so many endpoints");
            ensure(f64::from(keys.count) <= most, "keys.count", &few)?;
            range(keys.zipf, &limits::ZIPF, "keys.zipf")?;
        }
        self.check_times()?;
        for (index, group) in self.endpoints.iter().enumerate() {
            group.check(&format!("endpoints[{index}]"), self)?;
        }
        for (index, change) in self.changes.iter().enumerate() {
            change.check(&format!("changes[{index}]"), self)?;
        }
        self.service.work().map(|_| ())
    }

    fn check_load(&self) -> Result<(), Problem> {
        let positive = |number: f64| number.is_finite() && number > 0.0;
        ensure(positive(self.rate), "rate", "be above 0")?;
        ensure(positive(self.load), "load", "be above 0")?;
        // How many a trace has, its file says.
        let (rate, all) = if self.arrivals.is_trace() {
            (0.0, 0.0)
        } else {
            (self.rate * self.load, self.expected_requests())
        };
        let most = limits::REQUESTS;
        let few =
            format!("be such that a run has at most {most} requests, not {all:.0}; measure for less long");
        ensure(all <= most, "rate", &few)?;
        // Of endpoints that are too slow or hang, all requests are under way until their deadline.
        let longest = limits::UNDER_WAY / rate;
        let hang = self.deadline.is_none_or(|deadline| deadline.as_seconds() > longest);
        let few = format!(
            "be set, to at most {longest}s, or more than {} requests may be under way",
            limits::UNDER_WAY
        );
        ensure(!hang || all <= limits::UNDER_WAY, "deadline", &few)
    }

    fn check_times(&self) -> Result<(), Problem> {
        let longest = limits::LOOKS / self.len() as f64 * Span(SAMPLE).as_seconds();
        let long = format!("be at most {longest}s with so many endpoints, warm-up included");
        ensure(Span(self.end()).as_seconds() <= longest, "measure", &long)?;
        let views = self.proxies * self.len();
        self.often(self.tick, views, "tick")?;
        self.swap_spare.map_or(Ok(()), |span| self.often(span, 2, "swapSpare"))?;
        self.weights.map_or(Ok(()), |weights| self.often(weights.every, views, "weights.every"))?;
        let windows = limits::WINDOWS.min(limits::COUNTS / self.len());
        let least = Span(self.end().div_ceil(windows as u64));
        let few = format!("be at least {}s, so that a run has at most {windows} of them", least.as_seconds());
        ensure(self.window >= least, "window", &few)
    }

    /// Of what happens again and again, each time to so many endpoints.
    fn often(&self, span: Span, endpoints: usize, field: &str) -> Result<(), Problem> {
        let ms = |span: Span| span.as_seconds() * 1e3;
        ensure(span >= limits::SHORTEST, field, &format!("be at least {}ms", ms(limits::SHORTEST)))?;
        let least = Span(number::up(self.end() as f64 * endpoints as f64 / limits::LOOKS));
        let few = format!("be at least {}ms with so many endpoints in a run as long as this", ms(least));
        ensure(span >= least, field, &few)
    }
}

impl Group {
    fn check(&self, field: &str, case: &Case) -> Result<(), Problem> {
        let at = |name: &str| format!("{field}.{name}");
        range(self.speed, &limits::FACTOR, &at("speed"))?;
        match self.server {
            Kind::Unlimited {} => {}
            Kind::Workers { count, .. } => {
                let some = limits::WORKERS.contains(&count);
                ensure(some, &at("server.workers.count"), &within(&limits::WORKERS))?;
            }
            Kind::Sharing { cores, spare } => {
                range(cores, &limits::CORES, &at("server.sharing.cores"))?;
                range(spare.from, &limits::SPARE, &at("server.sharing.spare.from"))?;
                range(spare.to, &limits::SPARE, &at("server.sharing.spare.to"))?;
            }
        }
        let Some(noise) = &self.noise else { return Ok(()) };
        case.often(noise.every_from, self.count, &at("noise.everyFrom"))?;
        let after = noise.every_to >= noise.every_from;
        ensure(after, &at("noise.everyTo"), "not be less than everyFrom")?;
        ensure(!noise.factors.is_empty(), &at("noise.factors"), "be at least one")?;
        for (index, Range { from, to }) in noise.factors.iter().enumerate() {
            range(*from, &limits::FACTOR, &at(&format!("noise.factors[{index}].from")))?;
            range(*to, &limits::FACTOR, &at(&format!("noise.factors[{index}].to")))?;
        }
        Ok(())
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
            range(times, &limits::FACTOR, &format!("{field}.effect.slow.times"))?;
        }
        // What comes and goes is told to every proxy, which sees all endpoints anew.
        let leaves = matches!(self.effect, Effect::Leave {});
        let touched = if leaves { case.proxies * case.len() } else { self.endpoints.len() };
        self.flap.map_or(Ok(()), |flap| case.often(flap, touched, &format!("{field}.flap")))?;
        let ends = case.deadline.is_some() || !matches!(self.effect, Effect::Dead {});
        ensure(ends, "deadline", "be set where endpoints die, or their requests never end")
    }
}

fn range(number: f64, range: &RangeInclusive<f64>, field: &str) -> Result<(), Problem> {
    ensure(range.contains(&number), field, &within(range))
}

pub(super) fn within(range: &RangeInclusive<impl Display>) -> String {
    format!("be from {} to {}", range.start(), range.end())
}

/// Complains of the field unless it is as it must be.
pub(super) fn ensure(holds: bool, field: &str, must: &str) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(value(field, must)) }
}
