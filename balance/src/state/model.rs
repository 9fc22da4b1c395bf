//! Every interleaving of two or three threads over what they share, under loom, which also lets a thread see old values
//! wherever nothing orders them. Part of hack/test.sh; by hand:
//! `RUSTFLAGS="--cfg loom" cargo test -p evenkeel-balance --lib model`, with a `CARGO_TARGET_DIR` of its own.
//!
//! Loom 0.7 shows a thread old values, yet does not always go back before a load: what is read early is read by a
//! thread that is spawned, while the one that spawns it writes. Not here: the pools of probes, which are behind a lock;
//! nor the moment from which requests are counted together, which may hide one from picks (see apart.rs).

use std::{sync::Arc, time::Duration};

use loom::thread;

use super::{Count, Counters, LatencyEstimate, Tap, Trial, response_time::ResponseTime, trial::Probation};
use crate::{Outcome, Status, Time, pick::Verdict, sync::AtomicBool};

const NOW: Time = Time::from_nanos(1);

#[test]
fn requests_of_two_threads_are_all_counted_and_none_stays() {
    loom::model(|| {
        let counters = Arc::new(Counters::new());
        let other = Arc::clone(&counters);
        let run = |counters: &Counters, verdict| {
            assert!((1..=2).contains(&counters.together.begin_seen()));
            counters.judge(verdict);
            counters.together.end();
        };
        let thread = thread::spawn(move || run(&other, Verdict::GatewayError));
        assert!(counters.together.in_flight() <= 1);
        run(&counters, Verdict::ServerError);
        thread.join().unwrap();
        let count = &counters.together;
        let sums = (count.started(), count.in_flight(), counters.judged(), counters.failures());
        assert_eq!(sums, (2, 0, 2, 2));
        assert_eq!(counters.server_errors(), 2);
    });
}

#[test]
fn two_threads_never_pass_a_limit_together() {
    loom::model(|| {
        let count = Arc::new(Count::new());
        let other = Arc::clone(&count);
        let run = |count: &Count| count.begin_below(1).inspect(|load| assert_eq!(*load, 1)).is_some();
        let thread = thread::spawn(move || run(&other));
        let mine = run(&count);
        assert!(mine ^ thread.join().unwrap(), "one of them, and not none");
        assert_eq!((count.started(), count.in_flight()), (1, 1));
    });
}

#[test]
fn a_place_given_back_is_taken_at_most_once() {
    loom::model(|| {
        let count = Arc::new(Count::new());
        assert_eq!(count.begin_below(1), Some(1));
        let (ends, takes) = (Arc::clone(&count), Arc::clone(&count));
        let ends = thread::spawn(move || ends.end());
        let takes = thread::spawn(move || takes.begin_below(1).is_some());
        let mine = count.begin_below(1).is_some();
        ends.join().unwrap();
        let theirs = takes.join().unwrap();
        assert!(!(mine && theirs));
        assert_eq!(count.in_flight(), u64::from(mine || theirs));
    });
}

#[test]
fn one_of_two_threads_gets_the_trial() {
    loom::model(|| {
        let probation = Arc::new(Probation::new());
        probation.set(Trial::Open);
        let other = Arc::clone(&probation);
        let thread = thread::spawn(move || other.take());
        let mine = probation.take();
        let theirs = thread.join().unwrap();
        assert!(mine ^ theirs);
        probation.end(Verdict::Good);
        assert_eq!(probation.stands(), Trial::Passed);
    });
}

#[test]
fn a_trial_called_off_meanwhile_stays_off() {
    loom::model(|| {
        let probation = Arc::new(Probation::new());
        probation.set(Trial::Taken);
        let other = Arc::clone(&probation);
        let thread = thread::spawn(move || other.end(Verdict::GatewayError));
        probation.set(Trial::Off);
        thread.join().unwrap();
        assert_eq!(probation.stands(), Trial::Off);
    });
}

#[test]
fn a_trial_that_said_nothing_goes_to_one_other() {
    loom::model(|| {
        let probation = Arc::new(Probation::new());
        probation.set(Trial::Taken);
        let other = Arc::clone(&probation);
        let thread = thread::spawn(move || other.end(Verdict::Cancelled));
        let early = probation.take();
        thread.join().unwrap();
        assert_eq!(probation.stands(), if early { Trial::Taken } else { Trial::Open });
        assert!(early ^ probation.take());
    });
}

#[test]
fn a_response_time_is_nothing_or_what_was_measured() {
    loom::model(|| {
        let time = Arc::new(ResponseTime::new());
        let (reads, records) = (Arc::clone(&time), Arc::clone(&time));
        let reads = thread::spawn(move || reads.read(NOW, 1e9));
        time.record(20.0, NOW, 1e9);
        let records = thread::spawn(move || records.record(30.0, NOW, 1e9));
        let early = reads.join().unwrap();
        assert!([None, Some(20.0), Some(30.0)].contains(&early), "{early:?}");
        records.join().unwrap();
        assert_eq!(time.read(NOW, 1e9), Some(30.0));
    });
}

#[test]
fn an_estimate_is_nothing_or_what_was_measured() {
    loom::model(|| {
        let estimate = Arc::new(LatencyEstimate::new());
        let reads = Arc::clone(&estimate);
        let reads = thread::spawn(move || reads.at(1, NOW));
        estimate.record(1, 20.0, NOW);
        let early = reads.join().unwrap();
        assert!([None, Some(20.0)].contains(&early), "{early:?}");
        assert_eq!(estimate.at(1, NOW), Some(20.0));
    });
}

#[test]
fn of_two_estimates_at_once_one_may_be_lost_and_no_more() {
    loom::model(|| {
        let estimate = Arc::new(LatencyEstimate::new());
        let other = Arc::clone(&estimate);
        let thread = thread::spawn(move || other.record(1, 30.0, NOW));
        estimate.record(1, 20.0, NOW);
        thread.join().unwrap();
        let both = estimate.at(1, NOW);
        assert!([Some(20.0), Some(30.0)].contains(&both), "{both:?}");
    });
}

#[test]
fn a_request_that_is_written_down_is_read_whole_and_once() {
    loom::model(|| {
        let tap = Arc::new(Tap::new(AtomicBool::new(false)));
        tap.open_for(1, 1);
        let other = Arc::clone(&tap);
        let thread = thread::spawn(move || {
            let place = other.begin(0, NOW, || (7, 3));
            let ended = NOW.after(Duration::from_nanos(9));
            let outcome = Outcome::new(Status::Answered(200), ended, Duration::from_nanos(5));
            other.end(place, 0, Some(&outcome), Verdict::Good);
        });
        let (mut early, later) = (Vec::new(), NOW.after(Duration::from_nanos(20)));
        tap.read(later, later, &mut early);
        thread.join().unwrap();
        let mut all = early.clone();
        tap.read(later, later, &mut all);
        assert_eq!(all.len(), 1);
        let found = (all[0].endpoint, all[0].load, all[0].held, all[0].latency, all[0].verdict);
        let whole = (7, 3, 9, 5, Some(Verdict::Good));
        assert!(found == whole || (!early.is_empty() && found == (7, 3, 20, 20, None)), "{found:?}");
    });
}
