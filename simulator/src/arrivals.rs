//! When requests come: open loop, whatever becomes of those before.

use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1};
use serde::Deserialize;

use crate::{number, scenario::Problem};

/// Longest interval of a trace, in seconds: a day.
const MAX_INTERVAL: f64 = 86_400.0;
/// Shortest mean of one, in nanoseconds.
const MIN_MEAN: f64 = 1000.0;

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
                let nanos = trace(&text).map_err(|what| {
                    let must = format!(
                        "name a file of intervals in seconds, one a line: {}: {what}",
                        path.display()
                    );
                    Problem::Value { field: "arrivals.trace.file".into(), must }
                })?;
                let nanos = nanos.into_iter().map(|each| each / load).collect();
                Intervals::Trace { nanos, next: 0 }
            }
        })
    }
}

/// Nanoseconds between the requests of a trace, or what is wrong with it.
fn trace(text: &str) -> Result<Vec<f64>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut nanos = Vec::new();
    for (index, line) in lines {
        match line.trim().parse::<f64>() {
            Ok(seconds) if (0.0..=MAX_INTERVAL).contains(&seconds) => nanos.push(seconds * 1e9),
            _ => return Err(format!("line {}: {line:?} is not from 0 to {MAX_INTERVAL}", index + 1)),
        }
    }
    let mean = nanos.iter().sum::<f64>() / nanos.len().max(1) as f64;
    if nanos.is_empty() || mean < MIN_MEAN {
        return Err("they are none, or less than a microsecond in the mean".to_owned());
    }
    if nanos.len() > 2 && nanos.windows(2).all(|pair| pair[0] < pair[1]) {
        return Err("each is longer than the one before, as times are and intervals are not".to_owned());
    }
    Ok(nanos)
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

    #[test]
    fn a_trace_is_intervals() {
        let check = |text: &str, expect: &str| {
            let found = trace(text).map_or_else(|what| what, |nanos| format!("{nanos:?}"));
            assert!(found.starts_with(expect), "{found}");
        };
        check("0.5\n0\n0.25\n\n", "[500000000.0, 0.0, 250000000.0]");
        for bad in ["inf", "NaN", "-1", "soon", "90000"] {
            check(&format!("0.1\n{bad}\n"), &format!("line 2: {bad:?} is not from 0 to 86400"));
        }
        check("1e-12\n", "they are none, or less than a microsecond");
        check("\n", "they are none");
        check("10.5\n11\n11.2\n", "each is longer than the one before");
    }

    #[test]
    fn a_trace_that_is_none_is_refused() {
        let file = "no-such-trace.txt".into();
        assert!(Arrivals::Trace { file }.intervals(1.0, 1.0, Path::new("")).is_err());
    }
}
