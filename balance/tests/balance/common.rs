//! Pools to pick from, for all tests.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use evenkeel_balance::{
    Adaptive, Algorithm, Auto, Backend, Balancer, ConsistentHash, Ejected, Endpoint, EndpointReport, Guard,
    HashFunction, Key, LeastResponseTime, Outcome, Pick, PoolSpec, PoolState, Prequal, Query, SourceIpHash,
    Standing, Status, Table, Time, Tuner, WeightedByLoad, orca::LoadReport,
};
use rand::{SeedableRng, rngs::SmallRng};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const S: Duration = Duration::from_secs(1);

/// Every algorithm, and every table of the one that has several.
pub(crate) fn algorithms() -> Vec<Algorithm> {
    let hash = |table, bounded_load| {
        Algorithm::ConsistentHash(ConsistentHash { table, function: HashFunction::XxHash64, bounded_load })
    };
    vec![
        Algorithm::RoundRobin,
        Algorithm::WeightedRoundRobin,
        Algorithm::Random,
        Algorithm::PowerOfTwoChoices { choices: 2 },
        Algorithm::LeastRequest { choices: 16 },
        Algorithm::LeastRequest { choices: 2 },
        Algorithm::LeastResponseTime(LeastResponseTime::default()),
        Algorithm::SourceIpHash(SourceIpHash::default()),
        hash(Table::default(), None),
        hash(Table::Maglev { size: 65537 }, None),
        hash(Table::Rendezvous, None),
        hash(Table::default(), Some(1.25)),
        Algorithm::Prequal(Prequal::default()),
        Algorithm::WeightedByLoad(WeightedByLoad::default()),
        Algorithm::Adaptive(Adaptive::default()),
        Algorithm::Auto(Auto::default()),
    ]
}

pub(crate) fn endpoint(name: &str, weight: u32) -> Endpoint {
    Endpoint { weight, ..Endpoint::new(name, "10.0.0.1:80".parse().expect("an address")) }
}

pub(crate) fn backend(key: &str, weight: u32, endpoints: Vec<Endpoint>) -> Backend {
    Backend { key: key.to_owned(), weight, endpoints }
}

pub(crate) fn equal(count: usize) -> Vec<Backend> {
    vec![backend("b", 1, (0..count).map(|index| endpoint(&format!("e{index}"), 1)).collect())]
}

pub(crate) fn seconds(count: u64) -> Time {
    Time::from_nanos(count * SECOND)
}

pub(crate) fn near<const N: usize>(found: [f64; N], expect: [f64; N]) -> bool {
    found.iter().zip(expect).all(|(found, expect)| (found - expect).abs() < 1e-9)
}

pub(crate) fn answered(status: u16, now: Time, latency: Duration) -> Outcome {
    Outcome::new(Status::Answered(status), now, latency)
}

pub(crate) struct Pool {
    pub(crate) state: Arc<PoolState>,
    pub(crate) tuner: Tuner,
    pub(crate) balancer: Balancer,
    pub(crate) rng: SmallRng,
    pub(crate) now: Time,
}

impl Pool {
    pub(crate) fn new(algorithm: Algorithm, backends: Vec<Backend>) -> Self {
        Self::of(PoolSpec::new(algorithm, backends))
    }

    pub(crate) fn of(spec: PoolSpec) -> Self {
        let mut rng = SmallRng::seed_from_u64(7);
        let state = Arc::new(PoolState::new(2, &mut rng));
        let tuner = Tuner::new(spec, Arc::clone(&state), Time::ZERO);
        Self { state, balancer: tuner.balancer(), tuner, rng, now: Time::ZERO }
    }

    pub(crate) fn set(&mut self, spec: PoolSpec) {
        self.balancer = self.tuner.set_spec(spec, self.now);
    }

    /// Lets time pass; whether another balancer came of it.
    pub(crate) fn tick(&mut self, passes: Duration) -> bool {
        self.now = self.now.after(passes);
        let made = self.tuner.tick(self.now, &mut self.rng);
        let changed = made.is_some();
        self.balancer = made.unwrap_or_else(|| self.tuner.balancer());
        changed
    }

