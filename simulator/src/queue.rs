//! What happens when: FIFO lanes for events a constant time ahead, beside a heap for all others. A lane costs no
//! comparisons within itself, and most events of a simulation are a network's delay or a deadline ahead.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
};

/// Number of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane(usize);

/// Events in the order of their times; of equal times first by lane, then those of the heap, each in the order they
/// came.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    lanes: Vec<(u64, VecDeque<(u64, E)>)>,
    heap: BinaryHeap<Reverse<Timed<E>>>,
    pushed: u64,
}

#[derive(Debug)]
struct Timed<E> {
    at: u64,
    number: u64,
    event: E,
}

impl<E> Queue<E> {
    pub(crate) const fn new() -> Self {
        Self { lanes: Vec::new(), heap: BinaryHeap::new(), pushed: 0 }
    }

    /// A lane whose events happen `delay` nanoseconds after they are pushed.
    pub(crate) fn lane(&mut self, delay: u64) -> Lane {
        self.lanes.push((delay, VecDeque::new()));
        Lane(self.lanes.len() - 1)
    }

    /// Adds an event to a lane. `now` must not be before that of the lane's last one.
    pub(crate) fn push(&mut self, lane: Lane, now: u64, event: E) {
        let (delay, events) = &mut self.lanes[lane.0];
        events.push_back((now + *delay, event));
    }

    /// Adds an event at any time.
    pub(crate) fn push_at(&mut self, at: u64, event: E) {
        self.pushed += 1;
        self.heap.push(Reverse(Timed { at, number: self.pushed, event }));
    }

    /// When the next event happens, and where it is; `u64::MAX` if there is none.
    pub(crate) fn next(&self) -> (u64, Option<Lane>) {
        let mut first = (self.heap.peek().map_or(u64::MAX, |Reverse(timed)| timed.at), None);
        for (number, (_, events)) in self.lanes.iter().enumerate().rev() {
            if let Some((at, _)) = events.front().filter(|(at, _)| *at <= first.0) {
                first = (*at, Some(Lane(number)));
            }
        }
        first
    }

    /// Takes the event that [`Queue::next`] found.
    pub(crate) fn take(&mut self, place: Option<Lane>) -> Option<E> {
        match place {
            Some(lane) => self.lanes[lane.0].1.pop_front().map(|(_, event)| event),
            None => self.heap.pop().map(|Reverse(timed)| timed.event),
        }
    }
}

impl<E> PartialEq for Timed<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Timed<E> {}

impl<E> PartialOrd for Timed<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Timed<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(lane or heap, now or at)` in the order pushed, and the order in which they come out.
    fn check(pushed: &[(Option<usize>, u64)], expect: &[usize]) {
        let mut queue = Queue::new();
        let lanes = [queue.lane(10), queue.lane(3)];
        for (number, (lane, time)) in pushed.iter().enumerate() {
            match lane {
                Some(lane) => queue.push(lanes[*lane], *time, number),
                None => queue.push_at(*time, number),
            }
        }
        let mut order = Vec::new();
        let mut last = 0;
        loop {
            let (at, place) = queue.next();
            let Some(event) = queue.take(place) else { break };
            assert!(at >= last);
            last = at;
            order.push(event);
        }
        assert_eq!(order, expect);
    }

    #[test]
    fn events_come_in_order() {
        check(&[(Some(0), 0), (Some(1), 5), (None, 9), (None, 1)], &[3, 1, 2, 0]);
    }

    #[test]
    fn equal_times_come_as_they_were_pushed() {
        check(&[(None, 10), (Some(1), 7), (Some(0), 0), (None, 10), (Some(0), 0)], &[2, 4, 1, 0, 3]);
    }
}
