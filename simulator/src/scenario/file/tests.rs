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
fn what_would_not_end_or_not_fit_is_refused() {
    let case = |field: &str, say: &str| check(&format!("matrix: [{{a: {{{field}}}}}]"), false, Err(say));
    let server = |server: &str| format!("endpoints: [{{count: 1, server: {{{server}}}}}]");
    case(&server("workers: {count: 0}"), "endpoints[0].server.workers.count must be at least 1");
    for cores in ["0", "-1", "1e9"] {
        let sharing = format!("sharing: {{cores: {cores}, spare: {{from: 0, to: 0}}}}");
        case(&server(&sharing), "endpoints[0].server.sharing.cores must be from 0.001 to 1000000");
    }
    case(
        &server("sharing: {cores: 1, spare: {from: -2, to: 0}}"),
        "endpoints[0].server.sharing.spare must be from 0 to 1000",
    );
    let noise = "noise: {everyFrom: 1ns, everyTo: 1s, factors: [{from: 1, to: 1}]}";
    case(
        &format!("endpoints: [{{count: 1, server: {{unlimited: {{}}}}, {noise}}}]"),
        "endpoints[0].noise.everyFrom must be at least 1ms",
    );
    let group = |count: &str| format!("{{count: {count}, server: {{unlimited: {{}}}}}}");
    let groups = [group("18446744073709551615"), group("11")].join(", ");
    case(&format!("endpoints: [{groups}]"), "endpoints must be from 1 to 10000");
    case("swapSpare: 1ns", "swapSpare must be at least 1ms");
    case("weights: {every: 1ns, halfLife: 1s}", "weights.every must be at least 1ms");
    case("window: 1ns", "window must be at least 1ms");
    case("measure: 3600s, window: 1ms", "window must be longer: 100000 of them at most");
    case("measure: 90000s", "measure must be above 0s and at most 86400s");
    case("rate: 1e30", "rate must make at most 1000000000 requests in 1 s");
    case("keys: {count: 4294967295, zipf: 1}", "keys.count must be from 1 to 10000000");
    case("keys: {count: 10, zipf: 1e300}", "keys.zipf must be from 0 to 10");
    let flap = "changes: [{at: 0s, flap: 1ns, endpoints: [0], effect: {slow: {times: 2}}}]";
    case(flap, "changes[0].flap must be at least 1ms");

    let file = |text: &str, say: &str| check(text, false, Err(say));
    file("seeds: 1001", "seeds must be from 1 to 1000");
    file("published: {algorithms: [Random], seeds: 0}", "published.seeds must be from 1 to 1000");
    file("published: {algorithms: [RoundRobin], seeds: 1}", "algorithms must name RoundRobin once");
    file("matrix: [{a: {}}, {}]", "matrix[1] must have a label at least");
    let axis = (0..32).map(|label| format!("l{label}: {{}}")).collect::<Vec<_>>().join(", ");
    file(
        &format!("matrix: [{{{axis}}}, {{{axis}}}]"),
        "matrix must make at most 1000 variants, and not 1024",
    );
    file("short: {in: [nowhere]}", "label \"nowhere\" must be one of the matrix");
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
