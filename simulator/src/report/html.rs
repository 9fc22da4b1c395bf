//! A page that holds all of a scenario's results, with nothing to load from elsewhere.

use super::{
    gallery::{Kind, gallery},
    table, verdicts,
};
use crate::{judge::judge, run::Results};

/// The page.
#[must_use]
pub fn html(results: &Results) -> String {
    let scenario = &results.scenario;
    let charts: String = gallery(results).iter().map(section).collect();
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
    )
}

fn section(kind: &Kind) -> String {
    let title = kind.title;
    let left_out = match kind.left_out {
        0 => String::new(),
        left_out => format!("<p>{left_out} more are left out; name fewer variants to see them.</p>"),
    };
    format!("<h3>{title}</h3>{}{left_out}", kind.charts.concat())
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
