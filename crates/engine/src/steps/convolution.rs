//! Convolutions.

use super::{operand, optional};
use crate::error::LowerError;
use crate::plan::{Builder, Packed, PixelChain};
use depthwise_kernels::conv2d::{self, ConvSpec, PackedConvF32};
use depthwise_kernels::dwconv_f32::{DwConvF32, DwSpec, PackedDwF32};
use depthwise_kernels::fused::Stage;
use depthwise_kernels::gemm_bf16::GemmBf16;
use depthwise_kernels::gemm_f32::{GatedGemmF32, GemmF32, GemmSpec, MeanGemmF32, PackedGemmF32};
use depthwise_kernels::stem::StemF32;
use depthwise_layers::ir::Node;
use depthwise_layers::{Activation, Conv2d, DepthwiseConv2d};
use depthwise_tensor::{ConvGeometry, padded_ld};
use std::sync::Arc;

/// Input channels from which on a convolution may take products of bfloat16. The first layer of a picture
/// network has fewer, and a kernel of its own.
const ROUNDED_CHANNELS: usize = 8;

pub(super) fn conv2d(b: &mut Builder<'_>, node: &Node, layer: &Conv2d) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    let (bias, residual) = (optional(node, 2), optional(node, 3));
    let geometry = layer.geometry(b.shape(x), b.shape(w))?;
    b.need_f32(x)?;
    let (ic, oc) = (geometry.input.c, geometry.output.c);
    let pointwise = geometry.is_pointwise();
    let rounded = b.choices().rounds_to_bf16(b.cpu());
    let rounded = rounded && geometry.groups == 1 && ic >= ROUNDED_CHANNELS;
    let packed = b.packed(w, bias, |packer, w, bias| {
        let kernel = geometry.kernel;
        if pointwise || rounded {
            return Packed::product(packer, rounded, (kernel.area() * ic, oc), w, bias);
        }
        let packed = PackedConvF32::pack(packer.cpu, kernel, ic, oc, geometry.groups, w, bias)?;
        Ok(Packed::Conv(Arc::new(packed)))
    })?;
    if let (Packed::Gemm(weights), true) = (&packed, pointwise) {
        return product(b, node, layer, &geometry, weights);
    }
    if let Some(gate) = b.gate_before() {
        b.lower_absorbed(&[gate.node])?;
    }
    let bytes = match (b.pixels_before(), &packed) {
        (Some(chain), Packed::Conv(weights)) if may_read_bytes(b, weights, &geometry, &chain) => {
            Some(chain)
        }
        (Some(chain), _) => {
            b.lower_absorbed(&chain.nodes)?;
            None
        }
        (None, _) => None,
    };
    let x = b.arg(bytes.as_ref().map_or(x, |chain| chain.source))?;
    let residual = residual.map(|r| b.padded_arg(r)).transpose()?;
    let residual_ld = residual.as_ref().map(|r| r.view.ld);
    let (buf, view) = b.output(node.outputs[0]);
    let inputs: Vec<_> = std::iter::once(&x).chain(residual.as_ref()).collect();
    let activation = layer.activation;
    let (ld_in, ld_out) = (x.view.ld, view.ld);
    match packed {
        Packed::GemmBf16(weights) if pointwise => {
            let m = geometry.output.pixels();
            let spec = GemmSpec { m, lda: ld_in, ldc: ld_out, residual_ld, activation };
            let op = GemmBf16::new(weights, spec, b.threads())?;
            b.push(op, &inputs, &[(buf, view)]);
        }
        Packed::GemmBf16(weights) => {
            let spec = ConvSpec { geometry, ld_in, ld_out, residual_ld, activation };
            let op = GemmBf16::convolution(weights, spec, b.threads())?;
            b.push(op, &inputs, &[(buf, view)]);
        }
        Packed::Conv(weights) => {
            let spec = ConvSpec { geometry, ld_in, ld_out, residual_ld, activation };
            if let Some(chain) = bytes {
                let op = StemF32::of_bytes(weights, spec, &chain.pixels, b.threads())?;
                b.push_stage(Stage::Stem(Arc::new(op)), &inputs, &[(buf, view)]);
                b.note_absorbed(&chain.nodes);
            } else if StemF32::applies(&weights, &spec) {
                let op = StemF32::new(weights, spec, b.threads())?;
                b.push_stage(Stage::Stem(Arc::new(op)), &inputs, &[(buf, view)]);
            } else {
                let op = conv2d::operator(weights, spec, b.threads())?;
                b.push_dyn(op, &inputs, &[(buf, view)]);
            }
        }
        // A strided layer may share the weight of a pointwise one.
        _ => return Err(shared_weight()),
    }
    Ok(())
}

