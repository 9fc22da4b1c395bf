//! How large and how small the numbers of a scenario may be: each is a bound beyond which a run would not end, not fit into memory,
//! or be no case that anyone has.

use std::ops::RangeInclusive;

/// Factors on a speed, and speeds. What takes longer than that is better described as dead.
pub(super) const FACTOR: RangeInclusive<f64> = 1e-6..=1e6;
