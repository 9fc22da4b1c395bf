//! What changes slowly, recomputed off the hot path: slow start, ejections, weights that follow load, spill-over, and
//! which algorithm Auto stands for. One owner holds a [`Tuner`] and calls it; requests only ever see the [`Balancer`]s
//! it makes.

mod adaptive;
mod auto;
mod ejection;
mod left;
mod load;
mod locality;
mod report;
mod slow_start;

pub use adaptive::Usage;
pub(crate) use auto::may_be_chosen;
pub use auto::{AutoReport, Evidence};
pub use ejection::{Ejected, EjectionReason};
pub use report::{EndpointReport, Standing, TunerReport};

use std::{collections::HashMap, sync::Arc, time::Duration};

use rand::Rng;

use self::left::Left;

use crate::{
    Algorithm, Balancer, Ejection, Endpoint, EndpointId, EndpointState, LeastResponseTime, PoolSpec,
    PoolState, Time, WeightedByLoad,
    plan::{self, Plan, Tuning},
    state::Seen,
    sync::Relaxed,
};

/// Change of a weight below which a balancer is not built anew.
const TOLERANCE: f64 = 0.02;
/// By so much later than twice its length an interval is looked at; else it is none. Longer than a candidate of Auto
/// goes without a look, a minute.
const UNASKED: Duration = Duration::from_secs(90);
/// How much of the mean latency a tick's answers replace, at most.
const MEAN_SHARE: f64 = 0.3;

/// Makes the balancers of one pool. What it learns is kept by the identity of the endpoints across every change of the
/// pool.
#[derive(Debug)]
pub struct Tuner {
    spec: PoolSpec,
    /// How often there was another spec.
    version: u64,
    state: Arc<PoolState>,
    records: HashMap<EndpointId, Record>,
    /// Those of endpoints that have left and may come back.
    left: Left,
    kept: HashMap<String, plan::Kept>,
    /// What the last balancer was made from.
    plan: Plan,
    auto: auto::Choice,
    clocks: Clocks,
}

/// What is learned of one endpoint beyond what requests write down.
#[derive(Debug)]
struct Record {
    state: Arc<EndpointState>,
    seen: Seen,
    ejection: ejection::Record,
    load: load::Record,
    adaptive: adaptive::Record,
    auto: auto::Record,
}

/// When what was last done.
#[derive(Debug, Default)]
struct Clocks {
    ejection: Clock,
    load: Clock,
    adaptive: Clock,
    auto: Clock,
    locality: Clock,
}

/// Tells when an interval is over.
#[derive(Debug, Default)]
struct Clock(Option<Time>);

/// What a clock says.
#[derive(Debug)]
enum Look {
    /// An interval begins: what came before is none's.
    Begins,
    /// It is not over.
    Early,
    /// It is over, after this time, and the next begins.
    Over(Duration),
}

impl Clock {
    /// The first interval begins at the first question; and anew if time goes back, or if nobody has asked for long,
    /// since another algorithm was in use.
    fn look(&mut self, interval: Duration, now: Time) -> Look {
        let interval = interval.max(Duration::from_millis(1));
        let passed = self.0.filter(|since| *since <= now).map(|since| now.since(since));
        if passed.is_some_and(|passed| passed < interval) {
            return Look::Early;
        }
        self.0 = Some(now);
        match passed {
            Some(passed) if passed <= interval.saturating_mul(2).saturating_add(UNASKED) => {
                Look::Over(passed)
            }
            _ => Look::Begins,
        }
    }
}

impl Tuner {
    /// A tuner of a pool, over what was learned of it before.
    #[must_use]
    pub fn new(spec: PoolSpec, state: Arc<PoolState>, now: Time) -> Self {
        let none = PoolSpec::new(Algorithm::RoundRobin, Vec::new());
        let mut tuner = Self {
            plan: Plan::new(&none, &state, &Tuning::default()),
            spec: none,
            version: 0,
            state,
            records: HashMap::new(),
            left: Left::default(),
            kept: HashMap::new(),
            auto: auto::Choice::default(),
            clocks: Clocks::default(),
        };
        tuner.take_spec(spec, now);
        tuner
    }

    /// Takes another version of the pool, and makes a balancer of it. Endpoints that it no longer has are forgotten.
    pub fn set_spec(&mut self, spec: PoolSpec, now: Time) -> Balancer {
        self.take_spec(spec, now);
        self.balancer()
    }

