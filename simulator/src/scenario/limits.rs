//! How large and how small the numbers of a scenario may be. Beyond them a run would not end, not fit into memory, or
//! be no case that anyone has.

use std::ops::RangeInclusive;

use crate::span::Span;

/// Seeds of a scenario.
pub const SEEDS: RangeInclusive<u32> = 1..=1_000;
/// Combinations of the matrix.
pub(super) const VARIANTS: usize = 1_000;
/// Runs of a scenario, each of which leaves its figures in memory: combinations, times algorithms, times seeds.
pub(crate) const RUNS: usize = 100_000;
/// Endpoints of a case, and proxies.
pub(super) const ENDPOINTS: RangeInclusive<usize> = 1..=10_000;
pub(super) const PROXIES: RangeInclusive<usize> = 1..=1_000;
/// Endpoints as all the proxies see them, each of which has state of its own.
pub(super) const VIEWS: usize = 1_000_000;
/// Requests of a run, and those of them that may be under way at once, each of which has a place in memory.
pub(crate) const REQUESTS: f64 = 1e8;
pub(crate) const UNDER_WAY: f64 = 1e7;
/// Factors on a speed, and speeds. What takes longer than that is better described as dead.
pub(super) const FACTOR: RangeInclusive<f64> = 1e-6..=1e6;
/// Cores of a server, and its workers.
pub(super) const CORES: RangeInclusive<f64> = 0.01..=10_000.0;
pub(super) const WORKERS: RangeInclusive<u32> = 1..=10_000;
/// Spare cores as a multiple of those allotted.
pub(super) const SPARE: RangeInclusive<f64> = 0.0..=1_000.0;
/// What a probe costs, as a part of a mean request.
pub(super) const PROBE_COST: RangeInclusive<f64> = 0.0..=100.0;
/// Keys, each of which is looked up for each endpoint that is removed.
pub(super) const KEYS: RangeInclusive<u32> = 1..=1_000_000;
/// Exponents of popularity; beyond them one key has all requests.
pub(super) const ZIPF: RangeInclusive<f64> = 0.0..=10.0;
/// Time between two of what happens again and again.
pub(super) const SHORTEST: Span = Span(1_000_000);
/// How often that is in a run, times the endpoints that are looked at each time.
pub(super) const LOOKS: f64 = 1e9;
/// Windows of a run, and counts in all of them: each has one for each endpoint.
pub(super) const WINDOWS: usize = 10_000;
pub(super) const COUNTS: usize = 10_000_000;
