//! Prequal (Wydrowski et al., NSDI 2024): of a pool of recent answers the fastest endpoint that is not busier than
//! usual.

use std::sync::Arc;

use rand::Rng;

use super::{Fallback, Observe, Scene, Score, random};
use crate::{
    Prequal, ProbeAnswer, Signals,
    alias::{Alias, Drawn},
    state::{Answer, Entry, MAX_ENTRIES, ProbePool, Probes, locked},
    time::{nanos, nanos_f64},
};

/// Most endpoints asked for one request.
const MAX_PROBES: f64 = 8.0;

/// What Prequal precomputes.
#[derive(Debug)]
pub(crate) struct PrequalSet {
    signals: Signals,
    max_age_nanos: u64,
    hot_quantile: f64,
    alias: Alias,
    /// What a request in flight weighs at an endpoint: more at one of little weight. Empty if it is 1 at all.
    loads_of_one: Vec<f64>,
    probes: Arc<Probes>,
    capacity: usize,
    asked: Rounded,
    removals: Rounded,
    uses: Rounded,
}

impl PrequalSet {
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 endpoints")]
    pub(super) fn new(parameters: &Prequal, weights: &[f64], probes: Arc<Probes>) -> Self {
        let capacity = capacity(parameters, weights.len());
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let equal = weights.iter().all(|weight| *weight == mean);
        let loads_of_one = || weights.iter().map(|weight| mean / weight).collect();
        Self {
            signals: parameters.signals,
            max_age_nanos: nanos(parameters.max_age),
            hot_quantile: parameters.hot_quantile,
            alias: Alias::new(weights),
            loads_of_one: if equal { Vec::new() } else { loads_of_one() },
            probes,
            capacity,
            asked: Rounded::new(parameters.probes.min(MAX_PROBES)),
            removals: Rounded::new(parameters.removals),
            uses: Rounded::new(uses(parameters, capacity, weights.len())),
        }
    }

    /// Whom to ask with this request, if the caller does the asking.
    pub(crate) fn to_probe(&self, rng: &mut impl Rng) -> Drawn {
        let mut drawn = Drawn::new();
        if self.signals == Signals::Fed {
            self.draw(rng, &mut drawn);
        }
        drawn
    }

    /// Takes an answer that the caller got.
    pub(crate) fn feed(&self, scene: &Scene<'_>, index: usize, answer: ProbeAnswer) {
        if self.signals != Signals::Fed {
            return;
        }
        // What the endpoint says of its latency does not tell that it fails.
        let slot = &scene.slots[index];
        let failing = slot.state.failing_nanos(scene.query.now).unwrap_or(0.0);
        let latency = nanos_f64(answer.latency).max(failing);
        let mut pool = locked(&self.probes[scene.state.worker(scene.query.worker)]);
        self.adapt(&mut pool, scene);
        self.add(&mut pool, scene, index, answer.in_flight, latency);
    }

    // Inlined into a pick it takes 5 to 10 % longer: there are not registers enough for all of it.
    #[inline(never)]
    pub(super) fn select<O: Observe>(
        &self,
        scene: &Scene<'_>,
        rng: &mut impl Rng,
        observer: &mut O,
    ) -> Option<usize> {
        let mut shared = locked(&self.probes[scene.state.worker(scene.query.worker)]);
        if O::LIVE {
            return self.select_from(&mut shared, scene, rng, observer);
        }
        let mut copy = shared.clone();
        drop(shared);
        self.select_from(&mut copy, scene, rng, observer)
    }

    fn select_from<O: Observe>(
        &self,
        pool: &mut ProbePool,
        scene: &Scene<'_>,
        rng: &mut impl Rng,
        observer: &mut O,
    ) -> Option<usize> {
        self.adapt(pool, scene);
        if self.signals == Signals::InBand {
            let all = scene.excludes_none();
            let mut drawn = Drawn::new();
            self.draw(rng, &mut drawn);
            for index in drawn.iter().copied() {
                if all || !scene.excludes(index) {
                    let (in_flight, latency) = Self::read(scene, index);
                    self.add(pool, scene, index, in_flight, latency);
                }
            }
        }
        pool.expire(scene.query.now, self.max_age_nanos);
        let picked = if let Some(answer) = choose(pool, scene, observer) {
            pool.use_up(answer, self.load_of_one(answer.index()), || self.uses.one_more(rng));
            Some(answer.index())
        } else {
            observer.fell_back(Fallback::FewAnswers);
            let drawn = random(&self.alias, scene, rng);
            drawn.into_iter().for_each(|index| pool.dispatched(index, self.load_of_one(index)));
            drawn
        };
        for _ in 0..self.removals.draw(rng) {
            pool.drop_worst_or_oldest();
        }
        picked
    }

    fn draw(&self, rng: &mut impl Rng, drawn: &mut Drawn) {
        self.alias.draw_distinct(self.asked.draw(rng) as usize, rng, drawn);
    }

    /// What the endpoint's own record answers: requests in flight, and the latency in nanoseconds.
    fn read(scene: &Scene<'_>, index: usize) -> (u32, f64) {
        let slot = &scene.slots[index];
        let in_flight = u32::try_from(scene.in_flight_to(slot)).unwrap_or(u32::MAX);
        (in_flight, slot.state.expected_nanos(u64::from(in_flight) + 1, scene.query.now))
    }

    fn add(&self, pool: &mut ProbePool, scene: &Scene<'_>, index: usize, in_flight: u32, latency_nanos: f64) {
        let load = f64::from(in_flight) * self.load_of_one(index);
        let entry = Entry {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            uses: self.uses.whole,
            load,
            latency_nanos,
            id: scene.slots[index].id,
            at: scene.query.now,
        };
        pool.add(entry);
    }

