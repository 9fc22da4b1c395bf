//! What outcomes teach of an endpoint, and what they do not.

use std::time::Duration;

use evenkeel_balance::{Algorithm, LeastResponseTime, Outcome, PoolSpec, Prequal, Status};

use crate::common::{MS, Pool, S, backend, endpoint, equal, seconds};

/// The response time in milliseconds after these outcomes, all at once: a status, a latency, and when to come again.
fn check(outcomes: &[(Status, Duration, Option<Duration>)], expect: Option<f64>) {
    let algorithm = Algorithm::LeastResponseTime(LeastResponseTime::default());
    let mut pool = Pool::new(algorithm, vec![backend("b", 1, vec![endpoint("a", 1)])]);
    pool.now = seconds(1);
    for (status, latency, retry_after) in outcomes {
        let outcome = Outcome { retry_after: *retry_after, ..Outcome::new(*status, pool.now, *latency) };
        pool.pick([10, 0, 0, 1].into(), &[]).expect("an endpoint").guard.set_outcome(outcome);
    }
    let known = pool.state.endpoint(&"a".into()).response_time_nanos(pool.now);
    assert_eq!(known.map(|nanos| nanos / 1e6), expect, "{outcomes:?}");
    assert_eq!(pool.state.in_flight(), 0);
}

const GOOD: (Status, Duration, Option<Duration>) = (Status::Answered(200), Duration::from_millis(20), None);

#[test]
fn errors_count_as_slow() {
    check(&[], None);
    check(&[GOOD], Some(20.0));
    for status in [Status::Answered(500), Status::Answered(503), Status::Answered(429), Status::Failed] {
        check(&[GOOD, (status, MS, None)], Some(5000.0));
        check(&[(status, MS, Some(S))], Some(5000.0));
        check(&[(status, MS, Some(20 * S))], Some(20_000.0));
        check(&[(status, MS, Some(86_400 * S))], Some(300_000.0));
        // Without an answer, the client may have taken the time.
        let expect = if status == Status::Failed { 5000.0 } else { 15_000.0 };
        check(&[(status, 15 * S, None)], Some(expect));
    }
}

/// Part of the requests that a hanging endpoint takes of a pool whose clients leave after 200 ms, over ten minutes.
fn lost(algorithm: &Algorithm, count: usize, per_second: u32) -> f64 {
    let mut pool = Pool::new(algorithm.clone(), equal(count));
    let (mut lost, requests) = (0, 600 * per_second);
    for number in 0..requests {
        pool.now = pool.now.after(S / per_second);
        let now = pool.now;
        let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
        let hangs = pick.endpoint.id.as_str() == "e0";
        lost += u32::from(hangs);
        let (status, after) =
            if hangs { (Status::Cancelled, 200 * MS) } else { (Status::Answered(200), 20 * MS) };
        pick.guard.set_outcome(Outcome::new(status, now.after(after), after));
        drop(pick);
        pool.tick(Duration::ZERO);
    }
    f64::from(lost) / f64::from(requests)
}

#[test]
fn one_that_hangs_from_the_first_is_left_too() {
    for algorithm in
        [Algorithm::Prequal(Prequal::default()), Algorithm::LeastResponseTime(LeastResponseTime::default())]
    {
        for (count, per_second) in [(10, 5), (4, 5)] {
            let lost = lost(&algorithm, count, per_second);
            assert!(lost < 0.03, "{algorithm:?} among {count}: {lost}");
        }
    }
}

#[test]
fn parameters_that_are_gone_are_not_learned_by() {
    let prequal = Prequal { error_penalty: S, ..Prequal::default() };
    let slower = LeastResponseTime { error_penalty: 9 * S, ..LeastResponseTime::default() };
    let others = vec![Algorithm::LeastResponseTime(slower)];
    let spec = |algorithm| PoolSpec::new(algorithm, vec![backend("b", 1, vec![endpoint("a", 1)])]);
    let mut pool = Pool::of(spec(Algorithm::Prequal(prequal)));
    for (spec, expect) in [
        (spec(Algorithm::RoundRobin), 5.0),
        (PoolSpec { others, ..spec(Algorithm::RoundRobin) }, 9.0),
        (spec(Algorithm::RoundRobin), 5.0),
    ] {
        pool.set(spec);
        // Long enough that the one before is forgotten.
        pool.now = pool.now.after(3600 * S);
        pool.request(1, 500, MS);
        let known = pool.state.endpoint(&"a".into()).response_time_nanos(pool.now);
        assert_eq!(known, Some(expect * 1e9));
    }
}

#[test]
fn fast_refusals_of_bad_requests_are_neutral() {
    check(&[(Status::Answered(404), MS, None)], None);
    check(&[GOOD, (Status::Answered(403), 90 * MS, None)], Some(20.0));
}

#[test]
fn waiting_in_vain_can_only_make_it_worse() {
    check(&[(Status::Cancelled, 2 * S, None)], None);
    check(&[GOOD, (Status::Cancelled, MS, None)], Some(20.0));
    check(&[GOOD, (Status::Cancelled, 2 * S, None)], Some(2000.0));
}

#[test]
fn an_endpoint_that_hangs_is_left_though_clients_give_up_first() {
    let algorithm = Algorithm::LeastResponseTime(LeastResponseTime::default());
    let mut pool = Pool::new(algorithm, vec![backend("b", 1, vec![endpoint("a", 1), endpoint("hangs", 1)])]);
    let mut to_it = 0;
    for number in 0..1000_u32 {
        pool.now = pool.now.after(100 * MS);
        let now = pool.now;
        let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
        let hangs = number >= 10 && pick.endpoint.id.as_str() == "hangs";
        let status = if hangs { Status::Cancelled } else { Status::Answered(200) };
        to_it += u32::from(hangs);
        pick.guard.set_outcome(Outcome::new(status, now, if hangs { 2 * S } else { 20 * MS }));
        drop(pick);
        pool.tick(Duration::ZERO);
    }
    assert!(to_it <= 4, "about one each time that its 2 s have fallen to 20 ms, by half in 7 s: {to_it}");
}
