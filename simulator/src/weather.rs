//! What changes servers while requests come: noise, spare capacity that moves, slowness, faults, and how fast the new
//! ones get warm. It turns a case into servers and a list of moments; the engine asks it what to do at each.

use evenkeel_balance::EndpointId;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    scenario::{Case, Effect, Group, Kind},
    server::Discipline,
    service,
};

/// Steps in which a new server gets warm.
const RAMP_STEP: u64 = 500_000_000;

/// What the engine is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    /// Another factor of noise.
    Noise(usize),
    /// Two servers swap their spare capacity.
    Swap,
    /// A change begins.
    Begin(usize),
    /// A change ends.
    End(usize),
    /// A server gets warmer.
    Ramp(usize),
}

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// After the work.
    Well,
    /// With an error after so many nanoseconds.
    Fails(u64),
    Never,
}

/// A server's present.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Number of the endpoint whose place it has.
    pub(crate) number: usize,
    /// How often the place was taken before.
    round: u32,
    pub(crate) id: EndpointId,
    group: usize,
    /// Multiple of the cores allotted.
    pub(crate) spare: f64,
    noise: f64,
    /// Changes that it is under, in the order they began.
    under: Vec<usize>,
    slow: f64,
    pub(crate) answers: Answers,
    /// It has come, and none has its place.
    joined: bool,
    /// It is an endpoint.
    pub(crate) present: bool,
    pub(crate) born: u64,
    ramp: Option<(f64, u64)>,
}

/// What came of a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Met {
    /// Machines that changed.
    pub(crate) touched: Vec<usize>,
    /// Endpoints came or went.
    pub(crate) membership: bool,
    /// What follows, and when.
    pub(crate) follows: Vec<(u64, Moment)>,
}

/// All servers, and chance.
#[derive(Debug)]
pub(crate) struct Weather<'a> {
    case: &'a Case,
    pub(crate) machines: Vec<Machine>,
    /// The machine that has each number's place.
    pub(crate) places: Vec<usize>,
    rng: SmallRng,
}

impl<'a> Weather<'a> {
    pub(crate) fn new(case: &'a Case, seed: u64) -> Self {
        let mut machines = Vec::new();
        for (index, group) in case.endpoints.iter().enumerate() {
            for place in 0..group.count {
                let mut machine = Machine::new(machines.len(), 0, index);
                machine.spare = spare(group, place);
                machines.push(machine);
            }
        }
        for change in case.changes.iter().filter(|change| matches!(change.effect, Effect::Join { .. })) {
            for number in &change.endpoints {
                (machines[*number].joined, machines[*number].present) = (false, false);
            }
        }
        let places = (0..machines.len()).collect();
        Self { case, machines, places, rng: SmallRng::seed_from_u64(seed) }
    }

    /// What happens first; the rest follows from it.
    pub(crate) fn first(&mut self) -> Vec<(u64, Moment)> {
        let noisy = (0..self.machines.len()).filter(|index| self.group(*index).noise.is_some());
        let mut moments: Vec<_> = noisy.map(|index| (0, Moment::Noise(index))).collect();
        moments.extend(self.case.swap_spare.map(|span| (span.0, Moment::Swap)));
        for (index, change) in self.case.changes.iter().enumerate() {
            moments.push((change.at.0, Moment::Begin(index)));
        }
        moments
    }

    /// Does it.
    pub(crate) fn meet(&mut self, moment: Moment, now: u64) -> Met {
        match moment {
            Moment::Noise(index) => {
                let Some(noise) = self.case.endpoints[self.machines[index].group].noise.as_ref() else {
                    return Met::default();
                };
                let factor = noise.factors[self.rng.random_range(0..noise.factors.len())];
                self.machines[index].noise =
                    factor.from + self.rng.random::<f64>() * (factor.to - factor.from);
                let next = now + service::evenly(noise.every_from, noise.every_to, &mut self.rng);
                Met::of(vec![index], Some((next, moment)))
            }
            Moment::Swap => {
                let (a, b) = self.pair();
                let spare = self.machines[a].spare;
                self.machines[a].spare = std::mem::replace(&mut self.machines[b].spare, spare);
                Met::of(vec![a, b], self.case.swap_spare.map(|span| (now + span.0, moment)))
            }
            Moment::Begin(index) => self.begin(index, now),
            Moment::End(index) => self.end(index, now),
            Moment::Ramp(index) => {
                let machine = &self.machines[index];
                let warm = machine.ramp.is_none_or(|(_, over)| now - machine.born >= over);
                Met::of(vec![index], (!warm).then_some((now + RAMP_STEP, moment)))
            }
        }
    }

    /// Work per real time of a machine.
    pub(crate) fn speed(&self, index: usize, now: u64) -> f64 {
        let machine = &self.machines[index];
        let ramp = machine.ramp.map_or(1.0, |(from, over)| {
            let part = (now - machine.born) as f64 / (over as f64).max(1.0);
            from + (1.0 - from) * part.min(1.0)
        });
        self.group(index).speed * machine.noise / machine.slow * ramp
    }

