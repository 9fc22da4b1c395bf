//! Prequal (Wydrowski et al., NSDI 2024): of a pool of recent answers the fastest endpoint that is not busier than usual.

use std::sync::Arc;

use rand::Rng;
use smallvec::SmallVec;

use super::{Fallback, Observe, Scene, Score, random};
use crate::{
    Prequal, ProbeAnswer, Signals,
    alias::{Alias, MAX_DRAWS},
    state::{Entry, MAX_ENTRIES, ProbePool, Probes, locked, rounded},
    time::{nanos, nanos_f64},
};

/// Most endpoints asked for one request.
const MAX_PROBES: u32 = 8;
/// Most uses of an answer: the paper's rule grows without bound where the pool is as large as the set.
const MAX_USES: f64 = 4.0;
/// From so many endpoints on, the pool has the paper's size.
const FULL_POOL_AT: usize = 54;

/// What Prequal precomputes.
#[derive(Debug)]
pub(crate) struct PrequalSet {
    parameters: Prequal,
    alias: Alias,
    mean_weight: f64,
    probes: Arc<Probes>,
    capacity: usize,
    uses: f64,
}

impl PrequalSet {
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 endpoints")]
    pub(super) fn new(parameters: &Prequal, weights: &[f64], probes: Arc<Probes>) -> Self {
        let capacity = capacity(weights.len());
        Self {
            alias: Alias::new(weights),
            mean_weight: weights.iter().sum::<f64>() / weights.len() as f64,
            probes,
            capacity,
            uses: uses(parameters, capacity, weights.len()),
            parameters: parameters.clone(),
        }
    }

    /// Whom to ask with this request, if the caller does the asking.
    pub(crate) fn to_probe(&self, rng: &mut impl Rng) -> SmallVec<[usize; MAX_DRAWS]> {
        match self.parameters.signals {
            Signals::InBand => SmallVec::new(),
            Signals::Fed => self.draw(rng),
        }
    }

    /// Takes an answer that the caller got.
    pub(crate) fn feed(&self, scene: &Scene<'_>, index: usize, answer: ProbeAnswer, rng: &mut impl Rng) {
        if self.parameters.signals != Signals::Fed {
            return;
        }
        // What the endpoint says of its latency does not tell that it fails.
        let slot = &scene.slots[index];
        let failing = slot.state.failing_nanos(scene.query.now).unwrap_or(0.0);
        let latency = nanos_f64(answer.latency).max(failing);
        let mut pool = locked(&self.probes[scene.state.worker(scene.query.worker)]);
        self.adapt(&mut pool, scene);
        self.add(&mut pool, scene, index, f64::from(answer.in_flight), latency, rng);
    }

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
        if self.parameters.signals == Signals::InBand {
            for index in self.draw(rng) {
                if !scene.excludes(index) {
                    self.read(pool, scene, index, rng);
                }
            }
        }
        pool.expire(scene.query.now, nanos(self.parameters.max_age));
        let picked = if let Some((used, index)) = choose(pool, scene, observer) {
            pool.sent(used, self.load_of_one(scene, index));
            Some(index)
        } else {
            observer.fell_back(Fallback::FewAnswers);
            random(&self.alias, scene, rng)
        };
        for _ in 0..rounded(self.parameters.removals, rng) {
            pool.drop_worst_or_oldest();
        }
        picked
    }

    fn draw(&self, rng: &mut impl Rng) -> SmallVec<[usize; MAX_DRAWS]> {
        let count = rounded(self.parameters.probes, rng).min(MAX_PROBES);
        self.alias.draw_distinct(count as usize, rng)
    }

    /// Asks the endpoint's own record.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 requests in flight")]
    fn read(&self, pool: &mut ProbePool, scene: &Scene<'_>, index: usize, rng: &mut impl Rng) {
        let state = &scene.slots[index].state;
        let in_flight = state.in_flight();
        // One that has nothing in flight and of which nothing is known goes first: once, since then it has.
        let unknown = if in_flight == 0 { 0.0 } else { scene.state.rules().mean_latency.load() };
        let latency = state.estimate_nanos(in_flight + 1, scene.query.now).unwrap_or(unknown);
        self.add(pool, scene, index, in_flight as f64, latency, rng);
    }

    fn add(
        &self,
        pool: &mut ProbePool,
        scene: &Scene<'_>,
        index: usize,
        in_flight: f64,
        latency_nanos: f64,
        rng: &mut impl Rng,
    ) {
        let load = in_flight * self.load_of_one(scene, index);
        pool.window.see(load, self.parameters.hot_quantile);
        let id = scene.slots[index].id;
        let uses = rounded(self.uses, rng).max(1);
        pool.add(Entry { index, id, at: scene.query.now, load, latency_nanos, uses }, self.capacity);
    }

    /// What a request in flight weighs at an endpoint: more at one of little weight.
    fn load_of_one(&self, scene: &Scene<'_>, index: usize) -> f64 {
        self.mean_weight / scene.slots[index].weight
    }

    fn adapt(&self, pool: &mut ProbePool, scene: &Scene<'_>) {
        let len = scene.slots.len();
        pool.adapt(scene.balancer.generation(), |id| scene.balancer.find_within(id, scene.first, len));
    }
}

