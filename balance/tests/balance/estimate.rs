//! What a request may expect of an endpoint by how many are in flight there.

use evenkeel_balance::{Algorithm, LatencyEstimate, Prequal, Query, Score, Time};

use crate::common::{MS, Pool, answered, equal, seconds};

#[test]
fn the_median_is_that_of_the_last_eight_however_many_came_before() {
    let estimate = LatencyEstimate::new();
    for last in 0..100_u32 {
        estimate.record(1, f64::from(1 + last), Time::ZERO);
        let kept: Vec<_> = (0..=last).rev().take(8).map(|each| f64::from(1 + each)).collect();
        let median = kept[kept.len() - 1 - kept.len() / 2];
        assert_eq!(estimate.at(1, Time::ZERO), Some(median), "after {last}");
    }
}

#[test]
fn of_what_is_equally_old_the_nearest_load_counts() {
    let estimate = LatencyEstimate::new();
    estimate.record(1, 10.0, Time::ZERO);
    estimate.record(4, 90.0, Time::ZERO);
    assert_eq!(estimate.at(1, seconds(6)), Some(10.0));
    assert_eq!(estimate.at(4, seconds(6)), Some(90.0));
}

#[test]
fn what_took_no_time_is_known_all_the_same() {
    let estimate = LatencyEstimate::new();
    assert_eq!(estimate.at(1, Time::ZERO), None);
    estimate.record(1, 0.0, Time::ZERO);
    assert!(estimate.at(1, Time::ZERO).is_some_and(|nanos| nanos < 1e-30));
}

#[test]
fn a_request_counts_itself_and_those_beside_it() {
    for max_in_flight in [None, Some(9)] {
        let mut pool = Pool::new(Algorithm::Prequal(Prequal::default()), equal(1));
        let query = Query { max_in_flight, ..Query::at(pool.now, 0) };
        let mut request = |latency| {
            let mut guard = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint").guard;
            guard.set_outcome(answered(200, Time::ZERO, latency));
            guard
        };
        let short = std::time::Duration::from_nanos(10 << 20); // kept as it is
        drop(request(short));
        let beside = request(short);
        (0..9).for_each(|_| drop(request(90 * MS)));
        drop(beside);
        let alone = pool.balancer.explain(&query, &mut pool.rng).candidates[0].score;
        assert_eq!(alone, Some(Score::Cold(f64::from(10 << 20))), "those that took longer were one of two");
    }
}