/// Pixels up to which the rows of a panel stay in the L1 cache until their mean is taken.
const MEAN_PIXELS: usize = 256;

/// Columns per thread from which panels, which are not divided then, share out evenly.
const MEAN_COLUMNS: usize = 128;

/// A 1x1 convolution, with the gate before it or the global mean behind it where that is less work.
fn product(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &Conv2d,
    geometry: &ConvGeometry,
    weights: &Arc<PackedGemmF32>,
) -> Result<(), LowerError> {
    let (weights, threads) = (Arc::clone(weights), b.threads());
    let gate = b.gate_before();
    let x = gate.as_ref().map_or(operand(node, 0)?, |gate| gate.x);
    let x = b.arg(x)?;
    let residual = optional(node, 3).map(|r| b.padded_arg(r)).transpose()?;
    let pixels = geometry.output.hw().area();
    let spec = |ldc| GemmSpec {
        m: geometry.output.pixels(),
        lda: x.view.ld,
        ldc,
        residual_ld: residual.as_ref().map(|r| r.view.ld),
        activation: layer.activation,
    };
    if let Some(gate) = gate {
        let factors = b.arg(gate.factors)?;
        let out = b.output(node.outputs[0]);
        let pictures = (pixels, factors.view.ld);
        let op = GatedGemmF32::new(weights, spec(out.1.ld), pictures, threads)?;
        let inputs: Vec<_> = [&x, &factors].into_iter().chain(residual.as_ref()).collect();
        b.push(op, &inputs, &[out]);
        b.note_absorbed(&[gate.node]);
        return Ok(());
    }
    let few = pixels <= MEAN_PIXELS && geometry.output.c >= MEAN_COLUMNS * threads;
    if let Some(mean) = b.mean_behind().filter(|_| few && residual.is_none()) {
        let out = b.output(b.output_of(mean));
        let op = MeanGemmF32::new(weights, spec(out.1.ld), pixels, threads)?;
        b.push(op, &[&x], &[out]);
        b.note_absorbed(&[mean]);
        return Ok(());
    }
    let out = b.output(node.outputs[0]);
    let op = GemmF32::new(weights, spec(out.1.ld), threads)?;
    let inputs: Vec<_> = std::iter::once(&x).chain(residual.as_ref()).collect();
    b.push_stage(Stage::Pointwise(Arc::new(op)), &inputs, &[out]);
    Ok(())
}

/// Whether the stem computes a convolution of these bytes, which lie in memory without gaps.
fn may_read_bytes(
    b: &mut Builder<'_>,
    weights: &PackedConvF32,
    geometry: &ConvGeometry,
    chain: &PixelChain,
) -> bool {
    let ld_in = b.arg(chain.source).map_or(0, |x| x.view.ld);
    let spec = ConvSpec {
        geometry: *geometry,
        ld_in,
        ld_out: padded_ld(geometry.output.c),
        residual_ld: None,
        activation: Activation::Identity,
    };
    ld_in == geometry.input.c && StemF32::applies(weights, &spec)
}

pub(super) fn depthwise(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &DepthwiseConv2d,
) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    let geometry = layer.geometry(b.shape(x), b.shape(w))?;
    let channels = geometry.input.c;
    let multiplier = geometry.output.c.checked_div(channels).unwrap_or(1);
    let packed = b.packed(w, optional(node, 2), |packer, w, bias| {
        let kernel = geometry.kernel;
        let packed = PackedDwF32::pack(packer.cpu, kernel, channels, multiplier, w, bias)?;
        Ok(Packed::Depthwise(Arc::new(packed)))
    })?;
    let Packed::Depthwise(weights) = packed else { return Err(shared_weight()) };
    let x = b.padded_arg(x)?;
    let (buf, view) = b.output(node.outputs[0]);
    let spec = DwSpec {
        geometry,
        ld_in: x.view.ld,
        ld_out: view.ld,
        residual_ld: None,
        activation: layer.activation,
    };
    let op = DwConvF32::new(weights, spec, b.threads())?;
    b.push_stage(Stage::Depthwise(Arc::new(op)), &[&x], &[(buf, view)]);
    Ok(())
}

/// Two layers that read one constant and need it packed in different ways.
pub(super) fn shared_weight() -> LowerError {
    LowerError::Unsupported("a weight that layers of different kinds share".into())
}
