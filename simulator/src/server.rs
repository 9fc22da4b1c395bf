//! What stands behind an endpoint: processor sharing, workers with a queue, or no limit at all; at a speed that may
//! change while requests are served.
//!
//! All that are served progress alike, so that a server keeps one virtual clock of the work done for each of them: a
//! request ends when that clock reaches what it showed at its beginning plus the request's work. A change of speed, or
//! of how many share the cores, only changes how fast the clock runs.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
};

use crate::number;

/// How requests share a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Discipline {
    /// All are served, each by its own core.
    Unlimited,
    /// All are served, each by at most one of so many cores; `contended` is what of them is left when there are more
    /// requests than cores.
    Sharing { cores: f64, contended: f64 },
    /// So many are served, the others wait in their order, at most `queue` of them.
    Workers { count: u32, queue: usize },
}

/// Name of a request at a server.
pub(crate) type JobId = u32;

/// A server and its requests.
#[derive(Debug)]
pub(crate) struct Server {
    discipline: Discipline,
    speed: f64,
    served: BinaryHeap<Reverse<Job>>,
    waiting: VecDeque<(JobId, f64)>,
    /// Work in nanoseconds that each request served since the beginning would have got.
    clock: f64,
    /// Of real time.
    rate: f64,
    at: u64,
    /// Requests that came while it did not answer, and that no deadline has ended yet.
    hanging: usize,
    usage: Usage,
}

/// What a server says of its load.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Nanoseconds of all cores.
    busy: f64,
    completed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    ends: f64,
    id: JobId,
}

impl Server {
    pub(crate) const fn new(discipline: Discipline, now: u64) -> Self {
        Self {
            discipline,
            speed: 1.0,
            served: BinaryHeap::new(),
            waiting: VecDeque::new(),
            clock: 0.0,
            rate: 1.0,
            at: now,
            hanging: 0,
            usage: Usage { busy: 0.0, completed: 0 },
        }
    }

    /// Requests here, waiting ones among them, but none that hang.
    pub(crate) fn in_flight(&self) -> usize {
        self.served.len() + self.waiting.len()
    }

    /// A request comes that gets no answer: no work, but in flight.
    pub(crate) const fn hang(&mut self) {
        self.hanging += 1;
    }

    /// Its client gives up on it.
    pub(crate) const fn let_go(&mut self) {
        self.hanging -= 1;
    }

    /// Those that hang.
    pub(crate) const fn hanging(&self) -> usize {
        self.hanging
    }

    /// When the next request ends; `u64::MAX` if none does.
    pub(crate) fn next_end(&self) -> u64 {
        let Some(Reverse(job)) = self.served.peek() else { return u64::MAX };
        if self.rate <= 0.0 {
            return u64::MAX;
        }
        self.at.saturating_add(number::up((job.ends - self.clock).max(0.0) / self.rate))
    }

    /// Takes a request of so many nanoseconds of work. Whether there was room.
    pub(crate) fn accept(&mut self, id: JobId, work: f64, now: u64) -> bool {
        self.advance(now);
        match self.discipline {
            Discipline::Workers { count, queue } if self.served.len() >= count as usize => {
                if self.waiting.len() >= queue {
                    return false;
                }
                self.waiting.push_back((id, work));
            }
            _ => self.begin(id, work),
        }
        true
    }

    /// Ends the request whose time has come.
    pub(crate) fn end(&mut self, now: u64) -> Option<JobId> {
        self.advance(now);
        let Reverse(job) = self.served.pop()?;
        self.usage.completed += 1;
        self.refill();
        Some(job.id)
    }

    /// Drops a request. O(n).
    pub(crate) fn cancel(&mut self, id: JobId, now: u64) {
        self.advance(now);
        let before = self.served.len();
        self.served.retain(|Reverse(job)| job.id != id);
        if self.served.len() == before {
            self.waiting.retain(|(waiting, _)| *waiting != id);
        }
        self.refill();
    }

    /// Changes how fast work is done.
    pub(crate) fn set_speed(&mut self, speed: f64, now: u64) {
        self.advance(now);
        self.speed = speed;
        self.settle();
    }

    /// Changes what there is of cores.
    pub(crate) fn set_discipline(&mut self, discipline: Discipline, now: u64) {
        self.advance(now);
        self.discipline = discipline;
        self.refill();
    }

    /// Requests completed and nanoseconds of work done since the last call.
    pub(crate) fn take_usage(&mut self, now: u64) -> (u64, f64) {
        self.advance(now);
        let usage = std::mem::take(&mut self.usage);
        (usage.completed, usage.busy)
    }

    fn begin(&mut self, id: JobId, work: f64) {
        self.served.push(Reverse(Job { ends: self.clock + work, id }));
        self.settle();
    }

