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
    check("matrix: [{a: {service: {constant: {mean: 1}}}}]", false, Err("matrix.a.service.constant.mean: "));
    check("matrix: [{a: {endpoints: [{count: 1, server: {sharing: {cores: 1}}}]}}]", false, Err("spare"));
    check("matrix: [{a: {rate: -1}}]", false, Err("matrix.a.rate must be above 0"));
    check("matrix: [{a: {lod: 1}}]", false, Err("matrix.a.lod: unknown field"));
    check(
        "matrix: [{a: {load: 2}}, {b: {measure: null}}]",
        false,
        Err("base (with a, b): missing field `measure`"),
    );
    check(
        "matrix: [{a: {requests: 9}, b: {load: 1.0e+10}}, {c: {}}]",
        false,
        Err("base.rate (with b, c) must"),
    );
    check("matrix: [{a: 5}]", false, Err("base (with a) must be a map of fields"));
    check(
        "matrix: [{a: {}}, {b: {}, a: {}}]",
        false,
        Err("matrix[1] must have labels that no axis before it"),
    );
    check("matrix: [{a: {deadline: 0s}}]", false, Err("matrix.a.deadline must be above 0s"));
    check("short: {base: {rate: 0}}", true, Err("short.base.rate must be above 0"));
    check("short: {seeds: 1}\nmatrix: [{a: {rate: 0}}]", true, Err("matrix.a.rate must be above 0"));
    check("seeds: 1\nseeds: 2", false, Err("duplicate mapping key: seeds; it may be there once"));
    let over = "expect: [{say: x, figure: p99, of: [RoundRobin], atMost: 1, over";
    check(
        &format!("{over}: best}}]"),
        false,
        Err("expect[0].over: no algorithm \"best\"; there are RoundRobin"),
    );
    check(&format!("{over}: best}}]"), false, Err("or Best"));
    check(&format!("{over}: Best}}]"), false, Ok(&[""]));
    check("matrix: [{a: {contended: 2}}]", false, Err("contended must be above 0 and at most 1"));
    check("matrix: [{a: {loads: 1}}]", false, Err("loads"));
    check(
        "matrix: [{a: {changes: [{at: 1s, endpoints: [2], effect: {slow: {times: 2}}}]}}]",
        false,
        Err("changes[0].endpoints must name endpoints by their numbers, from 0 to 1"),
    );
    check("expect: [{say: x, figure: p99, of: [RoundRobin]}]", false, Err("atMost"));
    check(
        "expect: [{say: x, figure: p99, of: [Auto], atMost: 1}]",
        false,
        Err("expect[0].of must name those"),
    );
    check(&format!("{over}: Auto}}]"), false, Err("expect[0].over must name those that take part"));
    check(
        "expect: [{say: x, figure: p99, of: [RoundRobin], in: [b], atMost: 1}]",
        false,
        Err("expect[0].in must name labels of the matrix, of which \"b\""),
    );
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
        check(&noise, false, Err("endpoints[0].noise.factors[0].to must be from"));
    }
}

/// A field of the base, and what is said against it.
fn check_field(field: &str, say: &str) {
    check(&format!("matrix: [{{a: {{{field}}}}}]"), false, Err(say));
}

