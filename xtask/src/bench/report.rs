//! Figures as tables and as a drawing.

use super::kernels::Row;
use super::{Report, is_scalar};
use crate::workspace;
use anyhow::{Result, ensure};
use depthwise_benches::families::FAMILIES;
use plotters::prelude::*;
use std::path::Path;

pub(super) fn print(report: &Report, layers: bool) {
    report.roofline.print();
    if !report.kernels.is_empty() {
        print_kernels(report);
    }
    if layers {
        print_layers(&report.kernels);
    }
    if !report.nets.is_empty() {
        print_nets(report);
    }
    if !report.peers.is_empty() {
        super::peers::print(&report.peers, report.dtype);
    }
}

/// One kernel with one number of threads, over all layers that it computes.
struct Summary<'a> {
    rows: Vec<&'a Row>,
}

impl Summary<'_> {
    /// Sum over all layers, each as often as its network has it.
    fn sum(&self, of: impl Fn(&Row) -> f64) -> f64 {
        self.rows.iter().map(|row| of(row) * row.count as f64).sum()
    }

    fn gflops(&self) -> f64 {
        2e-3 * self.sum(|r| r.macs as f64) / self.sum(|r| r.min_us)
    }

    fn percent_of_peak(&self) -> Option<f64> {
        let percents: Option<Vec<(f64, f64)>> = self
            .rows
            .iter()
            .map(|r| Some((r.percent_of_peak?, r.min_us * r.count as f64)))
            .collect();
        let percents = percents?;
        let time: f64 = percents.iter().map(|(_, us)| us).sum();
        Some(percents.iter().map(|(percent, us)| percent * us).sum::<f64>() / time)
    }

    fn times_scalar(&self) -> Option<f64> {
        let scalar: Option<f64> =
            self.rows.iter().map(|r| Some(r.times_scalar? * r.min_us * r.count as f64)).sum();
        Some(scalar? / self.sum(|r| r.min_us))
    }

    /// The smallest and the largest share of the peak.
    fn range(&self) -> String {
        let percents = || self.rows.iter().filter_map(|r| r.percent_of_peak);
        match (percents().min_by(f64::total_cmp), percents().max_by(f64::total_cmp)) {
            (Some(low), Some(high)) => format!("{low:.0}..{high:.0}"),
            _ => "-".into(),
        }
    }
}

fn summaries(report: &Report) -> Vec<Summary<'_>> {
    let mut all: Vec<Summary<'_>> = Vec::new();
    for family in FAMILIES {
        for kernel in family.kernels() {
            let rows = || report.kernels.iter().filter(|r| r.kernel == kernel.name);
            let mut threads: Vec<usize> = rows().map(|r| r.threads).collect();
            threads.sort_unstable();
            threads.dedup();
            all.extend(threads.into_iter().map(|threads| Summary {
                rows: rows().filter(|r| r.threads == threads).collect(),
            }));
        }
    }
    all
}

fn print_kernels(report: &Report) {
    let header = [
        "kernel",
        "threads",
        "layers",
        "ms",
        "GFLOP/s",
        "% of peak",
        "by layer",
        "GB/s",
        "x scalar",
    ];
    let mut table = workspace::table(&header, &[1, 2, 3, 4, 5, 6, 7, 8]);
    for summary in summaries(report) {
        let Some(first) = summary.rows.first() else { continue };
        let us = summary.sum(|r| r.min_us);
        table.add_row([
            first.kernel.to_owned(),
            first.threads.to_string(),
            summary.rows.iter().map(|r| r.count).sum::<usize>().to_string(),
            format!("{:.3}", us * 1e-3),
            number(summary.gflops()),
            optional(summary.percent_of_peak()),
            summary.range(),
            number(1e-3 * summary.sum(|r| r.bytes as f64) / us),
            optional(summary.times_scalar()),
        ]);
    }
    println!("\nKernels, summed over the layers that each computes:\n{}", table.trim_fmt());
}

