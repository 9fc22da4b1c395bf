//! Which charts a scenario has.

use std::collections::BTreeMap;

use super::{
    chart::{self, Frame, Series},
    text::EXTRA,
};
use crate::{
    entrant::Entrant,
    metrics::Window,
    run::{Results, Row},
    scenario::{Case, Figure},
};

/// Charts of one kind, at most: of variants in their order.
const MAX_CHARTS: usize = 16;
/// Variants side by side in one chart, at most.
const MAX_NAMES: usize = 10;
/// Endpoints shown one by one, at most; of more, quantiles.
const MAX_LINES: usize = 20;
/// Of the latency.
const PERCENTILES: [(&str, Figure); 3] = [
    ("p50 of the latency, ms", Figure::P50),
    ("p99 of the latency, ms", Figure::P99),
    ("p99.9 of the latency, ms", Figure::P999),
];

/// Charts of one kind, each an SVG.
pub(super) struct Kind {
    pub(super) title: &'static str,
    pub(super) charts: Vec<String>,
    /// Those that there is no room for.
    pub(super) left_out: usize,
}

/// All charts of a scenario.
pub(super) fn gallery(results: &Results) -> Vec<Kind> {
    let latency =
        |(name, figure): (&'static str, Figure)| kind(name, by_figure(results, name, figure, |_| true));
    let errors = results.has(Figure::Errors).then_some(("errors %", Figure::Errors));
    let asked = EXTRA.iter().filter(|column| column.figure != Figure::Speed && results.asks(column.figure));
    let asked = errors.into_iter().chain(asked.map(|column| (column.heading, column.figure)));
    let asked = asked.flat_map(|(name, figure)| {
        by_figure(results, name, figure, |variant| {
            figure == Figure::Errors || results.asks_in(figure, variant)
        })
    });
    let kinds = [
        latency(PERCENTILES[0]),
        latency(PERCENTILES[1]),
        latency(PERCENTILES[2]),
        kind("What else is asked", asked.collect()),
        kind("Requests of each endpoint", counts(results)),
        kind("Latency over time", over_time(results)),
        kind("Share of each endpoint over time", shares(results)),
        kind("Requests in flight at an endpoint", in_flight(results)),
    ];
    kinds.into_iter().filter(|kind| !kind.charts.is_empty()).collect()
}

/// The 99th percentile of the latency, against load if there are several loads, else for each variant.
#[must_use]
pub fn latency(results: &Results) -> String {
    let (name, figure) = PERCENTILES[1];
    by_figure(results, name, figure, |_| true).into_iter().next().unwrap_or_default()
}

fn kind(title: &'static str, mut charts: Vec<String>) -> Kind {
    charts.retain(|chart| !chart.is_empty());
    let left_out = charts.len().saturating_sub(MAX_CHARTS);
    charts.truncate(MAX_CHARTS);
    Kind { title, charts, left_out }
}

/// A figure against load, in a chart for each group of variants that differ by it alone; where none do, for each
/// variant that is `shown`.
fn by_figure(results: &Results, name: &str, figure: Figure, shown: impl Fn(usize) -> bool) -> Vec<String> {
    let logarithmic = PERCENTILES.iter().any(|(_, of)| *of == figure);
    let percent = super::text::is_part(figure);
    let value = |row: &Row| row.mean(|each| each.figure(figure)) * if percent { 100.0 } else { 1.0 };
    let groups = by_load(results);
    if groups.is_empty() {
        let all: Vec<usize> = (0..results.scenario.variants.len()).filter(|index| shown(*index)).collect();
        let chunk = |variants: &[usize]| {
            let names: Vec<_> = variants.iter().map(|variant| labels(results, *variant)).collect();
            let place = |row: &Row| variants.iter().position(|variant| *variant == row.variant);
            let series = series(results, |row| Some((place(row)? as f64, value(row))));
            let title = format!("{}: {name}", results.scenario.title);
            let frame = Frame { title: &title, x: "", y: name, logarithmic, names: &names };
            chart::bars(&frame, &series)
        };
        return all.chunks(MAX_NAMES).map(chunk).collect();
    }
    let chart = |(group, variants): (String, Vec<usize>)| {
        let load = |row: &Row| results.scenario.variants[row.variant].case.load;
        let here = |row: &Row| variants.contains(&row.variant);
        let series = series(results, |row| here(row).then(|| (load(row), value(row))));
        let title = [results.scenario.title.as_str(), &group, name];
        let title = title.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        chart::lines(&Frame { title: &title, x: "load", y: name, logarithmic, names: &[] }, &series)
    };
    groups.into_iter().map(chart).collect()
}

/// Variants that differ by their load alone, by what else they are called; empty if none do.
fn by_load(results: &Results) -> BTreeMap<String, Vec<usize>> {
    let variants = &results.scenario.variants;
    let groups = |axis: usize| {
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, variant) in variants.iter().enumerate() {
            let mut others = variant.labels.clone();
            others.remove(axis);
            groups.entry(others.join(", ")).or_default().push(index);
        }
        groups
    };
    let loads = |group: &Vec<usize>| {
        let mut loads: Vec<_> = group.iter().map(|index| variants[*index].case.load).collect();
        loads.sort_by(f64::total_cmp);
        let at = |index: &usize| Case { load: loads[0], ..variants[*index].case.clone() };
        group.len() > 1
            && loads.windows(2).all(|pair| pair[0] < pair[1])
            && group.iter().all(|index| at(index) == at(&group[0]))
    };
    let axes = (0..results.scenario.axes.len()).map(groups);
    axes.into_iter().find(|groups| groups.values().all(loads)).unwrap_or_default()
}

