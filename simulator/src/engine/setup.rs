//! A run at its beginning.

use std::path::Path;

use evenkeel_balance::{Algorithm, LatencyEstimate};
use slab::Slab;

use super::{Engine, Event, Lanes, SAMPLE, stream::Stream};
use crate::{
    entrant::{Entrant, Plain},
    metrics::Recorder,
    number,
    outside::{Reports, Weigher},
    proxy::Proxy,
    queue::Queue,
    race::Race,
    requests::Requests,
    scenario::{Case, Problem},
    server::Server,
    weather::Weather,
};

impl<'a> Engine<'a> {
    /// A run of a case by an algorithm; everything that chance decides follows from the seed.
    pub(crate) fn new(case: &'a Case, entrant: Entrant, seed: u64, folder: &Path) -> Result<Self, Problem> {
        let seeds = |number: u64| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number);
        let mut weather = Weather::new(case, seeds(1));
        let count = weather.machines.len();
        let mut servers: Vec<_> = (0..count).map(|index| Server::new(weather.discipline(index), 0)).collect();
        for (index, server) in servers.iter_mut().enumerate() {
            server.set_speed(weather.speed(index, 0), 0);
        }
        let algorithm = entrant.algorithm();
        let proxy = |index: usize| Proxy::new(case, algorithm.clone(), &weather, seeds(100 + index as u64));
        let proxies: Vec<_> = (0..case.proxies).map(proxy).collect();
        let reads =
            matches!(algorithm, Algorithm::WeightedByLoad(_) | Algorithm::Adaptive(_) | Algorithm::Auto(_));
        let reports = (case.reports && reads).then(|| Reports::new(count));
        let weigher = case.weights.filter(|_| entrant == Entrant::Plain(Plain::WeightedRoundRobin));
        let weigher = weigher.map(|weights| Weigher::new(weights, count));
        let mut queue = Queue::new();
        let late = case.deadline.map_or(0, |span| span.0);
        let lanes = Lanes {
            there: queue.lane(case.network.0),
            back: queue.lane(case.network.0),
            late: queue.lane(late),
        };
        for (at, moment) in weather.first() {
            queue.push_at(at, Event::Weather(moment));
        }
        for index in 0..case.proxies {
            let phase = case.tick.0 * (index as u64 + 1) / case.proxies as u64;
            queue.push_at(phase, Event::Tick(number::small(index)));
        }
        queue.push_at(SAMPLE, Event::Sample);
        queue.push_at(Reports::EVERY, Event::Reports);
        queue.push_at(case.weights.map_or(Reports::EVERY, |weights| weights.every.0), Event::Weights);
        let work = case.service.work()?;
        let probe_work = case.probe_cost * work.mean();
        let intervals = case.arrivals.intervals(case.rate * case.load, case.load, folder)?;
        let end = case.end();
        let limit = case.requests.unwrap_or(u64::MAX);
        // Only probes ask a machine what it expects.
        let probed = entrant.probes();
        Ok(Self {
            case,
            now: 0,
            end,
            queue,
            lanes,
            race: Race::new(count + case.replacements()),
            estimates: servers.iter().filter(|_| probed).map(|_| LatencyEstimate::new()).collect(),
            recorder: Recorder::new(count, case.warmup.0, end, case.window.0),
            servers,
            weather,
            proxies,
            requests: Requests::default(),
            probes: Slab::new(),
            stream: Stream::new(seeds(2), intervals, work, case.keys, limit, end),
            reports,
            weigher,
            probe_work,
            bounded: matches!(entrant, Entrant::Hash { bounded: true, .. }),
        })
    }
}
