//! Every interleaving of two threads over one endpoint's state, under loom. To be run by
//! `RUSTFLAGS="--cfg loom" cargo test -p evenkeel-balance --lib model`.

use std::sync::Arc;

use loom::thread;

use super::{Counters, Trial, trial::Probation};
use crate::pick::Verdict;

#[test]
fn requests_of_two_threads_are_all_counted_and_none_stays() {
    loom::model(|| {
        let counters = Arc::new(Counters::new());
        let other = Arc::clone(&counters);
        let run = |counters: &Counters, verdict| {
            assert!((1..=2).contains(&counters.begin()));
            counters.judge(verdict);
            counters.end();
        };
        let thread = thread::spawn(move || run(&other, Verdict::GatewayError));
        assert!(counters.in_flight() <= 1);
        run(&counters, Verdict::ServerError);
        thread.join().unwrap();
        let sums = (counters.started(), counters.in_flight(), counters.judged(), counters.failures());
        assert_eq!(sums, (2, 0, 2, 2));
        assert_eq!(counters.server_errors(), 2);
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