    pub(crate) fn pick(&mut self, client: IpAddr, tried: &[usize]) -> Option<Pick<'_>> {
        let IpAddr::V4(v4) = client else { return None };
        let key = v4.octets();
        let query =
            Query { client: Some(client), key: Some(Key::Bytes(&key)), tried, ..Query::at(self.now, 0) };
        self.balancer.pick(&query, &mut self.rng)
    }

    /// A request of client number `number` that ends at once; to which endpoint it went.
    pub(crate) fn request(&mut self, number: u32, status: u16, latency: Duration) -> Option<String> {
        let now = self.now;
        let mut pick = self.pick(IpAddr::from(number.to_be_bytes()), &[])?;
        pick.guard.set_outcome(answered(status, now, latency));
        Some(pick.endpoint.id.to_string())
    }

    /// So many requests a second at equal distances, each in flight for as long as `takes` says of its endpoint, and a
    /// tick each second.
    pub(crate) fn flow(
        &mut self,
        per_second: u32,
        seconds: u32,
        takes: impl Fn(&str, &mut SmallRng) -> Duration,
        mut ticked: impl FnMut(&Self),
    ) {
        let mut under_way: Vec<(Time, Duration, Guard)> = Vec::new();
        for number in 0..seconds * per_second {
            let now = self.now;
            for (end, latency, mut guard) in under_way.extract_if(.., |(end, ..)| *end <= now) {
                guard.set_outcome(answered(200, end, latency));
            }
            let pick = self.pick(IpAddr::from(number.to_be_bytes()), &[]).expect("an endpoint");
            let (id, guard) = (pick.endpoint.id.clone(), pick.guard);
            let latency = takes(id.as_str(), &mut self.rng);
            under_way.push((now.after(latency), latency, guard));
            self.now = now.after(S / per_second);
            if (number + 1) % per_second == 0 {
                self.tick(Duration::ZERO);
                ticked(self);
            }
        }
    }

    /// Requests that go to an endpoint whatever the algorithm, since their session is there, and end at once with
    /// these.
    pub(crate) fn answers(&mut self, id: &str, statuses: &[u16]) {
        for status in statuses {
            self.ends(id, answered(*status, self.now, MS));
        }
    }

    /// A request that goes to an endpoint, since its session is there, and ends at once.
    pub(crate) fn ends(&mut self, id: &str, outcome: Outcome) {
        self.begins(id).set_outcome(outcome);
    }

    /// A request that goes to an endpoint, since its session is there.
    pub(crate) fn begins(&mut self, id: &str) -> Guard {
        let query = Query { affinity: Some(id), ..Query::at(self.now, 0) };
        let pick = self.balancer.pick(&query, &mut self.rng).expect("an endpoint");
        assert_eq!(pick.endpoint.id.as_str(), id);
        pick.guard
    }

    /// A request that ends at once with a report of load.
    pub(crate) fn reports(&mut self, id: &str, load: &LoadReport) {
        self.ends(id, Outcome { load: Some(Box::new(load.clone())), ..answered(200, self.now, MS) });
    }

    /// The weights of endpoints as they are by now, even if the differences are too small for another balancer.
    pub(crate) fn weights<const N: usize>(&mut self, ids: [&str; N]) -> [f64; N] {
        self.set(self.tuner.spec().clone());
        ids.map(|id| self.effective_weight(id))
    }

    /// How often each endpoint is picked, each request ending before the next.
    pub(crate) fn counts(&mut self, picks: u32) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for number in 0..picks {
            if let Some(pick) = self.pick(IpAddr::from(number.to_be_bytes()), &[]) {
                *counts.entry(pick.endpoint.id.to_string()).or_default() += 1;
            }
        }
        counts
    }

    /// Where an endpoint stands, as the tuner reports it.
    pub(crate) fn standing(&self, id: &str) -> Standing {
        self.reported(id).standing
    }

    /// The ejection that is on, or whose probation is.
    pub(crate) fn ejection(&self, id: &str) -> Option<Ejected> {
        self.reported(id).ejection
    }

    pub(crate) fn effective_weight(&self, id: &str) -> f64 {
        self.reported(id).effective_weight
    }

    fn reported(&self, id: &str) -> EndpointReport {
        let report = self.tuner.report();
        report.endpoints.into_iter().find(|each| each.id.as_str() == id).expect("an endpoint of the pool")
    }

    pub(crate) fn in_flight(&self, id: &str) -> u64 {
        self.state.endpoint(&id.into()).in_flight()
    }

    /// So many requests in flight.
    pub(crate) fn guards(&mut self, count: u32) -> Vec<Guard> {
        (0..count)
            .filter_map(|number| Some(self.pick(IpAddr::from(number.to_be_bytes()), &[])?.guard))
            .collect()
    }
}
