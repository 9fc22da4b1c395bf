//! A pool that is not there: the state and the balancer of a candidate, over endpoints as the model has them.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    sync::Arc,
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::super::super::{TOLERANCE, Tuner};
use super::{
    model::{Model, Work},
    tail::Tail,
};
use crate::{
    Algorithm, Balancer, Outcome, PoolSpec, PoolState, Prequal, Query, Signals, Status, Time, pick::Guard,
    plan::Plan,
};

/// A candidate.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) algorithm: Algorithm,
    state: Arc<PoolState>,
    /// Of the balancer.
    plan: Option<Plan>,
    /// Steps, and means, over the state.
    tuner: Tuner,
    balancer: Balancer,
    rng: SmallRng,
    /// The model's number of each of the balancer's endpoints.
    numbers: Vec<Option<usize>>,
    /// By endpoint: when each of its workers is free. Without a limit there are none.
    workers: Vec<Vec<u64>>,
    under_way: BinaryHeap<Reverse<End>>,
    /// What came of the requests it was played.
    pub(super) tail: Tail,
}

/// How a request will end.
#[derive(Debug)]
struct End {
    at: u64,
    guard: Guard,
    outcome: Outcome,
}

impl Candidate {
    /// A candidate without endpoints; `seed` for its draws.
    pub(super) fn new(algorithm: &Algorithm, seed: u64, now: Time) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let state = Arc::new(PoolState::new(1, &mut rng));
        let played = in_band(algorithm);
        let tuner = Tuner::new(PoolSpec::new(played, Vec::new()), Arc::clone(&state), now);
        Self {
            algorithm: algorithm.clone(),
            balancer: tuner.balancer(),
            plan: None,
            tuner,
            state,
            rng,
            numbers: Vec::new(),
            workers: Vec::new(),
            under_way: BinaryHeap::new(),
            tail: Tail::new(),
        }
    }

    /// Takes the real pool's endpoints with their weights, but for those of Adaptive, which come of the candidate's own steps.
    pub(super) fn follow(&mut self, real: &Tuner, now: Time) {
        let mut spec = real.spec.clone();
        spec.algorithm = self.tuner.spec.algorithm.clone();
        spec.others.clear();
        let alone = PoolSpec { ejection: None, ..spec.clone() };
        if self.tuner.spec != alone {
            self.tuner.set_spec(alone, now);
        }
        self.tuner.tick(now, &mut self.rng);
        let adaptive = matches!(spec.algorithm, Algorithm::Adaptive(_));
        if adaptive {
            spec.algorithm = Algorithm::WeightedRoundRobin;
        }
        let mut tuning = real.tuning_for(&spec, now);
        if adaptive {
            self.tuner.adaptive_factors(&mut tuning.factors);
            spec.algorithm = self.tuner.spec.algorithm.clone();
        }
        let plan = Plan::new(&spec, &self.state, &tuning);
        if self.plan.as_ref().is_none_or(|before| !plan.resembles(before, TOLERANCE)) {
            self.balancer = Balancer::from_plan(&plan, &self.state);
            self.plan = Some(plan);
        }
    }

    /// Finds its endpoints in the model; if they or their workers are others than before, all are free.
    pub(super) fn place(&mut self, model: &Model) {
        self.numbers = self.balancer.endpoints().map(|endpoint| model.number(&endpoint.id)).collect();
        let workers = model.workers().unwrap_or(0);
        if self.workers.len() != model.len() || self.workers.iter().any(|each| each.len() != workers) {
            self.workers = vec![vec![0; workers]; model.len()];
        }
    }

    /// Picks for requests in the order of their arrival; an error counts as `penalty` nanoseconds at least.
    pub(super) fn play(&mut self, works: &[Work], penalty: f64, model: &Model) {
        for work in works {
            self.end_until(work.begun);
            let query = Query::at(Time::from_nanos(work.begun), 0);
            let Some(pick) = self.balancer.pick(&query, &mut self.rng) else { continue };
            let Some(number) = self.numbers[pick.index] else { continue };
            let (part, takes) = model.failing(number);
            let fails = work.counts && part > 0.0 && self.rng.random_bool(part.min(1.0));
            let takes = if fails { takes } else { model.takes(work, number) };
            let at = begin(&mut self.workers[number], work.begun, whole(takes));
            let latency = whole(float(at - work.begun) * work.answered);
            let status = match (fails, work.counts) {
                (true, _) => Status::Failed,
                (false, true) => Status::Answered(200),
                (false, false) => Status::Answered(404),
            };
            let outcome = Outcome::new(status, Time::from_nanos(at), Duration::from_nanos(latency));
            if work.counts {
                self.tail.add(float(latency).max(if fails { penalty } else { 0.0 }));
            }
            self.under_way.push(Reverse(End { at, guard: pick.guard, outcome }));
        }
    }

    fn end_until(&mut self, now: u64) {
        while self.under_way.peek().is_some_and(|Reverse(end)| end.at <= now) {
            if let Some(Reverse(End { mut guard, outcome, .. })) = self.under_way.pop() {
                guard.set_outcome(outcome);
            }
        }
    }
}

/// In the shadow there is nobody to ask.
fn in_band(algorithm: &Algorithm) -> Algorithm {
    match algorithm {
        Algorithm::Prequal(parameters) => {
            Algorithm::Prequal(Prequal { signals: Signals::InBand, ..parameters.clone() })
        }
        other => other.clone(),
    }
}

/// When a request ends that comes now, and takes so long once the first of the workers is free.
fn begin(workers: &mut [u64], now: u64, takes: u64) -> u64 {
    let Some(first) = workers.iter_mut().min() else { return now.saturating_add(takes) };
    *first = now.max(*first).saturating_add(takes);
    *first
}

impl Ord for End {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl PartialOrd for End {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for End {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for End {}

#[expect(clippy::cast_precision_loss, reason = "a part in 2^53 does not matter")]
const fn float(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from a nanosecond to 31 years")]
const fn whole(nanos: f64) -> u64 {
    nanos.clamp(1.0, 1e18) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(workers: usize, requests: &[(u64, u64, u64)]) {
        let mut free = vec![0; workers];
        for (now, takes, end) in requests {
            assert_eq!(begin(&mut free, *now, *takes), *end, "{workers} workers, at {now}");
        }
    }

    #[test]
    fn requests_wait_for_the_first_worker_that_is_free() {
        check(0, &[(0, 9, 9), (0, 9, 9)]);
        check(1, &[(0, 9, 9), (1, 9, 18), (20, 9, 29)]);
        check(2, &[(0, 9, 9), (1, 9, 10), (2, 9, 18), (3, 1, 11)]);
    }
}
