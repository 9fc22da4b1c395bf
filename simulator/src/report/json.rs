//! Results for programs.

use serde_json::{Value, json as object};

use crate::{judge::judge, run::Results};

/// Every run's figures, and what must hold. What never came is "never"; what a run has no number of is left out, or null.
#[must_use]
pub fn json(results: &Results) -> Value {
    let rows = results.rows.iter().map(|row| {
        let seeds: Vec<_> = row.runs.iter().map(|run| &run.figures).collect();
        object!({
            "variant": results.scenario.variants[row.variant].labels,
            "algorithm": row.entrant.to_string(),
            "seeds": seeds,
        })
    });
    let verdicts = judge(results).into_iter().map(|verdict| {
        object!({
            "say": verdict.say,
            "bound": verdict.bound,
            "found": if verdict.found.is_infinite() { object!("never") } else { object!(verdict.found) },
            "at": verdict.at,
            "holds": verdict.holds,
            "known": verdict.known,
        })
    });
    object!({
        "scenario": results.scenario.name,
        "title": results.scenario.title,
        "results": rows.collect::<Vec<_>>(),
        "expect": verdicts.collect::<Vec<_>>(),
    })
}
