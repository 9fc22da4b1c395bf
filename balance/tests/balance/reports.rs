//! Load reports: what they do, how long, and what they do not.

use evenkeel_balance::{
    Algorithm, Auto, Endpoint, Locality, Outcome, Place, PoolSpec, Query, WeightedByLoad, orca::LoadReport,
};

use crate::common::{MS, Pool, S, answered, backend, endpoint, equal};

/// Thirty requests, with what each endpoint reports.
fn reporting(pool: &mut Pool, report: impl Fn(&str) -> LoadReport) {
    for number in 0..30_u32 {
        let now = pool.now;
        let mut pick = pool.pick(number.to_be_bytes().into(), &[]).expect("an endpoint");
        let load = Some(Box::new(report(pick.endpoint.id.as_str())));
        pick.guard.set_outcome(Outcome { load, ..answered(200, now, MS) });
    }
}

fn cpu(utilization: f64) -> LoadReport {
    LoadReport { cpu_utilization: Some(utilization), rps_fractional: Some(100.0), ..LoadReport::default() }
}

fn memory(utilization: f64) -> LoadReport {
    LoadReport { mem_utilization: Some(utilization), ..LoadReport::default() }
}

#[test]
fn what_says_nothing_of_utilization_neither_begins_the_blackout_nor_ends_a_weight() {
    let mut pool = Pool::new(Algorithm::WeightedByLoad(WeightedByLoad::default()), equal(3));
    for _ in 0..20 {
        reporting(&mut pool, |_| memory(0.5));
        pool.tick(S);
    }
    let halves = |id: &str| cpu(if id == "e0" { 0.4 } else { 0.8 });
    for second in 0..12 {
        reporting(&mut pool, halves);
        pool.tick(S);
        let expect = if second < 9 { 1.0 } else { 1.5 };
        assert!((pool.effective_weight("e0") - expect).abs() < 1e-9, "after {second} s");
    }
    for useless in [memory(0.9), cpu(0.0)] {
        reporting(&mut pool, |_| useless.clone());
        pool.tick(S);
        assert!((pool.effective_weight("e0") - 1.5).abs() < 1e-9, "{useless:?}");
    }
}

#[test]
fn errors_take_off_weight() {
    let mut pool = Pool::new(Algorithm::WeightedByLoad(WeightedByLoad::default()), equal(2));
    for _ in 0..12 {
        reporting(&mut pool, |id| LoadReport { eps: Some(if id == "e0" { 50.0 } else { 0.0 }), ..cpu(0.5) });
        pool.tick(S);
    }
    // 100 / (0.5 + 0.5) against 100 / 0.5.
    assert!((pool.effective_weight("e0") / pool.effective_weight("e1") - 0.5).abs() < 1e-9);
}

#[test]
fn a_zone_that_stopped_reporting_is_not_busy_for_ever() {
    let near = |name: &str| Endpoint { zone: Some("a".into()), ..endpoint(name, 1) };
    let far = Endpoint { zone: Some("b".into()), ..endpoint("far", 1) };
    let locality = Some(Locality { zone: Some(Place::new("a")), region: None });
    let backends = vec![backend("b", 1, vec![near("near"), near("near2"), far])];
    let mut pool = Pool::of(PoolSpec { locality, ..PoolSpec::new(Algorithm::RoundRobin, backends) });
    pool.tick(S);
    for _ in 0..60 {
        for id in ["near", "near2"] {
            pool.reports(id, &cpu(0.95));
        }
        pool.tick(S);
    }
    assert!(pool.counts(1000)["far"] > 900, "busy");
    for _ in 0..31 {
        pool.tick(S);
    }
    assert!(!pool.counts(1000).contains_key("far"), "nothing is known of it any more");
}

#[test]
fn auto_leaves_what_cannot_be_used_and_says_so() {
    let allowed =
        vec![Algorithm::WeightedByLoad(WeightedByLoad::default()), Algorithm::LeastRequest { choices: 16 }];
    let mut pool = Pool::new(Algorithm::Auto(Auto { allowed, ..Auto::default() }), equal(4));
    assert_eq!(pool.balancer.algorithm().name(), "WeightedByLoad", "the first allowed");
    for _ in 0..60 {
        for number in 0..200_u32 {
            pool.request(number, 200, 5 * MS);
        }
        pool.tick(S);
    }
    let auto = pool.tuner.report().auto.expect("a choice");
    assert_eq!(auto.active.name(), "LeastRequest");
    assert!(auto.reason.ends_with("where the one before cannot be used"), "{}", auto.reason);
    assert!(auto.scores.iter().all(|(of, _)| of.name() != "WeightedByLoad"));
    assert!(pool.balancer.pick(&Query::at(pool.now, 0), &mut pool.rng).is_some());
}

#[test]
fn auto_reads_reports_by_the_parameters_that_it_allows() {
    let by_load = WeightedByLoad { metrics: vec!["gpu".to_owned()], ..WeightedByLoad::default() };
    let gpu = || LoadReport {
        named_metrics: vec![("gpu".to_owned(), 0.5)],
        rps_fractional: Some(100.0),
        ..LoadReport::default()
    };
    let allowed = vec![Algorithm::LeastRequest { choices: 16 }, Algorithm::WeightedByLoad(by_load)];
    let mut pool = Pool::new(Algorithm::Auto(Auto { allowed, ..Auto::default() }), equal(4));
    for _ in 0..10 {
        reporting(&mut pool, |_| gpu());
        pool.tick(S);
    }
    let evidence = pool.tuner.report().auto.expect("a choice").evidence;
    assert!(evidence.reporting > 0.9, "{}", evidence.reporting);
}
