//! The scenarios of the project, shortened by what each says of that: what must hold still holds, but for what says
//! that it means nothing then. `make simulate` plays them in full.

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

/// A test of each scenario, and the list of all of them.
macro_rules! scenarios {
    ($($test:ident => $file:literal,)*) => {
        const TESTED: &[&str] = &[$($file),*];
        $(
            #[test]
            fn $test() {
                check($file);
            }
        )*
    };
}

scenarios! {
    prequal_ramp => "1-prequal-ramp",
    slow_pair => "2-slow-pair",
    equal_endpoints => "3-equal-endpoints",
    noisy_fleet => "4-noisy-fleet",
    course => "5-course",
    rollout => "6-rollout",
    popular_keys => "7-popular-keys",
    // What it expects is of the whole of it, so that this shows only that it can be played.
    speed => "8-speed",
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
    assert_eq!(names, TESTED);
}