/// What `point` says of each algorithm's rows, in the order of the first axis.
fn series(results: &Results, point: impl Fn(&Row) -> Option<(f64, f64)>) -> Vec<Series> {
    let mut found: Vec<(Entrant, Vec<(f64, f64)>)> = Vec::new();
    for row in &results.rows {
        let Some(point) = point(row) else { continue };
        match found.iter_mut().find(|(entrant, _)| *entrant == row.entrant) {
            Some((_, points)) => points.push(point),
            None => found.push((row.entrant, vec![point])),
        }
    }
    let sorted = |(entrant, mut points): (Entrant, Vec<(f64, f64)>)| {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Series { name: entrant.to_string(), points }
    };
    found.into_iter().map(sorted).collect()
}

/// A chart of each variant, with a line or bars for each algorithm.
fn of_variants(
    results: &Results,
    shown: impl Fn(&Case) -> bool,
    draw: impl Fn(&str, &[&Row]) -> String,
) -> Vec<String> {
    let variants = results.scenario.variants.iter().enumerate();
    let shown = variants.filter(|(_, variant)| shown(&variant.case));
    shown
        .map(|(index, _)| {
            let rows: Vec<_> = results.rows.iter().filter(|row| row.variant == index).collect();
            draw(&labels(results, index), &rows)
        })
        .collect()
}

/// How requests are divided among endpoints, where that is what the scenario is about: of the first seed.
fn counts(results: &Results) -> Vec<String> {
    let about = [Figure::Deviation, Figure::LargestShare].into_iter().any(|figure| results.asks(figure));
    let few = |row: &&Row| row.runs.first().is_some_and(|run| run.figures.counts.len() <= MAX_LINES);
    of_variants(
        results,
        |_| about,
        |labels, rows| {
            let counts = |row: &Row| {
                let counts = row.runs.first().map(|run| run.figures.counts.clone()).unwrap_or_default();
                counts.into_iter().map(|count| count as f64).collect::<Vec<_>>()
            };
            let title = format!("Requests of each endpoint: {labels}");
            let frame = Frame { title: &title, x: "", y: "requests", logarithmic: false, names: &[] };
            let numbered = |counts: Vec<f64>| -> Vec<_> {
                counts.into_iter().enumerate().map(|(place, count)| (place as f64, count)).collect()
            };
            if rows.iter().all(few) {
                let most = rows.iter().map(|row| counts(row).len()).max().unwrap_or(0);
                let names: Vec<_> = (0..most).map(|number| number.to_string()).collect();
                let series =
                    |row: &&Row| Series { name: row.entrant.to_string(), points: numbered(counts(row)) };
                let series: Vec<_> = rows.iter().map(series).collect();
                return chart::bars(&Frame { x: "endpoint", names: &names, ..frame }, &series);
            }
            let series = |row: &&Row| {
                let mut counts = counts(row);
                counts.sort_by(|a, b| b.total_cmp(a));
                Series { name: row.entrant.to_string(), points: numbered(counts) }
            };
            let series: Vec<_> = rows.iter().map(series).collect();
            chart::lines(&Frame { x: "endpoints, the one with most first", ..frame }, &series)
        },
    )
}

