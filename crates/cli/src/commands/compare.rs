//! `depthwise compare`: what a depthwise separable convolution saves.

use crate::source::EngineArgs;
use crate::text::{self, outln};
use anyhow::{Context, Result, ensure};
use depthwise_engine::layers::ir::{InputType, infer_types};
use depthwise_engine::layers::{Conv2d, DepthwiseConv2d, Padding};
use depthwise_engine::tensor::Hw;
use depthwise_engine::{Activation, DType, Graph, Model, Tensor};
use plotters::prelude::*;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A standard KxK convolution from M to N channels takes K*K*M*N multiplications per output pixel; a
depthwise KxK followed by a pointwise 1x1 takes K*K*M + M*N. Their ratio is 1/N + 1/(K*K) (Howard
et al. 2017). The table puts the ratio of measured times beside it.

Without --channels a list of typical layers is measured.

Examples:
  depthwise compare
  depthwise compare --size 28 --channels 256 --kernel 5
  depthwise compare --plot saving.svg")]
pub(crate) struct Args {
    /// Height and width of the picture.
    #[arg(long, default_value_t = 28, value_parser = clap::value_parser!(u16).range(1..=1024))]
    size: u16,
    /// Input channels; without it, typical layers are measured.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    channels: Option<u16>,
    /// Output channels; as many as input channels unless given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096), requires = "channels")]
    out_channels: Option<u16>,
    /// Height and width of the kernel.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=31))]
    kernel: u16,
    /// Stride.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    stride: u16,
    /// Timed runs of each.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    runs: u16,
    /// Print one JSON object per case instead of a table.
    #[arg(long)]
    json: bool,
    /// Draw the ratios into an SVG file.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    size: usize,
    m: usize,
    n: usize,
    kernel: usize,
    stride: usize,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Figures {
    parameters: u64,
    macs: u64,
    milliseconds: f64,
}

#[derive(Debug, Serialize)]
struct Outcome {
    size: usize,
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    standard: Figures,
    separable: Figures,
    theoretical_ratio: f64,
    measured_ratio: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let outcomes =
        cases(args).into_iter().map(|case| measure(case, args)).collect::<Result<Vec<_>>>()?;
    if args.json {
        for outcome in &outcomes {
            outln!("{}", serde_json::to_string(outcome)?);
        }
    } else {
        print(&outcomes)?;
    }
    if let Some(path) = &args.plot {
        plot(&outcomes, path).with_context(|| format!("cannot draw {}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

fn cases(args: &Args) -> Vec<Case> {
    let (kernel, stride) = (args.kernel.into(), args.stride.into());
    match args.channels {
        Some(m) => {
            let (m, n) = (m.into(), args.out_channels.unwrap_or(m).into());
            vec![Case { size: args.size.into(), m, n, kernel, stride }]
        }
        // The stages of MobileNetV1 (Howard et al. 2017, table 1).
        None => [(112, 32, 64), (56, 128, 128), (28, 256, 256), (14, 512, 512), (7, 1024, 1024)]
            .into_iter()
            .map(|(size, m, n)| Case { size, m, n, kernel, stride })
            .collect(),
    }
}

fn measure(case: Case, args: &Args) -> Result<Outcome> {
    let standard = figures(standard(case)?, args)?;
    let separable = figures(separable(case)?, args)?;
    let Case { size, m, n, kernel, stride } = case;
    Ok(Outcome {
        size,
        in_channels: m,
        out_channels: n,
        kernel,
        stride,
        standard,
        separable,
        theoretical_ratio: 1.0 / n as f64 + 1.0 / (kernel * kernel) as f64,
        measured_ratio: separable.milliseconds / standard.milliseconds,
    })
}

fn standard(case: Case) -> Result<Graph> {
    let Case { size, m, n, kernel: k, stride } = case;
    let mut graph = Graph::new("standard");
    let x = graph.add_input("x", InputType::fixed(DType::F32, &[1, size, size, m]));
    let w = graph.add_const("w", ramp(&[n, k, k, m])?);
    let layer = Conv2d {
        stride: Hw::square(stride),
        padding: Padding::Same,
        activation: Activation::RELU6,
        ..Conv2d::default()
    };
    let y = graph.add("conv", layer, &[x, w]);
    graph.add_output(y);
    Ok(graph)
}

fn separable(case: Case) -> Result<Graph> {
    let Case { size, m, n, kernel: k, stride } = case;
    let mut graph = Graph::new("separable");
    let x = graph.add_input("x", InputType::fixed(DType::F32, &[1, size, size, m]));
    let depthwise = graph.add_const("depthwise.w", ramp(&[k, k, m])?);
    let layer = DepthwiseConv2d {
        stride: Hw::square(stride),
        padding: Padding::Same,
        activation: Activation::RELU6,
        ..DepthwiseConv2d::default()
    };
    let mid = graph.add("depthwise", layer, &[x, depthwise]);
    let pointwise = graph.add_const("pointwise.w", ramp(&[n, 1, 1, m])?);
    let layer = Conv2d { activation: Activation::RELU6, ..Conv2d::default() };
    let y = graph.add("pointwise", layer, &[mid, pointwise]);
    graph.add_output(y);
    Ok(graph)
}

/// Small weights that differ from each other.
fn ramp(dims: &[usize]) -> Result<Tensor> {
    let count: usize = dims.iter().product();
    let data = (0..count).map(|i| ((i * 31) % 101) as f32 / 1010.0 - 0.05).collect();
    Ok(Tensor::from_vec(dims, data)?)
}

fn figures(graph: Graph, args: &Args) -> Result<Figures> {
    let shape = graph.inputs().iter().find_map(|&id| graph.input_type(id)?.shape());
    let shape = shape.context("the input has a fixed shape")?;
    let cost = graph.cost(&infer_types(&graph, &[shape])?);
    let mut session = Model::from_graph(graph, args.engine.options())?.session()?;
    session.input_mut::<f32>(0)?.fill(0.5);
    session.run();
    let mut best = Duration::MAX;
    for _ in 0..args.runs {
        let start = Instant::now();
        session.run();
        best = best.min(start.elapsed());
    }
    ensure!(!best.is_zero(), "the clock is too coarse for this size; take a larger one");
    Ok(Figures { parameters: cost.params, macs: cost.macs, milliseconds: best.as_secs_f64() * 1e3 })
}

fn print(outcomes: &[Outcome]) -> Result<()> {
    let head = ["layer", "params", "", "MAC", "", "ms", "", "MAC ratio", "time ratio", "faster"];
    let mut table = text::table(&head, 1);
    table.add_row(["", "std", "sep", "std", "sep", "std", "sep", "1/N+1/K²", "sep/std", "times"]);
    for o in outcomes {
        table.add_row([
            format!(
                "{}x{} {}->{} k{} s{}",
                o.size, o.size, o.in_channels, o.out_channels, o.kernel, o.stride
            ),
            text::count(o.standard.parameters),
            text::count(o.separable.parameters),
            text::count(o.standard.macs),
            text::count(o.separable.macs),
            format!("{:.3}", o.standard.milliseconds),
            format!("{:.3}", o.separable.milliseconds),
            format!("{:.3}", o.theoretical_ratio),
            format!("{:.3}", o.measured_ratio),
            format!("{:.1}", 1.0 / o.measured_ratio),
        ]);
    }
    outln!("{table}");
    Ok(())
}

/// Two bars per case: the theoretical and the measured ratio.
fn plot(outcomes: &[Outcome], path: &Path) -> Result<()> {
    let width = 240 + 110 * outcomes.len() as u32;
    let area = SVGBackend::new(path, (width, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let top =
        outcomes.iter().flat_map(|o| [o.theoretical_ratio, o.measured_ratio]).fold(0.1, f64::max)
            * 1.15;
    let mut chart = ChartBuilder::on(&area)
        .caption("separable / standard convolution", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..outcomes.len() as f64, 0.0..top)?;
    let label = |x: &f64| {
        let index = x.floor() as usize;
        let centred = (x - x.floor() - 0.5).abs() < 0.01;
        let case = outcomes.get(index).filter(|_| centred);
        case.map_or(String::new(), |o| {
            format!("{0}x{0} {1}->{2}", o.size, o.in_channels, o.out_channels)
        })
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * outcomes.len() + 1)
        .x_label_formatter(&label)
        .y_desc("ratio (smaller is better)")
        .draw()?;
    type Ratio = fn(&Outcome) -> f64;
    let bars: [(&str, RGBColor, f64, Ratio); 2] = [
        ("arithmetic, 1/N + 1/K²", RGBColor(150, 170, 190), 0.15, |o| o.theoretical_ratio),
        ("measured time", RGBColor(30, 110, 180), 0.52, |o| o.measured_ratio),
    ];
    for (name, colour, left, ratio) in bars {
        let rects = outcomes.iter().enumerate().map(|(i, o)| {
            let x = i as f64 + left;
            Rectangle::new([(x, 0.0), (x + 0.33, ratio(o))], colour.filled())
        });
        chart
            .draw_series(rects)?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}