#[test]
fn numbers_out_of_range_are_refused() {
    let group = |more: &str, say: &str| {
        check_field(&format!("endpoints: [{{count: 1, {more}}}]"), &format!("endpoints[0].{say}"));
    };
    group("server: {workers: {count: 0}}", "server.workers.count must be from 1 to 10000");
    for cores in ["0", "-1"] {
        let sharing = format!("server: {{sharing: {{cores: {cores}, spare: {{from: 0, to: 0}}}}}}");
        group(&sharing, "server.sharing.cores must be from 0.01");
    }
    group(
        "server: {sharing: {cores: 1, spare: {from: -2, to: 0}}}",
        "server.sharing.spare.from must be from 0",
    );
    let noise = "server: {unlimited: {}}, noise: {factors: [{from: 1, to: 1}], everyTo: 1s, everyFrom";
    group(&format!("{noise}: 10ns}}"), "noise.everyFrom must be at least 1ms");
    group(&format!("{noise}: 2s}}"), "noise.everyTo must not be less");
    let huge = format!("{{count: {}, server: {{unlimited: {{}}}}}}", usize::MAX);
    check_field(&format!("endpoints: [{huge}, {huge}]"), "endpoints must be from 1 to 10000");
    check_field("swapSpare: 1ns", "swapSpare must be at least 1ms");
    check_field("weights: {every: 1us, halfLife: 1s}", "weights.every must be at least 1ms");
    let flap = "changes: [{at: 0s, flap: 1ns, endpoints: [0], effect: {leave: {}}}]";
    check_field(flap, "changes[0].flap must be at least 1ms");
    check_field("window: 1ns", "window must be at least 0.0001s");
    check_field("rate: 1.0e+30", "rate must be such that a run has at most 100000000 requests");
    check_field("measure: 99999999999999999999s", "longer than the longest span of time, 86400s");
    check_field("keys: {count: 1000000000, zipf: 1}", "keys.count must be from 1 to 1000000");
    let many = "endpoints: [{count: 10000, server: {unlimited: {}}}]";
    check_field(
        &format!("{many}, keys: {{count: 200000, zipf: 1}}"),
        "keys.count must be at most 100000 with",
    );
    check_field(&format!("{many}, proxies: 101"), "proxies must be at most 100 with so many endpoints");
    let long = "measure: 40000s, rate: 1, window: 100s";
    check_field(&format!("{long}, {many}"), "measure must be at most 10000s with so many endpoints");
    check_field(&format!("{long}, proxies: 1000, tick: 10ms"), "tick must be at least 80ms with");
    let weights = "weights: {every: 10ms, halfLife: 1s}";
    check_field(
        &format!("{long}, proxies: 1000, tick: 1s, {weights}"),
        "weights.every must be at least 80ms",
    );
    let leave = flap.replace("1ns", "10ms");
    check_field(
        &format!("{long}, proxies: 1000, tick: 1s, {leave}"),
        "changes[0].flap must be at least 80ms",
    );
    let noise = "noise: {factors: [{from: 1, to: 1}], everyTo: 1s, everyFrom: 10ms}";
    let noisy = format!("endpoints: [{{count: 1000, server: {{unlimited: {{}}}}, {noise}}}]");
    check_field(&format!("{long}, {noisy}"), "endpoints[0].noise.everyFrom must be at least 40ms");
    check_field(
        "rate: 2.0e+7",
        "base.deadline (with a) must be set, to at most 0.5s, or more than 10000000 requests",
    );
    check_field("rate: 2.0e+7, deadline: 1s", "matrix.a.deadline must be set, to at most 0.5s");
    check("matrix: [{a: {rate: 2.0e+7, deadline: 500ms}}]", false, Ok(&["a"]));
    check_field("keys: {count: 10, zipf: 1.0e300}", "keys.zipf must be from 0 to 10");
    check_field("probeCost: -1", "probeCost must be from 0");
    check("matrix: [{a: {rate: 1.0e+30, requests: 10}}]", false, Ok(&["a"]));
}

#[test]
fn scenarios_out_of_range_are_refused() {
    let with = |from: &str, to: &str, say: &str| {
        let problem = Scenario::parse("test", &BASE.replace(from, to), Path::new(""), false).unwrap_err();
        assert!(problem.to_string().contains(say), "{problem} does not say {say}");
    };
    with("title: a test", "title: a test\nseeds: 4294967295", "seeds must be from 1 to 1000");
    with("title: a test", "title: a test\nseeds: 0", "seeds must be from 1 to 1000");
    with("[RoundRobin]", "[RoundRobin, Random, RoundRobin]", "RoundRobin too");
    with("[RoundRobin]", "[]", "algorithms must be at least one");
    check("published: {algorithms: [Random], seeds: 0}", false, Err("published.seeds must be from 1"));
    check("published: {algorithms: [RoundRobin], seeds: 1}", false, Err("RoundRobin too"));
    let twice = "expect: [{say: x, figure: p99, of: [Random, Random], atMost: 1}]";
    check(twice, false, Err("expect[0].of must name each once, Random too"));
    check("short: {seeds: 0}", false, Err("short.seeds must be from 1"));
    check("short: {in: [b]}", false, Err("short.in must name labels of the matrix, of which \"b\" is none"));
    check("short: {algorithms: [Random, Random]}", false, Err("short.algorithms must name each once"));
    check("matrix: [{}]", false, Err("matrix[0] must have an entry"));
    let axis = (0..10).map(|label| format!("l{label}: {{}}")).collect::<Vec<_>>().join(", ");
    let axes = vec![format!("{{{axis}}}"); 7].join(", ");
    check(&format!("matrix: [{axes}]"), false, Err("at most 1000 combinations, not 10000000"));
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
