//! What a request would have taken elsewhere.
//!
//! An endpoint is taken for a queue in the order of arrival that serves so many requests at once, its concurrency, the
//! same for all: with 1, requests wait for each other; without a limit, never. It is the one by which what a request
//! took once it was served depends least on how many were in flight before it: too low a one makes requests under load
//! look short, too high a one long. Where several fit, it is the lowest, and no more than what was seen at once, so
//! that nobody counts on room that may not be there.
//!
//! What is left differs by request and by endpoint. An endpoint's pace is drawn toward that of all by as much of their
//! differences as chance explains, since an algorithm that follows the fastest would profit from differences that there
//! are not; but by no more than two standard errors, so that a few that are slow among many are not lost (limited
//! translation, Efron and Morris 1972).

use std::collections::HashMap;

use super::fit::{Fit, slant};
use crate::{EndpointId, pick::Verdict, state::Tapped};

/// Concurrencies that are told apart; the last one stands for no limit.
const CONCURRENCIES: [usize; 9] = [1, 2, 3, 4, 6, 8, 12, 16, usize::MAX];
/// As many ends as the highest concurrency below that.
const ENDS: usize = 16;
/// A request that seems to have taken no time took this part of what it was in flight.
const LEAST: f64 = 0.02;
/// Concurrencies fit alike by which what all requests took differs by less than this part.
const SAME: f64 = 0.01;
/// Standard errors by which a pace is drawn toward that of all, at most.
const MAX_ERRORS: f64 = 2.0;

/// What is known of the endpoints.
#[derive(Debug, Default)]
pub(super) struct Model {
    endpoints: Vec<Known>,
    by_state: HashMap<u64, usize>,
    by_id: HashMap<EndpointId, usize>,
    /// Place in [`CONCURRENCIES`].
    concurrency: usize,
    /// What a request takes until its answer, in nanoseconds; 0 as long as none is known.
    mean: f64,
    /// How often the endpoints were others.
    generation: u64,
}

/// What is known of one.
#[derive(Debug)]
struct Known {
    id: EndpointId,
    state: u64,
    fits: [Fit; CONCURRENCIES.len()],
    /// When requests ended, the latest first.
    ends: [u64; ENDS],
    answered: f64,
    failed: f64,
    /// What failures took, in nanoseconds, all together.
    failing: f64,
    /// Logarithm of what a request takes here beside what it takes in the mean.
    pace: f64,
}

/// A request, apart from where it went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    /// In nanoseconds.
    pub(super) begun: u64,
    /// What it takes at an endpoint of middling pace, in nanoseconds.
    pub(super) nanos: f64,
    /// The part of its time in flight after which it is answered.
    pub(super) answered: f64,
    /// It says something of the endpoint; otherwise it only takes room there, as it did.
    pub(super) counts: bool,
}

