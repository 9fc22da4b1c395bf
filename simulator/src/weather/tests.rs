use super::*;
use crate::scenario::{Range, Scenario};

fn case(changes: &str) -> Case {
    let text = format!(
        "
title: a test
algorithms: [RoundRobin]
base:
  measure: 9s
  rate: 100
  deadline: 1s
  service: {{constant: {{mean: 1ms}}}}
  contended: 0.9
  endpoints:
  - {{count: 3, server: {{sharing: {{cores: 4, spare: {{from: 0, to: 1}}}}}}}}
  changes: {changes}
"
    );
    Scenario::parse("test", &text, std::path::Path::new(""), false).unwrap().variants.remove(0).case
}

/// Plays all moments up to `until`; the times and speeds of machine 0.
fn check(changes: &str, until: u64, expect: &[(u64, f64)]) {
    let case = case(changes);
    let mut weather = Weather::new(&case, 1);
    let mut moments = weather.first();
    let mut speeds = Vec::new();
    while let Some(next) = moments.iter().position(|moment| moments.iter().all(|each| moment.0 <= each.0)) {
        let (at, moment) = moments.remove(next);
        if at > until {
            continue;
        }
        moments.extend(weather.meet(moment, at).follows);
        speeds.push((at, weather.speed(0, at)));
    }
    assert_eq!(speeds, expect);
}

const S: u64 = 1_000_000_000;

#[test]
fn slowness_comes_and_goes() {
    let slow = "[{at: 1s, until: 3s, endpoints: [0], effect: {slow: {times: 4}}}]";
    check(slow, 9 * S, &[(S, 0.25), (3 * S, 1.0)]);
}

#[test]
fn slowness_multiplies_and_each_ends_for_itself() {
    let both = "[{at: 1s, until: 5s, endpoints: [0], effect: {slow: {times: 4}}}, \
                     {at: 2s, until: 3s, endpoints: [0], effect: {slow: {times: 2}}}]";
    check(both, 9 * S, &[(S, 0.25), (2 * S, 0.125), (3 * S, 0.25), (5 * S, 1.0)]);
}

/// Whether endpoint 0 is one, and how it answers, after all moments up to `until`.
fn check_faults(changes: &str, until: u64, expect: (bool, Answers)) {
    let case = case(changes);
    let mut weather = Weather::new(&case, 1);
    let mut moments = weather.first();
    while let Some(next) = (0..moments.len()).min_by_key(|index| moments[*index].0) {
        let (at, moment) = moments.remove(next);
        if at <= until {
            moments.extend(weather.meet(moment, at).follows);
        }
    }
    let machine = &weather.machines[weather.places[0]];
    assert_eq!((machine.present, machine.answers), expect, "{changes} {until}");
}

#[test]
fn faults_end_each_for_itself() {
    let both = "[{at: 1s, until: 5s, endpoints: [0], effect: {dead: {}}}, \
                     {at: 2s, until: 3s, endpoints: [0], effect: {fail: {after: 1ms}}}, \
                     {at: 4s, endpoints: [0], effect: {fail: {after: 2ms}}}]";
    check_faults(both, 2 * S, (true, Answers::Never));
    check_faults(both, 3 * S, (true, Answers::Never));
    check_faults(both, 5 * S, (true, Answers::Fails(2_000_000)));
}

#[test]
fn those_that_left_come_back_by_the_end_of_it_or_by_joining() {
    let leave = "{at: 1s, until: 3s, endpoints: [0], effect: {leave: {}}}";
    check_faults(&format!("[{leave}]"), 2 * S, (false, Answers::Well));
    check_faults(&format!("[{leave}]"), 3 * S, (true, Answers::Well));
    let join = "{at: 2s, endpoints: [0], effect: {join: {from: 1, over: 1s}}}";
    check_faults(&format!("[{join}]"), S, (false, Answers::Well));
    check_faults(&format!("[{leave}, {join}]"), 2 * S, (true, Answers::Well));
    let replace = "{at: 2s, endpoints: [0], effect: {replace: {from: 1, over: 1s}}}";
    check_faults(&format!("[{leave}, {replace}]"), 3 * S, (true, Answers::Well));
}

#[test]
fn flapping_ends_with_its_change() {
    let flap = "[{at: 1s, until: 4s, flap: 1s, endpoints: [0], effect: {slow: {times: 2}}}]";
    check(flap, 9 * S, &[(S, 0.5), (2 * S, 1.0), (3 * S, 0.5), (4 * S, 1.0)]);
}

#[test]
fn who_has_no_spare_capacity_after_a_swap_is_contended() {
    let mut case = case("[]");
    // A group that has no machine without spare capacity at first.
    case.endpoints.insert(0, case.endpoints[0].clone());
    case.endpoints[0].count = 1;
    case.endpoints[0].server = Kind::Sharing { cores: 4.0, spare: Range { from: 1.0, to: 1.0 } };
    let mut weather = Weather::new(&case, 1);
    while weather.machines[0].spare > 0.0 {
        weather.meet(Moment::Swap, S);
    }
    assert_eq!(weather.discipline(0), Discipline::Sharing { cores: 4.0, contended: 0.9 });
}

#[test]
fn spare_capacity_is_spread_and_counts() {
    let case = case("[]");
    let weather = Weather::new(&case, 1);
    let cores: Vec<_> = (0..3).map(|index| weather.discipline(index)).collect();
    assert_eq!(cores[0], Discipline::Sharing { cores: 4.0, contended: 0.9 });
    assert_eq!(cores[1], Discipline::Sharing { cores: 6.0, contended: 1.0 });
    assert_eq!(cores[2], Discipline::Sharing { cores: 8.0, contended: 1.0 });
}
