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
    model::{Model, Work, float},
    tail::Tail,
};
use crate::{
    Algorithm, Balancer, Outcome, PoolSpec, PoolState, Prequal, Query, Signals, Status, Time,
    pick::Guard,
    plan::{Plan, Tuning},
    state::STRETCH,
    time::{nanos, nanos_f64},
};

/// Longest time that a request waits to be served, and most requests under way: one that comes on top of them fails, as
/// it would where clients give up. So queues end where more comes than an endpoint can do, and a candidate comes back
/// once less does.
const MAX_WAIT: Duration = Duration::from_secs(60);
const MAX_UNDER_WAY: usize = 16 * STRETCH;

/// A candidate.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) algorithm: Algorithm,
    /// It may be chosen now.
    pub(super) usable: bool,
    state: Arc<PoolState>,
    /// Of the balancer, and what it was made from.
    plan: Option<Plan>,
    tuning: Option<Tuning>,
    /// The version of the real pool's spec that it follows.
    follows: Option<u64>,
    /// Steps, and means, over the state.
    tuner: Tuner,
    balancer: Balancer,
    rng: SmallRng,
    /// The model's number of each of the balancer's endpoints.
    numbers: Vec<Option<usize>>,
    /// By endpoint: when each of its places is free, as many as its concurrency. Without a limit there are none.
    free_at: Vec<Vec<u64>>,
    /// Of the model when these were made.
    generation: u64,
    under_way: BinaryHeap<Reverse<End>>,
    /// When the last request was played.
    played: u64,
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
            usable: false,
            balancer: tuner.balancer(),
            plan: None,
            tuning: None,
            follows: None,
            tuner,
            state,
            rng,
            numbers: Vec::new(),
            free_at: Vec::new(),
            generation: 0,
            under_way: BinaryHeap::new(),
            played: 0,
            tail: Tail::new(),
        }
    }

    /// Takes other parameters, and keeps what it learned.
    pub(super) fn take_algorithm(&mut self, algorithm: &Algorithm, now: Time) {
        if self.algorithm != *algorithm {
            self.algorithm = algorithm.clone();
            let spec = PoolSpec { algorithm: in_band(algorithm), ..self.tuner.spec.clone() };
            self.tuner.take_spec(spec, now);
            self.tuning = None;
        }
    }

    /// Takes the real pool's endpoints with their weights, but for those of Adaptive, which come of the candidate's own
    /// steps. O(n) where something has changed.
    pub(super) fn follow(&mut self, real: &Tuner, now: Time) {
        if self.follows.replace(real.version) != Some(real.version) {
            let (algorithm, others) = (self.tuner.spec.algorithm.clone(), Vec::new());
            let spec = PoolSpec { algorithm, others, ..real.spec.clone() };
            self.tuner.take_spec(spec, now);
            self.tuning = None;
        }
        self.tuner.left.forget(now);
        self.state.settle();
        self.tuner.update_mean();
        self.tuner.tick_adaptive(now);
        let tuning = match &self.tuner.spec.algorithm {
            Algorithm::Adaptive(_) => {
                let mut tuning = real.tuning_by(&Algorithm::WeightedRoundRobin, now);
                self.tuner.adaptive_factors(&mut tuning.factors);
                tuning
            }
            other => real.tuning_by(other, now),
        };
        if self.tuning.as_ref() == Some(&tuning) {
            return;
        }
        let plan = Plan::new(&self.tuner.spec, &self.state, &tuning);
        if self.plan.as_ref().is_none_or(|before| !plan.resembles(before, TOLERANCE)) {
            self.balancer = Balancer::from_plan(&plan, &self.state);
            self.plan = Some(plan);
        }
        self.tuning = Some(tuning);
    }

    /// Finds its endpoints in the model; if the model has others, or another concurrency, all places are free.
    pub(super) fn place(&mut self, model: &Model) {
        self.numbers = self.balancer.endpoints().map(|endpoint| model.number(&endpoint.id)).collect();
        let places = model.concurrency().unwrap_or(0);
        let same =
            self.generation == model.generation() && self.free_at.iter().all(|each| each.len() == places);
        if !same || self.free_at.len() != model.len() {
            self.free_at = vec![vec![0; places]; model.len()];
            self.generation = model.generation();
        }
    }

    /// Nothing happened for so many nanoseconds after the last request: what was under way then ends as much later.
    pub(super) fn leave_out(&mut self, left_out: u64) {
        if left_out == 0 {
            return;
        }
        for free in self.free_at.iter_mut().flatten().filter(|free| **free > self.played) {
            *free = free.saturating_add(left_out);
        }
        let later = |Reverse(end): Reverse<End>| {
            let at = end.at.saturating_add(left_out);
            Reverse(End { at, outcome: Outcome { now: Time::from_nanos(at), ..end.outcome }, ..end })
        };
        self.under_way = std::mem::take(&mut self.under_way).into_iter().map(later).collect();
    }

    /// Picks for requests in the order of their arrival; an error counts as `penalty` nanoseconds at least.
    pub(super) fn play(&mut self, works: &[Work], penalty: f64, model: &Model) {
        for work in works {
            self.end_until(work.begun);
            self.played = work.begun;
            let now = Time::from_nanos(work.begun);
            let Some(pick) = self.balancer.pick(&Query::at(now, 0), &mut self.rng) else { continue };
            let Some(number) = self.numbers[pick.index] else { continue };
            let (part, failure_takes) = model.failing(number);
            let fails = work.counts && part > 0.0 && self.rng.random_bool(part.min(1.0));
            let end = match () {
                () if self.under_way.len() >= MAX_UNDER_WAY => None,
                () if fails => Some(work.begun.saturating_add(whole(failure_takes))),
                () => begin(&mut self.free_at[number], work.begun, whole(model.takes(work, number))),
            };
            let mut guard = pick.guard;
            let Some(at) = end else {
                guard.set_outcome(Outcome::new(Status::Failed, now, Duration::ZERO));
                if work.counts {
                    self.tail.add(nanos_f64(MAX_WAIT).max(penalty));
                }
                continue;
            };
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
            self.under_way.push(Reverse(End { at, guard, outcome }));
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

/// When a request ends that comes now, and takes so long once the first of the places is free; `None` if that is too
/// late.
fn begin(free_at: &mut [u64], now: u64, takes: u64) -> Option<u64> {
    let Some(first) = free_at.iter_mut().min() else { return Some(now.saturating_add(takes)) };
    if first.saturating_sub(now) > nanos(MAX_WAIT) {
        return None;
    }
    *first = now.max(*first).saturating_add(takes);
    Some(*first)
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

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from a nanosecond to 31 years")]
const fn whole(nanos: f64) -> u64 {
    nanos.clamp(1.0, 1e18) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointId;

    fn check(concurrency: usize, requests: &[(u64, u64, impl Into<Option<u64>> + Copy)]) {
        let mut free = vec![0; concurrency];
        for (now, takes, end) in requests {
            assert_eq!(begin(&mut free, *now, *takes), (*end).into(), "concurrency {concurrency}, at {now}");
        }
    }

    #[test]
    fn requests_wait_for_the_first_place_that_is_free() {
        check(0, &[(0, 9, 9), (0, 9, 9)]);
        check(1, &[(0, 9, 9), (1, 9, 18), (20, 9, 29)]);
        check(2, &[(0, 9, 9), (1, 9, 10), (2, 9, 18), (3, 1, 11)]);
        let (minute, hour) = (60_000_000_000, 3_600_000_000_000);
        check(1, &[(0, hour, Some(hour)), (hour - minute - 1, 1, None), (hour - minute, 1, Some(hour + 1))]);
    }

    fn candidate(model: &mut Model, endpoints: &[&str]) -> Candidate {
        let ids: Vec<EndpointId> = endpoints.iter().map(|id| (*id).into()).collect();
        model.know(ids.iter().zip(0..));
        let mut candidate = Candidate::new(&Algorithm::RoundRobin, 1, Time::ZERO);
        candidate.place(model);
        candidate
    }

    #[test]
    fn queues_stay_with_endpoints_and_go_with_them() {
        let mut model = Model::default();
        let mut candidate = candidate(&mut model, &["e0", "e1"]);
        candidate.free_at[0][0] = 99;
        candidate.place(&model);
        assert_eq!(candidate.free_at, [[99], [0]]);
        let others: [EndpointId; 2] = ["e1".into(), "e2".into()];
        model.know(others.iter().zip(1..));
        candidate.place(&model);
        assert_eq!(candidate.free_at, [[0], [0]]);
    }

    #[test]
    fn what_is_under_way_over_a_gap_ends_as_much_later() {
        let mut candidate = candidate(&mut Model::default(), &["e0", "e1"]);
        candidate.free_at = vec![vec![50], vec![150]];
        candidate.played = 100;
        let pool = Arc::clone(&candidate.state);
        let state = pool.endpoint(&"e0".into());
        for at in [120, 180] {
            let guard = pool.begins(&"e0".into());
            let outcome = Outcome::new(Status::Answered(200), Time::from_nanos(at), Duration::from_nanos(7));
            candidate.under_way.push(Reverse(End { at, guard, outcome }));
        }
        candidate.leave_out(1000);
        assert_eq!(candidate.free_at, [[50], [1150]]);
        candidate.end_until(1119);
        assert_eq!(state.in_flight(), 2);
        candidate.end_until(1120);
        assert_eq!(state.in_flight(), 1);
        assert_eq!(state.response_time_nanos(Time::from_nanos(1120)), Some(7.0));
    }

    #[test]
    fn nobody_is_asked() {
        let probed = Prequal { signals: Signals::Fed, probes: 2.0, ..Prequal::default() };
        let expect = Prequal { signals: Signals::InBand, ..probed.clone() };
        assert_eq!(in_band(&Algorithm::Prequal(probed)), Algorithm::Prequal(expect));
        assert_eq!(in_band(&Algorithm::Random), Algorithm::Random);
    }
}
