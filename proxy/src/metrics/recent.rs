//! What an endpoint did in about the last minute: how many requests, how many of them failed, and how long answers
//! took. In bounded memory, which is only taken once it has done something; every access is relaxed, since it only
//! informs.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use evenkeel_balance::Time;

/// Time that is counted apart.
const PART: Duration = Duration::from_secs(15);
/// How many parts count: the one that has begun, and those before it.
const PARTS: usize = 4;
/// Latencies below this, in microseconds, are not told apart, nor those above the second.
const LOWEST_LOG2: u32 = 6;
const HIGHEST_LOG2: u32 = 27;
/// Latencies told apart between one power of two and the next, so that none is off by more than an eighth.
const STEPS_LOG2: u32 = 3;
const BINS: usize = ((HIGHEST_LOG2 - LOWEST_LOG2) << STEPS_LOG2) as usize + 2;

/// What an endpoint did lately.
#[derive(Debug, Default)]
pub(crate) struct Recent(OnceLock<Box<[Part; PARTS]>>);

#[derive(Debug)]
struct Part {
    /// Which part of all time this counts, from 1.
    number: AtomicU64,
    failures: AtomicU32,
    /// Failures without an answer.
    unanswered: AtomicU32,
    answers: [AtomicU32; BINS],
}

/// The same, in figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// In milliseconds: the median, and what 95 and 99 of a hundred answers took at most; absent without an answer.
    pub(crate) quantiles_ms: Option<[f64; 3]>,
}

impl Recent {
    /// The longest time that counts.
    pub(crate) const SPAN: Duration = Duration::from_secs(PART.as_secs() * PARTS as u64);

    /// The endpoint has given the head of a response.
    pub(crate) fn answered(&self, latency: Duration, is_failure: bool, now: Time) {
        let part = self.part(now);
        part.answers[bin(latency)].fetch_add(1, Relaxed);
        // A write that changes nothing would still take the line from the other threads.
        if is_failure {
            part.failures.fetch_add(1, Relaxed);
        }
    }

    /// A response broke off that had counted as none that failed.
    pub(crate) fn broke(&self, now: Time) {
        self.part(now).failures.fetch_add(1, Relaxed);
    }

    /// It has given none.
    pub(crate) fn failed(&self, now: Time) {
        let part = self.part(now);
        part.failures.fetch_add(1, Relaxed);
        part.unanswered.fetch_add(1, Relaxed);
    }

    /// Nothing if it did nothing.
    pub(crate) fn summary(&self, now: Time) -> Option<Summary> {
        let number = number(now);
        let (mut failures, mut unanswered, mut counts) = (0, 0, [0_u64; BINS]);
        for part in self.0.get()?.iter() {
            let age = number.checked_sub(part.number.load(Relaxed));
            if age.is_none_or(|age| age >= PARTS as u64) {
                continue;
            }
            failures += u64::from(part.failures.load(Relaxed));
            unanswered += u64::from(part.unanswered.load(Relaxed));
            for (count, more) in counts.iter_mut().zip(&part.answers) {
                *count += u64::from(more.load(Relaxed));
            }
        }
        let answers: u64 = counts.iter().sum();
        let quantiles = [0.5, 0.95, 0.99].map(|part| quantile_micros(&counts, answers, part) / 1e3);
        (answers + unanswered > 0).then_some(Summary {
            requests: answers + unanswered,
            // What broke off may have begun in a part that counts no more.
            failures: failures.min(answers + unanswered),
            quantiles_ms: (answers > 0).then_some(quantiles),
        })
    }

    /// The part that counts now. Threads that begin it together may lose a few counts of each other's, and no more.
    fn part(&self, now: Time) -> &Part {
        let parts = self.0.get_or_init(|| Box::new(std::array::from_fn(|_| Part::new())));
        let number = number(now);
        #[expect(clippy::cast_possible_truncation, reason = "below the number of parts")]
        let part = &parts[(number % PARTS as u64) as usize];
        let found = part.number.load(Relaxed);
        if found != number && part.number.compare_exchange(found, number, Relaxed, Relaxed).is_ok() {
            part.answers
                .iter()
                .chain([&part.failures, &part.unanswered])
                .for_each(|count| count.store(0, Relaxed));
        }
        part
    }
}

