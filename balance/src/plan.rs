//! Which endpoints are in rotation, with which weight, and why the others are not: the slow part of a pick, done before
//! it.

use std::{collections::HashMap, sync::Arc};

use crate::{
    Algorithm, Backend, Endpoint, EndpointId, Locality, Place, PoolSpec, PoolState, state::Resident,
};

/// Levels of locality: the zone, the region, all others.
pub(crate) const LEVELS: usize = 3;

/// What is known of endpoints beyond their configuration. Empty: nothing.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Tuning {
    pub(crate) factors: Factors,
    /// Which endpoints are ejected or on probation.
    pub(crate) standings: HashMap<EndpointId, Standing>,
    /// The part of a backend's traffic that each level keeps at most, where it is not all.
    pub(crate) kept: HashMap<String, Kept>,
    /// What [`Algorithm::Auto`] stands for.
    pub(crate) chosen: Option<Algorithm>,
}

/// What configured weights are multiplied with: by the backend's index in the spec, since an endpoint of two backends
/// is new, or loaded, beside others in each of them.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Factors(Vec<HashMap<EndpointId, f64>>);

impl Factors {
    pub(crate) fn multiply(&mut self, backend: usize, id: &EndpointId, by: f64) {
        if by.to_bits() == 1_f64.to_bits() {
            return;
        }
        if self.0.len() <= backend {
            self.0.resize_with(backend + 1, HashMap::new);
        }
        *self.0[backend].entry(id.clone()).or_insert(1.0) *= by;
    }

    fn of(&self, backend: usize, id: &EndpointId) -> f64 {
        self.0.get(backend).and_then(|factors| factors.get(id)).copied().unwrap_or(1.0)
    }
}

/// A part of the traffic for each level.
pub(crate) type Kept = [f64; LEVELS];

/// What an ejection left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Ejected,
    Probation,
}

/// A plan of a pool.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) algorithm: Algorithm,
    /// The algorithm as it is configured, by which turns are kept: Auto has its own.
    pub(crate) turns: &'static str,
    pub(crate) sets: Vec<EndpointSet>,
    pub(crate) others: Vec<Other>,
    /// What ejections left. Kept even where it changes nothing, since it is reported in a panic, too.
    standings: HashMap<EndpointId, Standing>,
}

/// Endpoints of one backend at one level of locality. There is at least one.
#[derive(Debug)]
pub(crate) struct EndpointSet {
    pub(crate) backend: String,
    pub(crate) level: usize,
    /// Share among all sets.
    pub(crate) share: f64,
    pub(crate) panic: bool,
    pub(crate) members: Vec<Member>,
}

/// An endpoint in rotation.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) endpoint: Endpoint,
    pub(crate) state: Resident,
    /// Above 0.
    pub(crate) weight: f64,
    /// The weight is not the configured one.
    pub(crate) adapted: bool,
    /// One request at a time, by which it is judged.
    pub(crate) probation: bool,
}

/// An endpoint out of rotation.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    pub(crate) backend: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) state: Resident,
    pub(crate) reason: Absence,
    /// Sessions take it one request at a time.
    pub(crate) probation: bool,
}

/// Why an endpoint is not in rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// Checks say that it does not work.
    Unhealthy,
    /// It failed too often.
    Ejected,
    /// Its weight, or its backend's, is 0.
    Draining,
    /// It terminates, and others of its backend do not.
    Terminating,
}

impl Absence {
    /// A session that was with the endpoint before may still go to it.
    pub(crate) const fn keeps_sessions(self) -> bool {
        matches!(self, Self::Draining | Self::Terminating)
    }
}

impl Plan {
    pub(crate) fn new(spec: &PoolSpec, state: &PoolState, tuning: &Tuning) -> Self {
        let mut plan = Self {
            algorithm: algorithm(&spec.algorithm, tuning),
            turns: spec.algorithm.name(),
            sets: Vec::new(),
            others: Vec::new(),
            standings: tuning.standings.clone(),
        };
        for (index, backend) in spec.backends.iter().enumerate() {
            plan.add(spec, index, backend, state, tuning);
        }
        plan
    }

