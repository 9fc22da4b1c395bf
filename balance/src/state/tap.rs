//! The tap: which requests came when, where they went and what became of them, for a pool that plays its stream again.
//!
//! Off, it costs a request one relaxed load. On, each worker writes down its requests until one of them has no room
//! left; then it is off for all, until it is opened again: a stretch without gaps, since the order of arrivals matters.
//! A request takes its place when it begins, so that a slow one is not left out; one that ends after its place was
//! taken anew is forgotten. No request allocates. Deliberately absent: keys, sessions and earlier attempts of a
//! request.

use std::sync::OnceLock;

use crate::{
    Outcome, Time,
    pick::Verdict,
    sync::{Acquire, AtomicBool, AtomicU32, AtomicU64, Line, Relaxed, Release},
    time::nanos,
};

/// Requests of a stretch, of all workers together; two stretches take 96 KiB.
pub(crate) const STRETCH: usize = 1024;

/// The tap of one pool.
#[derive(Debug)]
pub(crate) struct Tap {
    on: AtomicBool,
    /// By worker; made when the tap is first opened.
    rings: OnceLock<Box<[Line<Ring>]>>,
}

/// Where a request is written down; 0 if it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

impl Mark {
    /// It is not written down.
    pub(crate) const NONE: Self = Self(0);
}

/// A worker's requests: the stretch that is written and the one before.
#[derive(Debug)]
struct Ring {
    /// Places taken so far.
    taken: AtomicU64,
    /// Places that may be taken.
    limit: AtomicU64,
    /// Places read so far. The reader's alone.
    read: AtomicU64,
    slots: Box<[Slot]>,
}

/// A request, in 48 bytes.
#[derive(Debug)]
struct Slot {
    /// Number of the request that it is of; stored last, when that begins.
    place: AtomicU64,
    begun: AtomicU64,
    endpoint: AtomicU64,
    load: AtomicU32,
    /// While the request is under way, the time after which the endpoint began to answer; 0 as long as it has not.
    held: AtomicU64,
    /// Latency and verdict, [`packed`]; 0 while the request is under way. Stored last, when it ends.
    answer: AtomicU64,
}

/// A request as it was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tapped {
    pub(crate) begun: Time,
    /// [`EndpointState::number`](crate::EndpointState::number) of its endpoint.
    pub(crate) endpoint: u64,
    /// Requests in flight to the endpoint when it began, itself included.
    pub(crate) load: u32,
    /// How long it was in flight, in nanoseconds; if it still is, so far.
    pub(crate) held: u64,
    /// The latency of what counts as its answer, in nanoseconds; if there is none yet, at least so long. At most as
    /// long as it was in flight.
    pub(crate) latency: u64,
    /// `None` while it is in flight.
    pub(crate) verdict: Option<Verdict>,
}

impl Tap {
    pub(crate) const fn new(on: AtomicBool) -> Self {
        Self { on, rings: OnceLock::new() }
    }

    /// A request begins on `worker`, at the endpoint of this number and with so many in flight.
    #[inline]
    pub(crate) fn begin(&self, worker: usize, now: Time, at: impl FnOnce() -> (u64, u32)) -> Mark {
        if !self.on.load(Relaxed) {
            return Mark::NONE;
        }
        let (endpoint, load) = at();
        self.take_place(worker, endpoint, load, now)
    }

    /// The endpoint begins to answer a request that began on `worker`.
    #[inline]
    pub(crate) fn answered(&self, mark: Mark, worker: usize, now: Time) {
        if mark.0 > 0
            && let Some(slot) = self.ring(worker).map(|ring| ring.slot(mark.0))
            && slot.place.load(Acquire) == mark.0
        {
            let begun = Time::from_nanos(slot.begun.load(Relaxed));
            slot.held.store(nanos(now.since(begun)).max(1), Relaxed);
        }
    }

    /// A request ends that began on `worker`.
    #[inline]
    pub(crate) fn end(&self, mark: Mark, worker: usize, outcome: Option<&Outcome>, verdict: Verdict) {
        if mark.0 > 0 {
            self.write_end(mark.0, worker, outcome, verdict);
        }
    }

    /// Lets `workers` write down another stretch. What was not read yet stays.
    pub(crate) fn open(&self, workers: usize) {
        self.open_for(workers, STRETCH.div_ceil(workers.max(1)));
    }

    /// The same, of so many requests each.
    pub(super) fn open_for(&self, workers: usize, len: usize) {
        let rings =
            self.rings.get_or_init(|| (0..workers.max(1)).map(|_| Line(Ring::new(2 * len))).collect());
        for ring in rings {
            let (taken, read) = (ring.taken.load(Relaxed), ring.read.load(Relaxed));
            ring.limit.store((taken + len as u64).min(read + 2 * len as u64), Relaxed);
        }
        self.on.store(true, Relaxed);
    }

