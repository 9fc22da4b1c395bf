//! Samples of a [`Latency`].

use std::f64::consts::TAU;
use std::time::Duration;

use rand::Rng;

use crate::behaviour::{Latency, MAX_LATENCY};

impl Latency {
    /// One latency drawn from the distribution, at most [`MAX_LATENCY`].
    pub fn sample(self, rng: &mut impl Rng) -> Duration {
        let seconds = match self {
            Self::Constant { mean } => return mean.min(MAX_LATENCY),
            Self::Exponential { mean } => mean.as_secs_f64() * -positive(rng).ln(),
            // The mean of exp(mu + sigma * N) is exp(mu + sigma^2 / 2).
            Self::LogNormal { mean, sigma } => {
                mean.as_secs_f64() * (sigma * normal(rng) - sigma * sigma / 2.0).exp()
            }
        };
        Duration::try_from_secs_f64(seconds).map_or(MAX_LATENCY, |latency| latency.min(MAX_LATENCY))
    }
}

/// Uniform above 0, up to and with 1, so that it has a logarithm.
fn positive(rng: &mut impl Rng) -> f64 {
    1.0 - rng.random::<f64>()
}

/// Standard normal, by Box and Muller.
fn normal(rng: &mut impl Rng) -> f64 {
    (-2.0 * positive(rng).ln()).sqrt() * (TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    const SAMPLES: u32 = 200_000;
    const MEAN: Duration = Duration::from_millis(20);

    /// Checks the mean, and the median as a multiple of the mean, to within 2 percent.
    fn check(latency: Latency, median: f64) {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut samples: Vec<f64> =
            (0..SAMPLES).map(|_| latency.sample(&mut rng).as_secs_f64() / MEAN.as_secs_f64()).collect();
        samples.sort_by(f64::total_cmp);
        let mean = samples.iter().sum::<f64>() / f64::from(SAMPLES);
        assert!((mean - 1.0).abs() < 0.02, "{latency:?}: mean {mean}");
        let found = samples[samples.len() / 2];
        assert!((found / median - 1.0).abs() < 0.02, "{latency:?}: median {found}");
    }

    #[test]
    fn distributions() {
        check(Latency::Constant { mean: MEAN }, 1.0);
        check(Latency::Exponential { mean: MEAN }, 2_f64.ln());
        check(Latency::LogNormal { mean: MEAN, sigma: 0.5 }, (-0.125_f64).exp());
        check(Latency::LogNormal { mean: MEAN, sigma: 0.0 }, 1.0);
    }

    #[test]
    fn samples_are_bounded() {
        let mut rng = SmallRng::seed_from_u64(1);
        let latency = Latency::LogNormal { mean: MAX_LATENCY, sigma: 5.0 };
        assert!((0..10_000).all(|_| latency.sample(&mut rng) <= MAX_LATENCY));
        let nonsense = Latency::LogNormal { mean: MEAN, sigma: f64::NAN };
        assert_eq!(nonsense.sample(&mut rng), MAX_LATENCY);
    }
}
