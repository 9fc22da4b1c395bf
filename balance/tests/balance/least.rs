//! Whom the least loaded is found among, and in which order.

use evenkeel_balance::{Algorithm, Query};

use crate::common::{Pool, equal};

#[test]
fn so_many_are_compared() {
    let drawn = |choices| Algorithm::PowerOfTwoChoices { choices };
    let in_turn = |choices| Algorithm::LeastRequest { choices };
    for (algorithm, endpoints, expect) in [
        (in_turn(16), 4, 4),
        (in_turn(16), 16, 16),
        (in_turn(16), 40, 16),
        (in_turn(2), 3, 2),
        (in_turn(1), 40, 2),
        (drawn(2), 3, 3),
        (drawn(2), 4, 2),
        (drawn(5), 5, 5),
        (drawn(5), 40, 5),
        (drawn(1), 40, 2),
        (drawn(200), 40, 10),
    ] {
        let mut pool = Pool::new(algorithm.clone(), equal(endpoints));
        let explained = pool.balancer.explain(&Query::at(pool.now, 0), &mut pool.rng);
        let compared = explained.candidates.iter().filter(|each| each.score.is_some()).count();
        assert_eq!(compared, expect, "{algorithm:?} among {endpoints}");
    }
}

#[test]
fn an_idle_pool_goes_in_turn() {
    let order = |algorithm| {
        let mut pool = Pool::new(algorithm, equal(5));
        let query = Query::at(pool.now, 0);
        (0..10).map(|_| pool.balancer.pick(&query, &mut pool.rng).map(|pick| pick.index)).collect::<Vec<_>>()
    };
    let turns = order(Algorithm::LeastRequest { choices: 16 });
    assert!(turns.windows(2).all(|pair| pair[1] == pair[0].map(|index| (index + 1) % 5)), "{turns:?}");
    assert_eq!(order(Algorithm::LeastRequest { choices: 2 }), turns, "of equals the one whose turn it is");
}
