//! Charts as SVG, drawn by plotters. The same results give the same bytes.

use plotters::{
    coord::ranged1d::{AsRangedCoord, ValueFormatter},
    prelude::*,
};

use super::text;
use crate::number;

/// In pixels, with the legend.
const SIZE: (u32, u32) = (860, 420);
const LEGEND: u32 = 170;
/// Of a letter of a label, about, and of a line of text.
const LETTER: u32 = 7;
const LINE: u32 = 16;
/// How far values must be apart for a logarithmic axis: on a shorter one hardly any number would stand.
const DECADE: f64 = 10.0;
/// Points by which a line is drawn that are marked; more need no marks.
const MAX_MARKS: usize = 25;

/// A line of a chart, or a colour of its bars.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// What stands around a chart.
#[derive(Clone, Debug)]
pub(super) struct Frame<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    /// The vertical axis is logarithmic if values are far apart; what is not above 0 is left out.
    pub(super) logarithmic: bool,
    /// Names along the horizontal axis, at 0, 1, 2 and so on, in place of numbers.
    pub(super) names: &'a [String],
}

/// Lines, or points joined by lines.
pub(super) fn lines(frame: &Frame<'_>, series: &[Series]) -> String {
    draw(frame, series, false)
}

/// Bars side by side at each name.
pub(super) fn bars(frame: &Frame<'_>, series: &[Series]) -> String {
    draw(frame, series, true)
}

/// An empty text if there is nothing to draw, or plotters cannot draw it.
fn draw(frame: &Frame<'_>, series: &[Series], bars: bool) -> String {
    let keep = |point: &(f64, f64)| {
        point.0.is_finite() && point.1.is_finite() && (!frame.logarithmic || point.1 > 0.0)
    };
    let kept: Vec<Series> = series
        .iter()
        .map(|each| Series {
            name: each.name.clone(),
            points: each.points.iter().copied().filter(keep).collect(),
        })
        .collect();
    let all = || kept.iter().flat_map(|each| &each.points);
    let least = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::INFINITY, f64::min);
    let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::NEG_INFINITY, f64::max);
    let (x0, x1, y0, y1) = (least(|p| p.0), most(|p| p.0), least(|p| p.1), most(|p| p.1));
    if all().next().is_none() {
        return String::new();
    }
    let (x0, x1) = if frame.names.is_empty() {
        (x0, if x1 > x0 { x1 } else { x0 + 1.0 })
    } else {
        (-0.5, frame.names.len() as f64 - 0.5)
    };
    let mut svg = String::new();
    let drawn = if frame.logarithmic && y1 > DECADE * y0 {
        let y = (y0 / 1.2..y1 * 1.2).log_scale();
        plot(&mut svg, frame, &kept, x0..x1, y, y0 / 1.2, bars)
    } else {
        plot(&mut svg, frame, &kept, x0..x1, 0.0..(y1 * 1.05).max(1e-9), 0.0, bars)
    };
    drawn.map_or_else(|_| String::new(), |()| svg)
}

/// `floor` is where bars stand.
fn plot<Y>(
    svg: &mut String,
    frame: &Frame<'_>,
    series: &[Series],
    x: std::ops::Range<f64>,
    y: Y,
    floor: f64,
    bars: bool,
) -> Result<(), Box<dyn std::error::Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let widest = frame.names.iter().map(|name| u32::try_from(name.len()).unwrap_or(0) * LETTER).max();
    let room = (SIZE.0 - LEGEND) / u32::try_from(frame.names.len().max(1)).unwrap_or(u32::MAX);
    // Names that do not fit beside each other stand below, by number.
    let below = if widest.is_some_and(|width| width > room) { frame.names } else { &[] };
    let height = LINE * u32::try_from(below.len()).unwrap_or(0);
    let root = SVGBackend::with_string(svg, (SIZE.0, SIZE.1 + height)).into_drawing_area();
    root.fill(&WHITE)?;
    let (root, list) = root.split_vertically(SIZE.1);
    for (index, name) in below.iter().enumerate() {
        let y = i32::try_from(LINE).unwrap_or(0) * i32::try_from(index).unwrap_or(0);
        list.draw(&Text::new(format!("{}: {name}", index + 1), (60, y), ("sans-serif", 12)))?;
    }
    let (root, legend) = root.split_horizontally(SIZE.0 - if series.len() > 1 { LEGEND } else { 0 });
    let mut chart = ChartBuilder::on(&root)
        .caption(frame.title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(x, y)?;
    let name = |at: &f64| {
        let place = number::index(number::whole(at.max(0.0)));
        let whole = (at - at.round()).abs() < 1e-6;
        let name = frame.names.get(place).filter(|_| whole).cloned().unwrap_or_default();
        if below.is_empty() || name.is_empty() { name } else { (place + 1).to_string() }
    };
    let figure = |at: &f64| text::number(*at);
    let labels = frame.names.len().clamp(1, 40);
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(frame.x).y_desc(frame.y).light_line_style(WHITE).bold_line_style(BLACK.mix(0.1));
    mesh.y_label_formatter(&figure);
    if frame.names.is_empty() {
        mesh.x_label_formatter(&figure).draw()?;
    } else {
        mesh.x_labels(labels).x_label_formatter(&name).draw()?;
    }
    let width = 0.8 / series.len().max(1) as f64;
    for (index, each) in series.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        if bars {
            let left = |x: f64| x - 0.4 + width * index as f64;
            let bar = |(x, y): &(f64, f64)| {
                Rectangle::new([(left(*x), floor), (left(*x) + width, *y)], colour.filled())
            };
            chart.draw_series(each.points.iter().map(bar))?;
        } else {
            chart.draw_series(LineSeries::new(each.points.iter().copied(), colour.stroke_width(2)))?;
            let marked = each.points.iter().filter(|_| each.points.len() <= MAX_MARKS);
            chart.draw_series(marked.map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
        if series.len() > 1 {
            let y = 40 + 18 * i32::try_from(index).unwrap_or(0);
            legend.draw(&Rectangle::new([(0, y), (10, y + 8)], colour.filled()))?;
            legend.draw(&Text::new(each.name.clone(), (15, y - 2), ("sans-serif", 12)))?;
        }
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(points: &[(f64, f64)], logarithmic: bool, drawn: bool) {
        let series = [Series { name: "one".to_owned(), points: points.to_vec() }];
        let frame = Frame { title: "a chart", x: "x", y: "y", logarithmic, names: &[] };
        let svg = lines(&frame, &series);
        assert_eq!(svg.contains("a chart"), drawn);
        assert_eq!(svg, lines(&frame, &series), "the same bytes");
        assert_eq!(bars(&frame, &series).contains("<rect"), drawn);
    }

    #[test]
    fn what_can_be_drawn_is() {
        check(&[(0.0, 1.0), (1.0, 2.0)], false, true);
        check(&[(0.0, 1.0), (1.0, 1000.0)], true, true);
        check(&[(0.0, 0.0), (f64::NAN, 2.0)], true, false);
        check(&[], false, false);
    }
}