    /// What was not read yet is not read any more.
    pub(crate) fn forget(&self) {
        for ring in self.rings.get().into_iter().flatten() {
            ring.read.store(ring.taken.load(Relaxed), Relaxed);
        }
    }

    pub(crate) fn close(&self) {
        self.on.store(false, Relaxed);
    }

    /// A worker had no room left, or it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        !self.on.load(Relaxed)
    }

    /// Appends what began before `until` and was not read yet: of each worker a stretch at most, in the order of
    /// arrival.
    pub(crate) fn read(&self, until: Time, now: Time, into: &mut Vec<Tapped>) {
        for ring in self.rings.get().into_iter().flatten() {
            let read = ring.read.load(Relaxed);
            let taken = ring.taken.load(Relaxed).min(read + ring.slots.len() as u64 / 2);
            let mut next = read;
            while next < taken {
                match ring.slot(next + 1).read(next + 1, now) {
                    Read::Request(tapped) if tapped.begun >= until => break,
                    Read::Request(tapped) => into.push(tapped),
                    Read::Lost => {}
                    Read::Unwritten => break,
                }
                next += 1;
            }
            ring.read.store(next, Relaxed);
        }
        into.sort_by_key(|tapped| tapped.begun);
    }

    #[inline(never)]
    fn take_place(&self, worker: usize, endpoint: u64, load: u32, now: Time) -> Mark {
        let Some(ring) = self.ring(worker) else { return Mark::NONE };
        if ring.taken.load(Relaxed) >= ring.limit.load(Relaxed) {
            self.close();
            return Mark::NONE;
        }
        let place = ring.taken.fetch_add(1, Relaxed) + 1;
        let slot = ring.slot(place);
        slot.place.store(0, Relaxed);
        slot.answer.store(0, Release);
        slot.held.store(0, Relaxed);
        slot.begun.store(now.as_nanos(), Relaxed);
        slot.endpoint.store(endpoint, Relaxed);
        slot.load.store(load, Relaxed);
        slot.place.store(place, Release);
        Mark(place)
    }

    #[inline(never)]
    fn write_end(&self, place: u64, worker: usize, outcome: Option<&Outcome>, verdict: Verdict) {
        let Some(slot) = self.ring(worker).map(|ring| ring.slot(place)) else { return };
        if slot.place.load(Acquire) != place {
            return;
        }
        let begun = Time::from_nanos(slot.begun.load(Relaxed));
        let (held, latency) =
            outcome.map_or((0, 0), |outcome| (nanos(outcome.now.since(begun)), nanos(outcome.latency)));
        slot.held.store(held.max(latency), Relaxed);
        slot.answer.store(packed(latency, verdict), Release);
    }

    fn ring(&self, worker: usize) -> Option<&Ring> {
        let rings = self.rings.get()?;
        Some(&rings[super::wrapped(worker, rings.len())])
    }
}

/// What there is at a place.
enum Read {
    Request(Tapped),
    /// The one who took it has not written yet.
    Unwritten,
    /// Another one took it: two threads that share a worker's number may pass the limit.
    Lost,
}

impl Ring {
    fn new(len: usize) -> Self {
        let zero = || AtomicU64::new(0);
        let slots = std::iter::repeat_with(Slot::new).take(len).collect();
        Self { taken: zero(), limit: zero(), read: zero(), slots }
    }

    fn slot(&self, place: u64) -> &Slot {
        #[expect(clippy::cast_possible_truncation, reason = "below the number of slots")]
        let index = (place % self.slots.len() as u64) as usize;
        &self.slots[index]
    }
}

impl Slot {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            place: zero(),
            begun: zero(),
            endpoint: zero(),
            load: AtomicU32::new(0),
            held: zero(),
            answer: zero(),
        }
    }

    fn read(&self, place: u64, now: Time) -> Read {
        let found = self.place.load(Acquire);
        if found != place {
            return if found > place { Read::Lost } else { Read::Unwritten };
        }
        let answer = self.answer.load(Acquire);
        let begun = Time::from_nanos(self.begun.load(Relaxed));
        let age = nanos(now.since(begun));
        let under_way = answer == 0;
        let held = self.held.load(Relaxed);
        let so_far = if held > 0 { held.min(age) } else { age };
        Read::Request(Tapped {
            begun,
            endpoint: self.endpoint.load(Relaxed),
            load: self.load.load(Relaxed),
            held: if under_way { age } else { held },
            latency: if under_way { so_far } else { answer >> 3 },
            verdict: verdict(answer),
        })
    }
}

