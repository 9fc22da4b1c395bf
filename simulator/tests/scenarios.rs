//! The scenarios of the project, shortened by what each says of that: what must hold still holds, but for what says that it
//! means nothing then. `make simulate` plays them in full.

use std::path::{Path, PathBuf};

use evenkeel_simulator::{Scenario, judge, report, run_all};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.yaml"))
}

fn check(name: &str) {
    let scenario = Scenario::load(&path(name), true).expect("a scenario");
    let results = run_all(scenario, 2).expect("a scenario that can be played");
    assert!(results.rows.iter().all(|row| row.runs.iter().all(|run| run.figures.requests > 0)));
    for verdict in judge(&results) {
        assert!(!verdict.is_missed(), "{name}: {verdict:?}");
    }
    assert!(report::html(&results).contains("<svg"), "charts");
}

#[test]
fn prequal_ramp() {
    check("1-prequal-ramp");
}

#[test]
fn slow_pair() {
    check("2-slow-pair");
}

#[test]
fn equal_endpoints() {
    check("3-equal-endpoints");
}

#[test]
fn noisy_fleet() {
    check("4-noisy-fleet");
}

#[test]
fn course() {
    check("5-course");
}

#[test]
fn rollout() {
    check("6-rollout");
}

#[test]
fn popular_keys() {
    check("7-popular-keys");
}

#[test]
fn speed() {
    check("8-speed");
}

#[test]
fn the_same_seed_gives_the_same_results() {
    let play = |threads| {
        let mut scenario = Scenario::load(&path("6-rollout"), true).expect("a scenario");
        scenario.variants.truncate(1);
        let mut results = run_all(scenario, threads).expect("a scenario that can be played");
        // How fast the machine was is no result.
        results.rows.iter_mut().flat_map(|row| &mut row.runs).for_each(|run| run.figures.speed = 0.0);
        results.rows.into_iter().flat_map(|row| row.runs).collect::<Vec<_>>()
    };
    assert_eq!(play(1), play(2));
}

#[test]
fn every_scenario_of_the_folder_is_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<_> =
        files.filter_map(|file| Some(file.path().file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    let tested = [
        "1-prequal-ramp",
        "2-slow-pair",
        "3-equal-endpoints",
        "4-noisy-fleet",
        "5-course",
        "6-rollout",
        "7-popular-keys",
        "8-speed",
    ];
    assert_eq!(names, tested);
}
