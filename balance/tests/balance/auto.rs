//! What Auto chooses, and when.

use evenkeel_balance::{Algorithm, Auto};
use rand::Rng as _;

use crate::common::{MS, Pool, S, answered, equal};

#[test]
fn auto_chooses_by_lasting_differences_after_its_dwell_time() {
    for (slow, expect) in [(1.0, "LeastRequest"), (8.0, "Prequal")] {
        let mut pool = Pool::new(Algorithm::Auto(Auto::default()), equal(8));
        let mut early = true;
        for tick in 0..60_u32 {
            for number in 0..800 {
                let noise = -pool.rng.random_range(0.001_f64..1.0).ln();
                let now = pool.now;
                let mut pick = pool.pick(u32::to_be_bytes(number).into(), &[]).expect("an endpoint");
                let times = if matches!(pick.endpoint.id.as_str(), "e0" | "e1") { slow } else { 1.0 };
                pick.guard.set_outcome(answered(200, now, MS.mul_f64(10.0 * noise * times)));
            }
            pool.tick(S);
            early &= tick >= 25 || pool.balancer.algorithm().name() == "LeastRequest";
        }
        assert!(early, "its dwell time");
        let auto = pool.tuner.report().auto.expect("a choice");
        assert_eq!(auto.active.name(), expect, "{auto:?}");
        assert_eq!(pool.balancer.algorithm().name(), expect);
        assert!(auto.scores.len() >= 4);
    }
}
