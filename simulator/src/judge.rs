//! What must hold, beside what was measured.

use crate::{
    entrant::Entrant,
    run::{Results, Row},
    scenario::{Expect, Figure, Over},
};

/// What must hold, and how far it does, where it does least.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// In words.
    pub say: String,
    /// The bound in words.
    pub bound: String,
    /// The figure that is nearest to the bound or furthest beyond it.
    pub found: f64,
    /// Of which algorithm and variant.
    pub at: String,
    /// Whether it holds everywhere.
    pub holds: bool,
    /// Why it is known not to.
    pub known: Option<String>,
}

impl Verdict {
    /// It does not hold, and that is news.
    #[must_use]
    pub const fn is_missed(&self) -> bool {
        !self.holds && self.known.is_none()
    }
}

/// Compares all that must hold to the results. What was not measured does not hold, but for what a shortened scenario
/// leaves out altogether.
#[must_use]
pub fn judge(results: &Results) -> Vec<Verdict> {
    let scenario = &results.scenario;
    let selected = |expect: &Expect| {
        scenario.variants.iter().any(|variant| scenario.selects(&expect.r#in, &variant.labels))
    };
    let asked = scenario.expect.iter().filter(|expect| !scenario.short || selected(expect));
    asked.map(|expect| verdict(results, expect)).collect()
}

fn verdict(results: &Results, expect: &Expect) -> Verdict {
    let mut worst: Option<(f64, f64, String)> = None;
    for (index, variant) in results.scenario.variants.iter().enumerate() {
        if !results.scenario.selects(&expect.r#in, &variant.labels) {
            continue;
        }
        for entrant in &expect.of {
            let at = [vec![entrant.to_string()], variant.labels.clone()].concat().join(", ");
            let (miss, found) = match figures(results, expect, index, *entrant) {
                Some(figures) => worst_of(expect, &figures),
                None => (f64::INFINITY, f64::NAN),
            };
            if worst.as_ref().is_none_or(|(most, ..)| miss > *most) {
                worst = Some((miss, found, at));
            }
        }
    }
    let (miss, found, at) = worst.unwrap_or((f64::INFINITY, f64::NAN, "nothing measured".to_owned()));
    let bound = match (expect.at_most, expect.at_least) {
        (Some(most), Some(least)) => format!("{least} to {most}"),
        (Some(most), None) => format!("at most {most}"),
        (None, Some(least)) => format!("at least {least}"),
        (None, None) => String::new(),
    };
    let (say, known) = (expect.say.clone(), expect.known.clone());
    Verdict { say, bound, found, at, holds: miss <= 0.0, known }
}

/// By how much the bounds are missed (negative: kept), and by which figure.
fn worst_of(expect: &Expect, figures: &[f64]) -> (f64, f64) {
    let miss = |found: f64| {
        let over = expect.at_most.map_or(f64::NEG_INFINITY, |most| found - most);
        let under = expect.at_least.map_or(f64::NEG_INFINITY, |least| least - found);
        // What is no number keeps no bound.
        if found.is_nan() { f64::INFINITY } else { over.max(under) }
    };
    let all: Vec<f64> =
        if expect.each { figures.to_vec() } else { vec![figures.iter().sum::<f64>() / figures.len() as f64] };
    all.into_iter()
        .map(|found| (miss(found), found))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap_or((f64::INFINITY, f64::NAN))
}

/// The figure for each seed, compared as is asked.
fn figures(results: &Results, expect: &Expect, variant: usize, entrant: Entrant) -> Option<Vec<f64>> {
    let row = results.row(variant, entrant)?;
    let other = match (&expect.over, &expect.than) {
        (Some(Over::Entrant(other)), _) => Some(results.row(variant, *other)?),
        (Some(Over::Best), _) => Some(best(results, variant, expect.figure, entrant)?),
        (None, Some(label)) => Some(results.row(instead(results, variant, label)?, entrant)?),
        (None, None) => None,
    };
    let of = |row: &Row, seed: usize| row.runs.get(seed).map(|run| run.figures.figure(expect.figure));
    let seeds = row.runs.len().min(other.map_or(usize::MAX, |other| other.runs.len()));
    let figures = (0..seeds).filter_map(|seed| {
        let found = of(row, seed)?;
        // Over nothing, nothing is so many times as much.
        let over = |other: f64| if other == 0.0 { f64::NAN } else { found / other };
        other.map_or(Some(found), |other| Some(over(of(other, seed)?)))
    });
    Some(figures.collect::<Vec<f64>>()).filter(|figures| !figures.is_empty())
}

/// The algorithm with the best mean, beside `entrant`: those that probe are for those that may probe, too.
fn best(results: &Results, variant: usize, figure: Figure, entrant: Entrant) -> Option<&Row> {
    let comparable = |row: &&Row| entrant.probes() || !row.entrant.probes();
    let rows = results.rows.iter().filter(|row| row.variant == variant).filter(comparable);
    let mean = |row: &Row| row.mean(|figures| figures.figure(figure));
    let rows = rows.map(|row| (mean(row), row)).filter(|(mean, _)| !mean.is_nan());
    let first = |(a, _): &(f64, &Row), (b, _): &(f64, &Row)| {
        if figure.is_better_when_higher() { b.total_cmp(a) } else { a.total_cmp(b) }
    };
    rows.min_by(first).map(|(_, row)| row)
}

/// The variant that has `label` in place of its own on that axis.
fn instead(results: &Results, variant: usize, label: &String) -> Option<usize> {
    let scenario = &results.scenario;
    let axis = scenario.axes.iter().position(|axis| axis.contains(label))?;
    let mut labels = scenario.variants[variant].labels.clone();
    label.clone_into(&mut labels[axis]);
    scenario.variants.iter().position(|variant| variant.labels == labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Scenario,
        metrics::{Figures, Run},
    };

    /// p99 and throughput of RoundRobin and Random for each of two seeds, in variants `a` and `b`; Auto was not
    /// measured.
    fn check(expect: &str, figures: [[[f64; 2]; 2]; 2], holds: bool, found: f64, at: &str) {
        let figure = if expect.contains("figure") { "" } else { "figure: p99, " };
        let text = format!(
            "
title: a test
seeds: 2
algorithms: [RoundRobin, Random, Auto]
base:
  measure: 1s
  rate: 100
  service: {{constant: {{mean: 1ms}}}}
  endpoints: [{{count: 2, server: {{unlimited: {{}}}}}}]
matrix: [{{a: {{load: 1}}, b: {{load: 2}}}}]
expect: [{{say: it, {figure}{expect}}}]
"
        );
        let scenario = Scenario::parse("test", &text, std::path::Path::new(""), false).unwrap();
        let run = |each: &f64| {
            let figures = Figures { requests: 1, p99: *each, throughput: *each, ..Figures::default() };
            Run { figures, ..Run::default() }
        };
        let mut rows = Vec::new();
        for (variant, of) in figures.iter().enumerate() {
            for (entrant, seeds) in scenario.algorithms.iter().zip(of) {
                rows.push(Row { variant, entrant: *entrant, runs: seeds.iter().map(run).collect() });
            }
        }
        let verdict = judge(&Results { scenario, rows, seconds: 0.0 }).remove(0);
        assert_eq!((verdict.holds, verdict.at.as_str()), (holds, at), "{verdict:?}");
        assert!(
            (verdict.found - found).abs() < 1e-9 || (found.is_nan() && verdict.found.is_nan()),
            "{verdict:?}"
        );
    }

    const FIGURES: [[[f64; 2]; 2]; 2] = [[[10.0, 20.0], [20.0, 20.0]], [[30.0, 30.0], [15.0, 30.0]]];

    #[test]
    fn bounds_are_kept_or_missed_by_the_worst() {
        check("of: [RoundRobin], atMost: 30", FIGURES, true, 30.0, "RoundRobin, b");
        check("of: [RoundRobin], atMost: 29", FIGURES, false, 30.0, "RoundRobin, b");
        check("of: [RoundRobin], in: [a], atMost: 16", FIGURES, true, 15.0, "RoundRobin, a");
        check("of: [RoundRobin], in: [a], each: true, atMost: 16", FIGURES, false, 20.0, "RoundRobin, a");
        check("of: [RoundRobin, Random], atLeast: 16", FIGURES, false, 15.0, "RoundRobin, a");
    }

    #[test]
    fn ratios_are_by_seed() {
        check("of: [Random], over: RoundRobin, atMost: 1.5", FIGURES, true, 1.5, "Random, a");
        check("of: [RoundRobin], over: Best, in: [b], atMost: 1.4", FIGURES, false, 1.5, "RoundRobin, b");
        check("of: [Random], in: [b], than: a, atMost: 1.2", FIGURES, true, 1.125, "Random, b");
    }

    #[test]
    fn the_best_is_the_highest_where_more_is_better() {
        let throughput = "figure: throughput, of: [Random], over: Best, in: [a], atLeast: 0.9";
        check(throughput, FIGURES, true, 1.0, "Random, a");
        let mut figures = FIGURES;
        figures[0][1] = [f64::NAN; 2];
        check("of: [RoundRobin], over: Best, in: [a], atMost: 1", figures, true, 1.0, "RoundRobin, a");
    }

    #[test]
    fn what_was_not_measured_does_not_hold() {
        check("of: [Auto], atMost: 1", FIGURES, false, f64::NAN, "Auto, a");
        let mut figures = FIGURES;
        figures[0][0][1] = f64::NAN;
        check("of: [RoundRobin], in: [a], atMost: 100", figures, false, f64::NAN, "RoundRobin, a");
        figures[0][0][0] = 0.0;
        check(
            "of: [Random], over: RoundRobin, in: [a], each: true, atLeast: 0",
            figures,
            false,
            f64::NAN,
            "Random, a",
        );
        check("of: [Random], over: RoundRobin, in: [a], atLeast: 0", figures, false, f64::NAN, "Random, a");
    }
}
