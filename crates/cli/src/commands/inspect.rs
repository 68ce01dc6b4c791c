//! `depthwise inspect`: what a model is made of.

use super::bench::open_session;
use crate::source::{EngineArgs, ModelSource, NETWORKS, ShapeArg};
use crate::text::{self, outln};
use anyhow::Result;
use depthwise_engine::layers::ir::{Graph, Types, ValueId, infer_types};
use depthwise_engine::{EngineError, Model, Shape};

#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
The first table shows the model as it is in the file; --plan shows the steps that run on this CPU
after optimisation, with kernels and memory.

Networks by name: {NETWORKS}

Examples:
  depthwise inspect model.onnx
  depthwise inspect model.onnx --shape 1x3x48x192 --plan
  depthwise inspect mobilenet-v3-large"))]
pub(crate) struct Args {
    /// A model file, or the name of a network.
    model: String,
    /// Shape of each input in order, where the model leaves it open: 1x3x224x224.
    #[arg(long, value_name = "NxHxWxC")]
    shape: Vec<ShapeArg>,
    /// Show the steps that run here instead of the layers of the file.
    #[arg(long)]
    plan: bool,
    /// Show the graph as text instead.
    #[arg(long, conflicts_with = "plan")]
    dump: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let graph = ModelSource::find(&args.model)?.graph()?;
    if args.dump {
        outln!("{graph}");
        return Ok(());
    }
    if args.plan {
        let model = Model::from_graph(graph, args.engine.options())?;
        outln!("{}", open_session(&model, &args.shape)?.plan().explain().to_string().trim_end());
        return Ok(());
    }
    print_layers(&graph, &input_shapes(&graph, &args.shape)?)
}

/// The given shapes, or the declared ones.
fn input_shapes(graph: &Graph, given: &[ShapeArg]) -> Result<Vec<Shape>> {
    if !given.is_empty() {
        return Ok(given.iter().map(|s| s.0).collect());
    }
    let declared = graph.inputs().iter().filter_map(|&id| Some((id, graph.input_type(id)?)));
    declared
        .map(|(id, ty)| {
            let free = EngineError::FreeShape {
                name: graph.value(id).name.clone(),
                declared: ty.to_string(),
            };
            Ok(ty.shape().ok_or(free)?)
        })
        .collect()
}

fn print_layers(graph: &Graph, shapes: &[Shape]) -> Result<()> {
    let types = infer_types(graph, shapes)?;
    outln!("{}: {} nodes", graph.name, graph.nodes().len());
    for (what, ids) in [("input", graph.inputs()), ("output", graph.outputs())] {
        for &id in ids {
            let name = &graph.value(id).name;
            match graph.input_type(id) {
                Some(declared) => outln!("  {what}  {name}: {declared}"),
                None => outln!("  {what} {name}: {}", types.of(id)),
            }
        }
    }
    let mut table = text::table(&["node", "layer", "output", "parameters", "MAC", "bytes"], 3);
    for id in graph.node_ids() {
        let node = graph.node(id);
        let cost = graph.node_cost(id, &types);
        table.add_row([
            node.name.clone(),
            node.op.layer().kind().to_owned(),
            outputs(&types, &node.outputs),
            text::count(cost.params),
            text::count(cost.macs),
            text::bytes(cost.bytes),
        ]);
    }
    let total = graph.cost(&types);
    table.add_row([
        "total".to_owned(),
        String::new(),
        String::new(),
        text::count(total.params),
        text::count(total.macs),
        text::bytes(total.bytes),
    ]);
    outln!("{table}");
    Ok(())
}

fn outputs(types: &Types, ids: &[ValueId]) -> String {
    ids.iter().map(|&id| types.of(id).shape.to_string()).collect::<Vec<_>>().join(", ")
}
