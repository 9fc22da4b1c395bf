//! When requests come: open loop, whatever becomes of those before.

use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1};
use serde::Deserialize;

use crate::{
    number,
    scenario::{
        Case, Problem,
        limits::{REQUESTS, UNDER_WAY},
    },
};

/// Longest interval of a trace: a day.
const MAX_SECONDS: f64 = 86_400.0;

/// How requests are spread over time.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Arrivals {
    /// Independently of each other.
    #[default]
    Poisson,
    /// At equal intervals.
    Uniform,
    /// As written down, again from its beginning at its end; the scenario's rate does not count, its load does.
    Trace {
        /// A file of intervals in seconds, one a line, beside the scenario.
        file: PathBuf,
    },
}

/// Draws the intervals.
#[derive(Clone, Debug)]
pub(crate) enum Intervals {
    Poisson(f64),
    Uniform(f64),
    Trace { nanos: Vec<f64>, next: usize },
}

impl Arrivals {
    /// What draws intervals at so many requests a second; `load` squeezes a trace.
    pub(crate) fn intervals(&self, per_second: f64, load: f64, folder: &Path) -> Result<Intervals, Problem> {
        let mean = 1e9 / per_second;
        Ok(match self {
            Self::Poisson => Intervals::Poisson(mean),
            Self::Uniform => Intervals::Uniform(mean),
            Self::Trace { file } => {
                let path = folder.join(file);
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| Problem::Read { path: path.clone(), source })?;
                let nanos = trace(&text, load).map_err(|must| of_trace(&path, &must))?;
                Intervals::Trace { nanos, next: 0 }
            }
        })
    }

    /// Complains of a trace that is none, of too many requests, or of which hardly one comes while it is measured.
    pub(crate) fn check(&self, case: &Case, folder: &Path) -> Result<(), Problem> {
        let Self::Trace { file } = self else { return Ok(()) };
        let Intervals::Trace { nanos, .. } = self.intervals(1.0, case.load, folder)? else { return Ok(()) };
        // Without a deadline within the run, all of them may be under way at its end.
        let hang = case.deadline.is_none_or(|deadline| deadline.0 >= case.end());
        let most = if hang { UNDER_WAY } else { REQUESTS };
        let few = case.requests.is_some_and(|requests| requests as f64 <= most);
        let most = if few { f64::INFINITY } else { most };
        fits(&nanos, case.warmup.0, case.end(), most).map_err(|must| of_trace(&folder.join(file), &must))
    }

    /// Whether the scenario's rate does not count.
    pub(crate) const fn is_trace(&self) -> bool {
        matches!(self, Self::Trace { .. })
    }
}

fn of_trace(path: &Path, must: &str) -> Problem {
    Problem::Value { field: "arrivals.trace.file".into(), must: format!("{must} ({})", path.display()) }
}

/// The intervals of a trace's text in nanoseconds, or what it must be.
fn trace(text: &str, load: f64) -> Result<Vec<f64>, String> {
    let mut nanos = Vec::new();
    for (index, line) in text.trim_end().lines().enumerate() {
        let seconds = line.trim().parse::<f64>().ok().filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
        let scaled = seconds.map(|seconds| seconds * 1e9 / load);
        // Some come at the same time; what is only rounded to that is a mistake.
        let whole = scaled.filter(|nanos| *nanos <= 0.0 || number::whole(*nanos) > 0);
        nanos.push(whole.ok_or_else(|| {
            let bounds = format!("0, or from 1e-9 to {MAX_SECONDS} after division by the load");
            format!("hold an interval in seconds on each line, {bounds}; line {} is {line:?}", index + 1)
        })?);
    }
    let some = nanos.iter().any(|nanos| *nanos > 0.0);
    if some { Ok(nanos) } else { Err("hold an interval above 0".to_owned()) }
}

