//! The shadow: the requests that came, played again through each algorithm that Auto may stand for.
//!
//! The [tap](crate::state::Tap) writes down a stretch of requests. A [`Model`] tells from them what a request takes
//! apart from where it went, and what endpoints take; each [`Candidate`] is a pool of its own, with the real one's
//! endpoints and weights, a state and a random number generator, that picks for the same requests by what became of
//! those it picked for before. It is scored by the slowest of them. What was left out between two stretches did not
//! happen to the candidates: requests under way at the end of one are so at the beginning of the next, and end as much
//! later. Their clock goes on, so that what they learned ages as it does in the real pool; but a queue of theirs, once
//! it is long, takes as many stretches to become short as it would take of real ones in a row.
//!
//! It sees what this proxy sees. Requests of other proxies are in it as far as they made this one's slower: they stay
//! where they were, whatever the candidate does, so that what all proxies would do to the endpoints together is not in
//! it: neither the relief of slow endpoints that all avoid, nor the crowd at fast ones. Where that matters, a candidate
//! and the present algorithm differ less once it is chosen, and the hysteresis keeps it. Nor does it see keys,
//! sessions, retries and limits of requests in flight: every request goes where the candidate likes. A request that is
//! under way when it is played, and is not answered, counts as long as it has been, which is 4 mean latencies at least,
//! or 60 s. One that a client gave up counts if it had waited longer than is usual. Endpoints on probation are left
//! out. WeightedByLoad's weights are the real pool's, Adaptive's are what its steps make of the candidate, without CPU
//! and memory.

mod candidate;
mod fit;
mod model;
mod tail;

use std::time::Duration;

use self::{
    candidate::Candidate,
    model::{Model, Work},
};
use super::{super::Tuner, place_of};
use crate::{Algorithm, Time, state::Tapped};

/// Candidates at most: with [`STRETCH`](crate::state::STRETCH) requests (and one more for each worker) 8,192 picks a
/// look.
const MAX_CANDIDATES: usize = 8;
/// Time between two looks, at least.
const MIN_INTERVAL: Duration = Duration::from_secs(2);
const MAX_INTERVAL: Duration = Duration::from_secs(60);
/// The same in mean latencies: what takes longer is under way when it is played.
const INTERVAL_IN_LATENCIES: f64 = 4.0;
/// Requests from which on a score counts, older ones counting less.
const MIN_PLAYED: f64 = 400.0;
/// Requests after which one counts 1/e in a score; and of an endpoint, in what is known of endpoints.
const MEMORY: f64 = 4000.0;
const MEMORY_OF_ENDPOINT: f64 = 50.0;
/// The same as times, where requests are many or few: endpoints change sooner than a choice should.
const MIN_MEMORY: Duration = Duration::from_secs(10);
const MIN_MEMORY_OF_ENDPOINTS: Duration = Duration::from_secs(2);
const MAX_MEMORY: Duration = Duration::from_secs(600);

/// What is played.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    model: Model,
    candidates: Vec<Candidate>,
    /// When it last looked: what began before is played at the next look.
    looked: Option<Time>,
    /// Whether requests were left out after the last stretch that was played, and after the next one.
    gaps: [bool; 2],
    /// When the last request came, in nanoseconds.
    last: u64,
    has_scored: bool,
    tapped: Vec<Tapped>,
    works: Vec<Work>,
}

impl Shadow {
    /// How slow the slowest requests are with each candidate, beside the best; of none as long as any has played too
    /// few.
    pub(super) fn scores(&self) -> Vec<(Algorithm, f64)> {
        if self.played() == 0 {
            return Vec::new();
        }
        let heights: Vec<_> =
            self.usable().map(|each| (each.algorithm.clone(), each.tail.height())).collect();
        let best = heights.iter().fold(f64::INFINITY, |best, (_, height)| best.min(*height)).max(1.0);
        heights.into_iter().map(|(each, height)| (each, height.max(1.0) / best)).collect()
    }

    /// Requests that every candidate has played, older ones counting less; 0 if that is too few for scores.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^32")]
    pub(super) fn played(&self) -> u32 {
        let fewest = self.usable().map(|each| each.tail.total()).fold(f64::INFINITY, f64::min);
        if fewest.is_finite() && fewest >= MIN_PLAYED { fewest as u32 } else { 0 }
    }