/// The fastest kernel of each layer and number of threads, the one farthest from its roof first.
fn print_layers(rows: &[Row]) {
    let same = |a: &Row, b: &Row| {
        (a.family, a.net, &a.layer, a.threads) == (b.family, b.net, &b.layer, b.threads)
    };
    let fastest = |row: &&Row| rows.iter().all(|r| !same(r, row) || r.min_us >= row.min_us);
    let mut fastest: Vec<&Row> = rows.iter().filter(fastest).collect();
    let share = |row: &Row| row.percent_of_roof().unwrap_or(0.0);
    fastest.sort_by(|a, b| share(a).total_cmp(&share(b)));
    let header = [
        "layer",
        "kernel",
        "threads",
        "count",
        "min us",
        "median",
        "GFLOP/s",
        "GB/s",
        "x scalar",
        "roof us",
        "% of roof",
        "bound by",
    ];
    let mut table = workspace::table(&header, &[2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for row in fastest {
        table.add_row([
            format!("{}.{}", row.net, row.layer),
            row.kernel.to_owned(),
            row.threads.to_string(),
            row.count.to_string(),
            format!("{:.2}", row.min_us),
            format!("{:.2}", row.median_us),
            number(row.gflops),
            number(row.gigabytes_per_second),
            optional(row.times_scalar),
            row.roof.map_or("-".into(), |roof| format!("{:.2}", roof.us)),
            optional(row.percent_of_roof()),
            row.roof.map_or("-", |roof| roof.bound.name()).to_owned(),
        ]);
    }
    println!("\nLayers against their roofs:\n{}", table.trim_fmt());
}

fn print_nets(report: &Report) {
    let header =
        ["network", "level", "threads", "min ms", "median", "GFLOP/s", "% of peak", "x scalar"];
    let mut table = workspace::table(&header, &[2, 3, 4, 5, 6, 7]);
    for row in &report.nets {
        table.add_row([
            row.net.to_owned(),
            row.level.to_owned(),
            row.threads.to_string(),
            format!("{:.3}", row.min_ms),
            format!("{:.3}", row.median_ms),
            number(row.gflops),
            optional(row.percent_of_peak),
            optional(row.times_scalar),
        ]);
    }
    println!("\nNetworks, 224 x 224, batch 1:\n{}", table.trim_fmt());
}

fn number(x: f64) -> String {
    if x > 0.0 { format!("{x:.1}") } else { "-".into() }
}

fn optional(x: Option<f64>) -> String {
    x.map_or("-".into(), number)
}

/// Bars: GFLOP/s of the networks, or the share of the peak of the kernels.
pub(super) fn plot(report: &Report, path: &Path) -> Result<()> {
    let caption = |what: &str| format!("{what}, {}", report.cpu);
    if !report.nets.is_empty() {
        let mut names: Vec<&str> = report.nets.iter().map(|r| r.net).collect();
        names.dedup();
        let mut series: Vec<(String, Vec<f64>)> = Vec::new();
        for row in &report.nets {
            let label = format!("{}, {} thread(s)", row.level, row.threads);
            match series.iter_mut().find(|(known, _)| *known == label) {
                Some((_, values)) => values.push(row.gflops),
                None => series.push((label, vec![row.gflops])),
            }
        }
        return bars(path, &caption("GFLOP/s of whole networks"), &names, &series);
    }
    let kernels: Vec<(&str, f64)> = summaries(report)
        .iter()
        .filter_map(|s| s.rows.first().map(|row| (s, row)))
        .filter(|(_, row)| row.threads == report.kernels[0].threads && !is_scalar(row.level))
        .filter_map(|(s, row)| Some((row.kernel, s.percent_of_peak()?)))
        .collect();
    let (names, values): (Vec<&str>, Vec<f64>) = kernels.into_iter().unzip();
    let label = format!("{} thread(s)", report.kernels.first().map_or(0, |r| r.threads));
    bars(path, &caption("percent of the multiply-add peak"), &names, &[(label, values)])
}

const COLOURS: [RGBColor; 6] = [
    RGBColor(150, 170, 190),
    RGBColor(30, 110, 180),
    RGBColor(220, 130, 40),
    RGBColor(60, 150, 90),
    RGBColor(140, 90, 170),
    RGBColor(190, 60, 70),
];

/// A group of bars per name, a bar of it per series.
fn bars(path: &Path, caption: &str, names: &[&str], series: &[(String, Vec<f64>)]) -> Result<()> {
    ensure!(!names.is_empty(), "nothing to draw: no figure counts arithmetic");
    let width = 300 + (names.len() * 180) as u32;
    let area = SVGBackend::new(path, (width, 440)).into_drawing_area();
    area.fill(&WHITE)?;
    let top = series.iter().flat_map(|(_, values)| values).copied().fold(1.0, f64::max) * 1.3;
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..names.len() as f64, 0.0..top)?;
    let label = |x: &f64| {
        let centred = (x - x.floor() - 0.5).abs() < 0.01;
        names.get(x.floor() as usize).filter(|_| centred).map_or("", |name| name).to_owned()
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * names.len() + 1)
        .x_label_formatter(&label)
        .draw()?;
    let wide = 0.8 / series.len() as f64;
    for (i, (name, values)) in series.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let rects = values.iter().enumerate().map(|(group, &value)| {
            let left = group as f64 + 0.1 + i as f64 * wide;
            Rectangle::new([(left, 0.0), (left + wide * 0.92, value)], colour.filled())
        });
        chart
            .draw_series(rects)?
            .label(name.as_str())
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}
