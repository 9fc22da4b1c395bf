//! Prequal, in band and fed.

use std::time::Duration;

use evenkeel_balance::{Algorithm, Fallback, Guard, Prequal, ProbeAnswer, Query, Signals, Time};

use crate::common::{MS, Pool, answered, equal};

#[test]
fn prequal_avoids_the_slow_and_lets_it_come_back() {
    let mut pool = Pool::new(Algorithm::Prequal(Prequal::default()), equal(16));
    let run = |pool: &mut Pool, milliseconds: u32, slow: bool| {
        let mut open: Vec<(Time, Guard, Duration)> = Vec::new();
        let mut to_slow = 0;
        for number in 0..milliseconds {
            pool.now = pool.now.after(MS);
            let now = pool.now;
            for (end, mut guard, latency) in std::mem::take(&mut open) {
                if end <= now {
                    guard.set_outcome(answered(200, now, latency));
                } else {
                    open.push((end, guard, latency));
                }
            }
            let pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
            let at_slow = pick.endpoint.id.as_str() == "e0";
            to_slow += u32::from(at_slow);
            let latency = if at_slow && slow { 320 * MS } else { 20 * MS };
            open.push((now.after(latency), pick.guard, latency));
            if number % 500 == 0 {
                pool.tick(Duration::ZERO);
            }
        }
        to_slow
    };
    let slow = run(&mut pool, 20_000, true);
    assert!(slow < 20_000 / 16 / 5, "{slow}");
    // That is how long an idle endpoint's latency is known.
    run(&mut pool, 16_000, false);
    let healed = run(&mut pool, 20_000, false);
    assert!(healed > 20_000 / 16 / 2, "{healed}");
}

#[test]
fn prequal_goes_by_what_it_is_fed() {
    let parameters = Prequal { signals: Signals::Fed, ..Prequal::default() };
    let mut pool = Pool::new(Algorithm::Prequal(parameters), equal(10));
    let explained = pool.balancer.explain(&Query::at(pool.now, 0), &mut pool.rng);
    assert_eq!(explained.fallbacks, [Fallback::FewAnswers]);
    let asked: Vec<_> = pool.balancer.to_probe(&mut pool.rng).collect();
    assert_eq!(asked.len(), 3);
    for (index, latency) in [(4, 9 * MS), (7, 2 * MS)] {
        pool.balancer.answer(0, index, ProbeAnswer { in_flight: 1, latency }, pool.now, &mut pool.rng);
    }
    let query = Query::at(pool.now, 0);
    assert_eq!(pool.balancer.pick(&query, &mut pool.rng).map(|pick| pick.index), Some(7));
    let other = pool.balancer.explain(&Query::at(pool.now, 1), &mut pool.rng);
    assert_eq!(other.fallbacks, [Fallback::FewAnswers], "another worker, another pool");
}
