//! The loop: the next of arrivals, queued events and servers' ends, until all requests have ended.
//!
//! Open loop: requests come whatever became of those before. The proxies run the code of the product under this clock.

mod setup;
mod stream;

use std::time::Duration;

use evenkeel_balance::{Guard, Key, LatencyEstimate, Outcome, ProbeAnswer, Query, Status, Time};
use slab::Slab;

use self::stream::{Arrival, Stream};
use crate::{
    entrant::BOUND,
    metrics::{Recorder, Run},
    number,
    outside::{Reports, Weigher},
    proxy::Proxy,
    queue::{Lane, Queue},
    race::Race,
    requests::{Request, Requests, Ticket},
    scenario::Case,
    server::Server,
    weather::{Answers, Moment, Weather},
};

/// Time between two looks at requests in flight.
pub(crate) const SAMPLE: u64 = 100_000_000;
/// Time after the last arrivals for which those under way are waited for.
const PATIENCE: u64 = 3_600_000_000_000;
/// Marks the name of a probe among those of requests at a server.
const PROBE: u32 = 1 << 31;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A request comes to its machine.
    Arrived(Ticket),
    /// Its answer comes to its proxy.
    Answered(Ticket),
    /// An error does.
    Failed(Ticket),
    /// Its deadline.
    Late(Ticket),
    /// A probe comes to its machine.
    Asked {
        proxy: u32,
        machine: u32,
    },
    /// Its answer comes to its proxy.
    Told {
        proxy: u32,
        machine: u32,
        answer: ProbeAnswer,
    },
    Tick(u32),
    Weather(Moment),
    Sample,
    Reports,
    Weights,
}

#[derive(Debug)]
struct Lanes {
    there: Lane,
    back: Lane,
    late: Lane,
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct Engine<'a> {
    case: &'a Case,
    now: u64,
    end: u64,
    queue: Queue<Event>,
    lanes: Lanes,
    race: Race,
    servers: Vec<Server>,
    estimates: Vec<LatencyEstimate>,
    weather: Weather<'a>,
    proxies: Vec<Proxy>,
    requests: Requests,
    /// Proxy and machine of the probes that servers work on.
    probes: Slab<(u32, u32)>,
    stream: Stream,
    recorder: Recorder,
    reports: Option<Reports>,
    weigher: Option<Weigher>,
    /// Work of a probe.
    probe_work: f64,
    bounded: bool,
}

