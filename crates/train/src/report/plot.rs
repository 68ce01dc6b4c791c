//! Curves as SVG.

use crate::FitError;
use crate::fit::EpochRecord;
use plotters::prelude::*;

/// Width and height of a plot, in pixels.
const SIZE: (u32, u32) = (560, 320);

/// A line of a plot: its name, and its points; epochs without a value have none.
pub(super) struct Curve {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

impl Curve {
    pub(super) fn of(
        name: &'static str,
        history: &[EpochRecord],
        value: impl Fn(&EpochRecord) -> Option<f64>,
    ) -> Curve {
        let point = |e: &EpochRecord| Some((e.epoch as f64, value(e).filter(|y| y.is_finite())?));
        Curve { name, points: history.iter().filter_map(point).collect() }
    }
}

/// Curves over epochs, from 0 (or the least value below) to a little above the largest.
pub(super) fn curves(what: &'static str, curves: &[Curve]) -> Result<String, FitError> {
    let mut svg = String::new();
    draw(&mut svg, what, curves).map_err(|reason| FitError::Draw { what, reason })?;
    // Axes and texts in the colour of the page's own text, which may be light on dark.
    Ok(svg.replace("#000000", "currentColor"))
}

fn draw(svg: &mut String, what: &str, curves: &[Curve]) -> Result<(), String> {
    let text = |e: DrawingAreaErrorKind<std::io::Error>| e.to_string();
    let points = || curves.iter().flat_map(|c| &c.points);
    let last = points().map(|p| p.0).fold(2.0, f64::max);
    let top = points().map(|p| p.1).fold(0.0, f64::max);
    let bottom = points().map(|p| p.1).fold(0.0, f64::min);
    let top = if top > bottom { top + (top - bottom) * 0.05 } else { bottom + 1.0 };
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .caption(what, ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(1.0..last, bottom..top)
        .map_err(|e| e.to_string())?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .x_labels((last as usize).clamp(2, 10))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .light_line_style(TRANSPARENT)
        .draw()
        .map_err(|e| e.to_string())?;
    let colors = [RGBColor(31, 119, 180), RGBColor(214, 96, 20), RGBColor(44, 140, 60)];
    for (curve, color) in curves.iter().zip(colors.into_iter().cycle()) {
        let style = color.stroke_width(2);
        chart
            .draw_series(LineSeries::new(curve.points.iter().copied(), style).point_size(2))
            .map_err(|e| e.to_string())?
            .label(curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    if curves.len() > 1 {
        chart
            .configure_series_labels()
            .background_style(TRANSPARENT)
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(|e| e.to_string())?;
    }
    drop(chart);
    area.present().map_err(text)
}
