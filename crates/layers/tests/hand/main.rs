//! Every layer against values worked out by hand, and what each refuses.

mod blocks;
mod convolution;
mod detections;
mod elementwise;
mod moving;
mod places;
mod quantized;
mod reducing;
mod refusing;
mod sampling;

use depthwise_layers::{Arg, LayerError, Op, TensorType};
use depthwise_tensor::Tensor;

/// An `f32` tensor.
fn t(dims: &[usize], data: &[f32]) -> Tensor {
    Tensor::from_slice(dims, data).unwrap()
}

/// An `i64` tensor of one dimension.
fn ints(data: &[i64]) -> Tensor {
    Tensor::from_slice(&[data.len()], data).unwrap()
}

/// `0, 1, 2, ..` from `first` on.
fn ramp(dims: &[usize], first: f32) -> Tensor {
    let data: Vec<f32> = (0..dims.iter().product()).map(|i| i as f32 + first).collect();
    t(dims, &data)
}

/// What inference says of constant inputs.
fn infer(op: &Op, inputs: &[Option<&Tensor>]) -> Result<Vec<TensorType>, LayerError> {
    let args: Vec<_> = inputs.iter().map(|x| x.map(Arg::constant)).collect();
    op.layer().infer(&args)
}

/// All outputs; inference must have promised their types.
fn run_all(op: impl Into<Op>, inputs: &[Option<&Tensor>]) -> Vec<Tensor> {
    let op = op.into();
    let promised = infer(&op, inputs).unwrap();
    let outputs = op.layer().reference(inputs).unwrap();
    let got: Vec<_> = outputs.iter().map(TensorType::of).collect();
    assert_eq!(got, promised, "{op:?}");
    outputs
}

/// The only output.
fn run(op: impl Into<Op>, inputs: &[&Tensor]) -> Tensor {
    let inputs: Vec<_> = inputs.iter().map(|&x| Some(x)).collect();
    run_all(op, &inputs).remove(0)
}

/// The elements of the only output, which has these extents.
fn values(op: impl Into<Op>, inputs: &[&Tensor], dims: &[usize]) -> Vec<f32> {
    let y = run(op, inputs);
    assert_eq!(y.shape().dims(), dims);
    y.to_f32().into_owned()
}

/// The text of the error; inference and the reference both refuse.
fn refusal(op: impl Into<Op>, inputs: &[&Tensor]) -> String {
    let op = op.into();
    let inputs: Vec<_> = inputs.iter().map(|&x| Some(x)).collect();
    op.layer().reference(&inputs).expect_err("the reference computes what inference refuses");
    infer(&op, &inputs).unwrap_err().to_string()
}

/// Multiply-accumulate steps.
fn macs(op: impl Into<Op>, inputs: &[&Tensor]) -> u64 {
    let op = op.into();
    let options: Vec<_> = inputs.iter().map(|&x| Some(x)).collect();
    let outputs = infer(&op, &options).unwrap();
    let types: Vec<_> = inputs.iter().map(|x| Some(TensorType::of(x))).collect();
    op.layer().macs(&types, &outputs)
}

fn close(got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(got) - want).abs();
        assert!(error <= 1e-6 * want.abs().max(1.0), "element {i}: {got}, not {want}");
    }
}
