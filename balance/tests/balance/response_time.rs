//! The least response time.

use evenkeel_balance::{Algorithm, LeastResponseTime, PoolSpec, Query, Score};

use crate::common::{MS, Pool, S, answered, equal};

#[test]
fn response_time_prefers_the_fast_and_does_not_fall_for_errors() {
    let parameters = LeastResponseTime { choices: 2, ..LeastResponseTime::default() };
    let mut pool = Pool::new(Algorithm::LeastResponseTime(parameters), equal(3));
    let mut counts = std::collections::BTreeMap::<String, u32>::new();
    for number in 0..3000_u32 {
        pool.now = pool.now.after(MS);
        let now = pool.now;
        let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
        let id = pick.endpoint.id.to_string();
        let (status, latency) = match id.as_str() {
            "e0" => (503, MS / 100),
            "e1" => (200, 20 * MS),
            _ => (200, 5 * MS),
        };
        *counts.entry(id).or_default() += 1;
        pick.guard.set_outcome(answered(status, now, latency));
    }
    let count = |id: &str| counts.get(id).copied().unwrap_or(0);
    assert!(count("e0") < 5, "{counts:?}");
    assert!(count("e2") > 2 * count("e1"), "{counts:?}");
}

#[test]
fn a_newcomer_starts_at_the_mean() {
    let algorithm = Algorithm::LeastResponseTime(LeastResponseTime::default());
    let mut pool = Pool::new(algorithm.clone(), equal(2));
    for number in 0..100 {
        pool.request(number, 200, 10 * MS);
    }
    pool.tick(S);
    pool.set(PoolSpec::new(algorithm, equal(3)));
    let _guards = pool.guards(30);
    assert!((8..=12).contains(&pool.in_flight("e2")), "{}", pool.in_flight("e2"));
}

#[test]
fn the_mean_follows_the_answers_of_each_tick() {
    let mut pool = Pool::new(Algorithm::LeastResponseTime(LeastResponseTime::default()), equal(3));
    // What an endpoint counts as that was never measured: a little less than the mean.
    let unmeasured = |pool: &mut Pool| {
        let explained = pool.balancer.explain(&Query::at(pool.now, 0), &mut pool.rng);
        explained.candidates[2].score
    };
    let cost = |mean: f64| Some(Score::Cost(0.95 * mean));
    assert_eq!(unmeasured(&mut pool), Some(Score::Cost(1.0)), "nothing was measured");
    pool.ends("e0", answered(200, pool.now, 10 * MS));
    assert_eq!(unmeasured(&mut pool), cost(10e6), "at once");
    pool.ends("e1", answered(200, pool.now, 20 * MS));
    pool.ends("e1", answered(200, pool.now, 30 * MS));
    assert_eq!(unmeasured(&mut pool), cost(10e6), "then by the tick");
    pool.tick(MS);
    assert_eq!(unmeasured(&mut pool), cost(10e6 + 0.3 * (20e6 - 10e6)));
    pool.tick(MS);
    assert_eq!(unmeasured(&mut pool), cost(13e6), "nothing new");
    let _guard = pool.begins("e2");
    assert_eq!(unmeasured(&mut pool), Some(Score::Cost(2.0 * (0.95 * 13e6))), "with one in flight");
}
