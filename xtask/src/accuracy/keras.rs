//! Keras files: their answers are those of a twin in another format, or of Keras itself on a photo.

use super::{RELATIVE, Subject, golden};
use crate::bench::environment;
use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use depthwise_engine::{Graph, Shape, Tensor};
use depthwise_formats::Weights;
use depthwise_layers::ir::Dim;
use depthwise_tensor::Hw;
use depthwise_vision::{Normalize, Picture, Preprocess};
use std::path::Path;
use std::process::Command;

/// Keras as `pip` finds it, with a backend.
const PACKAGES: [&str; 2] = ["keras==3.15.1", "tensorflow-cpu==2.21.0"];
/// The photo that Keras sees.
const PHOTO: &str = "pets.jpg";

/// A file and the golden of its TFLite twin, the answers matched by their order.
pub(super) fn of_twin(folder: &Path, name: &str, graph: Graph, twin: &str) -> Result<Subject> {
    let golden = golden(folder, twin)?;
    let names = |side: &str| -> Vec<String> {
        let of_side = golden.iter().map(|(name, _)| name.to_owned());
        of_side.filter(|name| name.starts_with(side)).collect()
    };
    let (inputs, outputs) = (names("in/"), names("out/"));
    let name = format!("{name} (twin of {twin})");
    Ok(Subject { name, graph, golden, inputs, outputs, relative: RELATIVE, photos: None })
}

/// A file and what Keras computes of a photo.
pub(super) fn of_keras(folder: &Path, path: &Path, graph: Graph) -> Result<Subject> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    eprintln!("{name}: Keras ...");
    let shape = input_shape(&graph).with_context(|| name.clone())?;
    let hw = Hw { h: shape[1], w: shape[2] };
    let picture = Picture::open(folder.join("photos").join(PHOTO))?;
    let mut x = vec![0f32; shape.elements()];
    Preprocess::stretch(hw, Normalize::SIGNED_UNIT).write(&picture, &mut x)?;
    let y = answer(path, &shape, &x)?;
    let classes = y.len();
    let tensors = [
        ("in/0".to_owned(), Tensor::from_vec(&shape, x)?),
        ("out/0".to_owned(), Tensor::from_vec(&[1, classes], y)?),
    ];
    Ok(Subject {
        name: format!("{name} (Keras, {PHOTO})"),
        graph,
        golden: tensors.into_iter().collect::<Weights>(),
        inputs: vec!["in/0".into()],
        outputs: vec!["out/0".into()],
        relative: RELATIVE,
        photos: None,
    })
}

/// One picture.
fn input_shape(graph: &Graph) -> Result<Shape> {
    let declared = graph.inputs().first().and_then(|&id| graph.input_type(id));
    let declared = declared.context("the model has no input")?;
    let dims: Option<Vec<usize>> = declared
        .dims
        .iter()
        .enumerate()
        .map(|(axis, dim)| match dim {
            Dim::Fixed(extent) => Some(*extent),
            Dim::Free(_) => (axis == 0).then_some(1),
        })
        .collect();
    match dims.as_deref() {
        Some(&[n, h, w, 3]) => Ok(Shape::new(&[n, h, w, 3])?),
        _ => bail!("its input {declared} is no picture of a fixed size"),
    }
}

fn answer(path: &Path, shape: &Shape, x: &[f32]) -> Result<Vec<f32>> {
    let target = workspace::target().join("accuracy");
    std::fs::create_dir_all(&target).with_context(|| target.display().to_string())?;
    let python = environment(&target.join("keras"), &PACKAGES)?;
    let (input, output) = (target.join("input.f32"), target.join("output.f32"));
    let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(&input, bytes).with_context(|| input.display().to_string())?;
    let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
    let mut command = Command::new(python);
    command.arg(workspace::root().join("xtask/accuracy/keras_worker.py"));
    let ran = command.arg(path).arg(&input).arg(&output).arg(dims.join(",")).output()?;
    ensure!(
        ran.status.success(),
        "{}: {}",
        path.display(),
        String::from_utf8_lossy(&ran.stderr).trim()
    );
    let bytes = std::fs::read(&output).with_context(|| output.display().to_string())?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|&x| f32::from_le_bytes(x)).collect())
}
