//! `evenkeel simulate`: a thin layer over the simulator, which says what each word means.

mod files;

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use evenkeel_simulator::{Results, Scenario, Verdict, judge, report, run_all};

use crate::{
    args::{self, Simulate},
    output,
    table::Table,
};

use self::files::Files;

/// Plays the scenarios one after the other.
///
/// # Errors
/// If a scenario cannot be read or played, or a report not be written.
pub fn run(simulate: &Simulate) -> anyhow::Result<ExitCode> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let threads = simulate.threads.map_or_else(cores, std::num::NonZeroUsize::get);
    let scenarios: Vec<_> =
        simulate.scenarios.iter().map(|path| load(simulate, path)).collect::<anyhow::Result<_>>()?;
    let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    let files = Files::new(simulate.report.as_deref(), simulate.page.as_deref(), &names)?;
    let (mut missed, mut documents) = (false, Vec::new());
    for (path, scenario) in simulate.scenarios.iter().zip(scenarios) {
        let results = run_all(scenario, threads).with_context(|| problem(path))?;
        missed |= judge(&results).iter().any(Verdict::is_missed);
        match simulate.output {
            args::Results::Table => show(&results),
            args::Results::Markdown => output::line(&tables(&results)),
            args::Results::Json => documents.push(report::json(&results)),
        }
        files.write(&results)?;
    }
    match documents.as_slice() {
        [] => {}
        [document] => output::data(document, args::Format::Json)?,
        // One document, whatever reads it.
        several => output::data(&several, args::Format::Json)?,
    }
    Ok(if missed { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn load(simulate: &Simulate, path: &Path) -> anyhow::Result<Scenario> {
    let mut scenario = Scenario::load(path, simulate.short).with_context(|| problem(path))?;
    scenario.seeds = simulate.seeds.unwrap_or(scenario.seeds);
    if !simulate.algorithm.is_empty() {
        scenario.enter(&simulate.algorithm)?;
    }
    Ok(scenario)
}

fn problem(path: &Path) -> String {
    format!("cannot play {}", path.display())
}

fn show(results: &Results) {
    let scenario = &results.scenario;
    output::line(&format!("{}: {}, {:.0} s", scenario.name, scenario.title, results.seconds));
    let verdicts = report::verdicts(&judge(results));
    for rows in [report::table(results), verdicts].into_iter().filter(|rows| rows.len() > 1) {
        columns(rows);
    }
}

fn columns(rows: Vec<Vec<String>>) {
    let mut rows = rows.into_iter();
    let headings = rows.next().unwrap_or_default();
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    rows.for_each(|row| table.row(row));
    table.lines().iter().for_each(|line| output::line(line));
    output::line("");
}

fn tables(results: &Results) -> String {
    let verdicts = report::verdicts(&judge(results));
    let table = report::markdown(&report::table(results));
    if verdicts.len() > 1 { format!("{}\n{table}", report::markdown(&verdicts)) } else { table }
}