impl Model {
    /// Knows these endpoints, by the numbers of their states; forgets others.
    pub(super) fn know<'a>(&mut self, endpoints: impl Iterator<Item = (&'a EndpointId, u64)>) {
        let mut endpoints: Vec<_> = endpoints.collect();
        endpoints.sort();
        let known = self.endpoints.iter().map(|known| (&known.id, known.state));
        if known.eq(endpoints.iter().copied()) {
            return;
        }
        self.generation += 1;
        let before = std::mem::take(&mut self.endpoints).into_iter();
        let mut before: HashMap<_, _> =
            before.map(|known| ((known.id.clone(), known.state), known)).collect();
        for (id, state) in endpoints {
            let known = before.remove(&(id.clone(), state));
            self.endpoints.push(known.unwrap_or_else(|| Known::new(id, state)));
        }
        let numbered = || self.endpoints.iter().enumerate();
        self.by_state = numbered().map(|(number, known)| (known.state, number)).collect();
        self.by_id = numbered().map(|(number, known)| (known.id.clone(), number)).collect();
    }

    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Numbers of endpoints hold as long as this is the same.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// The number by which an endpoint is known here.
    pub(super) fn number(&self, id: &EndpointId) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// How many requests an endpoint works on at once; `None` without limit.
    pub(super) fn concurrency(&self) -> Option<usize> {
        Some(CONCURRENCIES[self.concurrency]).filter(|concurrency| *concurrency < usize::MAX)
    }

    /// What is known counts this part of what it did.
    pub(super) fn fade(&mut self, part: f64) {
        for known in &mut self.endpoints {
            known.fits.iter_mut().for_each(|fit| fit.fade(part));
            known.answered *= part;
            known.failed *= part;
            known.failing *= part;
        }
    }

    /// Learns from requests in the order of their arrival, and tells them from where they went.
    pub(super) fn take(&mut self, tapped: &[Tapped], into: &mut Vec<Work>) {
        self.settle_concurrency();
        let first = into.len();
        // Of one that was given up before it was sent, nothing is to be learned.
        let unsent = |request: &Tapped| request.verdict == Some(Verdict::Cancelled) && request.held == 0;
        let known = |request: &&Tapped| self.by_state.contains_key(&request.endpoint) && !unsent(request);
        let tapped: Vec<_> = tapped.iter().filter(known).collect();
        into.extend(tapped.iter().map(|request| self.learn(request)));
        self.settle_paces();
        let mean = self.mean;
        for (work, request) in into[first..].iter_mut().zip(tapped) {
            let pace =
                self.by_state.get(&request.endpoint).map_or(0.0, |number| self.endpoints[*number].pace);
            work.nanos = if is_failure(request.verdict) { mean } else { work.nanos / pace.exp() };
        }
    }

    /// What a request took where it went. Endpoints differ by the part of that until the answer: how long a body goes
    /// on is the request's own.
    fn learn(&mut self, request: &Tapped) -> Work {
        let held = float(request.held).max(1.0);
        let answered = (float(request.latency) / held).clamp(0.0, 1.0);
        let failed = is_failure(request.verdict);
        let good = match request.verdict {
            Some(Verdict::Good) | None => true,
            // An answer would have taken this long at least.
            Some(Verdict::Cancelled) => self.mean > 0.0 && float(request.latency) > self.mean,
            _ => false,
        };
        let known = self.by_state.get(&request.endpoint).map(|number| &mut self.endpoints[*number]);
        let nanos = known.map_or(held, |known| {
            let took = known.took(request);
            match request.verdict {
                _ if failed => {
                    known.failed += 1.0;
                    known.failing += held;
                }
                Some(Verdict::Cancelled) => {}
                _ => known.answered += 1.0,
            }
            if good {
                let until_answer = took.map(|took| took * answered);
                known.fits.iter_mut().zip(until_answer).for_each(|(fit, took)| fit.add(request.load, took));
            }
            took[self.concurrency]
        });
        Work { begun: request.begun.as_nanos(), nanos, answered, counts: good || failed }
    }

    /// What a request takes at an endpoint once it is served, in nanoseconds.
    pub(super) fn takes(&self, work: &Work, number: usize) -> f64 {
        work.nanos * self.endpoints[number].pace.exp()
    }

    /// The part of an endpoint's requests that fail, and what a failure takes, in nanoseconds.
    pub(super) fn failing(&self, number: usize) -> (f64, f64) {
        let Known { answered, failed, failing, .. } = &self.endpoints[number];
        if *failed > 0.0 { (failed / (failed + answered), failing / failed) } else { (0.0, 0.0) }
    }

    fn settle_concurrency(&mut self) {
        let fits = |concurrency: usize| self.endpoints.iter().map(move |known| &known.fits[concurrency]);
        let slants = std::array::from_fn(|concurrency| slant(fits(concurrency)));
        let nanos = std::array::from_fn(|concurrency| fits(concurrency).map(Fit::nanos).sum());
        self.concurrency = flattest(&slants, &nanos);
    }

    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 endpoints")]
    fn settle_paces(&mut self) {
        let concurrency = self.concurrency;
        let fits =
            || self.endpoints.iter().map(|known| &known.fits[concurrency]).filter(|fit| fit.count > 0.0);
        let sum = |of: fn(&Fit) -> f64| fits().map(of).sum::<f64>();
        let (endpoints, count) = (fits().count() as f64, sum(|fit| fit.count));
        self.mean = if count > 0.0 { sum(Fit::nanos) / count } else { 0.0 };
        if count <= 0.0 {
            return;
        }
        let level = sum(|fit| fit.count * fit.level()) / count;
        let chance = sum(Fit::deviation) / (count - endpoints).max(1.0);
        let differ = fits().map(|fit| (fit.level() - level).powi(2) - chance / fit.count).sum::<f64>();
        let lasting = (differ / endpoints).max(0.0);
        for known in &mut self.endpoints {
            let fit = &known.fits[concurrency];
            known.pace =
                if fit.count > 0.0 { drawn(fit.level() - level, lasting, chance / fit.count) } else { 0.0 };
        }
    }
}

