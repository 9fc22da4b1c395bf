//! The requests as they come: what chance decides of them does not depend on the algorithm, so that runs can be
//! compared seed by seed.

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, Zipf};

use crate::{arrivals::Intervals, number, scenario::Keys, service::Work};

/// Where requests come from.
#[derive(Debug)]
pub(super) struct Stream {
    rng: SmallRng,
    intervals: Intervals,
    work: Work,
    zipf: Option<Zipf<f64>>,
    left: u64,
    taken: u64,
    next: u64,
}

/// A request that comes to a proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) proxy: usize,
    /// Nanoseconds at speed 1.
    pub(super) work: f64,
    /// Number of its key.
    pub(super) key: Option<u64>,
}

impl Stream {
    /// Requests from time 0 to `end`, at most `limit` of them.
    pub(super) fn new(
        seed: u64,
        intervals: Intervals,
        work: Work,
        keys: Option<Keys>,
        limit: u64,
        end: u64,
    ) -> Self {
        let zipf = keys.and_then(|keys| Zipf::new(f64::from(keys.count), keys.zipf).ok());
        let mut stream = Self {
            rng: SmallRng::seed_from_u64(seed),
            intervals,
            work,
            zipf,
            left: limit,
            taken: 0,
            next: 0,
        };
        stream.step(end);
        stream
    }

    /// When the next one comes; `u64::MAX` if none does.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Takes it.
    pub(super) fn take(&mut self, proxies: usize, end: u64) -> Arrival {
        let arrival = Arrival {
            proxy: if proxies > 1 { self.rng.random_range(0..proxies) } else { 0 },
            work: self.work.draw(&mut self.rng),
            key: self.zipf.map(|zipf| number::whole(zipf.sample(&mut self.rng))),
        };
        self.taken += 1;
        self.step(end);
        arrival
    }

    /// How many were taken.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    fn step(&mut self, end: u64) {
        let next = self.next.saturating_add(self.intervals.draw(&mut self.rng));
        self.next = if self.left == 0 || next >= end { u64::MAX } else { next };
        self.left = self.left.saturating_sub(1);
    }
}
