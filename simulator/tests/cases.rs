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

#[test]
fn what_hangs_at_a_dead_endpoint_is_in_flight_there() {
    // A quarter of 100/s for a second each.
    check("  changes: [{at: 0s, endpoints: [0], effect: {dead: {}}}]\n", |figures| {
        (24.0..27.0).contains(&figures.in_flight)
    });
    // And no longer once the deadlines are over.
    check(
        "  warmup: 20s\n  changes: [{at: 0s, until: 10s, endpoints: [0], effect: {dead: {}}}]\n",
        |figures| figures.in_flight <= 1.0,
    );
}

#[test]
fn moves_are_those_of_the_worst_removal() {
    let keys = "  keys: {count: 1000, zipf: 1}\n  measure: 1s\n";
    let text = BASE.replace("[RoundRobin]", "[Rendezvous]\nseeds: 2").replace("  measure: 60s\n", keys);
    let text = text.replace("count: 4,", "count: 40,");
    let scenario = Scenario::parse("test", &text, Path::new(""), false).expect("a scenario");
    let results = run_all(scenario, 1).expect("a scenario that can be played");
    let runs = &results.rows[0].runs;
    assert_eq!(runs[0].figures.moved, runs[1].figures.moved);
    // Of 40 endpoints with 25 keys on average, the one that has most.
    assert!(runs[0].figures.moved.is_some_and(|moved| (0.032..0.045).contains(&moved)), "{:?}", runs[0]);
    assert_eq!(runs[0].figures.strays, Some(0.0));
}

#[test]
fn what_would_not_end_is_given_up() {
    let text = BASE.replace("  deadline: 1s\n", "").replace("{mean: 1ms}", "{mean: 1439m}");
    let scenario = Scenario::parse("test", &text, Path::new(""), false).expect("a scenario");
    let results = run_all(scenario, 1).expect("a scenario that can be played");
    let figures = &results.rows[0].runs[0].figures;
    assert!(figures.errors > 0.99 && figures.p50 > 3_600_000.0, "{figures:?}");
}

#[test]
fn where_nothing_is_measured_nothing_holds() {
    let expect = |figure| format!("expect: [{{say: it, figure: {figure}, of: [RoundRobin], atMost: 1}}]\n");
    for figure in
        ["p50", "p99", "p99.9", "errors", "inFlight", "throughput", "peakP99", "deviation", "overBound"]
    {
        missed(&format!("  warmup: 5s\n  requests: 10\n{}", expect(figure)));
    }
    let failing = "  changes: [{at: 0s, endpoints: [0, 1, 2, 3], effect: {fail: {after: 1ms}}}]\n";
    missed(&format!("{failing}{}", expect("p99")));
}

/// Plays the base with `more` after it, of which nothing was measured.
fn missed(more: &str) {
    let scenario =
        Scenario::parse("test", &format!("{BASE}{more}"), Path::new(""), false).expect("a scenario");
    let results = run_all(scenario, 1).expect("a scenario that can be played");
    let verdict = judge(&results).remove(0);
    assert!(verdict.is_missed() && verdict.found.is_nan(), "{more}: {verdict:?}");
}

#[test]
fn runs_that_would_fill_the_memory_are_refused() {
    let axis =
        |name: &str| (0..20).map(|label| format!("{name}{label}: {{}}")).collect::<Vec<_>>().join(", ");
    let text = format!("{BASE}seeds: 251\nmatrix: [{{{}}}, {{{}}}]\n", axis("a"), axis("b"));
    let scenario = Scenario::parse("test", &text, Path::new(""), false).expect("a scenario");
    let problem = run_all(scenario, 1).unwrap_err().to_string();
    assert_eq!(problem, "seeds must be at most 250 with so many combinations and algorithms");
}