impl Part {
    fn new() -> Self {
        let zero = || AtomicU32::new(0);
        let answers = std::array::from_fn(|_| zero());
        Self { number: AtomicU64::new(0), failures: zero(), unanswered: zero(), answers }
    }
}

fn number(now: Time) -> u64 {
    now.as_nanos() / u64::try_from(PART.as_nanos()).unwrap_or(u64::MAX) + 1
}

fn bin(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    let Some(log2) = micros.checked_ilog2().filter(|log2| *log2 >= LOWEST_LOG2) else { return 0 };
    if log2 >= HIGHEST_LOG2 {
        return BINS - 1;
    }
    let step = (micros >> (log2 - STEPS_LOG2)) & ((1 << STEPS_LOG2) - 1);
    1 + (((log2 - LOWEST_LOG2) as usize) << STEPS_LOG2) + usize::try_from(step).unwrap_or(0)
}

/// The lowest latency of a bin, in microseconds.
fn lowest(bin: usize) -> f64 {
    let Some(place) = bin.checked_sub(1) else { return 0.0 };
    let steps = 1_u64 << STEPS_LOG2;
    let (octave, step) = (place as u64 / steps, place as u64 % steps);
    #[expect(clippy::cast_precision_loss, reason = "below 2^28")]
    let lowest = ((steps + step) << octave << (LOWEST_LOG2 - STEPS_LOG2)) as f64;
    lowest
}

/// Within its bin, as if the latencies there were evenly spread.
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 answers")]
fn quantile_micros(counts: &[u64; BINS], answers: u64, part: f64) -> f64 {
    let wanted = answers as f64 * part;
    let mut before = 0.0;
    for (bin, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let count = *count as f64;
        if before + count >= wanted {
            let within = ((wanted - before) / count).clamp(0.0, 1.0);
            return lowest(bin) + within * (lowest(bin + 1) - lowest(bin));
        }
        before += count;
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn every_latency_lies_in_its_bin() {
        for micros in (0..1_000_000).step_by(37).chain([63, 64, 65, 134_217_727]) {
            let bin = bin(Duration::from_micros(micros));
            let (from, to) = (lowest(bin), lowest(bin + 1));
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let latency = micros as f64;
            assert!(
                (from..to).contains(&latency) && (bin == 0 || to / from <= 1.126),
                "{micros}: {from} to {to}"
            );
        }
        assert_eq!(bin(Duration::from_secs(600)), BINS - 1);
    }

    #[test]
    fn quantiles_are_close() {
        let recent = Recent::default();
        assert_eq!(recent.summary(at(1)), None);
        for millis in 1..=1_000 {
            recent.answered(Duration::from_millis(millis), millis > 990, at(1));
        }
        let Summary { requests, failures, quantiles_ms } = recent.summary(at(1)).unwrap();
        assert_eq!((requests, failures), (1_000, 10));
        for (found, expect) in quantiles_ms.unwrap().into_iter().zip([500.0, 950.0, 990.0]) {
            assert!((found / expect - 1.0_f64).abs() < 0.05, "{found} for {expect}");
        }
    }

    #[test]
    fn what_is_older_than_a_minute_is_forgotten() {
        let recent = Recent::default();
        recent.answered(Duration::from_millis(1), false, at(0));
        recent.failed(at(20));
        let requests =
            |seconds| recent.summary(at(seconds)).map(|summary| (summary.requests, summary.failures));
        assert_eq!((requests(20), requests(59)), (Some((2, 1)), Some((2, 1))));
        assert_eq!((requests(60), requests(75)), (Some((1, 1)), None));
        recent.answered(Duration::from_millis(1), false, at(61));
        assert_eq!(requests(61), Some((2, 1)));
    }
}