    /// How requests share a machine.
    pub(crate) fn discipline(&self, index: usize) -> Discipline {
        match self.group(index).server {
            Kind::Unlimited {} => Discipline::Unlimited,
            Kind::Workers { count, queue } => {
                Discipline::Workers { count, queue: queue.unwrap_or(usize::MAX) }
            }
            Kind::Sharing { cores, .. } => {
                let spare = self.machines[index].spare;
                let contended = if spare > 0.0 { 1.0 } else { self.case.contended };
                Discipline::Sharing { cores: cores * (1.0 + spare), contended }
            }
        }
    }

    /// Cores that count as all of them in what it says of its utilization; `None` of one without limit.
    pub(crate) fn allotted(&self, index: usize) -> Option<f64> {
        match self.group(index).server {
            Kind::Unlimited {} => None,
            Kind::Workers { count, .. } => Some(f64::from(count)),
            Kind::Sharing { cores, .. } => Some(cores),
        }
    }

    pub(crate) fn weight(&self, index: usize) -> u32 {
        self.group(index).weight
    }

    fn group(&self, index: usize) -> &Group {
        &self.case.endpoints[self.machines[index].group]
    }

    /// Two machines at random, of which there may be only one.
    fn pair(&mut self) -> (usize, usize) {
        let count = self.machines.len();
        let a = self.rng.random_range(0..count);
        let b = self.rng.random_range(0..count.max(2) - 1);
        (a, if b >= a { (b + 1).min(count - 1) } else { b })
    }

    fn begin(&mut self, index: usize, now: u64) -> Met {
        let change = &self.case.changes[index];
        let mut met = Met::default();
        for number in &change.endpoints {
            met.membership |= self.change(*number, index, now);
            let place = self.places[*number];
            met.touched.push(place);
            if self.machines[place].ramp.is_some_and(|_| self.machines[place].born == now) {
                met.follows.push((now + RAMP_STEP, Moment::Ramp(place)));
            }
        }
        let until = change.until.map(|until| until.0);
        let off = change.flap.map(|flap| now + flap.0).into_iter().chain(until).min();
        met.follows.extend(off.map(|at| (at, Moment::End(index))));
        met
    }

    /// Whether endpoints came or went.
    fn change(&mut self, number: usize, index: usize, now: u64) -> bool {
        let effect = &self.case.changes[index].effect;
        let place = self.places[number];
        let machine = &mut self.machines[place];
        match effect {
            Effect::Join { from, over } => {
                let leaves = |index: &usize| matches!(self.case.changes[*index].effect, Effect::Leave {});
                machine.under.retain(|index| !leaves(index));
                (machine.joined, machine.born, machine.ramp) = (true, now, Some((*from, over.0)));
            }
            Effect::Replace { from, over } => {
                let mut new = Machine::new(number, machine.round + 1, machine.group);
                machine.joined = false;
                new.spare = machine.spare;
                (new.born, new.ramp) = (now, Some((*from, over.0)));
                self.places[number] = self.machines.len();
                self.machines.push(new);
            }
            _ if machine.under.contains(&index) => {}
            _ => machine.under.push(index),
        }
        self.settle(place);
        matches!(effect, Effect::Leave {} | Effect::Join { .. } | Effect::Replace { .. })
    }

    /// What follows for a machine from all the changes that it is under: one that ends leaves the others as they are.
    fn settle(&mut self, place: usize) {
        let machine = &mut self.machines[place];
        (machine.slow, machine.answers, machine.present) = (1.0, Answers::Well, machine.joined);
        for index in &machine.under {
            match self.case.changes[*index].effect {
                Effect::Slow { times } => machine.slow *= times,
                Effect::Fail { after } if machine.answers != Answers::Never => {
                    machine.answers = Answers::Fails(after.0);
                }
                Effect::Dead {} => machine.answers = Answers::Never,
                Effect::Leave {} => machine.present = false,
                Effect::Fail { .. } | Effect::Join { .. } | Effect::Replace { .. } => {}
            }
        }
    }

    fn end(&mut self, index: usize, now: u64) -> Met {
        let change = &self.case.changes[index];
        let mut met = Met { membership: matches!(change.effect, Effect::Leave {}), ..Met::default() };
        for number in &change.endpoints {
            let place = self.places[*number];
            self.machines[place].under.retain(|under| *under != index);
            self.settle(place);
            met.touched.push(place);
        }
        let again = change.flap.map(|flap| now + flap.0);
        let again = again.filter(|at| change.until.is_none_or(|until| *at < until.0));
        met.follows.extend(again.map(|at| (at, Moment::Begin(index))));
        met
    }
}

impl Met {
    fn of(touched: Vec<usize>, follows: Option<(u64, Moment)>) -> Self {
        Self { touched, membership: false, follows: follows.into_iter().collect() }
    }
}

impl Machine {
    fn new(number: usize, round: u32, group: usize) -> Self {
        Self {
            number,
            round,
            id: format!("e{number}.{round}").as_str().into(),
            group,
            spare: 0.0,
            noise: 1.0,
            under: Vec::new(),
            slow: 1.0,
            answers: Answers::Well,
            joined: true,
            present: true,
            born: 0,
            ramp: None,
        }
    }
}

/// Spread evenly over the group.
fn spare(group: &Group, place: usize) -> f64 {
    let Kind::Sharing { spare, .. } = group.server else { return 0.0 };
    let part = place as f64 / (group.count.max(2) - 1) as f64;
    spare.from + (spare.to - spare.from) * part
}

#[cfg(test)]
mod tests;