/// What a trace must be, unless it fits into a run.
fn fits(nanos: &[f64], from: u64, end: u64, most: f64) -> Result<(), String> {
    let (mut at, mut played, mut measured) = (0, 0, 0);
    for interval in nanos {
        at += number::whole(*interval);
        played += usize::from(at < end);
        measured += usize::from((from..end).contains(&at));
    }
    let rises = nanos.len() >= 10 && nanos.is_sorted_by(|a, b| a < b);
    // Points in time that are taken for intervals are soon beyond the end.
    if (rises && played < nanos.len() / 10) || (measured == 0 && at >= end) {
        let lines = nanos.len();
        return Err(format!(
            "hold the intervals between requests, not points in time, and some must end in what is measured: \
             of {lines} lines {played} are played and {measured} measured"
        ));
    }
    let all = nanos.len() as f64 * end as f64 / at as f64;
    if all > most {
        return Err(format!(
            "be such that a run has at most {most} requests, not {all:.0} \
             ({UNDER_WAY} where no deadline ends them, {REQUESTS} otherwise)"
        ));
    }
    Ok(())
}

impl Intervals {
    /// Nanoseconds until the next request.
    pub(crate) fn draw(&mut self, rng: &mut SmallRng) -> u64 {
        number::whole(match self {
            Self::Poisson(mean) => *mean * <Exp1 as Distribution<f64>>::sample(&Exp1, rng),
            Self::Uniform(mean) => *mean,
            Self::Trace { nanos, next } => nanos[std::mem::replace(next, (*next + 1) % nanos.len())],
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    /// Mean and standard deviation of the intervals in milliseconds.
    fn check(mut intervals: Intervals, mean: f64, deviation: f64) {
        let mut rng = SmallRng::seed_from_u64(1);
        let draws: Vec<f64> = (0..300_000).map(|_| intervals.draw(&mut rng) as f64 / 1e6).collect();
        let count = draws.len() as f64;
        let found = draws.iter().sum::<f64>() / count;
        let spread = (draws.iter().map(|draw| (draw - found).powi(2)).sum::<f64>() / count).sqrt();
        assert!((found - mean).abs() < 0.01 * mean && (spread - deviation).abs() < 0.01, "{found} {spread}");
    }

    #[test]
    fn rates_are_kept() {
        let of = |arrivals: Arrivals| arrivals.intervals(500.0, 1.0, Path::new("")).unwrap();
        check(of(Arrivals::Poisson), 2.0, 2.0);
        check(of(Arrivals::Uniform), 2.0, 0.0);
        check(Intervals::Trace { nanos: vec![1e6, 3e6], next: 0 }, 2.0, 1.0);
    }

    /// What is said against a trace of a run whose second to sixtieth second are measured.
    fn check_trace(text: &str, load: f64, expect: Result<usize, &str>) {
        let found = trace(text, load)
            .and_then(|nanos| fits(&nanos, 1_000_000_000, 60_000_000_000, REQUESTS).map(|()| nanos.len()));
        match (&found, expect) {
            (Ok(found), Ok(expect)) => assert_eq!(*found, expect, "{text}"),
            (Err(found), Err(expect)) => assert!(found.contains(expect), "{found} does not say {expect}"),
            _ => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn traces_hold_intervals() {
        check_trace("0.5\n0\n1.5\n", 1.0, Ok(3));
        check_trace("0.5\r\n1.5\n\n", 1.0, Ok(2));
        check_trace("", 1.0, Err("an interval above 0"));
        check_trace("0\n0\n", 1.0, Err("an interval above 0"));
        for bad in ["", "x", "-1", "inf", "nan", "1e-10", "1e6"] {
            check_trace(&format!("0.5\n{bad}\n0.5\n"), 1.0, Err(&format!("line 2 is {bad:?}")));
        }
        check_trace("1e-9\n", 10.0, Err("line 1"));
        check_trace("1e-7\n", 1.0, Err("at most 100000000 requests"));
    }

    #[test]
    fn traces_of_points_in_time_are_refused() {
        let points =
            |from: f64| (0..6000).map(|k| format!("{}\n", from + f64::from(k) / 100.0)).collect::<String>();
        check_trace(&points(0.0), 1.0, Err("not points in time"));
        check_trace(&points(50_000.0), 1.0, Err("6000 lines 0 are played"));
        check_trace(&points(1_700_000_000.0), 1.0, Err("line 1"));
        // Ever slower, which is no mistake.
        let slower: String = (1..100).map(|k| format!("{}\n", f64::from(k) / 100.0)).collect();
        check_trace(&slower, 1.0, Ok(99));
    }

    #[test]
    fn a_trace_that_is_none_is_refused() {
        let file = "no-such-trace.txt".into();
        assert!(Arrivals::Trace { file }.intervals(1.0, 1.0, Path::new("")).is_err());
    }
}
