//! Columns of text: what was measured, and beside what must hold.

use crate::{
    judge::Verdict,
    metrics::Figures,
    run::{Results, Row},
    scenario::{Figure, Page},
};

/// What each algorithm came to in each variant: headings, then rows.
#[must_use]
pub fn table(results: &Results) -> Vec<Vec<String>> {
    let mut columns: Vec<Column> =
        COLUMNS.iter().copied().filter(|column| results.has(column.figure)).collect();
    columns.extend(EXTRA.iter().copied().filter(|column| results.asks(column.figure)));
    let mut headings = vec!["variant".to_owned(), "algorithm".to_owned()];
    headings.extend(columns.iter().map(|column| column.heading.to_owned()));
    let mut rows = vec![headings];
    for row in &results.rows {
        let labels = results.scenario.variants[row.variant].labels.join(", ");
        let mut cells = vec![labels, row.entrant.to_string()];
        cells.extend(columns.iter().map(|column| column.cell(row)));
        rows.push(cells);
    }
    rows
}

/// One of the tables that the scenario's page shows: a row for each algorithm, a column for each variant and figure.
#[must_use]
pub fn compact(results: &Results, page: &Page) -> Vec<Vec<String>> {
    let scenario = &results.scenario;
    let shown = |index: &usize| scenario.selects(&page.r#in, &scenario.variants[*index].labels);
    let variants: Vec<usize> = (0..scenario.variants.len()).filter(shown).collect();
    // A label that all have says nothing.
    let telling = |axis: usize| {
        let label = |index: &usize| scenario.variants[*index].labels.get(axis);
        variants.iter().any(|index| label(index) != variants.first().and_then(label))
    };
    let axes: Vec<usize> = (0..scenario.axes.len()).filter(|axis| telling(*axis)).collect();
    let columns = || COLUMNS.iter().chain(&EXTRA).filter(|column| page.figures.contains(&column.figure));
    let mut headings = vec!["algorithm".to_owned()];
    for index in &variants {
        let labels: Vec<_> =
            axes.iter().map(|axis| scenario.variants[*index].labels[*axis].as_str()).collect();
        let labels = labels.join(", ");
        headings.extend(columns().map(|column| match (labels.is_empty(), page.figures.len()) {
            (true, _) => column.heading.to_owned(),
            (false, 1) => labels.clone(),
            (false, _) => format!("{labels}: {}", column.heading),
        }));
    }
    let mut rows = vec![headings];
    let mut entrants = Vec::new();
    for row in &results.rows {
        if variants.contains(&row.variant) && !entrants.contains(&row.entrant) {
            entrants.push(row.entrant);
        }
    }
    for entrant in entrants {
        let cells = variants.iter().flat_map(|index| {
            let row = results.row(*index, entrant);
            columns().map(move |column| row.map_or_else(String::new, |row| column.cell(row)))
        });
        // Rows that are means of fewer seeds do not compare to a few per cent.
        let seeds =
            variants.iter().filter_map(|index| results.row(*index, entrant)).map(|row| row.runs.len()).min();
        let fewer = seeds.filter(|seeds| *seeds < scenario.seeds as usize);
        let name = fewer.map_or_else(
            || entrant.to_string(),
            |seeds| format!("{entrant} ({seeds} of {} seeds)", scenario.seeds),
        );
        rows.push(std::iter::once(name).chain(cells).collect());
    }
    rows
}

/// What must hold: headings, then rows.
#[must_use]
pub fn verdicts(verdicts: &[Verdict]) -> Vec<Vec<String>> {
    let mut rows = vec![["", "what must hold", "bound", "found", "least so at"].map(str::to_owned).to_vec()];
    for verdict in verdicts {
        let missed = if verdict.is_missed() { "MISSED" } else { "known miss" };
        let holds = if verdict.holds { "holds" } else { missed }.to_owned();
        let why = verdict.known.as_ref().filter(|_| !verdict.holds);
        let at = why.map_or_else(|| verdict.at.clone(), |why| format!("{}: {why}", verdict.at));
        let (say, bound) = (verdict.say.clone(), verdict.bound.clone());
        rows.push(vec![holds, say, bound, number(verdict.found), at]);
    }
    rows
}

#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) heading: &'static str,
    pub(super) figure: Figure,
}

const fn column(heading: &'static str, figure: Figure) -> Column {
    Column { heading, figure }
}

const COLUMNS: [Column; 5] = [
    column("p50 ms", Figure::P50),
    column("p99 ms", Figure::P99),
    column("p99.9 ms", Figure::P999),
    column("errors %", Figure::Errors),
    column("in flight p99.9", Figure::InFlight),
];

/// Shown where something must hold of them.
pub(super) const EXTRA: [Column; 9] = [
    column("answers/s", Figure::Throughput),
    column("peak p99 ms", Figure::PeakP99),
    column("recovery s", Figure::Recovery),
    column("largest share", Figure::LargestShare),
    column("deviation", Figure::Deviation),
    column("over bound", Figure::OverBound),
    column("moved %", Figure::Moved),
    column("strays %", Figure::Strays),
    column("requests/s simulated", Figure::Speed),
];

impl Column {
    fn cell(self, row: &Row) -> String {
        let mean = row.mean(|figures: &Figures| figures.figure(self.figure));
        number(if is_part(self.figure) { 100.0 * mean } else { mean })
    }
}

/// A part of 1, told in per cent.
pub(super) const fn is_part(figure: Figure) -> bool {
    matches!(figure, Figure::Errors | Figure::Moved | Figure::Strays)
}

impl Results {
    pub(super) fn has(&self, figure: Figure) -> bool {
        figure != Figure::Errors
            || self.rows.iter().any(|row| row.mean(|figures| figures.figure(figure)) > 0.0)
    }

    pub(super) fn asks(&self, figure: Figure) -> bool {
        (0..self.scenario.variants.len()).any(|variant| self.asks_in(figure, variant))
    }

    /// Something must hold of it in this variant, or it is what keys are about.
    pub(super) fn asks_in(&self, figure: Figure, variant: usize) -> bool {
        let variant = &self.scenario.variants[variant];
        let mut asked = self.scenario.expect.iter().filter(|expect| expect.figure == figure);
        asked.any(|expect| self.scenario.selects(&expect.r#in, &variant.labels))
            || (variant.case.keys.is_some() && figure == Figure::LargestShare)
    }
}

/// Three digits or more.
pub(crate) fn number(number: f64) -> String {
    match number {
        _ if number.is_nan() => "none".to_owned(),
        _ if number.is_infinite() => "never".to_owned(),
        _ if number.abs() >= 100.0 || number.fract() == 0.0 => format!("{number:.0}"),
        _ if number.abs() >= 10.0 => format!("{number:.1}"),
        _ if number.abs() >= 1.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: f64, expect: &str) {
        assert_eq!(number(value), expect);
    }

    #[test]
    fn numbers_have_three_digits() {
        check(f64::NAN, "none");
        check(f64::INFINITY, "never");
        check(1234.56, "1235");
        check(12.345, "12.3");
        check(1.2345, "1.23");
        check(0.01234, "0.012");
        check(0.0, "0");
    }
}
