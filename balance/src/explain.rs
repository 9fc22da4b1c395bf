//! A pick, told: who was looked at, with which score, why each was passed over, and who it is.

use std::collections::HashMap;

use rand::Rng;

use crate::{
    Absence, Algorithm, Balancer, EndpointId, Fallback, Query, Score,
    plan::{Other, panicking},
    select::Observe,
    state::Trial,
};

/// A pick that was not made.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The algorithm that decided.
    pub algorithm: Algorithm,
    /// Index of the endpoint that a request would get, as in [`Pick::index`](crate::Pick::index).
    pub picked: Option<usize>,
    /// Simpler ways that were taken because something was missing, in order.
    pub fallbacks: Vec<Fallback>,
    /// Keys of the backends that are in a panic: too few of their endpoints are well, and all get requests.
    pub panicking: Vec<String>,
    /// All endpoints: those of [`Balancer::endpoints`] that are in rotation, in their order, then the others.
    pub candidates: Vec<Candidate>,
}

/// An endpoint that might have been picked.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its index, if it may be picked.
    pub index: Option<usize>,
    /// Identity.
    pub id: EndpointId,
    /// Key of its backend.
    pub backend: String,
    /// Weight as configured.
    pub weight: u32,
    /// Weight with all that adapts it; 0 out of rotation.
    pub effective_weight: f64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Peak EWMA in nanoseconds, if anything was measured.
    pub response_time_nanos: Option<f64>,
    /// What the algorithm compared, the last of several.
    pub score: Option<Score>,
    /// What became of it.
    pub fate: Fate,
}

/// Why an endpoint was picked or passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was picked by the algorithm.
    Picked,
    /// It was picked because the session was there before.
    PickedForSession,
    /// Another one scored better.
    ScoredWorse,
    /// It was full, by bounded load or by [`Query::max_in_flight`].
    Full,
    /// It was not drawn, it was not its turn, or the key is not its own.
    NotItsTurn,
    /// It is of another backend or locality than the one whose turn it was.
    OtherSet,
    /// The request has been there before.
    Tried,
    /// Another request is on trial there after an ejection.
    OnTrial,
    /// It is not in rotation.
    Absent(Absence),
}

/// Writes down what it sees.
#[derive(Default)]
struct Recorder {
    first: usize,
    sets: Vec<usize>,
    /// The last of each.
    scores: HashMap<usize, Score>,
    fallbacks: Vec<Fallback>,
    session: Option<usize>,
}

impl Observe for Recorder {
    const LIVE: bool = false;

    fn session(&mut self, index: usize) {
        self.session = Some(index);
    }

    fn begin(&mut self, first: usize) {
        self.first = first;
        self.sets.push(first);
    }

    fn scored(&mut self, index: usize, score: Score) {
        self.scores.insert(self.first + index, score);
    }

    fn fell_back(&mut self, why: Fallback) {
        self.fallbacks.push(why);
    }
}

impl Balancer {
    /// What [`Balancer::pick`] would do with the same question, the same state and the same random numbers, without
    /// doing it: nothing is counted, no turn is taken. O(n), and allocates.
    pub fn explain(&self, query: &Query<'_>, rng: &mut impl Rng) -> Explanation {
        let mut recorder = Recorder::default();
        let picked = self.choose(query, rng, &mut recorder);
        let in_rotation = self.sets.iter().flat_map(|set| {
            let recorder = &recorder;
            // A session takes no set's turn.
            let looked_at = recorder.session.is_some() || recorder.sets.contains(&set.first);
            let fate = move |index| self.fate(index, picked, looked_at, recorder, query);
            (set.first..set.first + set.len)
                .map(move |index| self.candidate(index, fate(index), recorder, query))
        });
        let mut candidates: Vec<_> = in_rotation.collect();
        let kept = candidates.len();
        candidates.extend(self.absent.iter().map(|Other { backend, endpoint, state, reason, .. }| {
            let index = (kept..self.endpoints.len()).find(|index| self.endpoints[*index].id == endpoint.id);
            let session = index.is_some() && picked == index;
            Candidate {
                index,
                id: endpoint.id.clone(),
                backend: backend.clone(),
                weight: endpoint.weight,
                effective_weight: 0.0,
                in_flight: state.in_flight(),
                response_time_nanos: state.response_time_nanos(query.now),
                score: None,
                fate: if session { Fate::PickedForSession } else { Fate::Absent(*reason) },
            }
        }));
        let sets = self.sets.iter().map(|set| (self.backend_of(set.first), set.panic));
        Explanation {
            algorithm: self.algorithm.clone(),
            picked,
            fallbacks: recorder.fallbacks,
            panicking: panicking(sets),
            candidates,
        }
    }

    fn candidate(&self, index: usize, fate: Fate, recorder: &Recorder, query: &Query<'_>) -> Candidate {
        let (endpoint, slot) = (&self.endpoints[index], &self.slots[index]);
        Candidate {
            index: Some(index),
            id: endpoint.id.clone(),
            backend: self.backend_of(index).to_owned(),
            weight: endpoint.weight,
            effective_weight: slot.weight,
            in_flight: slot.state.in_flight(),
            response_time_nanos: slot.state.response_time_nanos(query.now),
            score: recorder.scores.get(&index).copied(),
            fate,
        }
    }

    fn fate(
        &self,
        index: usize,
        picked: Option<usize>,
        looked_at: bool,
        recorder: &Recorder,
        query: &Query<'_>,
    ) -> Fate {
        let slot = &self.slots[index];
        match recorder.scores.get(&index) {
            _ if picked == Some(index) && recorder.session.is_some() => Fate::PickedForSession,
            _ if picked == Some(index) => Fate::Picked,
            _ if self.is_tried(query.tried, index) => Fate::Tried,
            _ if slot.probation && slot.state.trial() != Trial::Open => Fate::OnTrial,
            _ if query.finds_full(|| self.in_flight_to(slot)) => Fate::Full,
            _ if !looked_at => Fate::OtherSet,
            Some(Score::Full(..)) => Fate::Full,
            Some(_) => Fate::ScoredWorse,
            None => Fate::NotItsTurn,
        }
    }
}
