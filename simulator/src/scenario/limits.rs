//! How large and how small the numbers of a scenario may be: each is a bound beyond which a run would not end, not fit into memory,
//! or be no case that anyone has.

use std::ops::RangeInclusive;

/// Factors on a speed, and speeds. What takes longer than that is better described as dead.
pub(in crate::scenario) const FACTOR: RangeInclusive<f64> = 1e-6..=1e6;
/// Nanoseconds between two steps of anything that goes on all the time.
pub(in crate::scenario) const SHORTEST: u64 = 1_000_000;
/// Nanoseconds of a run: a day.
pub(in crate::scenario) const LONGEST: u64 = 86_400_000_000_000;
/// Windows of a run.
pub(in crate::scenario) const WINDOWS: u64 = 100_000;
/// Requests of a run.
pub(in crate::scenario) const REQUESTS: f64 = 1e9;
/// Cores of a server.
pub(in crate::scenario) const CORES: RangeInclusive<f64> = 1e-3..=1e6;
/// Spare cores, as a multiple of those allotted.
pub(in crate::scenario) const SPARE: RangeInclusive<f64> = 0.0..=1e3;
/// Keys, and how unevenly they are asked for.
pub(in crate::scenario) const KEYS: RangeInclusive<u32> = 1..=10_000_000;
pub(in crate::scenario) const ZIPF: RangeInclusive<f64> = 0.0..=10.0;
/// Seeds, as for the flag.
pub(in crate::scenario) const SEEDS: RangeInclusive<u32> = 1..=1000;
/// Variants of a matrix.
pub(in crate::scenario) const VARIANTS: usize = 1000;
