//! Convolutions.

use super::{operand, optional};
use crate::error::LowerError;
use crate::plan::{Builder, Packed};
use depthwise_kernels::conv2d::{self, ConvSpec, PackedConvF32};
use depthwise_kernels::dwconv_f32::{DwConvF32, DwSpec, PackedDwF32};
use depthwise_kernels::fused::Stage;
use depthwise_kernels::gemm_bf16::GemmBf16;
use depthwise_kernels::gemm_f32::{GemmF32, GemmSpec};
use depthwise_kernels::stem::StemF32;
use depthwise_layers::ir::Node;
use depthwise_layers::{Conv2d, DepthwiseConv2d};
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
    let x = b.arg(x)?;
    let residual = residual.map(|r| b.padded_arg(r)).transpose()?;
    let residual_ld = residual.as_ref().map(|r| r.view.ld);
    let (buf, view) = b.output(node.outputs[0]);
    let inputs: Vec<_> = std::iter::once(&x).chain(residual.as_ref()).collect();
    let activation = layer.activation;
    let (ld_in, ld_out) = (x.view.ld, view.ld);
    let m = geometry.output.pixels();
    match packed {
        Packed::GemmBf16(weights) if pointwise => {
            let spec = GemmSpec { m, lda: ld_in, ldc: ld_out, residual_ld, activation };
            let op = GemmBf16::new(weights, spec, b.threads())?;
            b.push(op, &inputs, &[(buf, view)]);
        }
        Packed::GemmBf16(weights) => {
            let spec = ConvSpec { geometry, ld_in, ld_out, residual_ld, activation };
            let op = GemmBf16::convolution(weights, spec, b.threads())?;
            b.push(op, &inputs, &[(buf, view)]);
        }
        // A strided layer may share the weight of a pointwise one.
        Packed::Gemm(weights) if pointwise => {
            let spec = GemmSpec { m, lda: ld_in, ldc: ld_out, residual_ld, activation };
            let op = GemmF32::new(weights, spec, b.threads())?;
            b.push_stage(Stage::Pointwise(Arc::new(op)), &inputs, &[(buf, view)]);
        }
        Packed::Conv(weights) => {
            let spec = ConvSpec { geometry, ld_in, ld_out, residual_ld, activation };
            if StemF32::applies(&weights, &spec) {
                let op = StemF32::new(weights, spec, b.threads())?;
                b.push_stage(Stage::Stem(Arc::new(op)), &inputs, &[(buf, view)]);
            } else {
                let op = conv2d::operator(weights, spec, b.threads())?;
                b.push_dyn(op, &inputs, &[(buf, view)]);
            }
        }
        _ => return Err(shared_weight()),
    }
    Ok(())
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