impl Engine<'_> {
    /// Runs to the end; what came of it, and the number of all requests.
    pub(crate) fn run(mut self) -> (Run, u64) {
        loop {
            let (queued, place) = self.queue.next();
            let (ends, machine) = self.race.first();
            let arrives = self.stream.next();
            let first = queued.min(ends).min(arrives);
            if arrives == u64::MAX && (self.requests.is_empty() || first > self.end + PATIENCE) {
                break;
            }
            self.now = first;
            if queued == first {
                if let Some(event) = self.queue.take(place) {
                    self.handle(event);
                }
            } else if ends == first {
                self.server_ends(machine);
            } else {
                let arrival = self.stream.take(self.proxies.len(), self.end);
                self.arrive(&arrival);
            }
        }
        // What has not ended by now counts as long as was waited for it.
        let waited = self.end + PATIENCE;
        self.requests.begun().for_each(|begun| self.recorder.failed(begun, waited, true));
        let mut run = self.recorder.finish(self.case.healed());
        run.figures.choice = self.proxies.first().and_then(Proxy::choice);
        run.figures.switches = self.proxies.iter().map(|proxy| proxy.switches).sum();
        (run, self.stream.taken())
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrived(ticket) => self.arrive_at_machine(ticket),
            Event::Answered(ticket) => self.answered(ticket),
            Event::Failed(ticket) => {
                if let Some((guard, request)) = self.requests.take(ticket) {
                    self.recorder.failed(request.begun, self.now, false);
                    self.fail(guard, &request, Status::Answered(503));
                }
            }
            Event::Late(ticket) => self.late(ticket),
            Event::Asked { proxy, machine } => self.asked(proxy, machine),
            Event::Told { proxy, machine, answer } => {
                let proxy = &mut self.proxies[proxy as usize];
                if let Some(index) = proxy.index(machine as usize) {
                    proxy.balancer.answer(0, index, answer, Time::from_nanos(self.now));
                }
            }
            Event::Tick(proxy) => {
                self.proxies[proxy as usize].tick(self.now);
                self.queue.push_at(self.now + self.case.tick.0, event);
            }
            Event::Weather(moment) => self.change(moment),
            Event::Sample => {
                for place in &self.weather.places {
                    let server = &self.servers[*place];
                    self.recorder.sample(server.in_flight() + server.hanging(), self.now);
                }
                self.queue.push_at(self.now + SAMPLE, event);
            }
            Event::Reports => {
                if let Some(reports) = &mut self.reports {
                    reports.refresh(&mut self.servers, &self.weather, self.now);
                    self.queue.push_at(self.now + Reports::EVERY, event);
                }
            }
            Event::Weights => {
                if let Some(weigher) = &mut self.weigher {
                    let weights = weigher.weigh(&mut self.servers, &self.weather, self.now);
                    for proxy in &mut self.proxies {
                        proxy.set(&self.weather, Some(&weights), self.now);
                    }
                    self.queue.push_at(self.now + weigher.every(), event);
                }
            }
        }
    }

    /// A request comes to a proxy.
    fn arrive(&mut self, arrival: &Arrival) {
        let now = self.now;
        let proxy = &mut self.proxies[arrival.proxy];
        let key = arrival.key.map(u64::to_le_bytes);
        let query =
            Query { key: key.as_ref().map(|key| Key::Bytes(key)), ..Query::at(Time::from_nanos(now), 0) };
        for index in proxy.balancer.to_probe(&mut proxy.rng).collect::<Vec<_>>() {
            let asked = Event::Asked {
                proxy: number::small(arrival.proxy),
                machine: number::small(proxy.machine(index)),
            };
            self.queue.push(self.lanes.there, now, asked);
        }
        let Some(pick) = proxy.balancer.pick(&query, &mut proxy.rng) else {
            self.recorder.refused(now);
            return;
        };
        if self.bounded {
            let has = proxy.state.endpoint(&pick.endpoint.id).in_flight();
            let room =
                (BOUND * proxy.state.in_flight() as f64 / proxy.balancer.endpoints().count() as f64).ceil();
            self.recorder.over_bound += u64::from(has as f64 > room.max(1.0));
        }
        let machine = proxy.machine(pick.index);
        self.recorder.sent(self.weather.machines[machine].number, now);
        let ticket = self.requests.add(Request {
            begun: now,
            work: arrival.work,
            machine: number::small(machine),
            guard: Some(pick.guard),
            ..Request::default()
        });
        self.queue.push(self.lanes.there, now, Event::Arrived(ticket));
        if self.case.deadline.is_some() {
            self.queue.push(self.lanes.late, now, Event::Late(ticket));
        }
    }

    fn arrive_at_machine(&mut self, ticket: Ticket) {
        let Some(request) = self.requests.of(ticket) else { return };
        let machine = request.machine as usize;
        let server = &mut self.servers[machine];
        match self.weather.machines[machine].answers {
            Answers::Never => {
                request.hangs = true;
                server.hang();
                return;
            }
            Answers::Fails(after) => {
                self.queue.push_at(self.now + after + self.case.network.0, Event::Failed(ticket));
                return;
            }
            Answers::Well => {}
        }
        request.load = number::small(server.in_flight() + 1);
        request.arrived = self.now;
        request.at_machine = server.accept(ticket.id, request.work, self.now);
        if !request.at_machine {
            self.queue.push_at(self.now + self.case.network.0, Event::Failed(ticket));
        }
        self.race.set(machine, server.next_end());
    }

    fn server_ends(&mut self, machine: usize) {
        let server = &mut self.servers[machine];
        let Some(id) = server.end(self.now) else { return };
        self.race.set(machine, server.next_end());
        if id & PROBE != 0 {
            let (proxy, machine) = self.probes.remove((id & !PROBE) as usize);
            self.tell(proxy, machine);
            return;
        }
        let (ticket, request) = self.requests.at(id);
        request.at_machine = false;
        if let Some(estimate) = self.estimates.get(machine) {
            estimate.record(request.load, (self.now - request.arrived) as f64, Time::from_nanos(self.now));
        }
        self.queue.push(self.lanes.back, self.now, Event::Answered(ticket));
    }

    fn answered(&mut self, ticket: Ticket) {
        let Some((mut guard, request)) = self.requests.take(ticket) else { return };
        let latency = Duration::from_nanos(self.now - request.begun);
        let mut outcome = Outcome::new(Status::Answered(200), Time::from_nanos(self.now), latency);
        outcome.load = self.reports.as_ref().and_then(|reports| reports.of(request.machine as usize));
        guard.set_outcome(outcome);
        self.recorder.answered(request.begun, self.now);
    }

    fn late(&mut self, ticket: Ticket) {
        let Some((guard, request)) = self.requests.take(ticket) else { return };
        self.recorder.failed(request.begun, self.now, true);
        let server = &mut self.servers[request.machine as usize];
        if request.hangs {
            server.let_go();
        }
        if request.at_machine {
            server.cancel(ticket.id, self.now);
            self.race.set(request.machine as usize, server.next_end());
        }
        self.fail(guard, &request, Status::Failed);
    }

    fn fail(&self, mut guard: Guard, request: &Request, status: Status) {
        let latency = Duration::from_nanos(self.now - request.begun);
        guard.set_outcome(Outcome::new(status, Time::from_nanos(self.now), latency));
    }

    fn asked(&mut self, proxy: u32, machine: u32) {
        match self.weather.machines[machine as usize].answers {
            Answers::Never => return,
            // What fails still says how busy it is: hardly.
            Answers::Fails(_) => return self.tell(proxy, machine),
            Answers::Well => {}
        }
        if self.probe_work <= 0.0 {
            return self.tell(proxy, machine);
        }
        let place = self.probes.insert((proxy, machine));
        let server = &mut self.servers[machine as usize];
        if server.accept(PROBE | number::small(place), self.probe_work, self.now) {
            self.race.set(machine as usize, server.next_end());
        } else {
            self.probes.remove(place);
        }
    }

    fn tell(&mut self, proxy: u32, machine: u32) {
        let in_flight = number::small(self.servers[machine as usize].in_flight());
        let now = Time::from_nanos(self.now);
        let estimate = self.estimates.get(machine as usize);
        let latency = estimate.and_then(|estimate| estimate.at(u64::from(in_flight) + 1, now)).unwrap_or(0.0);
        let answer = ProbeAnswer { in_flight, latency: Duration::from_nanos(number::whole(latency)) };
        self.queue.push(self.lanes.back, self.now, Event::Told { proxy, machine, answer });
    }

    fn change(&mut self, moment: Moment) {
        let met = self.weather.meet(moment, self.now);
        while self.servers.len() < self.weather.machines.len() {
            let discipline = self.weather.discipline(self.servers.len());
            self.servers.push(Server::new(discipline, self.now));
            if !self.estimates.is_empty() {
                self.estimates.push(LatencyEstimate::new());
            }
        }
        for machine in met.touched {
            let server = &mut self.servers[machine];
            server.set_discipline(self.weather.discipline(machine), self.now);
            server.set_speed(self.weather.speed(machine, self.now), self.now);
            self.race.set(machine, server.next_end());
        }
        if met.membership {
            for proxy in &mut self.proxies {
                proxy.set(&self.weather, None, self.now);
            }
        }
        for (at, moment) in met.follows {
            self.queue.push_at(at, Event::Weather(moment));
        }
    }
}
