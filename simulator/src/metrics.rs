//! What is measured of a run.

use serde::Serialize;

use crate::{histogram::Histogram, scenario::Figure};

/// What came of a run; where there was nothing to measure, it is no number.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Requests measured.
    pub requests: u64,
    /// Part of them that failed.
    pub errors: f64,
    /// Latencies in milliseconds, as clients see them; a request past its deadline counts as long as that.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// 99.9th percentile of requests in flight at an endpoint, over endpoints and time.
    pub in_flight: f64,
    /// Answers per second of the time measured.
    pub throughput: f64,
    /// Highest 99th percentile of a window in milliseconds.
    pub peak_p99: f64,
    /// Seconds after the last change ended until each of its endpoints had half of its fair share; of no account
    /// without one.
    #[serde(serialize_with = "crate::report::option")]
    pub recovery: Option<f64>,
    /// Requests of each endpoint, by number.
    pub counts: Vec<u64>,
    /// Picks after which an endpoint had more in flight than bounded load allows.
    pub over_bound: u64,
    /// Part of all keys whose endpoint changed when one was removed; the worst removal.
    pub moved: Option<f64>,
    /// The same of keys whose endpoint stayed.
    pub strays: Option<f64>,
    /// What Auto stood for in the end, and why.
    pub choice: Option<String>,
    /// How often Auto chose anew, all proxies together.
    pub switches: u32,
    /// Requests simulated in a second of this machine: no part of what a seed determines.
    #[serde(skip)]
    pub speed: f64,
}

/// A window of a run.
#[derive(Clone, Debug, Default, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// Its end, in seconds from the start.
    pub end: f64,
    /// 99th percentile of what ended in it, in milliseconds.
    pub p99: f64,
    /// Requests sent to each endpoint in it.
    pub counts: Vec<u32>,
}

/// A run: its figures, and what charts are drawn from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    /// The figures.
    pub figures: Figures,
    /// Over time, warm-up included.
    pub windows: Vec<Window>,
    /// Requests in flight at an endpoint: its quantiles from 0 to 1 in steps of a hundredth.
    pub in_flight: Vec<f64>,
}

impl Figures {
    /// A figure by its name in scenarios; NaN if the run has none.
    #[must_use]
    pub fn figure(&self, figure: Figure) -> f64 {
        let total = self.counts.iter().sum::<u64>() as f64;
        let mean = total / self.counts.len().max(1) as f64;
        // Of no requests, not even nothing can be said.
        let of_some = |figure: f64| if self.requests == 0 { f64::NAN } else { figure };
        let counts = || self.counts.iter().map(|count| *count as f64);
        match figure {
            Figure::P50 => self.p50,
            Figure::P99 => self.p99,
            Figure::P999 => self.p999,
            Figure::Errors => self.errors,
            Figure::InFlight => self.in_flight,
            Figure::Throughput => of_some(self.throughput),
            Figure::PeakP99 => self.peak_p99,
            Figure::Recovery => self.recovery.unwrap_or(f64::NAN),
            Figure::LargestShare => counts().fold(0.0, f64::max) / mean,
            Figure::Deviation => of_some(counts().map(|count| (count - mean).abs()).fold(0.0, f64::max)),
            Figure::OverBound => of_some(self.over_bound as f64),
            Figure::Moved => self.moved.unwrap_or(f64::NAN),
            Figure::Strays => self.strays.unwrap_or(f64::NAN),
            Figure::Speed => self.speed,
        }
    }
}

/// Writes down what happens.
#[derive(Debug)]
pub(crate) struct Recorder {
    from: u64,
    to: u64,
    window: u64,
    latencies: Histogram,
    in_window: Histogram,
    in_flight: Histogram,
    counts: Vec<u64>,
    window_counts: Vec<u32>,
    windows: Vec<Window>,
    failed: u64,
    /// Requests for which there was no endpoint.
    refused: u64,
    answered: u64,
    pub(crate) over_bound: u64,
}

impl Recorder {
    /// Measures requests that begin from `from` to `to`.
    pub(crate) fn new(endpoints: usize, from: u64, to: u64, window: u64) -> Self {
        Self {
            from,
            to,
            window,
            latencies: Histogram::default(),
            in_window: Histogram::default(),
            in_flight: Histogram::default(),
            counts: vec![0; endpoints],
            window_counts: vec![0; endpoints],
            windows: Vec::new(),
            failed: 0,
            refused: 0,
            answered: 0,
            over_bound: 0,
        }
    }

    fn measures(&self, begun: u64) -> bool {
        (self.from..self.to).contains(&begun)
    }

    /// A request was sent to an endpoint.
    pub(crate) fn sent(&mut self, number: usize, now: u64) {
        self.turn(now);
        self.window_counts[number] += 1;
        self.counts[number] += u64::from(self.measures(now));
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self, begun: u64, now: u64) {
        self.turn(now);
        self.in_window.add(now - begun);
        if self.measures(begun) {
            self.latencies.add(now - begun);
        }
        self.answered += u64::from(self.measures(now));
    }

    /// A request failed, after a deadline or at once.
    pub(crate) fn failed(&mut self, begun: u64, now: u64, late: bool) {
        self.turn(now);
        if late {
            self.in_window.add(now - begun);
        }
        if self.measures(begun) {
            self.failed += 1;
            if late {
                self.latencies.add(now - begun);
            }
        }
    }

