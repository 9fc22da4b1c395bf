use super::*;

const BASE: &str = "
title: a test
algorithms: [RoundRobin]
base:
  measure: 1s
  rate: 100
  service: {constant: {mean: 1ms}}
  endpoints: [{count: 2, server: {unlimited: {}}}]
";

/// `text` after the base: the variants, or what is said against it.
fn check(text: &str, short: bool, expect: Result<&[&str], &str>) {
    let scenario = Scenario::parse("test", &format!("{BASE}{text}"), Path::new(""), short);
    match (scenario, expect) {
        (Ok(scenario), Ok(expect)) => {
            let names: Vec<_> = scenario.variants.iter().map(|variant| variant.labels.join(", ")).collect();
            assert_eq!(names, expect);
        }
        (Err(problem), Err(expect)) => {
            assert!(problem.to_string().contains(expect), "{problem} does not say {expect}");
        }
        (found, _) => panic!("{found:?}"),
    }
}

#[test]
fn a_matrix_is_every_combination() {
    check("", false, Ok(&[""]));
    let matrix =
        "matrix:\n- {low: {load: 0.5}, high: {load: 0.9}}\n- {one: {proxies: 1}, two: {proxies: 2}}\n";
    check(matrix, false, Ok(&["high, one", "high, two", "low, one", "low, two"]));
    check(&format!("{matrix}short: {{in: [low]}}"), true, Ok(&["low, one", "low, two"]));
}

#[test]
fn complaints_name_the_field() {
    check("colour: red\n", false, Err("colour"));
    check("matrix: [{a: {service: {constant: {mean: 1}}}}]", false, Err("base.service"));
    check("matrix: [{a: {endpoints: [{count: 1, server: {sharing: {cores: 1}}}]}}]", false, Err("spare"));
    check("matrix: [{a: {rate: -1}}]", false, Err("rate must be above 0"));
    check("matrix: [{a: {contended: 2}}]", false, Err("contended must be above 0 and at most 1"));
    check("matrix: [{a: {loads: 1}}]", false, Err("loads"));
    check(
        "matrix: [{a: {changes: [{at: 1s, endpoints: [2], effect: {slow: {times: 2}}}]}}]",
        false,
        Err("changes[0].endpoints must name endpoints by their numbers, from 0 to 1"),
    );
    check("expect: [{say: x, figure: p99, of: [RoundRobin]}]", false, Err("atMost"));
    check("expect: [{say: x, figure: p99, of: [RoundRobin], in: [b], atMost: 1}]", false, Err("label \"b\""));
}

#[test]
fn changes_that_would_do_nothing_are_refused() {
    let refused = |change: &str, say: &str| {
        check(&format!("matrix: [{{a: {{changes: [{{{change}}}]}}}}]"), false, Err(say));
    };
    let slow = "endpoints: [0], effect: {slow: {times: 2}}";
    refused(&format!("at: 500ms, until: 500ms, {slow}"), "changes[0].until must be after its at");
    refused(&format!("at: 1s, {slow}"), "changes[0].at must be before the end of the run");
    refused("at: 0s, endpoints: [], effect: {leave: {}}", "changes[0].endpoints must name");
    let join = "at: 0s, endpoints: [0], effect: {join: {from: 0.1, over: 1s}}";
    let replace = "at: 0s, endpoints: [0], effect: {replace: {from: 0.1, over: 1s}}";
    for stays in [join, replace] {
        refused(&format!("until: 1s, {stays}"), "changes[0].until must not be set of those that join");
        refused(&format!("flap: 100ms, {stays}"), "changes[0].flap must not be set of those that join");
        refused(&stays.replace("0.1", "-0.1"), "changes[0].effect.from must be from 0 to 1");
    }
}

#[test]
fn factors_are_bounded() {
    for times in ["0", "-1", "1.0e300", "1.0e-300"] {
        let slow = format!("changes: [{{at: 0s, endpoints: [0], effect: {{slow: {{times: {times}}}}}}}]");
        check(
            &format!("matrix: [{{a: {{{slow}}}}}]"),
            false,
            Err("effect.slow.times must be from 0.000001 to"),
        );
        let group = |more: &str| {
            format!("matrix: [{{a: {{endpoints: [{{count: 1, server: {{unlimited: {{}}}}, {more}}}]}}}}]")
        };
        check(&group(&format!("speed: {times}")), false, Err("endpoints[0].speed must be from"));
        let factors = format!("factors: [{{from: 1, to: {times}}}]");
        let noise = group(&format!("noise: {{everyFrom: 1s, everyTo: 1s, {factors}}}"));
        check(&noise, false, Err("endpoints[0].noise.factors must be from"));
    }
}

#[test]
fn patches_replace_and_remove() {
    let text = "matrix: [{a: {deadline: 1s}}, {b: {deadline: null, service: {constant: null, exponential: {mean: 2ms}}}}]";
    let scenario = Scenario::parse("test", &format!("{BASE}{text}"), Path::new(""), false).unwrap();
    let case = &scenario.variants[0].case;
    assert_eq!(case.deadline, None);
    assert!(matches!(case.service, crate::service::Service::Exponential { .. }));
}

#[test]
fn the_examples_of_the_readme_are_scenarios() {
    let mut blocks = include_str!("../../../README.md").split("```yaml\n").skip(1).peekable();
    assert!(blocks.peek().is_some());
    for block in blocks {
        let text = block.split("```").next().unwrap();
        Scenario::parse("readme", text, Path::new(""), false).unwrap();
    }
}
