//! Explanations beside the picks that they explain.

use evenkeel_balance::{Absence, Endpoint, Fate, Key, Outcome, Query, Status, Time};

use crate::common::{MS, Pool, SECOND, algorithms, backend, endpoint};

#[test]
fn explanations_agree_with_picks_and_change_nothing() {
    for algorithm in algorithms() {
        let sick = Endpoint { healthy: false, ..endpoint("sick", 1) };
        let drains = endpoint("drains", 0);
        let serving = (0..8).map(|index| endpoint(&format!("e{index}"), 1 + index % 3));
        let backends = vec![backend("b", 1, serving.chain([sick, drains]).collect())];
        let mut pool = Pool::new(algorithm.clone(), backends);
        for number in 0..200_u32 {
            let key = number.to_be_bytes();
            let tried = [1];
            let query = Query {
                client: Some(key.into()),
                key: Some(Key::Bytes(&key)),
                tried: &tried,
                ..Query::at(Time::from_nanos(u64::from(number) * SECOND / 100), 0)
            };
            let explained = pool.balancer.explain(&query, &mut pool.rng.clone());
            let mut pick = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
            assert_eq!(explained.picked, Some(pick.index), "{algorithm:?}");
            let fates = |fate| explained.candidates.iter().filter(|each| each.fate == fate).count();
            assert_eq!((explained.candidates.len(), fates(Fate::Picked), fates(Fate::Tried)), (10, 1, 1));
            assert_eq!(fates(Fate::Absent(Absence::Unhealthy)) + fates(Fate::Absent(Absence::Draining)), 2);
            pick.guard.set_outcome(Outcome::new(Status::Answered(200), query.now, MS));
        }
    }
}
