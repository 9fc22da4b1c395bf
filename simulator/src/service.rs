//! How much work a request is, as time on an idle server of speed 1.

use rand::{Rng, rngs::SmallRng};
use rand_distr::{Distribution, Exp1, LogNormal, Normal, Pareto};
use serde::Deserialize;

use crate::{number, scenario::Problem, span::Span};

/// Largest deviation of a logarithm: a hundredth of those drawn are beyond 10^10 times the median.
const MAX_SIGMA: f64 = 10.0;

/// The distribution of service times.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Service {
    /// Always the same.
    Constant {
        /// The time.
        mean: Span,
    },
    /// Memoryless.
    Exponential {
        /// Mean time.
        mean: Span,
    },
    /// The logarithm is normal.
    LogNormal {
        /// Mean time.
        mean: Span,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
    /// A heavy tail.
    Pareto {
        /// Mean time.
        mean: Span,
        /// Above 1; the variance is infinite up to 2.
        shape: f64,
    },
    /// Some take long.
    Bimodal {
        /// Time of most.
        short: Span,
        /// Time of some.
        long: Span,
        /// Which part takes long, 0 to 1.
        long_part: f64,
    },
    /// Normal, and 0 where that is negative (clamped, not drawn again).
    Normal {
        /// Mean before clamping.
        mean: Span,
        /// Standard deviation before clamping.
        deviation: Span,
    },
}

/// Draws service times.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Constant(f64),
    Exponential(f64),
    LogNormal(LogNormal<f64>),
    Pareto(Pareto<f64>),
    Bimodal { short: f64, long: f64, long_part: f64 },
    Normal(Normal<f64>),
}

impl Service {
    /// What draws from it.
    ///
    /// # Errors
    /// If a parameter is out of range.
    pub(crate) fn work(&self) -> Result<Work, Problem> {
        let nanos = |span: Span| span.0 as f64;
        let bad = |field: &str, must: &str| {
            Err(Problem::Value { field: format!("service.{field}"), must: must.into() })
        };
        Ok(match *self {
            Self::Constant { mean } => Work::Constant(nanos(mean)),
            Self::Exponential { mean } => Work::Exponential(nanos(mean)),
            Self::LogNormal { mean, sigma } => {
                match LogNormal::new(nanos(mean).ln() - sigma * sigma / 2.0, sigma) {
                    Ok(distribution) if (0.0..=MAX_SIGMA).contains(&sigma) && mean.0 > 0 => {
                        Work::LogNormal(distribution)
                    }
                    _ => return bad("logNormal", "have a mean above 0 and a sigma from 0 to 10"),
                }
            }
            Self::Pareto { mean, shape } => match Pareto::new(nanos(mean) * (shape - 1.0) / shape, shape) {
                Ok(distribution) if shape > 1.0 => Work::Pareto(distribution),
                _ => return bad("pareto", "have a mean above 0 and a shape above 1"),
            },
            Self::Bimodal { short, long, long_part } => {
                if !(0.0..=1.0).contains(&long_part) {
                    return bad("bimodal.longPart", "be from 0 to 1");
                }
                Work::Bimodal { short: nanos(short), long: nanos(long), long_part }
            }
            Self::Normal { mean, deviation } => match Normal::new(nanos(mean), nanos(deviation)) {
                Ok(distribution) => Work::Normal(distribution),
                Err(_) => return bad("normal", "have finite parameters"),
            },
        })
    }
}

impl Work {
    /// A service time in nanoseconds.
    pub(crate) fn draw(&self, rng: &mut SmallRng) -> f64 {
        match self {
            Self::Constant(nanos) => *nanos,
            Self::Exponential(mean) => mean * <Exp1 as Distribution<f64>>::sample(&Exp1, rng),
            Self::LogNormal(distribution) => distribution.sample(rng),
            Self::Pareto(distribution) => distribution.sample(rng),
            Self::Bimodal { short, long, long_part } => {
                if rng.random::<f64>() < *long_part {
                    *long
                } else {
                    *short
                }
            }
            Self::Normal(distribution) => distribution.sample(rng).max(0.0),
        }
    }

    /// Its mean in nanoseconds, by a fixed sample where no formula is short.
    pub(crate) fn mean(&self) -> f64 {
        match self {
            Self::Constant(nanos) | Self::Exponential(nanos) => *nanos,
            Self::Bimodal { short, long, long_part } => short + (long - short) * long_part,
            _ => {
                let mut rng = <SmallRng as rand::SeedableRng>::seed_from_u64(0);
                const DRAWS: u32 = 100_000;
                (0..DRAWS).map(|_| self.draw(&mut rng)).sum::<f64>() / f64::from(DRAWS)
            }
        }
    }
}

/// A span drawn evenly from a range.
pub(crate) fn evenly(from: Span, to: Span, rng: &mut SmallRng) -> u64 {
    number::whole(from.0 as f64 + rng.random::<f64>() * (to.0 as f64 - from.0 as f64))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    /// Mean and standard deviation in milliseconds, to 1 %, and the part that is exactly 0.
    fn check(service: &Service, mean: f64, deviation: f64, zero: f64) {
        let work = service.work().unwrap();
        let mut rng = SmallRng::seed_from_u64(1);
        let draws: Vec<f64> = (0..400_000).map(|_| work.draw(&mut rng) / 1e6).collect();
        let count = draws.len() as f64;
        let found = draws.iter().sum::<f64>() / count;
        let variance = draws.iter().map(|draw| (draw - found).powi(2)).sum::<f64>() / count;
        let none = draws.iter().filter(|draw| **draw <= 0.0).count() as f64 / count;
        assert!((found - mean).abs() <= 0.01 * mean, "{service:?}: mean {found}");
        assert!((variance.sqrt() - deviation).abs() <= 0.02 * deviation, "{service:?}: {}", variance.sqrt());
        assert!((none - zero).abs() < 0.003, "{service:?}: {none} are 0");
        assert!((work.mean() / 1e6 - mean).abs() <= 0.01 * mean);
    }

    #[test]
    fn moments_are_those_of_the_formulas() {
        let mean = Span(40_000_000);
        check(&Service::Constant { mean }, 40.0, 0.0, 0.0);
        check(&Service::Exponential { mean }, 40.0, 40.0, 0.0);
        let sigma: f64 = 0.5;
        check(&Service::LogNormal { mean, sigma }, 40.0, 40.0 * ((sigma * sigma).exp() - 1.0).sqrt(), 0.0);
        let shape: f64 = 6.0;
        check(&Service::Pareto { mean, shape }, 40.0, 40.0 / (shape * (shape - 2.0)).sqrt(), 0.0);
        let bimodal = Service::Bimodal { short: Span(10_000_000), long: Span(110_000_000), long_part: 0.1 };
        check(&bimodal, 20.0, 30.0, 0.0);
        // Of N(80, 80) clamped: 80 (Phi(1) + phi(1)), and Phi(-1) are 0.
        let normal = Service::Normal { mean: Span(80_000_000), deviation: Span(80_000_000) };
        check(&normal, 86.66, 69.3, 0.1587);
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let mean = Span(1_000_000);
        assert!(Service::Pareto { mean, shape: 1.0 }.work().is_err());
        assert!(Service::LogNormal { mean, sigma: -1.0 }.work().is_err());
        assert!(Service::Bimodal { short: mean, long: mean, long_part: 1.1 }.work().is_err());
    }
}