/// Latencies up to 73 years, and a verdict.
const fn packed(latency: u64, verdict: Verdict) -> u64 {
    let code = match verdict {
        Verdict::Good => 1,
        Verdict::Neutral => 2,
        Verdict::Overloaded => 3,
        Verdict::ServerError => 4,
        Verdict::GatewayError => 5,
        Verdict::Cancelled => 6,
    };
    latency << 3 | code
}

const fn verdict(answer: u64) -> Option<Verdict> {
    match answer & 7 {
        1 => Some(Verdict::Good),
        2 => Some(Verdict::Neutral),
        3 => Some(Verdict::Overloaded),
        4 => Some(Verdict::ServerError),
        5 => Some(Verdict::GatewayError),
        6 => Some(Verdict::Cancelled),
        _ => None,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Status;

    const fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    /// Of so many requests by each of `workers`, one after the other, each a nanosecond after the last: which are
    /// written down.
    fn check(workers: usize, counts: &[u64], until: u64, expect: &[u64]) {
        let tap = Tap::new(AtomicBool::new(false));
        let (mut now, mut read) = (0, Vec::new());
        for count in counts {
            tap.open(workers);
            for _ in 0..*count {
                for worker in 0..workers {
                    let _ = tap.begin(worker, at(now), || (7, 1));
                }
                now += 1;
            }
            let mut some = Vec::new();
            tap.read(at(until), at(now), &mut some);
            read.extend(
                some.iter().filter(|tapped| tapped.endpoint == 7).map(|tapped| tapped.begun.as_nanos()),
            );
        }
        assert_eq!(read, expect);
    }

    #[test]
    fn the_first_of_each_stretch_are_written_down_and_read_once() {
        let len = STRETCH as u64;
        check(1, &[3, 2], 9, &[0, 1, 2, 3, 4]);
        check(1, &[3, 2], 4, &[0, 1, 2, 3]);
        check(1, &[len + 5, 2], u64::MAX, &[(0..len).collect::<Vec<_>>(), vec![len + 5, len + 6]].concat());
        check(2, &[2], u64::MAX, &[0, 0, 1, 1]);
        // What is not read is not written over: from the third stretch on there is no room.
        check(1, &[len, len, len], 0, &[]);
        check(1, &[len, len, len, 0, 0], len, &(0..len).collect::<Vec<_>>());
    }

    #[test]
    fn it_closes_when_a_worker_has_no_room_and_forgets_what_was_not_read() {
        let tap = Tap::new(AtomicBool::new(false));
        tap.open(1);
        for _ in 0..STRETCH {
            assert_ne!(tap.begin(0, at(1), || (7, 1)), Mark::NONE);
        }
        assert!(!tap.is_closed(), "the last one had room");
        assert_eq!(tap.begin(0, at(1), || (7, 1)), Mark::NONE);
        assert!(tap.is_closed());
        tap.forget();
        let mut read = Vec::new();
        tap.read(at(9), at(9), &mut read);
        assert_eq!(read, []);
    }

    #[test]
    fn what_became_of_a_request_goes_to_its_place() {
        let tap = Tap::new(AtomicBool::new(false));
        assert_eq!(tap.begin(0, at(0), || (1, 1)), Mark::NONE, "closed");
        tap.open(1);
        let places: Vec<_> = (1..=3).map(|begun| tap.begin(0, at(begun), || (begun, 2))).collect();
        let outcome = |latency| Outcome::new(Status::Answered(200), at(11), Duration::from_nanos(latency));
        tap.end(places[0], 0, Some(&outcome(4)), Verdict::Good);
        tap.answered(places[1], 0, at(9));
        tap.end(places[2], 0, None, Verdict::Cancelled);
        let mut read = Vec::new();
        tap.read(at(9), at(20), &mut read);
        let found: Vec<_> = read.iter().map(|each| (each.held, each.latency, each.verdict)).collect();
        let expect = [(10, 4, Some(Verdict::Good)), (18, 7, None), (0, 0, Some(Verdict::Cancelled))];
        assert_eq!(found, expect);
        // One that ends after its place was taken anew.
        (0..2).for_each(|_| {
            tap.open(1);
            for _ in 0..STRETCH {
                let _ = tap.begin(0, at(30), || (9, 1));
            }
            tap.read(at(31), at(31), &mut read);
        });
        tap.open(1);
        tap.begin(0, at(40), || (9, 1));
        tap.begin(0, at(40), || (9, 1));
        tap.end(places[1], 0, Some(&outcome(5)), Verdict::Good);
        read.clear();
        tap.read(at(41), at(41), &mut read);
        assert!(read.iter().all(|each| each.verdict.is_none() && each.begun == at(40)));
    }
}