/// The 99th percentile in each window, where anything happens on the way: of the first seed.
fn over_time(results: &Results) -> Vec<String> {
    of_variants(results, moves, |labels, rows| {
        let series = |row: &&Row| {
            let points = windows(row).map(|window| (window.end, window.p99)).collect();
            Series { name: row.entrant.to_string(), points }
        };
        let title = format!("p99 of the latency over time: {labels}");
        let frame = Frame { title: &title, x: "s", y: "ms", logarithmic: true, names: &[] };
        chart::lines(&frame, &rows.iter().map(series).collect::<Vec<_>>())
    })
}

/// How requests in flight at an endpoint are distributed, for each variant: of the first seed.
fn in_flight(results: &Results) -> Vec<String> {
    of_variants(
        results,
        |_| true,
        |labels, rows| {
            let curve = |row: &&Row| {
                let quantiles = row.runs.first().map(|run| run.in_flight.as_slice()).unwrap_or_default();
                let points =
                    quantiles.iter().enumerate().map(|(part, load)| (part as f64 / 100.0, *load)).collect();
                Series { name: row.entrant.to_string(), points }
            };
            let title = format!("Requests in flight at an endpoint: {labels}");
            let frame =
                Frame { title: &title, x: "quantile", y: "in flight", logarithmic: false, names: &[] };
            chart::lines(&frame, &rows.iter().map(curve).collect::<Vec<_>>())
        },
    )
}

/// Share per endpoint over time, where anything happens; else of the first variant.
fn shares(results: &Results) -> Vec<String> {
    let any = results.scenario.variants.iter().any(|variant| moves(&variant.case));
    let shown =
        |row: &&Row| if any { moves(&results.scenario.variants[row.variant].case) } else { row.variant == 0 };
    results.rows.iter().filter(shown).map(|row| share(results, row)).collect()
}

/// The chart of one algorithm in one variant, with its first seed.
fn share(results: &Results, row: &Row) -> String {
    let mut series: Vec<Series> = Vec::new();
    for window in windows(row) {
        let total = f64::from(window.counts.iter().sum::<u32>());
        let mut shares: Vec<f64> =
            window.counts.iter().map(|count| 100.0 * f64::from(*count) / total).collect();
        let mut names: Vec<String> = (0..shares.len()).map(|number| format!("endpoint {number}")).collect();
        if shares.len() > MAX_LINES {
            shares.sort_by(f64::total_cmp);
            let quantiles = [0, 10, 50, 90, 100];
            shares = quantiles.iter().map(|part| shares[(shares.len() - 1) * part / 100]).collect();
            names = quantiles.iter().map(|part| format!("{part} % take less")).collect();
        }
        for (index, (name, share)) in names.into_iter().zip(shares).enumerate() {
            if series.len() <= index {
                series.push(Series { name, points: Vec::new() });
            }
            series[index].points.push((window.end, share));
        }
    }
    let title = format!("Share of each endpoint: {}, {}", row.entrant, labels(results, row.variant));
    let title = title.trim_end_matches([',', ' ']);
    chart::lines(&Frame { title, x: "s", y: "% of requests", logarithmic: false, names: &[] }, &series)
}

/// Those of the first seed in which requests came: after the last, what is left only ends.
fn windows(row: &Row) -> impl Iterator<Item = &Window> {
    let windows = row.runs.first().map(|run| run.windows.as_slice()).unwrap_or_default();
    windows.iter().filter(|window| window.counts.iter().any(|count| *count > 0))
}

fn moves(case: &Case) -> bool {
    !case.changes.is_empty() || case.swap_spare.is_some()
}

fn labels(results: &Results, variant: usize) -> String {
    results.scenario.variants[variant].labels.join(", ")
}
