//! `evenkeel simulate`: a thin layer over the simulator, which says what each word means.

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, bail};
use evenkeel_simulator::{Results, Scenario, Verdict, judge, report, run_all, scenario::Page};

use crate::{
    args::{self, Simulate},
    output,
    table::Table,
};

/// Plays the scenarios one after the other.
///
/// # Errors
/// If a scenario cannot be read or played, or a report not be written.
pub fn run(simulate: &Simulate) -> anyhow::Result<ExitCode> {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let threads = simulate.threads.map_or_else(cores, std::num::NonZeroUsize::get);
    check_targets(simulate)?;
    let mut missed = false;
    let mut told = Vec::new();
    for path in &simulate.scenarios {
        let problem = || format!("cannot play {}", path.display());
        let mut scenario = Scenario::load(path, simulate.short).with_context(problem)?;
        scenario.seeds = simulate.seeds.unwrap_or(scenario.seeds);
        if !simulate.algorithm.is_empty() {
            simulate.algorithm.clone_into(&mut scenario.algorithms);
            scenario.published = None;
            scenario.expect.clear();
        }
        let results = run_all(scenario, threads).with_context(problem)?;
        missed |= judge(&results).iter().any(Verdict::is_missed);
        match simulate.output {
            args::Results::Json => told.push(report::json(&results)),
            how => show(&results, how),
        }
        if let Some(path) = &simulate.report {
            write_report(&results, path)?;
        }
        if let Some(page) = &simulate.page {
            write_page(&results, page)?;
        }
    }
    match told.as_slice() {
        [] => {}
        [one] => output::data(one, args::Format::Json)?,
        several => output::data(&several, args::Format::Json)?,
    }
    Ok(if missed { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// Before anything is played, which may take long.
fn check_targets(simulate: &Simulate) -> anyhow::Result<()> {
    let extension = simulate.report.as_deref().and_then(Path::extension).and_then(|end| end.to_str());
    match extension {
        Some("html" | "svg") if simulate.scenarios.len() > 1 => {
            bail!("one file cannot take the reports of several scenarios; name a folder")
        }
        None | Some("html" | "svg") => {}
        Some(other) => bail!("a report is a .html, a .svg or a folder, and not .{other}"),
    }
    let Some(page) = &simulate.page else { return Ok(()) };
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    for path in &simulate.scenarios {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if report::replaced(&text, &name, "").is_none() {
            bail!("{} has no <!-- simulated {name} --> with an <!-- end --> after it", page.display());
        }
    }
    Ok(())
}

fn show(results: &Results, how: args::Results) {
    let verdicts = report::verdicts(&judge(results));
    let table = report::table(results);
    match how {
        args::Results::Json => {}
        args::Results::Markdown => output::line(&tables(results)),
        args::Results::Table => {
            let scenario = &results.scenario;
            output::line(&format!("{}: {}, {:.0} s", scenario.name, scenario.title, results.seconds));
            for rows in [table, verdicts].into_iter().filter(|rows| rows.len() > 1) {
                columns(rows);
            }
        }
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

fn write_report(results: &Results, path: &Path) -> anyhow::Result<()> {
    let ends = |end: &str| path.extension().is_some_and(|found| found == end);
    if ends("svg") {
        return write(path, &report::latency(results));
    }
    if ends("html") {
        return write(path, &report::html(results));
    }
    write(&path.join(format!("{}.html", results.scenario.name)), &report::html(results))
}

/// What the scenario's page shows, and what must hold.
fn summary(results: &Results) -> String {
    let verdicts = report::markdown(&report::verdicts(&judge(results)));
    let table = |page: &Page| {
        let say = if page.say.is_empty() { String::new() } else { format!("{}\n\n", page.say) };
        format!("\n{say}{}", report::markdown(&report::compact(results, page)))
    };
    let tables: String = results.scenario.page.iter().map(table).collect();
    format!("{tables}\n{verdicts}\n")
}

/// The tables between the page's marks, and the chart beside it if the page links to it.
fn write_page(results: &Results, page: &Path) -> anyhow::Result<()> {
    let name = &results.scenario.name;
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    if let Some(text) = report::replaced(&text, name, &summary(results)) {
        write(page, &text)?;
    }
    let chart = format!("charts/{name}.svg");
    if text.contains(&chart) {
        write(&page.with_file_name(&chart), &report::latency(results))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
