//! Auto: which algorithm the evidence speaks for.
//!
//! A detector looks at how much endpoints differ, and predicts what becomes of each algorithm; the shadow plays the
//! requests that came through each of them. The predictions count until enough was played, and from then on what came
//! of it; where traffic then becomes too little to play, the choice stays as it is. A choice stands for a time, and
//! gives way only to one that is clearly better.

mod detector;
mod shadow;

pub use detector::Evidence;
pub(super) use detector::Record;

use std::time::Duration;

use self::{
    detector::{Detector, predictions},
    shadow::Shadow,
};
use super::{Look, Tuner};
use crate::{Algorithm, Auto, Time};

/// Looks with evidence before a prediction counts.
const MIN_INTERVALS: u32 = 4;

/// Beyond this no other would ever be better by so much.
const MAX_HYSTERESIS: f64 = 0.9;

/// What Auto stands for, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoReport {
    /// The algorithm.
    pub active: Algorithm,
    /// Since when.
    pub since: Time,
    /// Why, in words.
    pub reason: String,
    /// What it goes by now.
    pub evidence: Evidence,
    /// The score of each allowed algorithm by that, lower is better; those that cannot be used now are absent. By the
    /// shadow the slowest requests beside those of the best. None where requests have become too few to play: then the
    /// choice stays.
    pub scores: Vec<(Algorithm, f64)>,
    /// Requests by which the shadow scores, older ones counting less; 0 as long as the scores are predictions.
    pub played: u32,
}

/// The choice, as it stands.
#[derive(Debug, Default)]
pub(super) struct Choice {
    active: Option<Algorithm>,
    since: Time,
    reason: String,
    detector: Detector,
    shadow: Shadow,
}

impl Choice {
    pub(super) fn active(&self) -> Option<Algorithm> {
        self.active.clone()
    }

    /// Keeps the choice as long as it is allowed, if with other parameters. With another algorithm than Auto only the
    /// choice stays, to begin with if Auto comes back: what it went by is of another time.
    pub(super) fn retain(&mut self, configured: &Algorithm, now: Time) {
        let Algorithm::Auto(auto) = configured else {
            *self = Self { active: self.active.take(), ..Self::default() };
            return;
        };
        let allowed = || auto.allowed.iter().filter(|each| may_be_chosen(each));
        let before = self.active.take();
        let same = before.and_then(|before| allowed().nth(place_of(&before, allowed())?));
        let why = match &same {
            None => "the first of those allowed",
            Some(_) if self.reason.is_empty() => "chosen before Auto was left",
            Some(_) => "",
        };
        self.active = same.or_else(|| allowed().next()).cloned();
        if !why.is_empty() {
            why.clone_into(&mut self.reason);
            self.since = now;
        }
    }

    /// The scores to choose by; `None` as long as there is nothing to go by. What was chosen by play does not give way
    /// to a prediction, unless it cannot be used any more.
    fn scores(&self, auto: &Auto, usable: bool) -> Option<Vec<(Algorithm, f64)>> {
        let played = self.shadow.scores();
        if !played.is_empty() {
            return Some(played);
        }
        let predict = !usable || !self.shadow.has_scored();
        let evident = self.detector.evidence.intervals >= MIN_INTERVALS;
        (predict && evident).then(|| predictions(auto, &self.detector.evidence))
    }

    /// Takes the best if it is clearly better than the present one, or that cannot be used.
    fn decide(&mut self, auto: &Auto, usable: &[Algorithm], now: Time) {
        if now.since(self.since) < auto.dwell {
            return;
        }
        let present = self.active.as_ref();
        let usable = usable.iter().any(|each| Some(each) == present);
        let Some(scores) = self.scores(auto, usable) else { return };
        let score = scores.iter().find(|(each, _)| Some(each) == present).map(|(_, score)| *score);
        // More are allowed than are played.
        if score.is_none() && usable {
            return;
        }
        let Some((best, lowest)) = scores.into_iter().min_by(|(_, a), (_, b)| a.total_cmp(b)) else { return };
        if score.is_none_or(|score| lowest < score * (1.0 - auto.hysteresis.clamp(0.0, MAX_HYSTERESIS))) {
            self.reason = self.reason(lowest, score);
            self.active = Some(best);
            self.since = now;
        }
    }

    fn reason(&self, lowest: f64, present: Option<f64>) -> String {
        let Evidence { spread, in_flight, .. } = self.detector.evidence;
        let by = match self.shadow.played() {
            0 => ": predicted".to_owned(),
            played => format!(", {played} played again:"),
        };
        let before = present.map_or_else(
            || "where the one before cannot be used".to_owned(),
            |present| format!("against {present:.2}"),
        );
        format!(
            "speeds differ by {spread:.2}, {in_flight:.1} requests in flight at each{by} score {lowest:.2} {before}"
        )
    }
}

/// The place of an algorithm, or of the one that has its name with other parameters.
fn place_of<'a>(of: &Algorithm, mut among: impl Iterator<Item = &'a Algorithm> + Clone) -> Option<usize> {
    let equal = among.clone().position(|each| each == of);
    equal.or_else(|| among.position(|each| each.name() == of.name()))
}

/// Whether Auto may stand for it.
pub(crate) fn may_be_chosen(algorithm: &Algorithm) -> bool {
    !algorithm.is_by_key() && !matches!(algorithm, Algorithm::Auto(_))
}

impl Tuner {
    pub(super) fn tick_auto(&mut self, now: Time) {
        let Algorithm::Auto(auto) = self.spec.auto().clone() else {
            self.state.tap().close();
            return;
        };
        let interval = auto.interval.max(Duration::from_millis(100));
        match self.clocks.auto.look(interval, now) {
            Look::Early => return,
            Look::Begins => {
                return self.records.values_mut().for_each(|record| record.auto.begin(record.state.seen()));
            }
            Look::Over(passed) => self.gather(passed.as_secs_f64(), now),
        }
        let predictions = predictions(&auto, &self.auto.detector.evidence);
        let usable: Vec<_> = predictions.into_iter().map(|(each, _)| each).collect();
        let candidates: Vec<_> = auto.allowed.iter().filter(|each| may_be_chosen(each)).cloned().collect();
        self.tick_shadow(&candidates, &usable, interval, now);
        self.auto.decide(&auto, &usable, now);
    }

    /// What Auto stands for; `None` with another algorithm.
    pub(super) fn auto_report(&self) -> Option<AutoReport> {
        let Algorithm::Auto(auto) = &self.spec.algorithm else { return None };
        let choice = &self.auto;
        let played = choice.shadow.scores();
        // As long as they may decide.
        let predicted = || match choice.shadow.has_scored() {
            true => Vec::new(),
            false => predictions(auto, &choice.detector.evidence),
        };
        Some(AutoReport {
            active: choice.active.clone()?,
            since: choice.since,
            reason: choice.reason.clone(),
            evidence: choice.detector.evidence,
            scores: if played.is_empty() { predicted() } else { played },
            played: choice.shadow.played(),
        })
    }
}