    fn refill(&mut self) {
        if let Discipline::Workers { count, .. } = self.discipline {
            while self.served.len() < count as usize {
                let Some((id, work)) = self.waiting.pop_front() else { break };
                self.served.push(Reverse(Job { ends: self.clock + work, id }));
            }
        }
        self.settle();
    }

    fn advance(&mut self, now: u64) {
        let passed = now.saturating_sub(self.at) as f64;
        self.clock += passed * self.rate;
        self.usage.busy += passed * self.rate / self.speed.max(1e-9) * self.served.len() as f64;
        self.at = self.at.max(now);
    }

    fn settle(&mut self) {
        let served = self.served.len() as f64;
        let share = match self.discipline {
            Discipline::Sharing { cores, contended } if served > cores => cores * contended / served,
            _ => 1.0,
        };
        self.rate = self.speed * share;
    }
}

impl PartialEq for Job {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Job {}

impl PartialOrd for Job {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Job {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ends.total_cmp(&other.ends).then(self.id.cmp(&other.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests as (time, work), changes of speed as (time, speed); when each ends.
    fn check(discipline: Discipline, requests: &[(u64, f64)], speeds: &[(u64, f64)], expect: &[(u32, u64)]) {
        let mut server = Server::new(discipline, 0);
        let mut ends = Vec::new();
        let mut until = |server: &mut Server, time: u64| {
            while server.next_end() <= time {
                let at = server.next_end();
                if at == u64::MAX {
                    break;
                }
                ends.push((server.end(at).unwrap(), at));
            }
        };
        let mut steps: Vec<_> =
            requests.iter().enumerate().map(|(id, (at, work))| (*at, Ok((id, *work)))).collect();
        steps.extend(speeds.iter().map(|(at, speed)| (*at, Err(*speed))));
        steps.sort_by_key(|(at, _)| *at);
        for (at, step) in steps {
            until(&mut server, at);
            match step {
                Ok((id, work)) => _ = server.accept(number::small(id), work, at),
                Err(speed) => server.set_speed(speed, at),
            }
        }
        until(&mut server, u64::MAX);
        assert_eq!(ends, expect);
    }

    #[test]
    fn without_limit_each_has_a_core() {
        check(Discipline::Unlimited, &[(0, 100.0), (10, 50.0)], &[], &[(1, 60), (0, 100)]);
    }

    #[test]
    fn sharing_slows_only_when_cores_are_short() {
        let two = Discipline::Sharing { cores: 2.0, contended: 1.0 };
        check(two, &[(0, 100.0), (0, 100.0)], &[], &[(0, 100), (1, 100)]);
        // Four share two cores: half speed.
        check(two, &[(0, 100.0); 4], &[], &[(0, 200), (1, 200), (2, 200), (3, 200)]);
        let contended = Discipline::Sharing { cores: 1.0, contended: 0.5 };
        check(contended, &[(0, 100.0), (0, 100.0)], &[], &[(0, 400), (1, 400)]);
    }

    #[test]
    fn workers_take_one_after_the_other() {
        let one = Discipline::Workers { count: 1, queue: 8 };
        check(one, &[(0, 100.0), (10, 50.0), (20, 10.0)], &[], &[(0, 100), (1, 150), (2, 160)]);
        let two = Discipline::Workers { count: 2, queue: 8 };
        check(two, &[(0, 100.0), (10, 50.0), (20, 10.0)], &[], &[(1, 60), (2, 70), (0, 100)]);
    }

    #[test]
    fn a_full_queue_takes_no_more() {
        let one = Discipline::Workers { count: 1, queue: 1 };
        check(one, &[(0, 100.0), (10, 50.0), (20, 10.0)], &[], &[(0, 100), (1, 150)]);
    }

    #[test]
    fn speed_counts_for_what_is_under_way() {
        check(Discipline::Unlimited, &[(0, 100.0)], &[(50, 0.5)], &[(0, 150)]);
        check(Discipline::Unlimited, &[(0, 100.0)], &[(50, 0.0), (70, 2.0)], &[(0, 95)]);
    }

    #[test]
    fn what_would_take_for_ever_does_not_end() {
        check(Discipline::Unlimited, &[(5, 100.0)], &[(5, 1e-300)], &[]);
        check(Discipline::Unlimited, &[(5, f64::INFINITY)], &[], &[]);
    }

    #[test]
    fn what_is_cancelled_makes_room() {
        let mut server = Server::new(Discipline::Workers { count: 1, queue: 8 }, 0);
        (0..3).for_each(|id| assert!(server.accept(id, 100.0, 0)));
        server.cancel(1, 10);
        assert_eq!((server.in_flight(), server.next_end()), (2, 100));
        server.cancel(0, 50);
        assert_eq!((server.in_flight(), server.next_end()), (1, 150));
        assert_eq!(server.take_usage(50), (0, 50.0));
    }
}