    fn usable(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|each| each.usable)
    }

    /// There were scores before, of the same candidates.
    pub(super) const fn has_scored(&self) -> bool {
        self.has_scored
    }

    /// Whether it is time to look, and how long ago the last look was. The first one only begins the time, and the
    /// second comes by `phase` of an interval later.
    fn look(&mut self, interval: Duration, phase: f64, now: Time) -> Option<(Time, Duration)> {
        let last = *self.looked.get_or_insert(now);
        let wait = if self.candidates.is_empty() { interval.mul_f64(1.0 + phase) } else { interval };
        let over = now.since(last) >= wait || now < last;
        if over {
            self.looked = Some(now);
        }
        over.then_some((last, now.since(last)))
    }

    /// Tells requests from where they went. How long the gap before them was, in nanoseconds.
    fn learn(&mut self, passed: Duration, gap: bool) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "a stretch")]
        let (count, endpoints) = (self.tapped.len() as f64, self.model.len().max(1) as f64);
        self.model.fade(kept(count / (MEMORY_OF_ENDPOINT * endpoints), MIN_MEMORY_OF_ENDPOINTS, passed));
        self.works.clear();
        self.model.take(&self.tapped, &mut self.works);
        let [gap_before, since] = self.gaps;
        self.gaps = [since, gap];
        let (Some(first), Some(last)) = (self.works.first(), self.works.last()) else { return 0 };
        let step = last.begun.saturating_sub(first.begun) / self.works.len() as u64;
        let left_out = first.begun.saturating_sub(self.last.saturating_add(step));
        self.last = last.begun;
        if gap_before { left_out } else { 0 }
    }

    fn play(&mut self, left_out: u64, passed: Duration, penalty: f64) {
        #[expect(clippy::cast_precision_loss, reason = "a stretch")]
        let part = kept(self.works.len() as f64 / MEMORY, MIN_MEMORY, passed);
        for candidate in &mut self.candidates {
            candidate.tail.fade(part);
            candidate.place(&self.model);
            candidate.leave_out(left_out);
            candidate.play(&self.works, penalty, &self.model);
        }
        self.has_scored |= self.played() > 0;
    }
}

/// The part that what was known still counts, after so many memories of requests in so long.
fn kept(memories: f64, least: Duration, passed: Duration) -> f64 {
    let in_time = |memory: Duration| passed.as_secs_f64() / memory.as_secs_f64();
    (-memories.clamp(in_time(MAX_MEMORY), in_time(least))).exp()
}

impl Tuner {
    /// Plays what came before the last look through `algorithms`, of which some are usable now.
    pub(super) fn tick_shadow(
        &mut self,
        algorithms: &[Algorithm],
        usable: &[Algorithm],
        interval: Duration,
        now: Time,
    ) {
        let rules = self.state.rules();
        let (mean, penalty) = (rules.mean_latency.load(), rules.error_penalty.load());
        let latencies =
            Duration::from_secs_f64((INTERVAL_IN_LATENCIES * mean / 1e9).min(MAX_INTERVAL.as_secs_f64()));
        let first = self.auto.shadow.looked.is_none();
        let phase = self.state.phase();
        let look = self.auto.shadow.look(interval.max(MIN_INTERVAL).max(latencies), phase, now);
        let tap = self.state.tap();
        let Some((until, passed)) = look else {
            if first {
                tap.forget();
                tap.open(self.state.workers());
            }
            return;
        };
        let mut shadow = std::mem::take(&mut self.auto.shadow);
        shadow.model.know(self.records.iter().map(|(id, record)| (id, record.state.number())));
        shadow.tapped.clear();
        tap.read(until, now, &mut shadow.tapped);
        let gap = tap.is_closed();
        tap.open(self.state.workers());
        let left_out = shadow.learn(passed, gap);
        self.update_candidates(&mut shadow, algorithms, now);
        shadow.candidates.iter_mut().for_each(|each| each.usable = usable.contains(&each.algorithm));
        shadow.play(left_out, passed, penalty);
        self.auto.shadow = shadow;
    }

