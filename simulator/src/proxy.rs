//! A proxy: the tuner, the balancers and the state that a real one has, and which machine each endpoint is.

use std::{collections::HashMap, sync::Arc};

use evenkeel_balance::{
    Algorithm, Backend, Balancer, Ejection, Endpoint, EndpointId, PoolSpec, PoolState, SlowStart, Time, Tuner,
};
use rand::{SeedableRng as _, rngs::SmallRng};

use crate::{number, scenario::Case, weather::Weather};

/// A machine that is no endpoint of the balancer.
const ABSENT: u32 = u32::MAX;

/// A proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) balancer: Balancer,
    pub(crate) rng: SmallRng,
    pub(crate) state: Arc<PoolState>,
    tuner: Tuner,
    ids: HashMap<EndpointId, u32>,
    /// Machine of each index of the balancer, and the reverse.
    machines: Vec<u32>,
    indices: Vec<u32>,
    /// How often Auto chose anew.
    pub(crate) switches: u32,
}

impl Proxy {
    pub(crate) fn new(case: &Case, algorithm: Algorithm, weather: &Weather<'_>, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let state = Arc::new(PoolState::new(1, &mut rng));
        let mut spec = PoolSpec::new(algorithm, vec![backend(weather, None)]);
        spec.ejection = case.ejection.then(Ejection::default);
        spec.slow_start = case.slow_start.then(SlowStart::default);
        let tuner = Tuner::new(spec, Arc::clone(&state), Time::ZERO);
        let balancer = tuner.balancer();
        let mut proxy = Self {
            balancer,
            rng,
            state,
            tuner,
            ids: HashMap::new(),
            machines: Vec::new(),
            indices: Vec::new(),
            switches: 0,
        };
        proxy.know(weather);
        proxy.place();
        proxy
    }

    /// The machine of the balancer's endpoint.
    pub(crate) fn machine(&self, index: usize) -> usize {
        self.machines[index] as usize
    }

    /// The balancer's index of a machine, if it is in rotation.
    pub(crate) fn index(&self, machine: usize) -> Option<usize> {
        self.indices.get(machine).filter(|index| **index != ABSENT).map(|index| *index as usize)
    }

    /// Looks at what was learned.
    pub(crate) fn tick(&mut self, now: u64) {
        let Some(balancer) = self.tuner.tick(Time::from_nanos(now), &mut self.rng) else { return };
        self.switches += u32::from(balancer.algorithm() != self.balancer.algorithm());
        self.balancer = balancer;
        self.place();
    }

    /// Takes another set of endpoints, or other weights.
    pub(crate) fn set(&mut self, weather: &Weather<'_>, weights: Option<&[u32]>, now: u64) {
        let mut spec = self.tuner.spec().clone();
        spec.backends = vec![backend(weather, weights)];
        self.balancer = self.tuner.set_spec(spec, Time::from_nanos(now));
        if self.ids.len() != weather.machines.len() {
            self.know(weather);
        }
        self.place();
    }

    /// What Auto stands for, and why.
    pub(crate) fn choice(&self) -> Option<String> {
        let auto = self.tuner.report().auto?;
        let scores: Vec<_> =
            auto.scores.iter().map(|(algorithm, score)| format!("{} {score:.2}", algorithm.name())).collect();
        Some(format!("{}: {} ({})", auto.active.name(), auto.reason, scores.join(", ")))
    }

    fn know(&mut self, weather: &Weather<'_>) {
        self.ids = (0..weather.machines.len())
            .map(|index| (weather.machines[index].id.clone(), number::small(index)))
            .collect();
    }

    fn place(&mut self) {
        self.indices = vec![ABSENT; self.ids.len()];
        self.machines.clear();
        for (index, endpoint) in self.balancer.endpoints().enumerate() {
            let machine = self.ids.get(&endpoint.id).copied().unwrap_or(ABSENT);
            self.machines.push(machine);
            if let Some(place) = self.indices.get_mut(machine as usize) {
                *place = number::small(index);
            }
        }
    }
}

/// The endpoints that there are; `weights` by machine, where someone sets them.
fn backend(weather: &Weather<'_>, weights: Option<&[u32]>) -> Backend {
    let present = (0..weather.machines.len()).filter(|index| weather.machines[*index].present);
    let endpoints = present
        .map(|index| {
            let born = weather.machines[index].born;
            let address = std::net::SocketAddr::from(([10, 0, 0, 1], 80));
            Endpoint {
                id: weather.machines[index].id.clone(),
                weight: weights.map_or_else(|| weather.weight(index), |weights| weights[index]),
                ready_since: (born > 0).then(|| Time::from_nanos(born)),
                ..Endpoint::new("", address)
            }
        })
        .collect();
    Backend { key: "pool".to_owned(), weight: 1, endpoints }
}