    fn add(&mut self, spec: &PoolSpec, index: usize, backend: &Backend, state: &PoolState, tuning: &Tuning) {
        let any_ready = backend.endpoints.iter().any(|endpoint| !endpoint.terminating);
        let standing = |endpoint: &Endpoint| tuning.standings.get(&endpoint.id).copied();
        let configured = |endpoint: &Endpoint| match endpoint {
            _ if backend.weight == 0 || endpoint.weight == 0 => Some(Absence::Draining),
            _ if endpoint.terminating && any_ready => Some(Absence::Terminating),
            Endpoint { healthy: false, .. } => Some(Absence::Unhealthy),
            _ => None,
        };
        // An ejection never takes the last endpoint, nor leaves only some that may take a single request.
        let serving = || backend.endpoints.iter().filter(|endpoint| configured(endpoint).is_none());
        let any_in = serving().any(|endpoint| standing(endpoint).is_none());
        let absence = |endpoint: &Endpoint| {
            let ejected = || any_in && standing(endpoint) == Some(Standing::Ejected);
            configured(endpoint).or_else(|| ejected().then_some(Absence::Ejected))
        };
        let panic = panics(spec.panic_threshold, backend.endpoints.iter().map(absence));
        let mut levels: [Vec<Member>; LEVELS] = Default::default();
        let mut counts = [0.0; LEVELS];
        for endpoint in &backend.endpoints {
            let level = spec.locality.as_ref().map_or(0, |here| level(here, endpoint));
            let (state, endpoint) = (state.resident(&endpoint.id), endpoint.clone());
            match absence(&endpoint) {
                Some(reason) if !panic || reason.keeps_sessions() => {
                    counts[level] += f64::from(u8::from(!reason.keeps_sessions()));
                    // One that drains and does not work besides keeps no sessions.
                    let ejected = standing(&endpoint) == Some(Standing::Ejected);
                    let reason = match reason {
                        _ if !endpoint.healthy => Absence::Unhealthy,
                        _ if ejected && any_in => Absence::Ejected,
                        other => other,
                    };
                    let probation = any_in && standing(&endpoint) == Some(Standing::Probation);
                    self.others.push(Other {
                        backend: backend.key.clone(),
                        endpoint,
                        state,
                        reason,
                        probation,
                    });
                }
                _ => {
                    counts[level] += 1.0;
                    let probation = !panic && any_in && standing(&endpoint) == Some(Standing::Probation);
                    let factor = tuning.factors.of(index, &endpoint.id).clamp(1e-3, 1e3);
                    let weight = configured_weight(&self.algorithm, &endpoint) * factor;
                    let adapted = factor.to_bits() != 1_f64.to_bits();
                    levels[level].push(Member { endpoint, state, weight, adapted, probation });
                }
            }
        }
        let members = levels.each_ref().map(Vec::len);
        let shares = shares(spec.locality.as_ref(), members, counts, tuning.kept.get(&backend.key).copied());
        for (level, (members, share)) in levels.into_iter().zip(shares).enumerate() {
            if !members.is_empty() {
                let share = share * f64::from(backend.weight);
                self.sets.push(EndpointSet { backend: backend.key.clone(), level, share, panic, members });
            }
        }
    }

