//! Explanations beside the picks that they explain.

use evenkeel_balance::{
    Absence, Algorithm, ConsistentHash, Endpoint, Fate, HashFunction, Key, Outcome, Query, Score, Status,
    Table, Time,
};

use crate::common::{MS, Pool, SECOND, algorithms, backend, endpoint, equal};

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
            // First attempts take turns, others draw.
            let tried: &[usize] = if number % 2 == 0 { &[] } else { &[1] };
            let query = Query {
                client: Some(key.into()),
                key: Some(Key::Bytes(&key)),
                tried,
                ..Query::at(Time::from_nanos(u64::from(number) * SECOND / 100), 0)
            };
            let explained = pool.balancer.explain(&query, &mut pool.rng.clone());
            let mut pick = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint");
            assert_eq!(explained.picked, Some(pick.index), "{algorithm:?}");
            let fates = |fate| explained.candidates.iter().filter(|each| each.fate == fate).count();
            assert_eq!(
                (explained.candidates.len(), fates(Fate::Picked), fates(Fate::Tried)),
                (10, 1, tried.len())
            );
            assert_eq!(fates(Fate::Absent(Absence::Unhealthy)) + fates(Fate::Absent(Absence::Draining)), 2);
            pick.guard.set_outcome(Outcome::new(Status::Answered(200), query.now, MS));
        }
    }
}

fn by_key(table: Table, bounded_load: Option<f64>) -> Algorithm {
    Algorithm::ConsistentHash(ConsistentHash { table, function: HashFunction::XxHash64, bounded_load })
}

#[test]
fn bounded_load_says_how_much_room_there_was() {
    for table in [Table::default(), Table::Maglev { size: 65537 }, Table::Rendezvous] {
        let mut pool = Pool::new(by_key(table, Some(1.25)), equal(2));
        let query = Query { key: Some(Key::Bytes(b"key")), ..Query::at(pool.now, 0) };
        let picks =
            [0, 1].map(|_| pool.balancer.pick(&query, &mut pool.rng).map(|pick| (pick.index, pick.guard)));
        let [Some((owner, _first)), Some((_, _second))] = picks else { panic!("two of three have room") };
        let explained = pool.balancer.explain(&query, &mut pool.rng);
        let (own, other) = (&explained.candidates[owner], &explained.candidates[1 - owner]);
        assert_eq!((own.fate, other.fate), (Fate::Full, Fate::Picked), "{table:?}");
        assert_eq!(own.score, Some(Score::Full(2, 2)), "{table:?}");
    }
}

#[test]
fn rendezvous_scores_all_and_the_lowest_has_the_key() {
    let mut pool = Pool::new(by_key(Table::Rendezvous, None), equal(8));
    for key in 0..50_u8 {
        let query = Query { key: Some(Key::Bytes(&[key])), ..Query::at(pool.now, 0) };
        let explained = pool.balancer.explain(&query, &mut pool.rng);
        let costs = explained.candidates.iter().map(|each| match each.score {
            Some(Score::Cost(cost)) => cost,
            other => panic!("{other:?}"),
        });
        let lowest = costs.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(index, _)| index);
        assert_eq!(explained.picked, lowest, "{key}");
    }
}

#[test]
fn every_endpoint_is_told_with_what_is_known_of_it() {
    let sick = Endpoint { healthy: false, ..endpoint("sick", 2) };
    let backends = vec![
        backend("b", 1, vec![endpoint("b0", 2), endpoint("b1", 4), sick]),
        backend("c", 1, vec![endpoint("c0", 2), endpoint("drains", 0)]),
    ];
    let mut pool = Pool::new(Algorithm::WeightedRoundRobin, backends);
    pool.answers("c0", &[200]);
    let _guards = [pool.begins("b1"), pool.begins("drains"), pool.begins("drains")];
    let explained = pool.balancer.explain(&Query::at(pool.now, 0), &mut pool.rng);
    let told: Vec<_> = explained
        .candidates
        .iter()
        .map(|each| {
            (
                each.index,
                each.id.as_str(),
                each.backend.as_str(),
                each.weight,
                each.effective_weight,
                each.in_flight,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some(0), "b0", "b", 2, 2.0, 0),
            (Some(1), "b1", "b", 4, 4.0, 1),
            (Some(2), "c0", "c", 2, 2.0, 0),
            (None, "sick", "b", 2, 0.0, 0),
            (Some(3), "drains", "c", 0, 0.0, 2),
        ]
    );
    let times: Vec<_> = explained.candidates.iter().map(|each| each.response_time_nanos).collect();
    assert_eq!(times, [None, None, Some(1e6), None, None]);
}

#[test]
fn of_two_backends_one_has_its_turn_and_the_other_is_another_set() {
    let names = |key: &str| (0..2).map(|number| endpoint(&format!("{key}{number}"), 1)).collect();
    let mut pool =
        Pool::new(Algorithm::RoundRobin, vec![backend("b", 1, names("b")), backend("c", 1, names("c"))]);
    for _ in 0..8 {
        let query = Query::at(pool.now, 0);
        let explained = pool.balancer.explain(&query, &mut pool.rng);
        let picked = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint").index;
        let fates: Vec<_> = explained.candidates.iter().map(|each| each.fate).collect();
        let mut expect = [Fate::OtherSet; 4];
        expect[picked ^ 1] = Fate::NotItsTurn;
        expect[picked] = Fate::Picked;
        assert_eq!(fates, expect);
    }
    let query = Query { tried: &[0, 1], ..Query::at(pool.now, 0) };
    for _ in 0..4 {
        let explained = pool.balancer.explain(&query, &mut pool.rng.clone());
        let picked = pool.balancer.pick(&query, &mut pool.rng).expect("an endpoint").index;
        assert_eq!(explained.picked, Some(picked), "the turn of a set that was tried goes to the next");
        let fates: Vec<_> = explained.candidates.iter().map(|each| each.fate).collect();
        assert_eq!(fates[..2], [Fate::Tried; 2]);
    }
}

#[test]
fn a_session_that_goes_back_is_told_as_one() {
    let mut pool = Pool::new(
        Algorithm::RoundRobin,
        vec![backend("b", 1, vec![endpoint("a", 1), endpoint("drains", 0)])],
    );
    for (id, expect) in [
        ("a", [Fate::PickedForSession, Fate::Absent(Absence::Draining)]),
        ("drains", [Fate::NotItsTurn, Fate::PickedForSession]),
        ("gone", [Fate::Picked, Fate::Absent(Absence::Draining)]),
    ] {
        let query = Query { affinity: Some(id), ..Query::at(pool.now, 0) };
        let explained = pool.balancer.explain(&query, &mut pool.rng);
        let fates: Vec<_> = explained.candidates.iter().map(|each| each.fate).collect();
        assert_eq!(fates, expect, "{id}");
    }
}
