//! Percentiles of times that were measured.

use std::fmt;

/// Times in milliseconds, sorted. Negative ones are possible: who watches may be told later than who acts.
#[derive(Debug)]
pub(crate) struct Distribution(Vec<f64>);

impl Distribution {
    pub(crate) fn of(milliseconds: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<_> = milliseconds.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// The smallest value that `percent` of all do not exceed (the nearest rank); 0 of none.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for percent in [50, 90, 99, 100] {
            write!(f, "{:>9.1}", self.percentile(percent))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(count: u32, percent: usize, expect: f64) {
        let values = (1..=count).rev().map(f64::from);
        assert!((Distribution::of(values).percentile(percent) - expect).abs() < f64::EPSILON);
    }

    #[test]
    fn a_percentile_is_the_nearest_rank() {
        check(200, 50, 100.0);
        check(200, 99, 198.0);
        check(200, 100, 200.0);
        check(1, 99, 1.0);
        check(3, 50, 2.0);
        check(0, 50, 0.0);
    }
}
