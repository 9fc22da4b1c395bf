//! The lowest cost of a few: requests in flight, or with them the response time.

use rand::Rng;

use super::{COMPARE_ALL, Fallback, Observe, Scene, Score, by_chance, or_drawn};
use crate::{
    LeastResponseTime,
    alias::{Alias, Drawn, MAX_DRAWS},
    shares::Shares,
    time::nanos_f64,
};

/// What an endpoint that was never measured counts as, beside the pool's mean: a little less, since averages fall as
/// time passes and the mean does not; else an idle pool would never measure a second endpoint.
const SEED: f64 = 0.95;

/// Whom to compare, and by what.
#[derive(Debug)]
pub(crate) struct Least {
    among: Among,
    /// Time of decay in nanoseconds, if the response time counts.
    decay: Option<f64>,
    /// An idle endpoint of this weight has the lowest cost there is: infinite where the response time counts.
    heaviest: f64,
}

#[derive(Debug)]
enum Among {
    /// All, from the one whose turn it is; of equals the first.
    All,
    /// So many, from the one whose turn it is by weight.
    Turn { choices: usize, start: Shares },
    /// So many, drawn by weight.
    Drawn { choices: usize, alias: Alias },
}

impl Least {
    pub(super) fn drawn(choices: u8, weights: &[f64]) -> Self {
        let alias = Alias::new(weights);
        let choices = usize::from(choices).clamp(2, MAX_DRAWS);
        let all = alias.len() <= choices.max(COMPARE_ALL);
        let among = if all { Among::All } else { Among::Drawn { choices, alias } };
        Self { among, decay: None, heaviest: heaviest(weights) }
    }

    pub(super) fn in_turn(choices: u8, weights: &[f64]) -> Self {
        let choices = usize::from(choices).max(2);
        let all = weights.len() <= choices;
        let turn = || Among::Turn { choices, start: Shares::new(weights.iter().copied()) };
        let among = if all { Among::All } else { turn() };
        Self { among, decay: None, heaviest: heaviest(weights) }
    }

    pub(super) fn by_response_time(self, parameters: &LeastResponseTime) -> Self {
        Self { decay: Some(nanos_f64(parameters.decay)), heaviest: f64::INFINITY, ..self }
    }

    pub(super) fn select<O: Observe>(
        &self,
        scene: &Scene<'_>,
        turn: impl Fn() -> u64,
        rng: &mut impl Rng,
        observer: &mut O,
    ) -> Option<usize> {
        let len = scene.slots.len();
        let in_turn = |start: usize| (start..len).chain(0..start).filter(|index| !scene.excludes(*index));
        match &self.among {
            Among::All => {
                #[expect(clippy::cast_possible_truncation, reason = "below the number of endpoints")]
                let start = (turn() % len as u64) as usize;
                let start = or_drawn(start, scene, || rng.random_range(0..len));
                self.lowest(in_turn(start), scene, observer)
            }
            Among::Turn { choices, start } => {
                let first = or_drawn(start.entry(turn())?, scene, || by_chance(start, rng));
                self.lowest(in_turn(first).take(*choices), scene, observer)
            }
            Among::Drawn { choices, alias } => {
                let mut drawn = Drawn::new();
                alias.draw_distinct(*choices, rng, &mut drawn);
                let drawn = drawn.iter().copied();
                self.lowest(drawn.filter(|index| !scene.excludes(*index)), scene, observer).or_else(|| {
                    observer.fell_back(Fallback::AllDrawnExcluded);
                    scene.from(alias.draw(rng))
                })
            }
        }
    }

    /// The one with the lowest cost; of equals the first.
    fn lowest<O: Observe>(
        &self,
        indices: impl Iterator<Item = usize>,
        scene: &Scene<'_>,
        observer: &mut O,
    ) -> Option<usize> {
        let mean = self.decay.map(|_| scene.state.rules().mean_latency.load());
        let mut best: Option<(usize, f64, f64)> = None;
        for index in indices {
            let (cost, weight) = (self.cost(index, mean, scene), scene.slots[index].weight);
            observer.scored(index, Score::Cost(cost / weight));
            // cost / weight < lowest / its_weight, without the divisions.
            if best.is_none_or(|(_, lowest, its_weight)| cost * its_weight < lowest * weight) {
                best = Some((index, cost, weight));
                // No other can be better, and of equals the first is taken. Explanations show them all.
                if O::LIVE && cost <= 1.0 && weight >= self.heaviest {
                    break;
                }
            }
        }
        best.map(|(index, ..)| index)
    }

    /// Before it is divided by the weight.
    fn cost(&self, index: usize, mean: Option<f64>, scene: &Scene<'_>) -> f64 {
        let slot = &scene.slots[index];
        let load = scene.in_flight_with_one_more(slot);
        let (Some(decay), Some(mean)) = (self.decay, mean) else { return load };
        let measured = slot.state.response_time(scene.query.now, decay);
        // At least a nanosecond: as long as nothing was measured at all, all are alike, and an average that has fallen
        // to nothing does not hide the load.
        load * measured.unwrap_or(SEED * mean).max(1.0)
    }
}

fn heaviest(weights: &[f64]) -> f64 {
    weights.iter().copied().fold(0.0, f64::max)
}
