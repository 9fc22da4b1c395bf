//! When requests come: open loop, whatever becomes of those before.

use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand_distr::{Distribution, Exp1};
use serde::Deserialize;

use crate::{number, scenario::Problem};

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
                let seconds: Result<Vec<f64>, _> =
                    text.lines().map(|line| line.trim().parse::<f64>()).collect();
                let nanos: Vec<f64> = match seconds {
                    Ok(seconds)
                        if seconds.iter().all(|each| *each >= 0.0) && seconds.iter().sum::<f64>() > 0.0 =>
                    {
                        seconds.into_iter().map(|each| each * 1e9 / load).collect()
                    }
                    _ => {
                        let must = format!("name a file of intervals in seconds; {} is none", path.display());
                        return Err(Problem::Value { field: "arrivals.trace.file".into(), must });
                    }
                };
                Intervals::Trace { nanos, next: 0 }
            }
        })
    }
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
    fn a_trace_that_is_none_is_refused() {
        let file = "no-such-trace.txt".into();
        assert!(Arrivals::Trace { file }.intervals(1.0, 1.0, Path::new("")).is_err());
    }
}