    /// There was no endpoint for a request.
    pub(crate) fn refused(&mut self, now: u64) {
        self.refused += u64::from(self.measures(now));
        self.failed(now, now, false);
    }

    /// An endpoint has so many in flight.
    pub(crate) fn sample(&mut self, in_flight: usize, now: u64) {
        if self.measures(now) {
            self.in_flight.add(in_flight as u64);
        }
    }

    /// Closes windows that have ended; after the run, nothing is sent that one could hold.
    fn turn(&mut self, now: u64) {
        loop {
            let end = (self.windows.len() as u64 + 1) * self.window;
            if now.min(self.to) < end {
                return;
            }
            let counts = vec![0; self.window_counts.len()];
            self.windows.push(Window {
                end: end as f64 / 1e9,
                p99: self.in_window.quantile(0.99) / 1e6,
                counts: std::mem::replace(&mut self.window_counts, counts),
            });
            self.in_window.clear();
        }
    }

    /// The run. `healed` is when the last change ended, and which endpoints it was about.
    pub(crate) fn finish(mut self, healed: Option<(u64, Vec<usize>)>) -> Run {
        self.turn(self.to);
        let ms = |quantile| self.latencies.quantile(quantile) / 1e6;
        // Requests that failed at once are no latencies, but requests.
        let requests = self.counts.iter().sum::<u64>() + self.refused;
        let measured = |window: &&Window| {
            window.end * 1e9 > self.from as f64 + 1.0 && window.end * 1e9 <= self.to as f64 + 1.0
        };
        let figures = Figures {
            requests,
            errors: self.failed as f64 / requests as f64,
            mean: self.latencies.mean() / 1e6,
            p50: ms(0.5),
            p90: ms(0.9),
            p99: ms(0.99),
            p999: ms(0.999),
            in_flight: self.in_flight.quantile(0.999),
            throughput: self.answered as f64 / ((self.to - self.from) as f64 / 1e9),
            peak_p99: self.windows.iter().filter(measured).map(|window| window.p99).fold(f64::NAN, f64::max),
            recovery: healed.map(|(at, numbers)| recovery(&self.windows, at as f64 / 1e9, &numbers)),
            counts: self.counts,
            over_bound: self.over_bound,
            ..Figures::default()
        };
        let in_flight = (0..=100_u32).map(|part| self.in_flight.quantile(f64::from(part) / 100.0)).collect();
        Run { figures, windows: self.windows, in_flight }
    }
}

/// Seconds from `healed` to the end of the first window in which each of the endpoints has half of its fair share;
/// infinite if there is none.
fn recovery(windows: &[Window], healed: f64, numbers: &[usize]) -> f64 {
    let fair = |window: &Window| {
        let mean = f64::from(window.counts.iter().sum::<u32>()) / window.counts.len() as f64;
        // Without requests there are no shares.
        mean > 0.0 && numbers.iter().all(|number| f64::from(window.counts[*number]) >= mean / 2.0)
    };
    let after = windows.iter().find(|window| window.end > healed && fair(window));
    after.map_or(f64::INFINITY, |window| window.end - healed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests as (number, begun, latency), in seconds.
    fn check(requests: &[(usize, u64, u64)], expect: impl Fn(&Run)) {
        const S: u64 = 1_000_000_000;
        let mut recorder = Recorder::new(2, 10 * S, 30 * S, 5 * S);
        let mut steps: Vec<_> =
            requests.iter().map(|(number, begun, _)| (*begun, Some(*number), 0)).collect();
        steps.extend(requests.iter().map(|(_, begun, latency)| (begun + latency, None, *begun)));
        steps.sort_by_key(|(at, ..)| *at);
        for (at, sent, begun) in steps {
            match sent {
                Some(number) => recorder.sent(number, at * S),
                None => recorder.answered(begun * S, at * S),
            }
        }
        expect(&recorder.finish(Some((12 * S, vec![1]))));
    }

    #[test]
    fn only_the_time_measured_counts() {
        check(&[(0, 1, 2), (0, 11, 4), (1, 29, 8), (0, 31, 1)], |run| {
            assert_eq!((run.figures.requests, run.figures.counts.as_slice()), (2, [1, 1].as_slice()));
            assert!((run.figures.p99 - 8000.0).abs() < 20.0, "{}", run.figures.p99);
        });
    }

    #[test]
    fn requests_without_an_endpoint_are_requests_that_failed() {
        let mut recorder = Recorder::new(2, 0, 10, 10);
        recorder.sent(0, 1);
        recorder.answered(1, 2);
        (3..6).for_each(|now| recorder.refused(now));
        let figures = recorder.finish(None).figures;
        assert_eq!((figures.requests, figures.errors), (4, 0.75));
    }

    #[test]
    fn recovery_is_half_of_the_fair_share() {
        check(&[(1, 3, 0), (0, 16, 0), (1, 21, 0), (0, 22, 0), (0, 29, 0)], |run| {
            assert_eq!(run.figures.recovery, Some(13.0));
        });
        check(&[(0, 16, 0)], |run| assert_eq!(run.figures.recovery, Some(f64::INFINITY)));
    }
}