    /// Whether a balancer built from `other` would do the same, but for weights that differ by less than `tolerance`.
    pub(crate) fn resembles(&self, other: &Self, tolerance: f64) -> bool {
        let near = |a: f64, b: f64| (a - b).abs() <= tolerance * a.abs().max(b.abs());
        let same_set = |a: &EndpointSet, b: &EndpointSet| {
            a.backend == b.backend
                && a.level == b.level
                && a.panic == b.panic
                && near(a.share, b.share)
                && a.members.len() == b.members.len()
                && a.members.iter().zip(&b.members).all(|(a, b)| {
                    // What ends near its configured weight is not left there.
                    let alike = near(a.weight, b.weight) && a.adapted == b.adapted;
                    a.probation == b.probation && alike && a.endpoint == b.endpoint
                })
        };
        self.algorithm == other.algorithm
            && self.standings == other.standings
            && self.sets.len() == other.sets.len()
            && self.sets.iter().zip(&other.sets).all(|(a, b)| same_set(a, b))
            && self.others.len() == other.others.len()
            && self
                .others
                .iter()
                .zip(&other.others)
                .all(|(a, b)| a.reason == b.reason && a.probation == b.probation && a.endpoint == b.endpoint)
    }
}

fn algorithm(configured: &Algorithm, tuning: &Tuning) -> Algorithm {
    match configured {
        Algorithm::Auto(auto) => {
            let first = || auto.allowed.iter().find(|each| crate::tuner::may_be_chosen(each)).cloned();
            tuning.chosen.clone().or_else(first).unwrap_or(Algorithm::LeastRequest { choices: 16 })
        }
        other => other.clone(),
    }
}

fn configured_weight(algorithm: &Algorithm, endpoint: &Endpoint) -> f64 {
    if *algorithm == Algorithm::RoundRobin { 1.0 } else { f64::from(endpoint.weight.max(1)) }
}

/// The backends that are in a panic, of all sets in order, each once.
pub(crate) fn panicking<'a>(sets: impl Iterator<Item = (&'a str, bool)>) -> Vec<String> {
    let mut found: Vec<_> = sets.filter(|(_, panic)| *panic).map(|(backend, _)| backend.to_owned()).collect();
    found.dedup();
    found
}

/// Whether too few of the endpoints that should serve can.
fn panics(threshold: u8, absences: impl Iterator<Item = Option<Absence>>) -> bool {
    let (mut all, mut serving) = (0_u64, 0_u64);
    for absence in absences {
        all += u64::from(!absence.is_some_and(Absence::keeps_sessions));
        serving += u64::from(absence.is_none());
    }
    serving * 100 < u64::from(threshold) * all
}

fn level(here: &Locality, endpoint: &Endpoint) -> usize {
    let same = |here: &Option<Place>, there: &Option<Arc<str>>| {
        here.as_ref().is_some_and(|here| Some(&here.name) == there.as_ref())
    };
    if same(&here.zone, &endpoint.zone) {
        0
    } else if same(&here.region, &endpoint.region) {
        1
    } else {
        2
    }
}

/// Divides a backend's traffic among the levels by Envoy's rule for priorities: each, the nearest first, takes as much
/// of what is left as it can. If all together can take less than everything, the shares are in proportion to what each
/// can. The last level has the overprovisioning factor of the one before it, and gives nothing away.
fn shares(
    locality: Option<&Locality>,
    members: [usize; LEVELS],
    counts: [f64; LEVELS],
    kept: Option<Kept>,
) -> [f64; LEVELS] {
    let Some(locality) = locality else { return [1.0; LEVELS] };
    let mut can = [0.0; LEVELS];
    let mut overprovisioning = 1.0;
    for (level, place) in locality.places().into_iter().enumerate() {
        overprovisioning = place.map_or(overprovisioning, |place| place.overprovisioning.max(1.0));
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 endpoints")]
        let part = members[level] as f64 / counts[level].max(1.0);
        let kept = kept.map_or(1.0, |kept| kept[level].clamp(0.01, 1.0));
        can[level] = (part * overprovisioning).min(kept);
    }
    let sum = can.iter().sum::<f64>();
    if sum < 1.0 {
        return can.map(|can| if sum > 0.0 { can / sum } else { 0.0 });
    }
    let mut left = 1.0;
    can.map(|can| {
        let takes = can.min(left);
        left -= takes;
        takes
    })
}