/// The place of the best answer and its endpoint (the paper's hot-cold lexicographic rule); `None` if there are fewer than two.
fn choose<O: Observe>(pool: &ProbePool, scene: &Scene<'_>, observer: &mut O) -> Option<(usize, usize)> {
    let mut usable = 0;
    let mut best = None;
    let mut lowest = (true, f64::INFINITY, f64::INFINITY);
    for (place, entry) in pool.entries().enumerate() {
        if scene.excludes(entry.index) {
            continue;
        }
        usable += 1;
        let hot = pool.window.is_hot(entry.load);
        let (first, then) =
            if hot { (entry.load, entry.latency_nanos) } else { (entry.latency_nanos, entry.load) };
        observer.scored(entry.index, if hot { Score::Hot(first) } else { Score::Cold(first) });
        if (hot, first, then) < lowest {
            best = Some((place, entry.index));
            lowest = (hot, first, then);
        }
    }
    best.filter(|_| usable >= 2 || scene.slots.len() == 1)
}

/// How many answers are kept for `len` endpoints.
fn capacity(len: usize) -> usize {
    if len >= FULL_POOL_AT { MAX_ENTRIES } else { (len * 3).div_ceil(10).clamp(2, MAX_ENTRIES) }
}

/// How often an answer is used (the paper's b_reuse).
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 endpoints")]
fn uses(parameters: &Prequal, capacity: usize, len: usize) -> f64 {
    let kept = (1.0 - capacity as f64 / len as f64) * parameters.probes - parameters.removals;
    if kept <= 0.0 { MAX_USES } else { ((1.0 + parameters.surplus) / kept).clamp(1.0, MAX_USES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(len: usize, expect: (usize, f64)) {
        let found = (capacity(len), uses(&Prequal::default(), capacity(len), len));
        assert!(found.0 == expect.0 && (found.1 - expect.1).abs() < 1e-3, "{len}: {found:?}");
    }

    #[test]
    fn the_pool_is_sized_by_rule() {
        check(1, (2, 4.0));
        check(2, (2, 4.0));
        check(4, (2, 4.0));
        check(6, (2, 2.0));
        check(16, (5, 2.0 / (11.0 / 16.0 * 3.0 - 1.0)));
        check(20, (6, 2.0 / 1.1));
        check(53, (16, 2.0 / (37.0 / 53.0 * 3.0 - 1.0)));
        check(54, (16, 2.0 / (38.0 / 54.0 * 3.0 - 1.0)));
        check(1000, (16, 2.0 / (0.984 * 3.0 - 1.0)));
    }
}