    /// Candidates keep what they learned, if with other parameters, and follow the endpoints and weights of the pool.
    /// With a new one all are scored anew: what is compared must be the same requests.
    fn update_candidates(&self, shadow: &mut Shadow, algorithms: &[Algorithm], now: Time) {
        let mut before = std::mem::take(&mut shadow.candidates);
        let mut joined = false;
        for (number, algorithm) in algorithms.iter().take(MAX_CANDIDATES).enumerate() {
            let known = place_of(algorithm, before.iter().map(|each| &each.algorithm));
            let mut candidate = known.map_or_else(
                || {
                    joined = true;
                    Candidate::new(algorithm, number as u64, now)
                },
                |place| before.swap_remove(place),
            );
            candidate.take_algorithm(algorithm, now);
            candidate.follow(self, now);
            shadow.candidates.push(candidate);
        }
        if joined {
            shadow.candidates.iter_mut().for_each(|each| each.tail.clear());
            shadow.has_scored = false;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;
    use crate::{EndpointId, LeastResponseTime, PoolSpec, PoolState, pick::Verdict};

    /// Candidates of which one request was played each follow these: how many requests each has then.
    fn check(before: &[Algorithm], after: &[Algorithm], expect: &[f64]) {
        let state = PoolState::new(1, &mut SmallRng::seed_from_u64(1)).into();
        let tuner = Tuner::new(PoolSpec::new(Algorithm::Random, Vec::new()), state, Time::ZERO);
        let mut shadow = Shadow::default();
        tuner.update_candidates(&mut shadow, before, Time::ZERO);
        shadow.candidates.iter_mut().for_each(|each| each.tail.add(1e6));
        shadow.has_scored = true;
        tuner.update_candidates(&mut shadow, after, Time::ZERO);
        let found: Vec<_> = shadow.candidates.iter().map(|each| each.tail.total()).collect();
        assert_eq!(found, expect, "{before:?} {after:?}");
        assert_eq!(shadow.has_scored, expect.iter().all(|total| *total > 0.0));
        let algorithms = shadow.candidates.iter().map(|each| &each.algorithm);
        assert!(algorithms.eq(after), "{after:?}");
    }

    #[test]
    fn all_are_scored_anew_with_another_candidate_and_not_with_other_parameters() {
        let response_time = |choices| {
            Algorithm::LeastResponseTime(LeastResponseTime { choices, ..LeastResponseTime::default() })
        };
        let [turns, random] = [Algorithm::RoundRobin, Algorithm::Random];
        check(&[turns.clone(), random.clone()], &[random.clone(), turns.clone()], &[1.0, 1.0]);
        check(&[turns.clone(), response_time(2)], &[turns.clone(), response_time(3)], &[1.0, 1.0]);
        check(&[turns.clone(), random.clone()], std::slice::from_ref(&turns), &[1.0]);
        check(&[turns.clone(), response_time(2)], &[turns, response_time(2), random], &[0.0; 3]);
    }

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn it_looks_when_the_time_is_over_or_has_gone_back() {
        let mut shadow = Shadow::default();
        let at = |millis| Time::ZERO.after(Duration::from_millis(millis));
        let mut look = |millis| shadow.look(2 * S, 0.5, at(millis)).map(|(last, _)| last);
        assert_eq!([0, 0, 2999].map(&mut look), [None; 3], "the first time half an interval longer");
        assert_eq!([3000, 3000, 1000].map(look), [Some(at(0)), None, Some(at(3000))]);
    }

    /// A request that begins after so many milliseconds, alone at its endpoint.
    fn tapped(millis: u64, endpoint: u64, verdict: Option<Verdict>) -> Tapped {
        let begun = Time::from_nanos(millis * 1_000_000);
        Tapped { begun, endpoint, load: 1, held: 500, latency: 500, verdict }
    }

    #[test]
    fn what_was_left_out_between_two_stretches_is_known() {
        let mut shadow = Shadow::default();
        let id = "e0".into();
        shadow.model.know([(&id, 7)].into_iter());
        // Ten requests, one each millisecond.
        let mut learn = |from: u64, gap| {
            shadow.tapped = (from..from + 10).map(|millis| tapped(millis, 7, None)).collect();
            shadow.learn(S, gap) / 100_000
        };
        assert_eq!(learn(0, true), 0);
        assert_eq!(learn(10, false), 0);
        // Those before it ended at 19 ms, and the next would have come nine tenths of a millisecond later.
        assert_eq!(learn(1000, false), 9801);
        assert_eq!(learn(2000, false), 0, "the tap was open all the time");
    }

    #[test]
    fn what_is_known_of_endpoints_fades_by_requests_for_each() {
        let mut shadow = Shadow::default();
        let ids = ["e0", "e1"].map(EndpointId::from);
        shadow.model.know(ids.iter().zip(0..));
        for (count, verdict) in [(10, Verdict::ServerError), (20, Verdict::Good)] {
            shadow.tapped = (0..count).map(|millis| tapped(millis, 0, Some(verdict))).collect();
            shadow.learn(S, false);
        }
        // Ten for each endpoint came since, of a memory of fifty.
        let left = 10.0 * (-10.0_f64 / 50.0).exp();
        assert!((shadow.model.failing(0).0 - left / (left + 20.0)).abs() < 1e-9);
    }

    #[test]
    fn once_there_were_scores_there_were() {
        let state = PoolState::new(1, &mut SmallRng::seed_from_u64(1)).into();
        let tuner = Tuner::new(PoolSpec::new(Algorithm::Random, Vec::new()), state, Time::ZERO);
        let mut shadow = Shadow::default();
        tuner.update_candidates(&mut shadow, &[Algorithm::Random], Time::ZERO);
        shadow.candidates[0].usable = true;
        for (requests, played, scored) in [(399, 0, false), (1, 400, true), (0, 0, true)] {
            (0..requests).for_each(|_| shadow.candidates[0].tail.add(1e6));
            shadow.play(0, Duration::ZERO, 1.0);
            assert_eq!((shadow.played(), shadow.has_scored()), (played, scored));
            if scored {
                shadow.candidates[0].tail.clear();
            }
        }
    }
}
