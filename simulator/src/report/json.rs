//! Results for programs.

use serde::{Serialize as _, Serializer};
use serde_json::{Value, json as object};

use crate::{judge::judge, run::Results};

/// In place of a number that is infinite.
const NEVER: &str = "never";

/// Every run's figures, and what must hold. What there is no figure of is `null`, and what never came to be is
/// `"never"`.
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
            "found": number(verdict.found),
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

/// A number, which JSON has of what is finite only.
fn number(number: f64) -> Value {
    if number.is_infinite() { NEVER.into() } else { number.into() }
}

/// For figures that not every run has.
pub(crate) fn option<S: Serializer>(figure: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    figure.map(number).serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Figures;

    fn check(recovery: Option<f64>, expect: &Value) {
        let figures = Figures { recovery, ..Figures::default() };
        assert_eq!(object!(figures)["recovery"], *expect, "{recovery:?}");
    }

    #[test]
    fn what_never_recovered_is_no_figure_that_is_missing() {
        check(None, &Value::Null);
        check(Some(f64::INFINITY), &object!("never"));
        check(Some(2.5), &object!(2.5));
    }
}
