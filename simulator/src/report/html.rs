//! A page that holds all of a scenario's results, with nothing to load from elsewhere.

use super::{
    chart::{self, Frame, Series},
    table, verdicts,
};
use crate::{
    judge::judge,
    run::{Results, Row},
    scenario::{Case, Figure},
};

/// Charts of one kind, at most: of variants in their order.
const MAX_CHARTS: usize = 16;
/// Of the latency.
const PERCENTILES: [(&str, Figure); 3] =
    [("p50", Figure::P50), ("p99", Figure::P99), ("p99.9", Figure::P999)];
/// Endpoints shown one by one, at most; of more, quantiles.
const MAX_LINES: usize = 20;

/// The page.
#[must_use]
pub fn html(results: &Results) -> String {
    let scenario = &results.scenario;
    let mut charts: Vec<_> = PERCENTILES.iter().map(|(name, figure)| by(results, name, *figure)).collect();
    charts.extend(in_flight(results));
    charts.extend(shares(results));
    let verdicts = rows(&verdicts(&judge(results)));
    let figures = rows(&table(results));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title><style>\
         body{{font:15px sans-serif;margin:2em;max-width:60em}}table{{border-collapse:collapse;font-size:13px}}\
         td,th{{padding:2px 8px;border-bottom:1px solid #ddd;text-align:left}}svg{{display:block;margin:1em 0}}\
         </style></head><body><h1>{title}</h1><p>Scenario {name}, {seeds} seeds, defaults everywhere.</p>\
         <h2>What must hold</h2>{verdicts}<h2>Charts</h2>{charts}<h2>Figures</h2>{figures}</body></html>\n",
        name = escaped(&scenario.name),
        title = escaped(&scenario.title),
        seeds = scenario.seeds,
        charts = charts.concat(),
    )
}

/// The 99th percentile of the latency, against load if there are several loads, else for each variant.
#[must_use]
pub fn latency(results: &Results) -> String {
    by(results, "p99", Figure::P99)
}

fn by(results: &Results, name: &str, figure: Figure) -> String {
    let mut entrants: Vec<_> = Vec::new();
    for row in &results.rows {
        if !entrants.contains(&row.entrant) {
            entrants.push(row.entrant);
        }
    }
    let case = |row: &Row| &results.scenario.variants[row.variant].case;
    let by_load = results.scenario.axes.len() == 1 && differ(results, |case| case.load);
    let names: Vec<String> =
        results.scenario.variants.iter().map(|variant| variant.labels.join(", ")).collect();
    let mut series = Vec::new();
    for entrant in &entrants {
        let rows = results.rows.iter().filter(|row| row.entrant == *entrant);
        let x = |row: &Row| if by_load { case(row).load } else { row.variant as f64 };
        let points = rows.map(|row| (x(row), row.mean(|each| each.figure(figure)))).collect();
        series.push(Series { name: entrant.to_string(), points });
    }
    let title = format!("{}: {name} of the latency", results.scenario.title);
    let mut frame = Frame { title: &title, x: "load", y: "ms", logarithmic: true, names: &[] };
    if by_load {
        return chart::lines(&frame, &series);
    }
    (frame.names, frame.x) = (&names, "variant");
    chart::bars(&frame, &series)
}

/// How requests in flight at an endpoint are distributed, for each variant.
fn in_flight(results: &Results) -> Vec<String> {
    let mut charts = Vec::new();
    for (index, variant) in results.scenario.variants.iter().enumerate().take(MAX_CHARTS) {
        let rows = results.rows.iter().filter(|row| row.variant == index);
        let curve = |row: &Row| {
            let quantiles = row.runs.first().map(|run| run.in_flight.as_slice()).unwrap_or_default();
            let points =
                quantiles.iter().enumerate().map(|(part, load)| (part as f64 / 100.0, *load)).collect();
            Series { name: row.entrant.to_string(), points }
        };
        let series: Vec<_> = rows.map(curve).collect();
        let title = format!("Requests in flight at an endpoint: {}", variant.labels.join(", "));
        let frame = Frame { title: &title, x: "quantile", y: "in flight", logarithmic: false, names: &[] };
        charts.push(chart::lines(&frame, &series));
    }
    charts
}

/// Share per endpoint over time, where anything happens; else of the first variant.
fn shares(results: &Results) -> Vec<String> {
    let moves = |case: &Case| !case.changes.is_empty() || case.swap_spare.is_some();
    let any = results.scenario.variants.iter().any(|variant| moves(&variant.case));
    let shown =
        |row: &&Row| if any { moves(&results.scenario.variants[row.variant].case) } else { row.variant == 0 };
    results.rows.iter().filter(shown).take(MAX_CHARTS).map(|row| share(results, row)).collect()
}

/// The chart of one algorithm in one variant, with its first seed.
#[must_use]
pub fn share(results: &Results, row: &Row) -> String {
    let windows = row.runs.first().map(|run| run.windows.as_slice()).unwrap_or_default();
    let mut series: Vec<Series> = Vec::new();
    for window in windows {
        let total = f64::from(window.counts.iter().sum::<u32>()).max(1.0);
        let mut shares: Vec<f64> =
            window.counts.iter().map(|count| 100.0 * f64::from(*count) / total).collect();
        let mut names: Vec<String> = (0..shares.len()).map(|number| format!("endpoint {number}")).collect();
        if shares.len() > MAX_LINES {
            shares.sort_by(f64::total_cmp);
            let quantiles = [0, 10, 50, 90, 100];
            shares = quantiles.iter().map(|part| shares[(shares.len() - 1) * part / 100]).collect();
            names = quantiles.iter().map(|part| format!("{part} % of endpoints take less")).collect();
        }
        for (index, (name, share)) in names.into_iter().zip(shares).enumerate() {
            if series.len() <= index {
                series.push(Series { name, points: Vec::new() });
            }
            series[index].points.push((window.end, share));
        }
    }
    let labels = results.scenario.variants[row.variant].labels.join(", ");
    let title = format!("Share of each endpoint: {}, {labels}", row.entrant);
    chart::lines(
        &Frame { title: &title, x: "s", y: "% of requests", logarithmic: false, names: &[] },
        &series,
    )
}

fn differ(results: &Results, of: impl Fn(&Case) -> f64) -> bool {
    let mut loads = results.scenario.variants.iter().map(|variant| of(&variant.case));
    let first = loads.next().unwrap_or_default();
    loads.any(|load| (load - first).abs() > 1e-9)
}

fn rows(rows: &[Vec<String>]) -> String {
    let row = |(index, cells): (usize, &Vec<String>)| {
        let tag = if index == 0 { "th" } else { "td" };
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    format!("<table>{}</table>", rows.iter().enumerate().map(row).collect::<String>())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
