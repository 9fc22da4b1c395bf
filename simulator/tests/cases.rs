//! Small cases whose figures are known beforehand.

use std::path::Path;

use evenkeel_simulator::{Figures, Scenario, judge, run_all};

const BASE: &str = "
title: a test
algorithms: [RoundRobin]
base:
  measure: 60s
  rate: 100
  deadline: 1s
  arrivals: uniform
  service: {constant: {mean: 1ms}}
  endpoints: [{count: 4, server: {unlimited: {}}}]
";

/// Plays the base with `more` after it, and asks what came of it.
fn check(more: &str, expect: impl Fn(&Figures) -> bool) {
    let scenario =
        Scenario::parse("test", &format!("{BASE}{more}"), Path::new(""), false).expect("a scenario");
    let results = run_all(scenario, 1).expect("a scenario that can be played");
    let figures = &results.rows[0].runs[0].figures;
    assert!(expect(figures), "{more}: {figures:?}, {:?}", judge(&results));
}

#[test]
fn requests_without_an_endpoint_have_failed() {
    let leave = "  changes: [{at: 3s, endpoints: [0, 1, 2, 3], effect: {leave: {}}}]\n";
    check(leave, |figures| figures.requests > 5990 && (0.94..0.96).contains(&figures.errors));
}