/// The place among [`CONCURRENCIES`] by which what requests take depends least on the load. From the highest down the
/// slant falls, until requests that overtake each other make it mean nothing: of the first two with a change of sign
/// between them, the lesser. Without one none waited, and it is the lowest by which that is so.
fn flattest(slants: &[f64; CONCURRENCIES.len()], nanos: &[f64; CONCURRENCIES.len()]) -> usize {
    let [.., all] = nanos;
    match slants.iter().rposition(|slant| *slant <= 0.0) {
        None => 0,
        Some(few) => match slants.get(few + 1) {
            Some(many) if *many <= slants[few].abs() => few + 1,
            Some(_) => few,
            None => nanos.iter().position(|nanos| *nanos >= all * (1.0 - SAME)).unwrap_or(few),
        },
    }
}

/// How far an endpoint is off, where such differences have the variance `lasting` and what was found of it that of
/// `chance` besides.
fn drawn(off: f64, lasting: f64, chance: f64) -> f64 {
    let part = if lasting > 0.0 { lasting / (lasting + chance) } else { 0.0 };
    let least = (off.abs() - MAX_ERRORS * chance.sqrt()).max(0.0);
    off.signum() * (part * off.abs()).max(least)
}

impl Known {
    fn new(id: &EndpointId, state: u64) -> Self {
        Self {
            id: id.clone(),
            state,
            fits: Default::default(),
            ends: [0; ENDS],
            answered: 0.0,
            failed: 0.0,
            failing: 0.0,
            pace: 0.0,
        }
    }

    /// What a request took once it was served, by each concurrency, in nanoseconds.
    fn took(&mut self, request: &Tapped) -> [f64; CONCURRENCIES.len()] {
        let (begun, held) = (request.begun.as_nanos(), request.held.max(1));
        let (end, load) = (begun.saturating_add(held), request.load as usize);
        let took = CONCURRENCIES.map(|concurrency| {
            // As many as that may be under way, and then one less when the last but so many has ended.
            let free = if load > concurrency { self.ends[concurrency - 1] } else { 0 };
            let took = match free {
                0 if load <= concurrency => float(held),
                free if free > begun => float(end.saturating_sub(free)),
                // That one was not written down.
                _ => float(held) * float(concurrency as u64) / float(load as u64),
            };
            took.max(LEAST * float(held))
        });
        let place = self.ends.partition_point(|other| *other > end);
        if place < ENDS {
            self.ends[place..].rotate_right(1);
            self.ends[place] = end;
        }
        took
    }
}

const fn is_failure(verdict: Option<Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Overloaded | Verdict::ServerError | Verdict::GatewayError))
}

#[expect(clippy::cast_precision_loss, reason = "a part in 2^53 does not matter")]
pub(super) const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