    fn load_of_one(&self, index: usize) -> f64 {
        self.loads_of_one.get(index).copied().unwrap_or(1.0)
    }

    fn adapt(&self, pool: &mut ProbePool, scene: &Scene<'_>) {
        let len = scene.slots.len();
        let place = |id| scene.balancer.find_within(id, scene.first, len);
        pool.adapt(scene.balancer.generation(), self.hot_quantile, self.capacity, place);
    }
}

/// The best answer; `None` if there are fewer than two.
fn choose<O: Observe>(pool: &mut ProbePool, scene: &Scene<'_>, observer: &mut O) -> Option<Answer> {
    let all = scene.excludes_none();
    let passes = |entry: &Entry| !scene.excludes(entry.index as usize);
    if !O::LIVE {
        for entry in pool.entries().filter(|entry| passes(entry)) {
            let hot = pool.window.is_hot(entry.load);
            let score = if hot { Score::Hot(entry.load) } else { Score::Cold(entry.latency_nanos) };
            observer.scored(entry.index as usize, score);
        }
    }
    let (usable, best) = if all {
        (pool.len(), pool.best())
    } else {
        (pool.entries().filter(|entry| passes(entry)).count(), pool.best_of(passes))
    };
    best.filter(|_| usable >= 2 || scene.slots.len() == 1)
}

/// How many answers are kept for `len` endpoints.
fn capacity(parameters: &Prequal, len: usize) -> usize {
    let by_rule = || (len * 3).div_ceil(10);
    parameters.answers.map_or_else(by_rule, usize::from).clamp(2, MAX_ENTRIES)
}

/// How often an answer is used (the paper's b_reuse).
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 endpoints")]
fn uses(parameters: &Prequal, capacity: usize, len: usize) -> f64 {
    let kept = (1.0 - capacity as f64 / len as f64) * parameters.probes - parameters.removals;
    let uses = if kept <= 0.0 { f64::INFINITY } else { (1.0 + parameters.surplus) / kept };
    uses.min(parameters.max_uses).max(1.0)
}

/// A number that is rounded up or down by chance, so that its mean is itself.
#[derive(Clone, Copy, Debug)]
struct Rounded {
    whole: u32,
    /// Chance of one more, in parts of 2^32.
    more: u32,
}

impl Rounded {
    /// Of a number from 0 to 1,000,000.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
    fn new(number: f64) -> Self {
        let number = number.clamp(0.0, 1e6);
        Self { whole: number.floor() as u32, more: (number.fract() * 2_f64.powi(32)) as u32 }
    }

    fn draw(self, rng: &mut impl Rng) -> u32 {
        self.whole + u32::from(self.one_more(rng))
    }

    fn one_more(self, rng: &mut impl Rng) -> bool {
        self.more > 0 && rng.next_u32() < self.more
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::SmallRng};

    use super::*;

    fn check(parameters: &Prequal, len: usize, expect: (usize, f64)) {
        let capacity = capacity(parameters, len);
        let uses = uses(parameters, capacity, len);
        let found = capacity == expect.0 && (uses - expect.1).abs() < 1e-3;
        assert!(found, "{len}: {capacity} answers, {uses} uses each");
    }

    #[test]
    fn rounding_keeps_the_mean() {
        let mut rng = SmallRng::seed_from_u64(7);
        for (number, expect) in [(3.0, 3.0), (1.8182, 1.8182), (0.25, 0.25), (0.0, 0.0), (-1.0, 0.0)] {
            let sum: u32 = (0..100_000).map(|_| Rounded::new(number).draw(&mut rng)).sum();
            assert!((f64::from(sum) / 1e5 - expect).abs() < 0.01, "{number}: {sum}");
        }
    }

    #[test]
    fn the_pool_is_sized_by_rule() {
        let rule = Prequal::default();
        check(&rule, 1, (2, 4.0));
        check(&rule, 2, (2, 4.0));
        check(&rule, 4, (2, 4.0));
        check(&rule, 6, (2, 2.0));
        check(&rule, 16, (5, 2.0 / (11.0 / 16.0 * 3.0 - 1.0)));
        check(&rule, 20, (6, 2.0 / 1.1));
        check(&rule, 53, (16, 2.0 / (37.0 / 53.0 * 3.0 - 1.0)));
        check(&rule, 54, (16, 2.0 / (38.0 / 54.0 * 3.0 - 1.0)));
        check(&rule, 1000, (16, 2.0 / (0.984 * 3.0 - 1.0)));
    }

    #[test]
    fn the_pool_is_sized_as_it_is_told() {
        let told = |answers| Prequal { answers: Some(answers), ..Prequal::default() };
        check(&told(16), 10, (16, 4.0));
        check(&told(5), 1000, (5, 2.0 / (0.995 * 3.0 - 1.0)));
        for (answers, kept) in [(0, 2), (1, 2), (255, 16)] {
            assert_eq!(capacity(&told(answers), 1000), kept);
        }
    }

    #[test]
    fn uses_have_a_cap_and_one_is_the_least() {
        let capped = |surplus, max_uses| Prequal { surplus, max_uses, ..Prequal::default() };
        check(&capped(0.0, 4.0), 6, (2, 1.0));
        check(&capped(4.0, 4.0), 6, (2, 4.0));
        check(&capped(4.0, 9.0), 6, (2, 5.0));
        check(&capped(1.0, 9.0), 4, (2, 4.0));
        check(&capped(1.0, 9.0), 2, (2, 9.0));
        check(&capped(1.0, 0.0), 6, (2, 1.0));
        check(&capped(-1.0, 4.0), 6, (2, 1.0));
    }
}