    fn take_spec(&mut self, spec: PoolSpec, now: Time) {
        let ejected = self.spec.ejection.is_some();
        self.spec = spec;
        self.version += 1;
        let endpoints = self.spec.backends.iter().flat_map(|backend| &backend.endpoints);
        self.left.forget(now);
        let mut before = std::mem::take(&mut self.records);
        for endpoint in endpoints {
            let state = self.state.endpoint(&endpoint.id);
            if !self.records.contains_key(&endpoint.id) {
                let back = || self.left.take(&endpoint.id).map(Record::looked_at_anew);
                let known = before.remove(&endpoint.id).or_else(back);
                let known = known.filter(|record| Arc::ptr_eq(&record.state, &state));
                let record = known.unwrap_or_else(|| Record::new(state));
                self.records.insert(endpoint.id.clone(), record);
            }
        }
        self.left.extend(before, now);
        let known = self.records.keys().cloned().collect();
        self.state.retain(&known);
        let backends = &self.spec.backends;
        self.kept.retain(|key, _| backends.iter().any(|backend| backend.key == *key));
        self.auto.retain(self.spec.auto(), now);
        match self.spec.ejection {
            None => self.end_ejections(now),
            Some(_) if !ejected => self.begin_ejections(),
            Some(_) => self.shorten_ejections(),
        }
        self.plan = Plan::new(&self.spec, &self.state, &self.tuning(now));
        self.apply_rules();
    }

    /// Looks at what was learned since, and makes another balancer if that makes a difference. To be called every 100
    /// ms to 1 s, and soon after [`PoolState::is_urgent`] says so. O(n); `rng` spreads the times of ejections.
    pub fn tick(&mut self, now: Time, rng: &mut impl Rng) -> Option<Balancer> {
        self.state.clear_urgent();
        self.observe(now);
        self.tick_ejections(now, rng);
        self.tick_adaptive(now);
        self.tick_auto(now);
        self.tick_locality(now);
        let plan = Plan::new(&self.spec, &self.state, &self.tuning(now));
        if plan.resembles(&self.plan, TOLERANCE) {
            return None;
        }
        let switched = plan.algorithm != self.plan.algorithm;
        self.plan = plan;
        if switched {
            self.apply_rules();
        }
        Some(self.balancer())
    }

    /// Follows only what another algorithm would go by at once: for pools of which nothing changes with time, and that
    /// are not ticked. To be called about once a second. O(n).
    pub fn observe(&mut self, now: Time) {
        self.left.forget(now);
        self.state.settle();
        self.update_mean();
        self.tick_load(now);
    }

    /// A balancer as the last change left it.
    #[must_use]
    pub fn balancer(&self) -> Balancer {
        Balancer::from_plan(&self.plan, &self.state)
    }

    /// A balancer of the same pool with another algorithm, for requests that name their own. Adaptive and Auto have
    /// something to go by only if they are among [`PoolSpec::others`], or the pool's algorithm.
    #[must_use]
    pub fn balancer_with(&self, algorithm: &Algorithm, now: Time) -> Balancer {
        let mut spec = self.spec.clone();
        spec.algorithm = algorithm.clone();
        let tuning = self.tuning_for(&spec, now);
        Balancer::from_plan(&Plan::new(&spec, &self.state, &tuning), &self.state)
    }

    /// An active check of an endpoint passed: if it was ejected, it comes back, with slow start. Whether it was; the
    /// next
    /// [`Tuner::tick`] makes the balancer.
    pub fn check_passed(&mut self, id: &EndpointId, now: Time) -> bool {
        self.records.get_mut(id).is_some_and(|record| record.readmit(now))
    }

    /// Brings what an endpoint uses, for [`UsageSource::Fed`](crate::UsageSource::Fed): the next step of Adaptive looks
    /// at what was brought last, unless that is older than three of its intervals.
    pub fn set_usage(&mut self, id: &EndpointId, usage: Usage) {
        if let Some(record) = self.records.get_mut(id) {
            record.adaptive.feed(usage);
        }
    }

    /// Whether anything is known of an endpoint: it is in the pool, or has left it a short time ago and would come back
    /// with what was learned of it.
    #[must_use]
    pub fn remembers(&self, id: &EndpointId) -> bool {
        self.records.contains_key(id) || self.left.has(id)
    }

    /// The pool as it is configured.
    #[must_use]
    pub const fn spec(&self) -> &PoolSpec {
        &self.spec
    }

    /// The state that it and all its balancers share.
    #[must_use]
    pub const fn state(&self) -> &Arc<PoolState> {
        &self.state
    }

    fn tuning(&self, now: Time) -> Tuning {
        self.tuning_for(&self.spec, now)
    }

    fn tuning_for(&self, spec: &PoolSpec, now: Time) -> Tuning {
        let chosen = matches!(spec.algorithm, Algorithm::Auto(_)).then(|| self.auto.active()).flatten();
        let tuning = self.tuning_by(chosen.as_ref().unwrap_or(&spec.algorithm), now);
        Tuning { chosen, ..tuning }
    }

