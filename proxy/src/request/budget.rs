//! How many retries a pool may make: a part of its requests, and some whatever their number, so that retries do not
//! bury endpoints that are in trouble.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use evenkeel_api::object::{RequestRate, RetryBudget};
use evenkeel_balance::Time;

/// Parts of an interval that are counted apart.
const PARTS: usize = 10;

/// What a pool has spent, shared by all threads. Survives pushes that leave its rules alone.
#[derive(Debug)]
pub(crate) struct Budget {
    rules: (RetryBudget, RequestRate),
    requests: Window,
    /// Those within the budget's interval, and those within the rate's. Locked, so that to look and to count are one
    /// step.
    retries: Mutex<(Window, Window)>,
}

impl Budget {
    pub(crate) fn new(budget: RetryBudget, rate: RequestRate) -> Self {
        let of_budget = || Window::new(budget.interval.into());
        let retries = Mutex::new((of_budget(), Window::new(rate.interval.into())));
        Self { rules: (budget, rate), requests: of_budget(), retries }
    }

    /// Whether it is by these rules.
    pub(crate) fn is_by(&self, budget: RetryBudget, rate: RequestRate) -> bool {
        self.rules == (budget, rate)
    }

    /// A request has come.
    pub(crate) fn requested(&self, now: Time) {
        self.requests.add(now);
    }

    /// Takes a retry, if there is one to be had.
    pub(crate) fn take(&self, now: Time) -> bool {
        let retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        let (by_share, by_rate) = &*retries;
        let (budget, rate) = self.rules;
        let share = self.requests.sum(now).saturating_mul(budget.percent.into()) / 100;
        let free = by_share.sum(now) < share || by_rate.sum(now) < rate.count.into();
        if free {
            by_share.add(now);
            by_rate.add(now);
        }
        free
    }

    /// Puts a retry back that was taken just now and is not made.
    pub(crate) fn give_back(&self, now: Time) {
        let retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        let (by_share, by_rate) = &*retries;
        by_share.remove(now);
        by_rate.remove(now);
    }
}

/// How often something happened within the last interval, to a part of it.
#[derive(Debug)]
struct Window {
    part_nanos: u64,
    parts: [Part; PARTS],
}

#[derive(Debug, Default)]
struct Part {
    /// Which part of all time this counts, from 1.
    number: AtomicU64,
    count: AtomicU64,
}

impl Window {
    fn new(interval: Duration) -> Self {
        let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Self { part_nanos: (nanos / PARTS as u64).max(1), parts: Default::default() }
    }

    fn number(&self, now: Time) -> u64 {
        now.as_nanos() / self.part_nanos + 1
    }

    #[expect(clippy::cast_possible_truncation, reason = "below the number of parts")]
    const fn part(&self, number: u64) -> &Part {
        &self.parts[(number % PARTS as u64) as usize]
    }

    /// Threads that begin a part together may lose a few counts of each other's, and no more.
    fn add(&self, now: Time) {
        let number = self.number(now);
        let part = self.part(number);
        let found = part.number.load(Relaxed);
        if found != number && part.number.compare_exchange(found, number, Relaxed, Relaxed).is_ok() {
            part.count.store(0, Relaxed);
        }
        part.count.fetch_add(1, Relaxed);
    }

    /// Takes one off the present part; none if that has just begun.
    fn remove(&self, now: Time) {
        let number = self.number(now);
        let part = self.part(number);
        if part.number.load(Relaxed) == number {
            let _none = part.count.fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
        }
    }

    fn sum(&self, now: Time) -> u64 {
        let number = self.number(now);
        let lately = |part: &&Part| {
            number.checked_sub(part.number.load(Relaxed)).is_some_and(|ago| ago < PARTS as u64)
        };
        self.parts.iter().filter(lately).map(|part| part.count.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn budget(percent: u8, count: u32) -> Budget {
        let budget = RetryBudget { percent, ..RetryBudget::default() };
        Budget::new(budget, RequestRate { count, ..RequestRate::default() })
    }

    /// How many retries there are to be had at a time.
    fn check(budget: &Budget, millis: u64, expect: usize) {
        assert_eq!((0..1_000).take_while(|_| budget.take(at(millis))).count(), expect, "at {millis} ms");
    }

    #[test]
    fn a_part_of_the_requests_may_be_retries() {
        let budget = budget(20, 0);
        check(&budget, 0, 0);
        (0..100).for_each(|n| budget.requested(at(n)));
        check(&budget, 100, 20);
        (0..50).for_each(|n| budget.requested(at(5_000 + n)));
        check(&budget, 5_100, 10);
        // The first hundred are forgotten, and the retries with them.
        check(&budget, 10_900, 0);
        (0..50).for_each(|n| budget.requested(at(11_000 + n)));
        check(&budget, 11_100, 10);
    }

    #[test]
    fn some_are_allowed_whatever_the_number_of_requests() {
        let budget = budget(20, 3);
        check(&budget, 0, 3);
        check(&budget, 900, 0);
        check(&budget, 1_000, 3);
        (0..100).for_each(|n| budget.requested(at(1_000 + n)));
        check(&budget, 1_200, 14);
    }

    #[test]
    fn what_is_not_made_can_be_taken_again() {
        let budget = budget(0, 1);
        assert!(budget.take(at(0)) && !budget.take(at(1)));
        budget.give_back(at(2));
        check(&budget, 3, 1);
    }

    #[test]
    fn without_any_there_is_none() {
        let budget = budget(0, 0);
        (0..100).for_each(|n| budget.requested(at(n)));
        check(&budget, 200, 0);
    }
}