    fn tuning_by(&self, algorithm: &Algorithm, now: Time) -> Tuning {
        let mut tuning = Tuning { kept: self.kept.clone(), ..Tuning::default() };
        self.slow_start(algorithm, now, &mut tuning.factors);
        match algorithm {
            Algorithm::WeightedByLoad(parameters) => self.load_factors(parameters, now, &mut tuning.factors),
            Algorithm::Adaptive(_) => self.adaptive_factors(&mut tuning.factors),
            _ => {}
        }
        if self.spec.ejection.is_some() {
            tuning.standings = self.standings();
        }
        tuning
    }

    fn standings(&self) -> HashMap<EndpointId, plan::Standing> {
        let standing = |(id, record): (&EndpointId, &Record)| Some((id.clone(), record.ejection.standing()?));
        self.records.iter().filter_map(standing).collect()
    }

    /// The algorithm in use.
    fn algorithm(&self) -> &Algorithm {
        if matches!(self.spec.algorithm, Algorithm::Auto(_)) {
            &self.plan.algorithm
        } else {
            &self.spec.algorithm
        }
    }

    /// Tells the endpoints' state how to learn.
    fn apply_rules(&self) {
        let rules = self.state.rules();
        let nanos = |span: Duration| crate::time::nanos_f64(span);
        let in_a_row = |of: Ejection| {
            let limits = [of.consecutive_5xx, of.consecutive_gateway_errors];
            limits.into_iter().flatten().min().unwrap_or(u32::MAX)
        };
        rules.urgent_errors.store(self.spec.ejection.map_or(u32::MAX, in_a_row), Relaxed);
        let response_time = self.in_play().find_map(|each| match each {
            Algorithm::LeastResponseTime(parameters) => Some(parameters.clone()),
            _ => None,
        });
        rules.decay.store(nanos(response_time.unwrap_or_default().decay));
        let error_penalty = self.in_play().find_map(|each| match each {
            Algorithm::LeastResponseTime(parameters) => Some(parameters.error_penalty),
            Algorithm::Prequal(parameters) => Some(parameters.error_penalty),
            _ => None,
        });
        let error_penalty = error_penalty.unwrap_or(LeastResponseTime::default().error_penalty);
        rules.error_penalty.store(nanos(error_penalty));
        rules.metrics.store(Arc::new(self.weighted_by_load().metrics));
        if std::iter::once(self.spec.auto()).chain(self.in_play()).any(Algorithm::compares_loads) {
            self.state.count_together();
        }
    }

    /// The algorithms by whose parameters to learn, the first of a kind by its: the one in use, those that Auto may
    /// choose, and those that requests may name.
    fn in_play(&self) -> impl Iterator<Item = &Algorithm> {
        let auto = match self.spec.auto() {
            Algorithm::Auto(auto) => auto.allowed.as_slice(),
            _ => &[],
        };
        std::iter::once(self.algorithm()).chain(auto).chain(&self.spec.others)
    }

    fn weighted_by_load(&self) -> WeightedByLoad {
        let found = self.in_play().find_map(|each| match each {
            Algorithm::WeightedByLoad(parameters) => Some(parameters.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    /// Moves the pool's mean latency toward that of the answers since the last tick, by request.
    fn update_mean(&mut self) {
        let mut new = Seen::default();
        for record in self.records.values_mut() {
            let seen = record.state.seen();
            let since = seen.since(record.seen);
            record.seen = seen;
            new.measured += since.measured;
            new.latency_nanos += since.latency_nanos;
        }
        if let Some(mean) = mean_nanos(new) {
            let old = self.state.rules().mean_latency.load();
            let mean = if old > 0.0 { old + MEAN_SHARE * (mean - old) } else { mean };
            self.state.rules().mean_latency.store(mean);
        }
    }

    /// A backend's endpoints with their records.
    fn members<'a>(&'a self, endpoints: &'a [Endpoint]) -> impl Iterator<Item = (&'a Endpoint, &'a Record)> {
        endpoints.iter().filter_map(|endpoint| Some((endpoint, self.records.get(&endpoint.id)?)))
    }
}

impl Record {
    fn new(state: Arc<EndpointState>) -> Self {
        let seen = state.seen();
        Self {
            seen,
            ejection: ejection::Record::new(seen),
            load: load::Record::new(seen),
            adaptive: adaptive::Record::new(seen),
            auto: auto::Record::new(seen),
            state,
        }
    }
}

impl Record {
    /// What came while the endpoint was gone is of no interval.
    fn looked_at_anew(mut self) -> Self {
        let seen = self.state.seen();
        (self.seen, self.ejection.seen, self.load.seen, self.adaptive.seen) = (seen, seen, seen, seen);
        self.auto.begin(seen);
        self
    }
}

/// `None` of nothing.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then(|| sum / count)
}

/// Mean latency of the answers.
#[expect(clippy::cast_precision_loss, reason = "a part in 2^53 does not matter")]
fn mean_nanos(seen: Seen) -> Option<f64> {
    (seen.measured > 0).then(|| seen.latency_nanos as f64 / seen.measured as f64)
}
